"""`aiida-pyacemaker launch`: check everything, then submit the active learning of a run file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .utils import attempt, echo_error, load_profile, profile_option

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

    from aiida_pyacemaker.runfile import RunFile
    from aiida_pyacemaker.workflows.active_learning.planning import RunPlan

#: Seconds between two looks at a run that is followed.
POLL_SECONDS = 5.0


@click.command('launch')
@click.argument('runfile', type=click.Path(path_type=Path))
@click.argument('overrides', nargs=-1, metavar='[KEY=VALUE]...')
@click.option('--prepare-only', is_flag=True, help='Check, print what would be submitted, and submit nothing.')
@click.option('--wait', is_flag=True, help='Follow the run to its end; the exit status is 0 only if it converged.')
@click.option(
    '--once',
    is_flag=True,
    help='Submit nothing if a run with the same run file has finished well or is going on; report that one.',
)
@click.option('--restart-from', metavar='PK', help='Continue a former run from its last finished potential and data.')
@click.option(
    '--labels', metavar='PK', multiple=True, help='Labelled configurations that join the data set; may be repeated.'
)
@click.option('--no-probe', is_flag=True, help='Do not run the engines once before; for login nodes that must not.')
@profile_option
def cmd_launch(
    runfile: Path,
    overrides: tuple[str, ...],
    prepare_only: bool,
    wait: bool,
    once: bool,
    restart_from: str | None,
    labels: tuple[str, ...],
    no_probe: bool,
    profile: str | None,
) -> None:
    """Build a potential from RUNFILE, unattended.

    Values of the run file are overridden by KEY=VALUE, for example explore.temperature=[300,900].
    Everything is checked before anything is submitted.
    """
    click.echo(f'Checking {runfile} ...', err=True)
    with attempt():
        from aiida_pyacemaker.runfile import load_runfile

        content = load_runfile(runfile, list(overrides))
        profile_name = load_profile(profile)
        node = find_former(content) if once and restart_from is None and not labels else None
        if node is None:
            builder, plan = prepare(content, restart_from, labels, probe=not no_probe, need_daemon=not prepare_only)
            if prepare_only:
                print_preparation(content, builder, plan, profile_name)
                return
            for key, value in describe_labels(builder, plan).items():
                click.echo(f'{key}: {value}')
            node = submit(builder, content)
        else:
            state = 'finished' if node.is_terminated else 'started'
            click.echo(f'A run with this run file has {state} already: ActiveLearningWorkChain<{node.pk}>.')
        if not wait and not node.is_terminated:
            click.echo(f'Follow it with:  aiida-pyacemaker status {node.pk}')
            return
        if not node.is_terminated:
            follow(node)
        finish(node, Path.cwd() / f'{runfile.stem}-potential')
        sys.exit(0 if node.is_finished_ok else 1)


def find_former(runfile: RunFile) -> WorkChainNode | None:
    """Return the run that finished well with the same run file, or is still going."""
    from aiida_pyacemaker.reports.queries import find_same_run

    return find_same_run(runfile.content_hash())


def prepare(
    runfile: RunFile, restart_from: str | None, labels: tuple[str, ...], probe: bool, need_daemon: bool
) -> tuple[Any, RunPlan]:
    """Check everything and return the builder of the run, and what it is expected to be.

    All problems are printed at once; with any, the command ends here.
    """
    from aiida.plugins import WorkflowFactory

    from aiida_pyacemaker.cli.preflight import find_problems
    from aiida_pyacemaker.reports.queries import find_run

    former = find_run(restart_from) if restart_from is not None else None
    told: dict[str, Any] = {}
    problems = find_problems(runfile, probe_engines=probe, need_daemon=need_daemon, told=told)
    if problems:
        echo_error('nothing was submitted:\n' + '\n'.join(f'  {problem}' for problem in problems))
        sys.exit(1)
    process = WorkflowFactory('pyacemaker.active_learning')
    plan = told['check_structures']
    return process.get_builder_from_runfile(runfile, restart_from=former, labels=labels, plan=plan), plan


def print_preparation(runfile: RunFile, builder: Any, plan: RunPlan, profile: str) -> None:
    """Print the complete run file and what would be submitted."""
    import yaml

    parameters = builder.parameters.get_dict()
    click.echo('# The complete run file, with the values of the protocol:')
    click.echo(runfile.to_yaml())
    click.echo('# Would be submitted (this was --prepare-only):')
    summary: dict[str, Any] = {
        'process': 'ActiveLearningWorkChain',
        'profile': profile,
        'codes': {name: f'{code.full_label} <{code.pk}>' for name, code in builder.codes.items()},
    }
    if 'pw' in builder.codes:
        label = parameters['label']
        summary['pseudopotentials'] = label['pseudo_family']
        summary |= describe_settings(label, runfile.label.ecutwfc is not None)
    summary |= describe_labels(builder, plan)
    if builder.potential is not None:
        summary['continued from'] = f'potential <{builder.potential.pk}>'
    for line in yaml.safe_dump(summary, sort_keys=False, allow_unicode=True).splitlines():
        click.echo(f'#   {line}')


def describe_settings(label: dict[str, Any], given: bool) -> dict[str, str]:
    """Say which settings of DFT labels are given, and which are chosen by measurement, for what noise.

    :param label: the section `label` of what would be submitted. :param given: whether the run file gives the cutoffs.
    """
    from aiida_pyacemaker.atomistics.labelling.convergence import describe

    measured = 'chosen at the start of the run'
    waves, distance, width = label['ecutwfc'], label['kpoints_distance'], label['degauss']
    cutoffs = None if waves is None else f'{waves:g} Ry, density {label["ecutrho"]:g} Ry'
    lines = {
        'cutoffs': measured if cutoffs is None else f'{cutoffs} ({"as given" if given else "recommended for them"})',
        'k-points': measured if distance is None else f'{distance:g} 1/Å apart',
        'smearing': measured if width is None else f'{width:g} Ry',
    }
    if label['noise'] is not None:
        chosen = measured in lines.values()
        lines['noise wanted of the labels'] = describe(label['noise']) + (
            '' if chosen else '; what the given settings leave is measured at the start of the run'
        )
    return lines


def describe_labels(builder: Any, plan: RunPlan) -> dict[str, Any]:
    """Return what is known of the labels before a run: how many, in which cells, and what they cost."""
    sizes = plan.sizes
    cells = f'{sizes.atoms} atoms, of which cells of at most {sizes.max_atoms} are labelled'
    if builder.dataset:
        labels = sum(len(batch) for batch in builder.dataset.values())
        return {'labels to start from': labels, 'simulations': cells}
    numbers = [len(frame) for frame in plan.initial.frames]
    told: dict[str, Any] = {'initial structures': f'{len(numbers)} with {min(numbers)} to {max(numbers)} atoms'}
    if plan.initial.seconds:
        told['their labels'] = estimate_cost(plan.initial.seconds, builder)
    told['simulations'] = cells
    notes = [*plan.initial.notes, *sizes.notes]
    if notes:
        told['note'] = '; '.join(notes)
    return told


def estimate_cost(seconds: list[float], builder: Any) -> str:
    """Say what labels will cost, by cutoffs, cells and k-points alone, and how long they take on this computer."""
    from aiida_pyacemaker.atomistics.core.cost import UNCERTAINTY
    from aiida_pyacemaker.workflows.concurrency import cores_of_job, count_local_cores, jobs_at_a_time

    text = f'about {_hours(sum(seconds))} core-hours'
    parameters, code = builder.parameters.get_dict(), builder.codes.get('pw')
    cores = None if code is None else count_local_cores(code)
    if cores is not None:
        each = cores_of_job(parameters['options']['pw'])
        side_by_side = jobs_at_a_time(parameters['label']['max_concurrent'], code, parameters['options']['pw'])
        used = min(side_by_side * each, cores)
        # the last to end is alone
        wall = max(sum(seconds) / used, max(seconds) / min(each, cores))
        text += f', {_hours(wall)} hours on {used} of the {cores} cores here'
    return f'{text} (estimate from typical timings, within a factor of {UNCERTAINTY:g})'


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f'{hours:.0f}' if hours >= 10 else f'{hours:.2g}'


def submit(builder: Any, runfile: RunFile) -> WorkChainNode:
    """Submit the run and leave the hash of its run file on the node."""
    from aiida.engine import submit as aiida_submit

    from aiida_pyacemaker.reports.queries import EXTRA_RUNFILE

    node = aiida_submit(builder)
    node.base.extras.set(EXTRA_RUNFILE, runfile.content_hash())
    click.echo(f'Submitted ActiveLearningWorkChain<{node.pk}>.')
    return node


def follow(node: WorkChainNode) -> None:
    """Print a line whenever something has changed, until the run has ended."""
    import time

    from aiida.engine.daemon.client import get_daemon_client

    from aiida_pyacemaker.reports.queries import while_unlocked

    from .status import format_progress

    click.echo(f'Following it; Ctrl-C only stops looking, then: aiida-pyacemaker status {node.pk}')
    start, last, warned = time.monotonic(), '', False
    client = get_daemon_client()
    is_terminated = while_unlocked(lambda: node.is_terminated)
    try:
        while not is_terminated():
            line = while_unlocked(format_progress)(node)
            if line != last:
                minutes, seconds = divmod(int(time.monotonic() - start), 60)
                click.echo(f'[{minutes:3d}:{seconds:02d}] {line}')
                last = line
            if not warned and not client.is_daemon_running:
                start_it = f'verdi -p {client.profile.name} daemon start'
                echo_error(f'the daemon is not running, so nothing moves; start it with `{start_it}`')
                warned = True
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        click.echo(f'\nThe run goes on. Look again with:  aiida-pyacemaker status {node.pk}')
        sys.exit(130)


def finish(node: WorkChainNode, target: Path) -> None:
    """Say how the run ended, export its project folder and say how to use the potential."""
    from aiida_pyacemaker.reports.export import export_run
    from aiida_pyacemaker.reports.report import VALIDATION
    from aiida_pyacemaker.reports.status import get_status

    from .status import format_status

    click.echo('')
    click.echo(format_status(get_status(node)))
    if 'potential' not in node.outputs:
        echo_error(f'the run left no potential; see `verdi process report {node.pk}`')
        return
    click.echo('')
    if target.exists() and any(target.iterdir()):
        click.echo(f'{target} is there already; export again with:  aiida-pyacemaker export {node.pk} DIR')
    else:
        export_run(node, target)
        click.echo(f'The project folder is {target}; export it again with:  aiida-pyacemaker export {node.pk} DIR')
    name = 'production' if (target / 'potentials' / 'production.yace').is_file() else None
    name = name or f'generation_{node.outputs.potential.generation or 0:03d}'
    click.echo(f'The potential: {target}/potentials/{name}.yace (with .yaml and .asi for gamma)')
    if (target / VALIDATION).is_file():
        click.echo(f'The verdict:   {target / VALIDATION}, for a browser')
    click.echo(f'Use it:        cd {target}/potentials && {lammps_command(node)} -in in.lammps')
    click.echo('               (or any other LAMMPS with ML-PACE)')
    if not node.is_finished_ok:
        echo_error(f'the run did not converge: {node.exit_message or node.process_state.value}')
        click.echo(f'Continue it with:  aiida-pyacemaker launch RUNFILE --restart-from {node.pk}')


def lammps_command(node: WorkChainNode) -> str:
    """Return what to type for the LAMMPS of a run, with the plugin that its code loads."""
    import shlex

    code = node.inputs.codes.lammps
    exports = (line.removeprefix('export ') for line in code.prepend_text.splitlines() if line.startswith('export '))
    variables = [line for line in exports if line.startswith('LAMMPS_PLUGIN_PATH=')]
    return ' '.join([*variables, shlex.quote(str(code.filepath_executable))])
