"""`aiida-pyacemaker status`: one screen about a run."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from .utils import attempt, load_profile, profile_option

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

#: Lines of the tree of running processes, walkers, iterations that are told, and rows of the table of generations that
#: together still fit on a screen.
MAX_TREE_LINES = 6
MAX_WALKERS = 8
MAX_STORY = 4
MAX_ROWS = 8
#: Columns of the screen.
WIDTH = 118


@click.command('status')
@click.argument('pk', required=False)
@click.option('--json', 'as_json', is_flag=True, help='Print everything that is known as JSON.')
@click.option(
    '--live', is_flag=True, help='Look into running simulations on other machines too; it opens a connection for each.'
)
@profile_option
def cmd_status(pk: str | None, as_json: bool, live: bool, profile: str | None) -> None:
    """Show where a run is, what it did so far and what it waits for: by default the newest one.

    PK is the number that `launch` printed; a UUID does as well.
    """
    with attempt():
        import json

        from aiida_pyacemaker.reports.queries import find_run, while_unlocked
        from aiida_pyacemaker.reports.status import get_status

        while_unlocked(load_profile)(profile)
        status = get_status(find_run(pk), live=live or None)
        click.echo(json.dumps(status, indent=2) if as_json else format_status(status))
        sys.exit(0)


def format_progress(node: WorkChainNode) -> str:
    """Return one line about what a run is doing right now."""
    from aiida_pyacemaker.reports.status import get_status

    status = get_status(node, live=None)
    dft = status['dft']
    step = status['running'][-1]['label'] if status['running'] else 'between two steps'
    parts = [step.replace('_', ' ') + (f' ({format_stage(status["stage"])})' if has_begun(status['stage']) else '')]
    if paused := format_paused(status['running']):
        parts.append(f'paused: {paused}')
    parts += [f'labels {dft["done"]} of {dft["total"]} done']
    parts += [f'{dft[key]} {key}' for key in ('failed', 'suspect', 'left') if dft[key]]
    if dft['seconds_left'] is not None:
        parts.append(f'about {format_time(dft["seconds_left"])} left')
    if step.endswith('explore'):
        parts += [f'walker {walker["walker"]} {format_walker(walker)}' for walker in status['walkers'] if known(walker)]
    rows = [row for row in status['generations'] if row['energy_rmse'] is not None]
    if rows:
        generation = max(row['generation'] or 0 for row in status['generations'])
        parts.append(f'generation {generation}: {format_errors(rows[-1])}')
    return ', '.join(parts)


def format_status(status: dict[str, Any]) -> str:
    """Return the screen of a run.

    :param status: what :func:`aiida_pyacemaker.reports.status.get_status` returns.
    """
    blocks = [format_head(status)]
    if status['running']:
        tree = format_tree(status['running'])
        more = [f'  ... {len(tree) - MAX_TREE_LINES} more'] if len(tree) > MAX_TREE_LINES else []
        blocks.append(['Runs now', *tree[:MAX_TREE_LINES], *more])
    if status['walkers']:
        blocks.append(format_walkers(status['walkers']))
    if status['generations']:
        blocks += [format_story(status['generations']), format_generations(status)]
    return '\n\n'.join('\n'.join(block) for block in blocks)


def find_paused(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the processes of a tree that are paused, and will wait until somebody lets them go on."""
    below = [child for parent in tree for child in find_paused(parent['children'])]
    return [child for child in tree if child['state'] == 'paused'] + below


def format_paused(tree: list[dict[str, Any]]) -> str:
    """Return which processes are paused, why, and the remedy; empty if none is."""
    paused = find_paused(tree)
    if not paused:
        return ''
    numbers = ' '.join(str(child['pk']) for child in paused)
    why = next((child['message'] for child in paused if child['message']), 'somebody paused it')
    return f'{paused[0]["kind"]}<{paused[0]["pk"]}>: {why}; mend that, then: verdi process play {numbers}'


def format_head(status: dict[str, Any]) -> list[str]:
    """Return the lines that say where the run is."""
    dft, times = status['dft'], status['time']
    steps = ', '.join(f'{name} {format_time(seconds)}' for name, seconds in times.items() if name != 'total')
    lines = [
        f'ActiveLearningWorkChain<{status["pk"]}>  {"-".join(status["elements"])}  {status["protocol"] or ""}',
        f'  state       {status["state"]}' + (f' [{status["exit_status"]}]' if status['exit_status'] else ''),
        *([f'  stage       {format_stage(status["stage"])}'] if has_begun(status['stage']) else []),
        *([f'  waits for   {waits}'] if (waits := format_waits(status)) else []),
        f'  iteration   {status["iteration"]}'
        + (f' of at most {status["max_iterations"]}' if status['max_iterations'] else ''),
        *format_labels(dft),
        f'  potential   {status["potential"] or "none yet"}',
        f'  time        {format_time(times["total"])}' + (f' ({steps})' if steps else ''),
    ]
    if paused := format_paused(status['running']):
        lines[2:2] = textwrap.wrap(
            paused, WIDTH, initial_indent='  paused      ', subsequent_indent=' ' * 14, break_long_words=False
        )
    if status['exit_message'] or status['exception']:
        indent = ' ' * 14
        text = str(status['exit_message'] or status['exception'])
        lines[2:2] = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines + format_verdict(status['validation'])


def format_verdict(validation: dict[str, Any] | None) -> list[str]:
    """Return the lines with the newest verdict of the gate, none without."""
    from aiida_pyacemaker.reports.status import tell_validation

    if validation is None:
        return []
    text = f'{tell_validation(validation)} (iteration {validation["iteration"]})'
    return textwrap.wrap(text, WIDTH, initial_indent='  verdict     ', subsequent_indent=' ' * 14)


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


def format_stage(stage: dict[str, Any]) -> str:
    """Return where on its way through the stages a run is."""
    passed = f', {stage["clean_rounds"]} of {stage["seeds"]} seeds clean' if stage['seeds'] > 1 else ''
    return f'{stage["stage"]} ({stage["stage_number"]} of {stage["stages"]}), round {stage["round"]}{passed}'


def has_begun(stage: dict[str, Any] | None) -> bool:
    """Return whether the first round of simulations has begun."""
    return stage is not None and stage['round'] > 0


def format_waits(status: dict[str, Any]) -> str:
    """Return what a run waits for: in its own words, and how many jobs of which kind are in which state."""
    jobs: dict[tuple[str, str], int] = {}
    for leaf in find_leaves(status['running']):
        jobs[leaf['kind'], leaf['state']] = jobs.get((leaf['kind'], leaf['state']), 0) + 1
    counts = ', '.join(f'{number} {kind} {state}' for (kind, state), number in jobs.items())
    return ': '.join(part for part in (status['waits'], counts) if part)


def find_leaves(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the processes of a tree that wait for no other."""
    return [leaf for child in tree for leaf in (find_leaves(child['children']) if child['children'] else [child])]


def format_walkers(walkers: list[dict[str, Any]]) -> list[str]:
    """Return a line for each walker, those that run first; the rest is counted."""
    lines = ['Simulations, the newest of each walker']
    ordered = sorted(walkers, key=lambda walker: (walker['end'] != 'running', walker['walker']))
    for walker in ordered[:MAX_WALKERS]:
        what = ' '.join(filter(None, (walker['stage'], walker['program'])))
        lines.append(f'  walker {walker["walker"]}{f" ({what})" if what else ""}: {format_walker(walker)}')
    if len(ordered) > MAX_WALKERS:
        lines.append(f'  ... {len(ordered) - MAX_WALKERS} more, see --json')
    return lines


def format_walker(walker: dict[str, Any]) -> str:
    """Return what is known of the newest trajectory of a walker."""
    live, earlier = walker['live'], walker['halts']
    if walker['end'] in ('running', 'died'):
        text = walker['end'] + (f', {walker["message"]}' if walker['message'] else '')
        text += f' at step {live["step"]} of {walker["steps"]}' if live else ''
        text += f', {live["temperature"]:.0f} K' if live.get('temperature') is not None else ''
        text += f', gamma {live["gamma"]:.2f}' if live.get('gamma') is not None else ''
        text += f', about {format_time(live["seconds_left"])} left' if live.get('seconds_left') is not None else ''
    else:
        end = walker['end'] if walker['end'] == 'completed' else f'halted by {walker["end"].replace("_", " ")}'
        text = f'{end} at step {walker["step"]} of {walker["steps"]}, largest gamma {walker["gamma_max"]:.2f}'
        text = walker['diagnosis'] or text
        earlier = earlier[:-1] if earlier and earlier[-1]['step'] == walker['step'] else earlier
    if not earlier:
        return text
    places = ', '.join(str(halt['step']) for halt in earlier[-3:])
    return f'{text}; resumed after {len(earlier)} halt{"s" if len(earlier) > 1 else ""} ({places})'


def known(walker: dict[str, Any]) -> bool:
    """Return whether there is more to say of a walker than that it runs."""
    return bool(walker['live']) or walker['end'] not in ('running', 'died')


def format_story(rows: list[dict[str, Any]]) -> list[str]:
    """Return what the last iterations did and taught."""
    from aiida_pyacemaker.reports.status import tell_iteration

    lines = ['What happened, newest last']
    for row in rows[-MAX_STORY:]:
        lines += textwrap.wrap(
            tell_iteration(row), WIDTH, initial_indent=f'  {row["iteration"]:>3}  ', subsequent_indent=' ' * 7
        )
    return lines


def format_generations(status: dict[str, Any]) -> list[str]:
    """Return the table of the errors on held-out configurations, one row per iteration."""
    criteria = status['criteria']
    limits = ''
    if criteria.get('energy_rmse') and criteria.get('force_rmse'):
        limits = f' (wanted: {criteria["energy_rmse"] * 1e3:g} meV/atom and {criteria["force_rmse"] * 1e3:g} meV/Å)'
    lines = [
        f'Errors on held-out configurations{limits}',
        '  iteration       stage  generation  functions  labels  test  failed  halts    gamma  surprise  meV/atom'
        '   meV/Å',
    ]
    rows = status['generations']
    if len(rows) > MAX_ROWS:
        lines.append(f'  ... {len(rows) - MAX_ROWS} earlier iterations, see --json')
    return lines + [format_row(row) for row in rows[-MAX_ROWS:]]


def format_row(row: dict[str, Any]) -> str:
    """Return one row of the table of the errors; the surprise is the error of forces on what was labelled (meV/Å)."""
    keys = ('stage', 'generation', 'number_of_functions', 'labels_train', 'labels_test', 'labels_failed')
    texts = ['-' if row[key] is None else str(row[key]) for key in (*keys, 'number_halted')]
    surprise = ((row['surprise'] or {}).get('forces') or {}).get('rmse')
    numbers = (
        format_number(row['gamma_max'], '.2f'),
        format_number(surprise, '.0f', 1e3),
        format_number(row['energy_rmse'], '.2f', 1e3),
        format_number(row['force_rmse'], '.1f', 1e3),
    )
    widths = (10, 10, 9, 6, 4, 6, 5)
    left = '  '.join(f'{text[:width]:>{width}}' for text, width in zip(texts, widths, strict=True))
    right = '  '.join(f'{text:>{width}}' for text, width in zip(numbers, (7, 8, 8, 6), strict=True))
    return f'  {row["iteration"]:>9}  {left}  {right}{"  passed" if row["passed"] else ""}'


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
