"""`aiida-pyacemaker status`: one screen about a run."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import click

from .utils import attempt, load_profile, profile_option

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

    from aiida_pyacemaker.reports.rows import (
        IterationRow,
        LabelCounts,
        RunningProcess,
        RunStatus,
        Stage,
        Verdict,
        WalkerRow,
    )

#: Lines of the tree of running processes, walkers, iterations that are told, and rows of the table of generations that
#: together still fit on a screen.
MAX_TREE_LINES = 6
MAX_WALKERS = 8
MAX_STORY = 4
MAX_ROWS = 8
#: Letters of the name of a stage that are shown in a table.
MAX_NAME = 10
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
        click.echo(json.dumps(status.to_json(), indent=2) if as_json else format_status(status))
        sys.exit(0)


def format_progress(node: WorkChainNode) -> str:
    """Return one line about what a run is doing right now."""
    from aiida_pyacemaker.reports.status import get_status
    from aiida_pyacemaker.workflows.links import IterationLink

    status = get_status(node, live=None)
    dft = status.dft
    step = status.running[-1].label if status.running else 'between two steps'
    parts = [step.replace('_', ' ') + (f' ({format_stage(status.stage)})' if has_begun(status.stage) else '')]
    if paused := format_paused(status.running):
        parts.append(f'paused: {paused}')
    parts += [f'labels {dft.done} of {dft.total} done']
    parts += [f'{number} {what}' for what in ('failed', 'suspect', 'left') if (number := getattr(dft, what))]
    if dft.seconds_left is not None:
        parts.append(f'about {format_time(dft.seconds_left)} left')
    link = IterationLink.parse(step)
    if link is not None and link.step == 'explore':
        parts += [f'walker {walker.walker} {format_walker(walker)}' for walker in status.walkers if known(walker)]
    rows = [row for row in status.generations if row.energy_rmse is not None]
    if rows:
        generation = max(row.generation or 0 for row in status.generations)
        parts.append(f'generation {generation}: {format_errors(rows[-1])}')
    return ', '.join(parts)


def format_status(status: RunStatus) -> str:
    """Return the screen of a run.

    :param status: what :func:`aiida_pyacemaker.reports.status.get_status` returns.
    """
    blocks = [format_head(status)]
    if status.running:
        tree = format_tree(status.running)
        more = [f'  ... {len(tree) - MAX_TREE_LINES} more'] if len(tree) > MAX_TREE_LINES else []
        blocks.append(['Runs now', *tree[:MAX_TREE_LINES], *more])
    if status.walkers:
        blocks.append(format_walkers(status.walkers))
    if status.generations:
        blocks += [format_story(status.generations), format_generations(status)]
    return '\n\n'.join('\n'.join(block) for block in blocks)


def find_paused(tree: list[RunningProcess]) -> list[RunningProcess]:
    """Return the processes of a tree that are paused, and will wait until somebody lets them go on."""
    below = [child for parent in tree for child in find_paused(parent.children)]
    return [child for child in tree if child.state == 'paused'] + below


def format_paused(tree: list[RunningProcess]) -> str:
    """Return which processes are paused, why, and the remedy; empty if none is."""
    paused = find_paused(tree)
    if not paused:
        return ''
    numbers = ' '.join(str(child.pk) for child in paused)
    why = next((child.message for child in paused if child.message), 'somebody paused it')
    return f'{paused[0].kind}<{paused[0].pk}>: {why}; mend that, then: verdi process play {numbers}'


def format_head(status: RunStatus) -> list[str]:
    """Return the lines that say where the run is."""
    dft, times = status.dft, status.time
    steps = ', '.join(f'{name} {format_time(seconds)}' for name, seconds in times.items() if name != 'total')
    lines = [
        f'ActiveLearningWorkChain<{status.pk}>  {"-".join(status.elements)}  {status.protocol or ""}',
        f'  state       {status.state}' + (f' [{status.exit_status}]' if status.exit_status else ''),
        *([f'  stage       {format_stage(status.stage)}'] if has_begun(status.stage) else []),
        *([f'  waits for   {waits}'] if (waits := format_waits(status)) else []),
        f'  iteration   {status.iteration}' + (f' of at most {status.max_iterations}' if status.max_iterations else ''),
        *format_labels(dft),
        f'  potential   {status.potential or "none yet"}',
        f'  time        {format_time(times["total"])}' + (f' ({steps})' if steps else ''),
    ]
    if paused := format_paused(status.running):
        lines[2:2] = textwrap.wrap(
            paused, WIDTH, initial_indent='  paused      ', subsequent_indent=' ' * 14, break_long_words=False
        )
    if status.exit_message or status.exception:
        indent = ' ' * 14
        text = str(status.exit_message or status.exception)
        lines[2:2] = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines + format_verdict(status.verdict)


def format_verdict(verdict: Verdict | None) -> list[str]:
    """Return the lines with the newest verdict of the gate, none without."""
    from aiida_pyacemaker.reports.status import tell_verdict

    if verdict is None:
        return []
    text = f'{tell_verdict(verdict)} (iteration {verdict.iteration})'
    return textwrap.wrap(text, WIDTH, initial_indent='  verdict     ', subsequent_indent=' ' * 14)


def format_labels(dft: LabelCounts) -> list[str]:
    """Return the lines about the labels: how many, what they cost, and when the batch that runs will be done."""
    budget = f', budget {dft.budget}' if dft.budget else ''
    known = [] if dft.teacher is None else [f'these by the expensive tier, {dft.teacher} more by the teacher']
    known += [f'{number} {what}' for what in ('suspect', 'healed') if (number := getattr(dft, what))]
    if dft.core_hours:
        known.append(f'{dft.core_hours:.3g} core-hours')
    if dft.seconds_left is not None:
        known += [f'{dft.per_hour:.3g} per hour', f'about {format_time(dft.seconds_left)} left']
    return [
        f'  labels      {dft.done} of {dft.total} done, {dft.failed} failed, {dft.left} left '
        f'({dft.running} running){budget}',
        *([f'              {", ".join(known)}'] if known else []),
    ]


def format_tree(tree: list[RunningProcess], depth: int = 1) -> list[str]:
    """Return the tree of running processes, one line each."""
    lines = []
    for child in tree:
        name = f' {child.name}' if child.name and child.name != child.label else ''
        lines.append(
            f'{"  " * depth}{child.label}{name}  {child.kind}<{child.pk}>  {child.state}, {format_time(child.seconds)}'
        )
        lines += format_tree(child.children, depth + 1)
    return lines


def format_stage(stage: Stage) -> str:
    """Return where on its way through the stages a run is."""
    passed = f', {stage.clean_rounds} of {stage.seeds} seeds clean' if stage.seeds > 1 else ''
    return f'{stage.stage} ({stage.stage_number} of {stage.stages}), round {stage.round}{passed}'


def has_begun(stage: Stage | None) -> bool:
    """Return whether the first round of simulations has begun."""
    return stage is not None and stage.round > 0


def format_waits(status: RunStatus) -> str:
    """Return what a run waits for: in its own words, and how many jobs of which kind are in which state."""
    jobs: dict[tuple[str, str], int] = {}
    for leaf in find_leaves(status.running):
        jobs[leaf.kind, leaf.state] = jobs.get((leaf.kind, leaf.state), 0) + 1
    counts = ', '.join(f'{number} {kind} {state}' for (kind, state), number in jobs.items())
    return ': '.join(part for part in (status.waits, counts) if part)


def find_leaves(tree: list[RunningProcess]) -> list[RunningProcess]:
    """Return the processes of a tree that wait for no other."""
    return [leaf for child in tree for leaf in (find_leaves(child.children) if child.children else [child])]


def format_walkers(walkers: list[WalkerRow]) -> list[str]:
    """Return a line for each walker, those that run first; the rest is counted."""
    lines = ['Simulations, the newest of each walker']
    ordered = sorted(walkers, key=lambda walker: (walker.end != 'running', walker.walker))
    for walker in ordered[:MAX_WALKERS]:
        what = ' '.join(filter(None, (walker.stage, walker.program)))
        lines.append(f'  walker {walker.walker}{f" ({what})" if what else ""}: {format_walker(walker)}')
    if len(ordered) > MAX_WALKERS:
        lines.append(f'  ... {len(ordered) - MAX_WALKERS} more, see --json')
    return lines


def format_walker(walker: WalkerRow) -> str:
    """Return what is known of the newest trajectory of a walker."""
    from aiida_pyacemaker.reports.status import tell_reason

    live, earlier = walker.live, walker.halts
    if walker.end in ('running', 'died'):
        text = walker.end + (f', {walker.message}' if walker.message else '')
        text += f' at step {live.step} of {walker.steps}' if live else ''
        text += f', {live.temperature:.0f} K' if live and live.temperature is not None else ''
        text += f', gamma {live.gamma:.2f}' if live and live.gamma is not None else ''
        text += f', about {format_time(live.seconds_left)} left' if live and live.seconds_left is not None else ''
    else:
        gamma = '' if walker.gamma_max is None else f', largest gamma {walker.gamma_max:.2f}'
        text = walker.diagnosis or f'{tell_reason(walker.end)} at step {walker.step} of {walker.steps}{gamma}'
        earlier = earlier[:-1] if earlier and earlier[-1].step == walker.step else earlier
    if not earlier:
        return text
    places = ', '.join(str(halt.step) for halt in earlier[-3:])
    return f'{text}; resumed after {len(earlier)} halt{"s" if len(earlier) > 1 else ""} ({places})'


def known(walker: WalkerRow) -> bool:
    """Return whether there is more to say of a walker than that it runs."""
    return bool(walker.live) or walker.end not in ('running', 'died')


def format_story(rows: list[IterationRow]) -> list[str]:
    """Return what the last iterations did and learned."""
    from aiida_pyacemaker.reports.status import tell_iteration

    lines = ['What happened, newest last']
    for row in rows[-MAX_STORY:]:
        lines += textwrap.wrap(
            tell_iteration(row), WIDTH, initial_indent=f'  {row.iteration:>3}  ', subsequent_indent=' ' * 7
        )
    return lines


def format_generations(status: RunStatus) -> list[str]:
    """Return the table of the errors on held-out configurations, one row per iteration."""
    from aiida_pyacemaker.reports.render import format_table

    criteria = status.criteria
    limits = ''
    if criteria.get('energy_rmse') and criteria.get('force_rmse'):
        limits = f' (wanted: {criteria["energy_rmse"] * 1e3:g} meV/atom and {criteria["force_rmse"] * 1e3:g} meV/Å)'
    rows = status.generations
    more = [f'  ... {len(rows) - MAX_ROWS} earlier iterations, see --json'] if len(rows) > MAX_ROWS else []
    table = format_table(list(COLUMNS), [format_row(row) for row in rows[-MAX_ROWS:]])
    noise = [] if status.label_noise is None else [f'Labels: {status.label_noise["message"]}']
    return [*noise, f'Errors on held-out configurations{limits}', *more, *(f'  {line}' for line in table.splitlines())]


#: Column of the table of the errors -> attribute of a row, form and factor to the unit of people. The surprise is the
#: error of forces on what was labelled (meV/Å).
COLUMNS = {
    'iteration': ('iteration', 'd', 1),
    'stage': ('stage', '', 1),
    'generation': ('generation', 'd', 1),
    'functions': ('number_of_functions', 'd', 1),
    'labels': ('labels_train', 'd', 1),
    'test': ('labels_test', 'd', 1),
    'failed': ('labels_failed', 'd', 1),
    'halts': ('number_halted', 'd', 1),
    'gamma': ('gamma_max', '.2f', 1),
    'surprise': ('surprise_force_rmse', '.0f', 1e3),
    'meV/atom': ('energy_rmse', '.2f', 1e3),
    'meV/Å': ('force_rmse', '.1f', 1e3),
    '': ('passed', '', 1),
}


def format_row(row: IterationRow) -> list[str | None]:
    """Return the cells of a row of the table of the errors."""
    from aiida_pyacemaker.reports.render import format_number

    cells = []
    for name, form, factor in COLUMNS.values():
        value = getattr(row, name)
        if name == 'passed':
            cells.append('passed' if value else '')
        else:
            cells.append(value[:MAX_NAME] if isinstance(value, str) else format_number(value, form, factor))
    return cells


def format_errors(row: IterationRow) -> str:
    """Return the errors of a generation in the units of people."""
    return f'{row.energy_rmse * 1e3:.2f} meV/atom, {row.force_rmse * 1e3:.1f} meV/Å'


def format_time(seconds: float) -> str:
    """Return a duration as people say it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes:02d} min'
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'
