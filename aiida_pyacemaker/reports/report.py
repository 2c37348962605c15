"""The report of a run: a text for people, and pictures of what the simulations did, of errors and of cost."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from ase import Atoms

from aiida_pyacemaker.atomistics.explorers.walker import EndReason

from .pictures import draw_dynamics, draw_learning, draw_parity, draw_uncertainty
from .queries import get_steps, while_unlocked
from .render import format_number, format_table, render
from .rows import IterationRow, RunStatus, Trajectory, Verdict
from .status import get_status, tell_iteration, tell_reason, tell_surprise, tell_verdict
from .trajectories import read_series

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
    status = get_status(run)
    pictures = draw_pictures(run, status, folder)
    (folder / REPORT).write_text(format_report(status, pictures), encoding='utf-8')
    return [REPORT, *write_verdict(status.verdict, folder), *pictures]


def write_verdict(verdict: Verdict | None, folder: Path) -> list[str]:
    """Write the report of the last judgement, if there was one; return its name."""
    if verdict is None or verdict.report is None:
        return []
    node = orm.load_node(verdict.report)
    (folder / VALIDATION).write_bytes(node.get_content(mode='rb'))
    return [VALIDATION]


def draw_pictures(run: orm.WorkChainNode, status: RunStatus, folder: Path) -> list[str]:
    """Draw what there is to draw; return the names."""
    trajectories = status.trajectories
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


def find_measured(run: orm.WorkChainNode, status: RunStatus) -> tuple[list[Atoms], list[Atoms]] | None:
    """Return the held-out configurations, and as the result predicts them: the production fit if it was kept."""
    production = find_production(status)
    for iteration, steps in reversed(get_steps(run).items()):
        for name, port in (('production', 'test'), ('evaluate', 'configurations')):
            kept = name != 'production' or (production is not None and iteration == production.iteration)
            node = steps.get(name) if kept else None
            if node is not None and 'predictions' in node.outputs:
                return node.inputs.job[port].get_frames(), node.outputs.predictions.get_frames()
    return None


def find_production(status: RunStatus) -> IterationRow | None:
    """Return the row of the last iteration if its production fit is the result."""
    return next((row for row in status.generations[-1:] if row.keeps_production), None)


# Words ----------------------------------------------------------------------------------------------------------------


def format_report(status: RunStatus, pictures: list[str]) -> str:
    """Return the report as Markdown.

    :param pictures: names of the pictures beside it.
    """
    return render(
        'report.md.j2',
        status=status,
        state=STATES.get(status.state, status.state),
        message=status.exit_message or status.exception,
        summary=summarise(status),
        story=[f'Iteration {row.iteration}{tell_stage(row)}: {tell_iteration(row)}' for row in status.generations],
        diagnoses=tell_diagnoses(status.trajectories),
        trajectories=format_trajectories(status.trajectories),
        errors=format_errors(status.generations),
        pictures=[(get_title(name), name) for name in pictures],
    )


def get_title(picture: str) -> str:
    """Return the title of a picture, by its name."""
    titles = {'dynamics': 'Gamma, temperature and halts', 'learning': 'Errors and cost', 'parity': 'Held-out labels'}
    stem = picture.split('.', maxsplit=1)[0]
    return titles.get(stem.split('_')[0], stem.capitalize())


def tell_stage(row: IterationRow) -> str:
    """Return stage and round of an iteration, if it has any."""
    return f' ({row.stage}, round {row.round})' if row.stage and row.round else ''


def summarise(status: RunStatus) -> list[str]:
    """Return a line each on errors, verdict, labels, simulations and the potential."""
    rows, criteria, lines = [row for row in status.generations if row.energy_rmse is not None], status.criteria, []
    wanted = ''
    if criteria.get('energy_rmse') and criteria.get('force_rmse'):
        wanted = f' (wanted: {criteria["energy_rmse"] * 1e3:g} and {criteria["force_rmse"] * 1e3:g})'
    if rows:
        production = find_production(status)
        if production is not None:
            whose, errors = 'production potential', production.production['test']
        else:
            whose, errors = 'potential that explored', {'energy': rows[-1].energy_rmse, 'forces': rows[-1].force_rmse}
        lines.append(
            f'Errors of the {whose} on held-out configurations: {errors["energy"] * 1e3:.2f} meV/atom, '
            f'{errors["forces"] * 1e3:.1f} meV/Å{wanted}'
        )
    if status.verdict:
        where = f' (see {VALIDATION})' if status.verdict.report else ''
        lines.append(f'Verdict of the gate: {tell_verdict(status.verdict)}{where}')
    dft, atoms = status.dft, sum(row.atoms_labelled or 0 for row in status.generations)
    cost = f', {dft.core_hours:.3g} core-hours' if dft.core_hours else ''
    lines.append(f'Labels: {dft.done} configurations, {atoms} atoms{cost}; {dft.failed} failed')
    if status.label_noise is not None:
        lines.append(f'Settings of the labels: {status.label_noise["message"]}')
    halts = sum(len(trajectory.halts) for trajectory in status.trajectories)
    time = sum(trajectory.time for trajectory in status.trajectories)
    lines.append(f'Simulated: {time:.1f} ps in {len(status.trajectories)} trajectories, {halts} halts')
    surprises = [row for row in status.generations if row.surprise]
    if surprises:
        lines.append(f'Surprise, first and last: {tell_surprise(surprises[0])}; {tell_surprise(surprises[-1])}')
    calibration = status.calibration or {}
    if calibration.get('ratio') is not None:
        lines.append(
            f'Force error where gamma halted: {calibration["halted"] * 1e3:.0f} meV/Å, where it did not: '
            f'{calibration["clean"] * 1e3:.0f} meV/Å (ratio {calibration["ratio"]:.1f})'
        )
    return [*lines, f'Potential: node {status.potential}']


def tell_diagnoses(trajectories: list[Trajectory]) -> list[str]:
    """Return what was found where simulations halted, by iteration."""
    halts = [(halt, trajectory.walker) for trajectory in trajectories for halt in trajectory.halts if halt.diagnosis]
    return [
        f'Iteration {halt.iteration}, walker {walker}: {halt.diagnosis}'
        for halt, walker in sorted(halts, key=lambda found: (found[0].iteration, found[1]))
    ]


def format_trajectories(trajectories: list[Trajectory]) -> str:
    """Return the table of the trajectories."""
    headers = ['walker', 'start', 'stage', 'program', 'iterations', 'simulated (ps)', 'halts at (ps)', 'end']
    rows = []
    for trajectory in trajectories:
        halts = ', '.join(
            f'{halt.time:.2f}' + ('' if EndReason(halt.reason).is_resumable else f' ({halt.reason})')
            for halt in trajectory.halts
        )
        first, last = trajectory.iterations[0], trajectory.iterations[-1]
        iterations = first if first == last else f'{first} to {last}'
        place = (trajectory.walker, trajectory.number, trajectory.stage or None, trajectory.program or None, iterations)
        rows.append([*place, f'{trajectory.time:.2f}', halts or None, tell_reason(trajectory.end)])
    return format_table(headers, rows, markdown=True)


#: Column of the table of the generations -> attribute of a row, form, factor to the unit of people.
ERRORS = {
    'iteration': ('iteration', 'd', 1),
    'generation': ('generation', 'd', 1),
    'functions': ('number_of_functions', 'd', 1),
    'labels': ('labels', 'd', 1),
    'atoms labelled': ('atoms_labelled', 'd', 1),
    'core-hours': ('core_hours', '.3g', 1),
    'error where labelled (meV/Å)': ('surprise_force_rmse', '.0f', 1e3),
    'rank correlation': ('rank_correlation', '.2f', 1),
    'meV/atom': ('energy_rmse', '.2f', 1e3),
    'meV/Å': ('force_rmse', '.1f', 1e3),
}


def format_errors(generations: list[IterationRow]) -> str:
    """Return the table of the generations."""
    rows = [
        [format_number(getattr(row, name) or None if name == 'core_hours' else getattr(row, name), form, factor)
         for name, form, factor in ERRORS.values()]
        for row in generations
    ]  # fmt: skip
    return format_table(list(ERRORS), rows, markdown=True)
