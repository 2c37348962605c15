"""WorkChain that labels configurations with Quantum ESPRESSO: energy, forces and stress."""

from __future__ import annotations

import math

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_
from aiida.plugins import DataFactory, WorkflowFactory
from aiida_quantumespresso.common.types import SpinType

from aiida_pyacemaker.calculations.functions.collect_labels import collect_labels
from aiida_pyacemaker.calculations.functions.get_structure import get_structure

from .adopt import adopt_child
from .restart import get_options

ConfigurationsData = DataFactory('pyacemaker.configurations')
PwBaseWorkChain = WorkflowFactory('quantumespresso.pw.base')


def validate_parameters(value, _):
    """Refuse what no calculation could run with."""
    if value is None:
        return None
    parameters = value.get_dict()
    for key in ('pseudo_family', 'kpoints_distance', 'max_concurrent', 'max_failed_fraction'):
        if key not in parameters:
            return f'`label.{key}` is missing'
    for key in ('kpoints_distance', 'max_concurrent', 'degauss', 'ecutwfc', 'ecutrho'):
        if parameters.get(key) is not None and parameters[key] <= 0:
            return f'`label.{key}` must be positive, got {parameters[key]}'
    if (parameters.get('ecutwfc') is None) != (parameters.get('ecutrho') is None):
        return '`label.ecutwfc` and `label.ecutrho` belong together: give both or neither'
    return None


class LabelWorkChain(WorkChain):
    """Label configurations with one static DFT calculation each.

    At most ``max_concurrent`` calculations run at a time, the costliest first; a calculation that fails costs its own
    configuration only, until more than ``max_failed_fraction`` of them have failed.
    """

    defaults = AttributeDict(
        {
            'magnetic_elements': ('Cr', 'Mn', 'Fe', 'Co', 'Ni', 'Gd'),
            # Cost of one calculation grows about with this power of the number of atoms: orders the queue.
            'cost_exponent': 2.5,
            'mixing_beta': 0.4,
            # pw.x's own 20 % of empty bands are too few for small metallic cells, whose k-points differ much in the
            # number of occupied bands: measured on Al8 and Al16 with 0.05 Ry of smearing, 16 and 29 bands hold
            # electrons where 12 and 24 pairs have to be placed. Too few bands cost a second calculation.
            'bands_factor': 1.3,
            'bands_extra': 4,
        }
    )

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='The Quantum ESPRESSO `pw.x` code.')
        spec.input(
            'configurations',
            valid_type=ConfigurationsData,
            help='The configurations to label. Those with `split: test` in their info end in the output `test`.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            validator=validate_parameters,
            help='The section `label` of a run file with every value set.',
        )
        spec.input(
            'options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` of every calculation.'
        )
        spec.outline(
            cls.setup,
            while_(cls.should_run_next)(
                cls.run_next,
            ),
            cls.inspect_calculations,
            cls.results,
        )
        spec.output(
            'train', valid_type=ConfigurationsData, required=False, help='The labelled training configurations.'
        )
        spec.output('test', valid_type=ConfigurationsData, required=False, help='The labelled held-out configurations.')
        spec.output('results', valid_type=orm.Dict, help='Counts, failures and cost of the batch.')
        spec.exit_code(
            401,
            'ERROR_TOO_MANY_FAILURES',
            message='{failed} of {total} calculations failed, more than `label.max_failed_fraction` allows; the '
            'labels of the others are in the outputs.',
        )

    @classmethod
    def get_builder_from_protocol(cls, code, configurations, parameters, options=None):
        """Return a builder that labels ``configurations``.

        :param code: the ``pw.x`` code.
        :param configurations: :class:`~aiida_pyacemaker.data.ConfigurationsData` to label.
        :param parameters: dictionary, the section ``label`` of a resolved run file.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.code = code
        builder.configurations = configurations
        builder.parameters = orm.Dict(parameters)
        if options:
            builder.options = orm.Dict(options)
        return builder

    def setup(self):
        """Queue the configurations, the costliest first so that none is left running alone at the end."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        self.ctx.sizes = [len(frame) for frame in self.inputs.configurations.get_frames()]
        self.ctx.queue = sorted(range(len(self.ctx.sizes)), key=lambda index: (-self.ctx.sizes[index], index))
        self.ctx.children = {}
        self.ctx.running = []

    def should_run_next(self) -> bool:
        """Return whether configurations wait or calculations run."""
        self.ctx.running = [index for index in self.ctx.running if not self.get_child(index).is_terminated]
        return bool(self.ctx.queue or self.ctx.running)

    def run_next(self):
        """Fill the free places and wait for the smallest running calculation, which is likely to end first.

        Waiting for one child rather than for a whole batch keeps the places filled; the others are looked at whenever
        it ends.
        """
        while self.ctx.queue and len(self.ctx.running) < self.ctx.parameters['max_concurrent']:
            index = self.ctx.queue.pop(0)
            child = adopt_child(self, f'label_{index:04d}') or self.submit_calculation(index)
            self.ctx.children[index] = child.pk
            self.ctx.running.append(index)

        awaited = min(self.ctx.running, key=lambda index: self.ctx.sizes[index])
        self.to_context(awaited=self.get_child(awaited))

    def get_child(self, index: int) -> orm.WorkChainNode:
        """Return the node of the calculation that labels configuration ``index``."""
        return orm.load_node(self.ctx.children[index])

    def submit_calculation(self, index: int) -> orm.WorkChainNode:
        """Submit the ``PwBaseWorkChain`` of one configuration."""
        structure = get_structure(
            self.inputs.configurations,
            orm.Int(index),
            metadata={'call_link_label': f'structure_{index:04d}'},
        )
        builder = self.get_pw_builder(structure)
        label = f'{structure.get_formula()} #{index}'
        builder.metadata = {'call_link_label': f'label_{index:04d}', 'label': label}
        return self.submit(builder)

    def get_pw_builder(self, structure: orm.StructureData):
        """Return the builder of one static calculation with forces and stress."""
        parameters = self.ctx.parameters
        system = {key: parameters[key] for key in ('ecutwfc', 'ecutrho', 'smearing', 'degauss') if parameters.get(key)}
        magnetic = not set(structure.get_symbols_set()).isdisjoint(self.defaults.magnetic_elements)
        overrides = {
            'clean_workdir': True,
            'kpoints_distance': parameters['kpoints_distance'],
            'pseudo_family': parameters['pseudo_family'],
            'pw': {
                'parameters': {
                    'SYSTEM': {'occupations': 'smearing', **system},
                    'ELECTRONS': {'mixing_beta': self.defaults.mixing_beta},
                }
            },
        }
        options = self.inputs.options.get_dict() if 'options' in self.inputs else {}
        builder = PwBaseWorkChain.get_builder_from_protocol(
            self.inputs.code,
            structure,
            overrides=overrides,
            spin_type=SpinType.COLLINEAR if magnetic else SpinType.NONE,
            options=get_options(options, max_wallclock_seconds=parameters.get('max_wallclock_seconds', 43200)),
        )
        builder.on_unhandled_failure = orm.Str('restart_once')
        pw_parameters = builder.pw.parameters.get_dict()
        pw_parameters['SYSTEM']['nbnd'] = self.get_number_of_bands(structure, builder.pw.pseudos)
        builder.pw.parameters = orm.Dict(pw_parameters)
        return builder

    def get_number_of_bands(self, structure: orm.StructureData, pseudos) -> int:
        """Return the number of bands: those that hold the valence electrons and enough empty ones for the smearing."""
        electrons = sum(pseudos[site.kind_name].z_valence for site in structure.sites)
        return math.ceil(self.defaults.bands_factor * electrons / 2) + self.defaults.bands_extra

    def inspect_calculations(self):
        """Sort the finished calculations from the failed ones and report the latter."""
        self.ctx.failures, self.ctx.labelled = [], {}
        for index in sorted(self.ctx.children):
            child = self.get_child(index)
            if child.is_finished_ok:
                self.ctx.labelled[index] = child.pk
                continue
            message = child.exit_message or (child.process_state.value if child.process_state else 'unknown state')
            failure = {'index': index, 'pk': child.pk, 'exit_status': child.exit_status, 'message': message}
            self.ctx.failures.append(failure)
            self.report(f'configuration {index} is lost: PwBaseWorkChain<{child.pk}> [{child.exit_status}] {message}')

    def results(self):
        """Collect the labels, whatever else failed, and compare the failures with the quota."""
        total, failed = len(self.ctx.sizes), len(self.ctx.failures)

        # One call for each split, so that a training set has no path to the calculations of the held-out one.
        for split in ('train', 'test'):
            nodes = self.get_outputs_of_split(split)
            if nodes:
                label = f'collect_{split}'
                sets = collect_labels(self.inputs.configurations, **nodes, metadata={'call_link_label': label})
                self.out(split, sets[split])

        results = {
            'number_of_configurations': total,
            'number_labelled': len(self.ctx.labelled),
            'number_failed': failed,
            'failures': self.ctx.failures,
            'wall_time_seconds': sum(
                orm.load_node(pk).outputs.output_parameters.get('wall_time_seconds', 0.0)
                for pk in self.ctx.labelled.values()
            ),
        }
        self.out('results', orm.Dict(results).store())

        if failed > self.ctx.parameters['max_failed_fraction'] * total:
            return self.exit_codes.ERROR_TOO_MANY_FAILURES.format(failed=failed, total=total)

    def get_outputs_of_split(self, split: str) -> dict[str, orm.Data]:
        """Return the outputs of the finished calculations of a split, as ``collect_labels`` takes them."""
        frames = self.inputs.configurations.get_frames()
        nodes = {}
        for index, pk in self.ctx.labelled.items():
            if frames[index].info.get('split', 'train') == split:
                outputs = orm.load_node(pk).outputs
                nodes[f'parameters_{index:04d}'] = outputs.output_parameters
                nodes[f'trajectory_{index:04d}'] = outputs.output_trajectory
        return nodes
