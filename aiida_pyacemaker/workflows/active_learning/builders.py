"""The steps of the loop as processes: what each is given of the run file, and what the user may override of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.engine.processes.ports import PortNamespace
from aiida.engine.processes.process_spec import ProcessSpec
from aiida.plugins import DataFactory, WorkflowFactory
from plumpy.ports import UNSPECIFIED

from aiida_pyacemaker.atomistics.core.plugins import ORACLES, load_plugin
from aiida_pyacemaker.atomistics.fitting.parameters import Fit
from aiida_pyacemaker.atomistics.labelling.convergence import widen_criteria
from aiida_pyacemaker.atomistics.loop.parameters import Budget
from aiida_pyacemaker.runfile.sections import Explore

from ...runfile.sections import read_label
from ..explorers import load_explorer
from ..oracles import load_oracle

AcePotentialData = DataFactory('pyacemaker.potential')
ConfigurationsData = DataFactory('pyacemaker.configurations')
ConvergeWorkChain = WorkflowFactory('pyacemaker.converge')
LabelWorkChain = WorkflowFactory('pyacemaker.label')
TieredLabelWorkChain = WorkflowFactory('pyacemaker.label_tiered')
GenerateWorkChain = WorkflowFactory('pyacemaker.generate')
TrainWorkChain = WorkflowFactory('pyacemaker.train')
ExploreWorkChain = WorkflowFactory('pyacemaker.explore')
EmbedWorkChain = WorkflowFactory('pyacemaker.embed')
EvaluateWorkChain = WorkflowFactory('pyacemaker.evaluate')
ValidateWorkChain = WorkflowFactory('pyacemaker.validate')

#: What the choice of the settings of the labels may take: part of `budget.core_hours`, and of what the initial labels
#: are expected to cost, whichever is less; but a quarter of a core-hour at least for the latter: it is a guess.
CONVERGE_SHARE, CONVERGE_SHARE_OF_LABELS = 0.1, 0.3
LEAST_CORE_HOURS = 0.25

#: The resolved run file as plain content.
Parameters = Mapping[str, Any]
Codes = Mapping[str, orm.AbstractCode]

#: The processes whose inputs the user may override, by namespace, and of each what the loop alone decides.
OVERRIDABLE = {
    'label': (LabelWorkChain, ('code', 'configurations', 'parameters')),
    'label_tiered': (TieredLabelWorkChain, ('codes', 'configurations', 'parameters')),
    'train': (
        TrainWorkChain,
        ('job.code', 'job.configurations', 'job.test', 'job.potential', 'job.parameters'),
    ),
    'explore': (ExploreWorkChain, ('codes', 'potential', 'structures', 'restarts', 'parameters', 'round')),
    'embed': (EmbedWorkChain, ('snapshots', 'job.code', 'job.potential', 'job.parameters')),
    'evaluate': (EvaluateWorkChain, ('job.code', 'job.potential', 'job.configurations', 'job.parameters')),
    'validate': (ValidateWorkChain, ('codes', 'potential', 'crystals', 'test_set', 'dataset', 'parameters')),
}


# Overrides ------------------------------------------------------------------------------------------------------------


def expose_overrides(spec: ProcessSpec) -> None:
    """Let the user give any input of a step that the loop does not decide alone, in a namespace of its name."""
    for name, (process_class, decided) in OVERRIDABLE.items():
        spec.expose_inputs(
            process_class,
            namespace=name,
            exclude=('metadata', *decided),
            namespace_options={'help': f'Inputs of every `{process_class.__name__}` that replace those of the loop.'},
        )
        _make_optional(spec.inputs[name])
        for namespace in (spec.inputs[name], spec.inputs[name].get('job', None)):
            if namespace is not None:
                namespace.dynamic = False  # as every process is; here it would hide a mistyped name


def _make_optional(namespace: PortNamespace) -> None:
    """Require nothing below a namespace and fill nothing in: what is left out is as the loop or the step has it."""
    namespace.required, namespace.populate_defaults, namespace.validator = False, False, None
    for port in namespace.values():
        if isinstance(port, PortNamespace):
            _make_optional(port)
        else:
            port.required = False
            port.default = UNSPECIFIED


def override(builder: ProcessBuilder, given: Mapping[str, Any] | None) -> ProcessBuilder:
    """Put what the user has given for a step over what the loop has built: namespaces are merged, nodes replaced."""
    builder._merge(given or {})
    return builder


# Codes ----------------------------------------------------------------------------------------------------------------


def needed_codes(parameters: Parameters) -> Iterator[str]:
    """Yield the keys of the codes that a run starts."""
    for engine in read_label(parameters['label']).get_engines().values():
        yield from engine.codes
    yield from load_explorer(parameters['explore']['explorer']).codes
    yield 'worker'


def validate_inputs(inputs: Mapping[str, Any], _) -> str | None:
    """Return what is missing among the codes; None if nothing is."""
    if 'parameters' not in inputs or 'codes' not in inputs:
        return None  # the ports themselves say so
    parameters = inputs['parameters'].get_dict()
    try:
        missing = [key for key in needed_codes(parameters) if key not in inputs['codes']]
    except (KeyError, ValueError) as exception:
        return f'parameters: not a resolved run file: {exception}'
    if missing:
        oracle = parameters['label']['oracle']
        return f'codes: a run with the oracle {oracle!r} needs {", ".join(missing)}, too'
    return None


# Steps ----------------------------------------------------------------------------------------------------------------


def build_generate(codes: Codes, parameters: Parameters, structures: Mapping[str, orm.Data]) -> ProcessBuilder:
    """Return the builder of the initial structures.

    :param structures: the user's own.
    """
    elements = parameters['system']['elements']
    model = load_oracle(parameters['label']).get_cost_model(elements)
    section = {
        **get_structure_parameters(parameters),
        'cutoff': parameters['train']['cutoff'],
        'limits': Budget(**parameters['budget']).initial_limits(model).to_dict(),
    }
    return GenerateWorkChain.get_builder_from_protocol(
        codes['worker'], section, structures, options=parameters['options']['worker']
    )


def get_structure_parameters(parameters: Parameters) -> dict[str, Any]:
    """Return what decides the ideal structures, without the names of files and nodes: their content is an input."""
    structures = {key: value for key, value in parameters['structures'].items() if key not in ('files', 'nodes')}
    return {'elements': parameters['system']['elements'], 'seed': parameters['seed'], 'structures': structures}


def build_label(codes: Codes, parameters: Parameters, configurations: ConfigurationsData) -> ProcessBuilder:
    """Return the builder of the WorkChain by which the oracle labels some configurations."""
    return load_oracle(parameters['label']).get_batch_builder(dict(codes), configurations, parameters['options'])


def build_converge(codes: Codes, parameters: Parameters, configurations: ConfigurationsData) -> ProcessBuilder:
    """Return the builder of the choice of the settings of the labels.

    :param configurations: the initial structures.
    """
    total = parameters['budget'].get('core_hours')
    oracle, elements = load_oracle(parameters['label']), parameters['system']['elements']
    model = oracle.get_cost_model(elements)
    labels = sum(model.core_seconds(atoms) for atoms in configurations.get_frames()) / 3600 if model else 0.0
    limit = max(LEAST_CORE_HOURS, CONVERGE_SHARE_OF_LABELS * labels)
    if total is not None:
        limit = min(limit, CONVERGE_SHARE * total)
    needed = {key for engine in read_label(oracle.get_reference()).get_engines().values() for key in engine.codes}
    return ConvergeWorkChain.get_builder_from_protocol(
        {key: code for key, code in codes.items() if key in needed},
        configurations,
        elements,
        parameters['label'],
        parameters['options'],
        parameters['seed'],
        limit,
    )


def find_overrides(builder: ProcessBuilder) -> str:
    """Return the namespace with which the user may override the inputs of a step, empty where there is none."""
    found = (name for name, (process_class, _) in OVERRIDABLE.items() if process_class is builder.process_class)
    return next(found, '')


def build_train(
    codes: Codes,
    parameters: Parameters,
    dataset: ConfigurationsData,
    test_set: ConfigurationsData | None,
    potential: AcePotentialData | None,
    changes: Mapping[str, Any],
) -> ProcessBuilder:
    """Return the builder of a fit to all labels.

    :param potential: the potential to continue from, None for none.
    :param changes: what is other than in the section `train` of the run file.
    """
    section = {key: parameters['train'][key] for key in Fit.model_fields}
    own = {
        'elements': parameters['system']['elements'],
        'seed': parameters['seed'],
        'mix_settings': may_mix(parameters),
    }
    return TrainWorkChain.get_builder_from_protocol(
        codes['worker'],
        dataset,
        {**section, **own, **changes},
        test=test_set,
        potential=potential,
        options=parameters['options']['worker'],
    )


def may_mix(parameters: Parameters) -> bool:
    """Return whether labels of different settings may meet: the user asked for it, or for tiers."""
    label = parameters['label']
    return label['mix_settings'] or load_plugin(ORACLES, label['oracle'], 'label.oracle').mixes_settings


def build_evaluate(
    codes: Codes, parameters: Parameters, potential: AcePotentialData, test_set: ConfigurationsData
) -> ProcessBuilder:
    """Return the builder of the errors of a potential on the held-out set."""
    return EvaluateWorkChain.get_builder_from_protocol(
        codes['worker'],
        potential,
        test_set,
        widen_criteria(parameters['validate']),
        options=parameters['options']['worker'],
    )


def build_explore(
    codes: Codes,
    parameters: Parameters,
    potential: AcePotentialData,
    structures: ConfigurationsData,
    explore: Explore,
    *,
    stage: int,
    seed: int,
    walkers: list[int] | None = None,
    restarts: Mapping[str, orm.Data] | None = None,
) -> ProcessBuilder:
    """Return the builder of the simulations of a round.

    :param structures: the cells in which walkers start.
    :param explore: the section `explore`.
    :param stage: counted from 0. :param seed: of the round.
    :param walkers: indices of those to run; None: all.
    :param restarts: restart files of walkers that resume, by `walker_NN`.
    """
    return ExploreWorkChain.get_builder_from_protocol(
        codes,
        potential,
        structures,
        explore.model_dump(mode='json'),
        stage=stage,
        seed=seed,
        walkers=walkers,
        restarts=restarts,
        options=parameters['options'][load_explorer(explore.explorer).main_code()],
    )


def build_embed(
    codes: Codes,
    parameters: Parameters,
    potential: AcePotentialData,
    snapshots: Mapping[str, ConfigurationsData],
    selection: Mapping[str, int],
    seed: int,
) -> ProcessBuilder:
    """Return the builder of the choice of what to label.

    :param snapshots: frames of the simulations.
    :param selection: how many of the trajectories are to be learned and to be held out.
    """
    section = {
        **parameters['embed'],
        **selection,
        'gamma_select': parameters['explore']['gamma_select'],
        'seed': seed,
    }
    return EmbedWorkChain.get_builder_from_protocol(
        codes['worker'], potential, snapshots, section, options=parameters['options']['worker']
    )


def build_validate(
    codes: Codes,
    parameters: Parameters,
    potential: AcePotentialData,
    crystals: ConfigurationsData,
    dataset: ConfigurationsData | None,
    test_set: ConfigurationsData | None,
    deploy: bool,
    max_requested: int,
) -> ProcessBuilder:
    """Return the builder of the verdict on the physics of a potential.

    :param deploy: whether it goes into production if it passes.
    :param max_requested: most structures that the gate may ask for.
    """
    builder = ValidateWorkChain.get_builder_from_protocol(
        dict(codes), potential, crystals, dict(parameters), test_set=test_set, dataset=dataset, deploy=deploy
    )
    builder.max_requested = orm.Int(max_requested)
    return builder
