"""WorkChain that chooses the settings of DFT by measurement, and measures the noise that they leave in the labels."""

from __future__ import annotations

import functools
from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, while_
from aiida.plugins import DataFactory
from ase import Atoms

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.labelling.convergence import (
    Convergence,
    Labelled,
    NeedsLabels,
    Problem,
    Setting,
    Task,
    describe,
)
from aiida_pyacemaker.calculations.functions.convergence_cells import choose_cells, convergence_cells

from .oracles import load_oracle
from .reuse_children import find_child, submit_once

ConfigurationsData = DataFactory('pyacemaker.configurations')

#: Core-hours of a measurement at most, where the budget of the run says nothing.
MAX_CORE_HOURS = 2.0


def validate_parameters(value: orm.Dict | None, _: Any) -> str | None:
    """Refuse an oracle that has nothing to tighten, and a section without the noise wanted."""
    try:
        oracle = None if value is None else load_oracle(value.get_dict())
    except ValueError as exception:
        return str(exception)
    if oracle is None or oracle.is_measured:
        return None
    if oracle.given.noise is None:
        return 'label.noise: is null; give the noise that is wanted'
    return f'label.oracle: `{oracle.label.oracle}` has no settings that could be tightened'


class ConvergeWorkChain(WorkChain):
    """Choose the cutoffs, the k-points and the smearing that are null, and measure the noise of all.

    What is labelled next follows from the labels that are there, see
    :class:`~aiida_pyacemaker.atomistics.labelling.convergence.Convergence`; every setting is a batch of its own, the
    WorkChain of the oracle under the call link label ``setting_03``. A cell that fails is left out of the comparisons.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace('codes', valid_type=orm.AbstractCode, dynamic=True, help='The codes of the oracle.')
        spec.input('configurations', valid_type=ConfigurationsData, help='Structures that the cells are made of.')
        spec.input('elements', valid_type=orm.List, help='All elements of the system.')
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            validator=validate_parameters,
            help='The section `label`; of the settings, those that are null are chosen.',
        )
        spec.input('options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` by code.')
        spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(0), help='Seed of the displacements.')
        spec.input(
            'max_core_hours',
            valid_type=orm.Float,
            default=lambda: orm.Float(MAX_CORE_HOURS),
            help='What the measurement may cost.',
        )
        spec.outline(
            cls.setup,
            while_(cls.should_label)(
                cls.run_labels,
                cls.inspect_labels,
            ),
            cls.results,
        )
        spec.output(
            'results',
            valid_type=orm.Dict,
            help='`settings`: the keys of the section `label`; `noise`: what they leave, `energy` (eV/atom), `force` '
            '(eV/Å), `stress` (GPa), and its parts `cutoff`, `kpoints`, `smearing`, and `together`; `wanted`; '
            '`character`: whether the cells have a gap and moments; `core_hours`; `cells`; `reached`; `message`.',
        )
        spec.exit_code(
            401, 'ERROR_NOTHING_LABELLED', message='The noise of the labels could not be measured: {message}'
        )

    @classmethod
    def get_builder_from_protocol(
        cls, codes, configurations, elements, parameters, options=None, seed=0, max_core_hours=None
    ):
        """Return a builder.

        :param codes: codes by their keys of a run file.
        :param configurations: :class:`~aiida_pyacemaker.data.ConfigurationsData`, initial structures of a run.
        :param elements: all elements of the system.
        :param parameters: dictionary, the section ``label`` of a run file.
        :param options: overrides of ``metadata.options`` by the key of the code.
        :param seed: of the displacements.
        :param max_core_hours: limit of the cost; None: two.
        """
        builder = cls.get_builder()
        builder.codes = dict(codes)
        builder.configurations = configurations
        builder.elements = orm.List(sorted(elements))
        builder.parameters = orm.Dict(parameters)
        builder.seed = orm.Int(seed)
        if options:
            builder.options = orm.Dict(options)
        if max_core_hours is not None:
            builder.max_core_hours = orm.Float(max_core_hours)
        return builder

    # Outline ----------------------------------------------------------------------------------------------------------

    def setup(self):
        """Make the cells."""
        self.ctx.tasks = []  # what was submitted, by number: the setting and the cells
        self.ctx.next = []
        self.ctx.found = None
        self.ctx.message = ''
        label = 'cells'
        try:
            self.ctx.cells = convergence_cells(
                self.inputs.configurations,
                self.inputs.elements,
                self.inputs.seed,
                metadata={'call_link_label': label},
            )
        except InputError as exception:
            return self.exit_codes.ERROR_NOTHING_LABELLED.format(message=str(exception))
        return None

    def should_label(self) -> bool:
        """Return whether labels are missing for the next decision."""
        convergence = Convergence(self.problem, self.get_done())
        try:
            self.ctx.found = convergence.conclude()
        except NeedsLabels as missing:
            self.ctx.next = [(task.setting.to_dict(), list(task.cells)) for task in missing.tasks]
            return True
        except ValueError as exception:
            self.ctx.message = str(exception)
        return False

    def run_labels(self):
        """Label the cells with the settings that are next, side by side."""
        children = {}
        for setting, cells in self.ctx.next:
            number = len(self.ctx.tasks)
            self.ctx.tasks.append((setting, cells))
            children[f'setting_{number:02d}'] = self.submit_setting(number, setting, cells)
        return ToContext(**children)

    def submit_setting(self, number: int, setting: dict[str, float], cells: list[int]) -> orm.ProcessNode:
        """Submit the labels of some cells with a setting."""
        oracle = load_oracle(
            {**load_oracle(self.inputs.parameters.get_dict()).get_reference(), **self.batch, **setting}
        )
        frames = self.ctx.cells
        if len(cells) < len(frames):
            frames = choose_cells(frames, orm.List(cells), metadata={'call_link_label': f'cells_{number:02d}'})
        options = self.inputs.options.get_dict() if 'options' in self.inputs else None
        builder = oracle.get_batch_builder(dict(self.inputs.codes), frames, options)
        builder.metadata.label = ', '.join(f'{key} {value:g}' for key, value in setting.items())
        return submit_once(self, f'setting_{number:02d}', lambda: builder)

    @property
    def batch(self) -> dict[str, Any]:
        """What is other in the section than for the labels of the run: one cell that fails costs no other."""
        return {'max_failed_fraction': 1.0, 'noise': None}

    def inspect_labels(self):
        """Tell what came of the settings."""
        for name, node in self.ctx.items():
            if name.startswith('setting_') and not node.is_finished_ok:
                self.report(f'{node.label}: {node.process_label}<{node.pk}>: {node.exit_message}')

    def results(self):
        """Attach the results."""
        found = self.ctx.found
        if found is None:
            return self.exit_codes.ERROR_NOTHING_LABELLED.format(message=self.ctx.message)
        self.report(found['message'])
        self.out('results', orm.Dict(found).store())
        return None

    # Helpers ----------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def problem(self) -> Problem:
        """Return what is asked for."""
        oracle = load_oracle(self.inputs.parameters.get_dict())
        hints = oracle.get_hints(self.inputs.elements.get_list())
        given = {key: getattr(oracle.given, key) for key in oracle.get_tunable()}
        return Problem(
            cells=self.ctx.cells.get_frames(),
            wanted=oracle.given.noise.model_dump(),
            hint=(hints['ecutwfc'], hints['ecutrho']),
            high=hints['high'],
            given={key: float(value) for key, value in given.items() if value is not None},
            max_core_seconds=3600 * self.inputs.max_core_hours.value,
        )

    def get_done(self) -> dict[tuple, Labelled]:
        """Return what was labelled so far."""
        names = {atoms.info['name']: index for index, atoms in enumerate(self.ctx.cells.get_frames())}
        done = {}
        for number, (setting, cells) in enumerate(self.ctx.tasks):
            node = find_child(self, f'setting_{number:02d}')
            frames: dict[int, Atoms] = {}
            seconds = 0.0
            if node is not None and 'train' in node.outputs:
                frames = {names[atoms.info['name']]: atoms for atoms in node.outputs.train.get_frames()}
            if node is not None and 'results' in node.outputs:
                seconds = 3600 * (node.outputs.results.get_dict().get('core_hours') or 0.0)
            done[Task(Setting(**setting), tuple(cells)).key] = Labelled(frames, seconds)
        return done


def tell_noise(results: dict[str, Any]) -> str:
    """Return the noise of the labels for people, in one line."""
    return f'noise of the labels: {describe(results["noise"])}'
