"""The report of a run: a text for people, and pictures of what the simulations did, of errors and of cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from ase import Atoms

from aiida_pyacemaker.atomistics.explorers.walker import EndReason

from .pictures import draw_dynamics, draw_learning, draw_parity, draw_uncertainty
from .queries import dig, get_steps, while_unlocked
from .status import get_status, tell_iteration, tell_reason, tell_surprise, tell_validation
from .trajectories import find_trajectories, read_series

REPORT = 'report.md'
#: What the gate says of the result, for people.
VALIDATION = 'validation_report.html'
#: What a state of a run means, for people.
STATES = {
    'converged': 'Converged: the simulations of the last stage ran to their ends without a halt, and the errors on '
    'held-out configurations meet the criteria.',
    'budget_exhausted': 'Not converged: the budget is used up.',
    'gate_failed': 'Not converged: the errors meet the criteria, and the physics does not.',
    'stalled': 'Not converged, and no longer getting better.',
    'failed': 'A step failed.',
    'killed': 'The run was killed: `aiida-pyacemaker launch --restart-from` continues it.',
    'excepted': 'The run came to an unexpected end: `aiida-pyacemaker launch --restart-from` continues it.',
    'running': 'The run is still going.',
    'paused': 'The run is paused: `verdi process play` lets it go on.',
}


@while_unlocked
def write_report(run: orm.WorkChainNode, folder: Path) -> list[str]:
    """Write the report of a run, finished or not, into an existing folder.

    :returns: the names of the files: `report.md`, `validation_report.html` (of the last judgement), `dynamics.png`
        (gamma, temperature and halts over the simulated time), `learning.png` (errors and cost), `parity.png` and
        `uncertainty.png`; what has nothing to show is left out.
    """
    status, trajectories = get_status(run), find_trajectories(run)
    pictures = draw_pictures(run, status, trajectories, folder)
    (folder / REPORT).write_text(format_report(status, pictures), encoding='utf-8')
    return [REPORT, *write_validation(status['validation'], folder), *pictures]


def write_validation(validation: dict[str, Any] | None, folder: Path) -> list[str]:
    """Write the report of the last judgement, if there was one; return its name."""
    if validation is None or validation['report'] is None:
        return []
    node = orm.load_node(validation['report'])
    (folder / VALIDATION).write_bytes(node.get_content(mode='rb'))
    return [VALIDATION]


def draw_pictures(
    run: orm.WorkChainNode, status: dict[str, Any], trajectories: list[dict[str, Any]], folder: Path
) -> list[str]:
    """Draw what there is to draw; return the names."""
    series = [read_series(trajectory) for trajectory in trajectories]
    shown = [place for place, found in enumerate(series) if len(found['gamma'])]
    names = draw_dynamics([trajectories[k] for k in shown], [series[k] for k in shown], folder) if shown else []
    draw_learning(status, folder / 'learning.png')
    names.append('learning.png')
    measured = find_measured(run, status)
    if measured is not None:
        reference, predictions = measured
        draw_parity(reference, predictions, folder / 'parity.png')
        names.append('parity.png')
        if draw_uncertainty(reference, predictions, folder / 'uncertainty.png'):
            names.append('uncertainty.png')
    return names


def find_measured(run: orm.WorkChainNode, status: dict[str, Any]) -> tuple[list[Atoms], list[Atoms]] | None:
    """Return the held-out configurations, and as the result predicts them: the production fit if it was kept."""
    production = find_production(status)
    for iteration, steps in reversed(get_steps(run).items()):
        for name, port in (('production', 'test'), ('evaluate', 'configurations')):
            kept = name != 'production' or (production is not None and iteration == production['iteration'])
            node = steps.get(name) if kept else None
            if node is not None and 'predictions' in node.outputs:
                return node.inputs.job[port].get_frames(), node.outputs.predictions.get_frames()
    return None


def find_production(status: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row of the last iteration if its production fit is the result."""
    rows = status['generations'][-1:]
    kept = [row for row in rows if row['production'] and row['production'].get('kept')]
    return kept[0] if kept else None


# Words ----------------------------------------------------------------------------------------------------------------


def format_report(status: dict[str, Any], pictures: list[str]) -> str:
    """Return the report as Markdown.

    :param status: what :func:`~aiida_pyacemaker.reports.status.get_status` returns.
    :param pictures: names of the pictures beside it.
    """
    titles = {'dynamics': 'Gamma, temperature and halts', 'learning': 'Errors and cost', 'parity': 'Held-out labels'}
    shown = [
        f'![{titles.get(name.split(".")[0].split("_")[0], name.split(".")[0].capitalize())}]({name})\n'
        for name in pictures
    ]
    blocks = [
        f'# {"-".join(status["elements"])}: run {status["pk"]}\n',
        *format_verdict(status),
        '## What happened\n',
        *(f'- Iteration {row["iteration"]}{tell_stage(row)}: {tell_iteration(row)}.' for row in status['generations']),
        *format_diagnoses(status['trajectories']),
        '\n## Simulations\n',
        'A simulation that halts is resumed with the next potential: each line is one trajectory over all its '
        'resumptions.\n',
        *format_trajectories(status['trajectories']),
        '\n## Errors and cost\n',
        *format_errors(status['generations']),
        '',
        *shown,
    ]
    return '\n'.join(blocks).rstrip() + '\n'


def tell_stage(row: dict[str, Any]) -> str:
    """Return stage and round of an iteration, if it has any."""
    return f' ({row["stage"]}, round {row["round"]})' if row['stage'] and row['round'] else ''


def format_verdict(status: dict[str, Any]) -> list[str]:
    """Return the lines that say how the run stands, and what is left to do."""
    rows = [row for row in status['generations'] if row['energy_rmse'] is not None]
    dft, criteria, lines = status['dft'], status['criteria'], [STATES.get(status['state'], status['state']) + '\n']
    if status['exit_message'] or status['exception']:
        lines.append(f'{status["exit_message"] or status["exception"]}\n')
    wanted = ''
    if criteria.get('energy_rmse') and criteria.get('force_rmse'):
        wanted = f' (wanted: {criteria["energy_rmse"] * 1e3:g} and {criteria["force_rmse"] * 1e3:g})'
    if rows:
        errors = {'energy': rows[-1]['energy_rmse'], 'forces': rows[-1]['force_rmse']}
        production = find_production(status)
        if production is not None:
            whose, errors = 'production potential', production['production']['test']
        else:
            whose = 'potential that explored'
        lines.append(
            f'- Errors of the {whose} on held-out configurations: {errors["energy"] * 1e3:.2f} meV/atom, '
            f'{errors["forces"] * 1e3:.1f} meV/Å{wanted}'
        )
    if status['validation']:
        where = f' (see {VALIDATION})' if status['validation']['report'] else ''
        lines.append(f'- Verdict of the gate: {tell_validation(status["validation"])}{where}')
    atoms = sum(row['atoms_labelled'] or 0 for row in status['generations'])
    cost = f', {dft["core_hours"]:.3g} core-hours' if dft['core_hours'] else ''
    lines.append(f'- Labels: {dft["done"]} configurations, {atoms} atoms{cost}; {dft["failed"]} failed')
    halts = sum(len(trajectory['halts']) for trajectory in status['trajectories'])
    time = sum(trajectory['time'] for trajectory in status['trajectories'])
    lines.append(f'- Simulated: {time:.1f} ps in {len(status["trajectories"])} trajectories, {halts} halts')
    surprises = [row['surprise'] for row in status['generations'] if row['surprise']]
    if surprises:
        lines.append(f'- Surprise, first and last: {tell_surprise(surprises[0])}; {tell_surprise(surprises[-1])}')
    calibration = status['calibration'] or {}
    if calibration.get('ratio') is not None:
        lines.append(
            f'- Force error where gamma halted: {calibration["halted"] * 1e3:.0f} meV/Å, where it did not: '
            f'{calibration["clean"] * 1e3:.0f} meV/Å (ratio {calibration["ratio"]:.1f})'
        )
    lines.append(f'- Potential: node {status["potential"]}\n')
    return lines


def format_diagnoses(trajectories: list[dict[str, Any]]) -> list[str]:
    """Return what was found where simulations halted, by iteration."""
    halts = [
        (halt['iteration'], trajectory['walker'], halt) for trajectory in trajectories for halt in trajectory['halts']
    ]
    found = [
        f'- Iteration {iteration}, walker {walker}: {halt["diagnosis"]}.'
        for iteration, walker, halt in sorted(halts, key=lambda entry: entry[:2])
        if halt['diagnosis']
    ]
    return ['\n## Halts\n', *found] if found else []


def format_trajectories(trajectories: list[dict[str, Any]]) -> list[str]:
    """Return the table of the trajectories."""
    lines = [
        '| walker | start | stage | program | iterations | simulated (ps) | halts at (ps) | end |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for trajectory in trajectories:
        halts = ', '.join(
            f'{halt["time"]:.2f}' + ('' if EndReason(halt['reason']).is_resumable else f' ({halt["reason"]})')
            for halt in trajectory['halts']
        )
        first, last = trajectory['iterations'][0], trajectory['iterations'][-1]
        lines.append(
            f'| {trajectory["walker"]} | {trajectory["number"]} | {trajectory["stage"] or "-"} '
            f'| {trajectory["program"] or "-"} | {first if first == last else f"{first} to {last}"} '
            f'| {trajectory["time"]:.2f} | {halts or "-"} | {tell_reason(trajectory["end"])} |'
        )
    return lines


def format_errors(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of the generations."""
    lines = [
        '| iteration | generation | functions | labels | atoms labelled | core-hours | error where labelled (meV/Å) '
        '| rank correlation | meV/atom | meV/Å |',
        '|' + '---|' * 10,
    ]
    for row in rows:
        labels = None if row['labels_train'] is None else row['labels_train'] + (row['labels_test'] or 0)
        cells = (
            (row['iteration'], 'd', 1),
            (row['generation'], 'd', 1),
            (row['number_of_functions'], 'd', 1),
            (labels, 'd', 1),
            (row['atoms_labelled'], 'd', 1),
            (row['core_hours'] or None, '.3g', 1),
            (dig(row['surprise'], 'forces', 'rmse'), '.0f', 1e3),
            (dig(row['surprise'], 'rank_correlation'), '.2f', 1),
            (row['energy_rmse'], '.2f', 1e3),
            (row['force_rmse'], '.1f', 1e3),
        )
        texts = ('-' if value is None else f'{value * factor:{form}}' for value, form, factor in cells)
        lines.append(f'| {" | ".join(texts)} |')
    return lines
