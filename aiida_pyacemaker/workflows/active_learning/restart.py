"""What a run starts from: a former run that it continues, and labels that it is given."""

from __future__ import annotations

from collections import defaultdict

from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent
from aiida.common.links import LinkType
from aiida.plugins import DataFactory

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.plugins import ORACLES, load_plugin
from aiida_pyacemaker.atomistics.explorers.walker import EndReason
from aiida_pyacemaker.atomistics.labelling.convergence import TUNABLE
from aiida_pyacemaker.atomistics.loop.progress import forget_failures

from ..links import IterationLink, WalkerLink

ConfigurationsData = DataFactory('pyacemaker.configurations')

PROCESS_TYPE = 'aiida.workflows:pyacemaker.active_learning'
#: Batches of labels that were given to a run rather than made for it are called this and their PK.
GIVEN_LABELS = 'labels_'
#: Extra of a run: what a continued run needs to go on from the fit of an iteration, by the name of the iteration.
CHECKPOINTS = 'checkpoints'


def checkpoint_name(iteration: int) -> str:
    """Return the name of the checkpoint after the fit of an iteration."""
    return f'{iteration:02d}'


def load_labels(identifier: str | int | orm.Node, parameters: dict) -> tuple[orm.Data, str]:
    """Return a node of labelled configurations, and the data set that it belongs to: ``dataset`` or ``test_set``.

    :param parameters: the resolved run file that they are for.
    :raises InputError: if there is no such node, or its labels cannot be used with the run file.
    """
    try:
        node = identifier if isinstance(identifier, orm.Node) else orm.load_node(identifier)
    except (NotExistent, MultipleObjectsError, ValueError) as exception:
        raise InputError('labels', str(exception)) from None
    if not isinstance(node, ConfigurationsData):
        raise InputError('labels', f'node {identifier} is a {type(node).__name__}', 'name a ConfigurationsData')
    if min(node.labels['energy'], node.labels['forces']) < len(node):
        raise InputError('labels', f'some of the {len(node)} configurations of node {node.pk} have no energy or forces')
    foreign = sorted(set(node.elements) - set(parameters['system']['elements']))
    if foreign:
        raise InputError('labels', f'node {node.pk} holds {", ".join(foreign)}', 'add it to system.elements')
    splits = {atoms.info.get('split', 'train') for atoms in node.get_frames()}
    if len(splits) > 1:
        problem = f'node {node.pk} holds training and held-out configurations'
        raise InputError('labels', problem, 'give a node for each')
    label = parameters['label']
    others = [name for name in node.base.attributes.get('oracles', []) if name.split()[0] != label['oracle']]
    mixes = label['mix_settings'] or load_plugin(ORACLES, label['oracle'], 'label.oracle').mixes_settings
    if others and not mixes:
        raise InputError(
            'labels',
            f'node {node.pk} was labelled by {", ".join(others)}, the run labels by {label["oracle"]}: such energies '
            'are not comparable',
            'set label.mix_settings to true if you mean it',
        )
    return node, 'test_set' if splits == {'test'} else 'dataset'


def get_batches(dataset: orm.Data) -> dict[str, orm.Data]:
    """Return the batches of labels that a data set was merged from, by name."""
    merge = dataset.creator
    inputs = {} if merge is None else {key: merge.inputs[key] for key in merge.inputs}
    return {name: node for name, node in inputs.items() if isinstance(node, ConfigurationsData)}


def get_restart_inputs(restart_from: str | int | orm.Node) -> dict:
    """Return the inputs that continue a former run from its last finished potential and data.

    The walkers that had halted resume from their restart files. What was labelled after the last fit is not an input,
    but the continued run submits the same calculations and finds them in the cache.

    :param restart_from: pk, uuid or node of an ``ActiveLearningWorkChain``, in any state.
    :raises InputError: if it is no such node.
    """
    node = restart_from if isinstance(restart_from, orm.Node) else orm.load_node(restart_from)
    if node.process_type != PROCESS_TYPE:
        problem = f'node {node.pk} is a {node.process_label}, not an ActiveLearningWorkChain'
        raise InputError('restart_from', problem)

    steps = get_steps(node)
    noise = find_noise(node, steps)
    known = {} if noise is None else {'label_noise': noise}
    fits = {iteration: fit for iteration, fit in steps['train'].items() if fit.is_finished_ok}
    sound = [iteration for iteration in sorted(fits) if is_sound(fits[iteration].outputs.potential)]
    if not sound:
        given = {name: node.inputs[name] for name in ('dataset', 'test_set', 'potential') if name in node.inputs}
        return {**given, **known}

    iteration = sound[-1]
    last = fits[iteration]
    inputs = {'potential': last.outputs.potential, 'first_iteration': orm.Int(iteration), **known}
    checkpoint = node.base.extras.get(CHECKPOINTS, {}).get(checkpoint_name(iteration))
    if checkpoint is not None:
        stalled = node.exit_status == node.process_class.exit_codes.ERROR_STALLED.status
        content = forget_failures(checkpoint) if stalled else checkpoint
        if 'validation' in node.outputs:  # what the gate has asked the next fit to weigh more
            content = {**content, 'weights': node.outputs.validation['weights']}
        inputs['progress'] = orm.Dict(content)
    for name, port in (('dataset', 'configurations'), ('test_set', 'test')):
        if port in last.inputs.job:
            inputs[name] = get_batches(last.inputs.job[port])
    explore = steps['explore'].get(iteration)
    if explore is not None:
        walkers = explore.outputs.results['walkers']
        halted = [walker['index'] for walker in walkers if EndReason(walker['reason']).is_resumable]
        halted = halted if checkpoint is None else checkpoint['resuming']
        names = [WalkerLink(index).name for index in halted]
        inputs['restarts'] = {name: explore.outputs.restarts[name] for name in names}
    return inputs


def find_noise(run: orm.WorkChainNode, steps: dict[str, dict[int, orm.WorkChainNode]]) -> orm.Dict | None:
    """Return what a run knows of the settings and the noise of its labels: measured by itself or by one before it."""
    for step in steps['converge'].values():
        if step.is_finished_ok:
            return step.outputs.results
    return run.inputs['label_noise'] if 'label_noise' in run.inputs else None


def take_settings(restart_from: str | int | orm.Node, noise: orm.Dict | None, label: dict) -> dict:
    """Return the section ``label`` with the settings of a former run where it has none: labels must go together.

    :param noise: what the former run has measured. :param label: of the run file, settings that are open null.
    """
    node = restart_from if isinstance(restart_from, orm.Node) else orm.load_node(restart_from)
    former = node.inputs.parameters.get_dict()['label']
    settings = {**{key: former.get(key) for key in TUNABLE}, **(noise.get_dict()['settings'] if noise else {})}
    return {**label, **{key: value for key, value in settings.items() if label.get(key) is None}}


def get_steps(run: orm.WorkChainNode) -> dict[str, dict[int, orm.WorkChainNode]]:
    """Return the processes of each kind of step of a run, by iteration."""
    steps: dict[str, dict[int, orm.WorkChainNode]] = defaultdict(dict)
    for entry in run.base.links.get_outgoing(link_type=LinkType.CALL_WORK):
        link = IterationLink.parse(entry.link_label)
        if link is not None:
            steps[link.step][link.iteration] = entry.node
    return steps


def is_sound(potential) -> bool:
    """Return whether the files of a potential are what was stored; if not, keep the cache from bringing it back."""
    if not potential.find_corrupt():
        return True
    if potential.creator is not None:
        potential.creator.base.caching.is_valid_cache = False
    return False
