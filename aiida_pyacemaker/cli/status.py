"""`aiida-pyacemaker status`: one screen about a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from .utils import attempt, load_profile, profile_option

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

#: Lines of the tree of running processes that still fit on a screen.
MAX_TREE_LINES = 12
#: Rows of the table of generations that still fit on a screen.
MAX_ROWS = 15


@click.command('status')
@click.argument('pk', required=False)
@click.option('--json', 'as_json', is_flag=True, help='Print everything that is known as JSON.')
@profile_option
def cmd_status(pk: str | None, as_json: bool, profile: str | None) -> None:
    """Show where a run is: by default the newest one.

    PK is the number that `launch` printed; a UUID does as well.
    """
    with attempt():
        import json

        from aiida_pyacemaker.workflows.report import find_run, get_status, while_unlocked

        while_unlocked(load_profile)(profile)
        status = get_status(find_run(pk))
        click.echo(json.dumps(status, indent=2) if as_json else format_status(status))
        sys.exit(0)


def format_progress(node: WorkChainNode) -> str:
    """Return one line about what a run is doing right now."""
    from aiida_pyacemaker.workflows.report import get_status

    status = get_status(node)
    dft = status['dft']
    step = status['running'][-1]['label'] if status['running'] else 'between two steps'
    parts = [step.replace('_', ' '), f'labels {dft["done"]} of {dft["total"]} done']
    parts += [f'{dft[key]} {key}' for key in ('failed', 'suspect', 'left') if dft[key]]
    if dft['seconds_left'] is not None:
        parts.append(f'about {format_time(dft["seconds_left"])} left')
    if step.endswith('explore'):
        known = [walker for walker in status['walkers'] if walker['gamma_max'] is not None]
        parts += [f'walker {walker["index"]} {format_walker(walker)}' for walker in known]
    rows = [row for row in status['generations'] if row['energy_rmse'] is not None]
    if rows:
        generation = max(row['generation'] or 0 for row in status['generations'])
        parts.append(f'generation {generation}: {format_errors(rows[-1])}')
    return ', '.join(parts)


def format_status(status: dict[str, Any]) -> str:
    """Return the screen of a run.

    :param status: what :func:`aiida_pyacemaker.workflows.report.get_status` returns.
    """
    blocks = [format_head(status)]
    if status['running']:
        tree = format_tree(status['running'])
        more = [f'  ... {len(tree) - MAX_TREE_LINES} more'] if len(tree) > MAX_TREE_LINES else []
        blocks.append(['Runs now', *tree[:MAX_TREE_LINES], *more])
    if status['walkers']:
        walkers = [f'  walker {walker["index"]}: {format_walker(walker)}' for walker in status['walkers']]
        blocks.append(['Simulations of the newest round', *walkers])
    if status['generations']:
        blocks.append(format_generations(status))
    return '\n\n'.join('\n'.join(block) for block in blocks)


def format_head(status: dict[str, Any]) -> list[str]:
    """Return the lines that say where the run is."""
    dft, times = status['dft'], status['time']
    steps = ', '.join(f'{name} {format_time(seconds)}' for name, seconds in times.items() if name != 'total')
    lines = [
        f'ActiveLearningWorkChain<{status["pk"]}>  {"-".join(status["elements"])}  {status["protocol"] or ""}',
        f'  state       {status["state"]}' + (f' [{status["exit_status"]}]' if status['exit_status'] else ''),
        f'  iteration   {status["iteration"]}'
        + (f' of at most {status["max_iterations"]}' if status['max_iterations'] else ''),
        *format_labels(dft),
        f'  potential   {status["potential"] or "none yet"}',
        f'  time        {format_time(times["total"])}' + (f' ({steps})' if steps else ''),
    ]
    if status['exit_message'] or status['exception']:
        lines.insert(2, f'              {status["exit_message"] or status["exception"]}')
    return lines


def format_labels(dft: dict[str, Any]) -> list[str]:
    """Return the lines about the labels: how many, what they cost, and when the batch that runs will be done."""
    budget = f', budget {dft["budget"]}' if dft['budget'] else ''
    known = [] if dft['teacher'] is None else [f'these by the expensive tier, {dft["teacher"]} more by the teacher']
    known += [f'{dft[key]} {key}' for key in ('suspect', 'healed') if dft[key]]
    if dft['core_hours']:
        known.append(f'{dft["core_hours"]:.3g} core-hours')
    if dft['seconds_left'] is not None:
        known += [f'{dft["per_hour"]:.3g} per hour', f'about {format_time(dft["seconds_left"])} left']
    return [
        f'  labels      {dft["done"]} of {dft["total"]} done, {dft["failed"]} failed, {dft["left"]} left '
        f'({dft["running"]} running){budget}',
        *([f'              {", ".join(known)}'] if known else []),
    ]


def format_tree(tree: list[dict[str, Any]], depth: int = 1) -> list[str]:
    """Return the tree of running processes, one line each."""
    lines = []
    for child in tree:
        name = f' {child["name"]}' if child['name'] and child['name'] != child['label'] else ''
        lines.append(
            f'{"  " * depth}{child["label"]}{name}  {child["kind"]}<{child["pk"]}>  {child["state"]}, '
            f'{format_time(child["seconds"])}'
        )
        lines += format_tree(child['children'], depth + 1)
    return lines


def format_walker(walker: dict[str, Any]) -> str:
    """Return what is known of one simulation."""
    if walker['gamma_max'] is None:
        return f'{walker["state"]}' + (f', {walker["reason"]}' if walker['reason'] else '')
    end = f'halted by {walker["reason"]}' if walker['halted'] else walker['reason']
    return f'{end} at step {walker["step"]} of {walker["steps"]}, largest gamma {walker["gamma_max"]:.2f}'


def format_generations(status: dict[str, Any]) -> list[str]:
    """Return the table of the errors on held-out configurations, one row per iteration."""
    criteria = status['criteria']
    limits = ''
    if criteria.get('energy_rmse') and criteria.get('force_rmse'):
        limits = f' (wanted: {criteria["energy_rmse"] * 1e3:g} meV/atom and {criteria["force_rmse"] * 1e3:g} meV/Å)'
    lines = [
        f'Errors on held-out configurations{limits}',
        '  iteration  generation  labels  test  failed  halts  gamma    meV/atom   meV/Å',
    ]
    rows = status['generations']
    if len(rows) > MAX_ROWS:
        lines.append(f'  ... {len(rows) - MAX_ROWS} earlier iterations, see --json')
    for row in rows[-MAX_ROWS:]:
        numbers = (
            format_number(row['gamma_max'], '.2f'),
            format_number(row['energy_rmse'], '.2f', 1e3),
            format_number(row['force_rmse'], '.1f', 1e3),
        )
        counts = [row[key] for key in ('generation', 'labels_train', 'labels_test', 'labels_failed', 'number_halted')]
        texts = ['-' if count is None else str(count) for count in counts]
        lines.append(
            f'  {row["iteration"]:>9}  {texts[0]:>10}  {texts[1]:>6}  {texts[2]:>4}  {texts[3]:>6}  {texts[4]:>5}  '
            f'{numbers[0]:>7}  {numbers[1]:>8}  {numbers[2]:>6}{"  passed" if row["passed"] else ""}'
        )
    return lines


def format_errors(row: dict[str, Any]) -> str:
    """Return the errors of a generation in the units of people."""
    return f'{row["energy_rmse"] * 1e3:.2f} meV/atom, {row["force_rmse"] * 1e3:.1f} meV/Å'


def format_number(value: float | None, form: str, factor: float = 1.0) -> str:
    """Return a number, or a dash where there is none; large ones with an exponent."""
    if value is None:
        return '-'
    value *= factor
    return f'{value:.1e}' if abs(value) >= 1e5 else f'{value:{form}}'


def format_time(seconds: float) -> str:
    """Return a duration as people say it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes:02d} min'
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'
