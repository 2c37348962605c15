"""WorkChain that finds the melting point of a crystal with a potential."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessBuilder, WorkChain, while_
from aiida.plugins import CalculationFactory, DataFactory

from aiida_pyacemaker.atomistics.validation.melting import Search
from aiida_pyacemaker.atomistics.validation.melting_script import NotApplicableError, Run

from .reuse_children import submit_once
from .worker_base import get_options

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')
LammpsMeltingCalculation = CalculationFactory('pyacemaker.lammps_melting')


class MeltingWorkChain(WorkChain):
    """Run one simulation after the other until the melting point is known, as :class:`Search` decides.

    A search without success is a result as well, with the reason in it. A simulation that dies is run once more.
    """

    defaults = AttributeDict({'attempts': 2})

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='LAMMPS with ML-PACE.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input(
            'crystal', valid_type=ConfigurationsData, help='The phase that melts, at equilibrium: the first of them.'
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=cls.validate_parameters,
            help='How it is found: keys of `validate.melting` of a run file, and `seed`.',
        )
        spec.input(
            'options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` of every simulation.'
        )
        spec.outline(
            cls.setup,
            while_(cls.should_run_simulation)(
                cls.run_simulation,
                cls.inspect_simulation,
            ),
            cls.results,
        )
        spec.output('results', valid_type=orm.Dict, help='The melting point, its uncertainty, and how it was found.')
        spec.exit_code(
            401, 'ERROR_SIMULATION_FAILED', message='A simulation failed {times} times, the last time: {message}'
        )

    @classmethod
    def validate_parameters(cls, value, _):
        """Check the ``parameters``."""
        try:
            Search.check(value.get_dict())
        except ValueError as exception:
            return str(exception)

    @classmethod
    def get_builder_from_protocol(cls, code, potential, crystal, parameters=None, options=None):
        """Return a builder.

        :param code: LAMMPS with ML-PACE.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData`.
        :param crystal: the phase that melts, at equilibrium; the first configuration of a set.
        :param parameters: dictionary, keys of ``validate.melting`` of a run file, and ``seed``.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.code = code
        builder.potential = potential
        builder.crystal = crystal
        builder.parameters = orm.Dict(parameters or {})
        if options:
            builder.options = orm.Dict(options)
        return builder

    def setup(self):
        """Begin the search."""
        self.ctx.attempt = 0
        self.ctx.last = None
        self.ctx.search = {}
        self.ctx.refused = None
        try:
            self.store(self.search)
        except NotApplicableError as exception:
            self.ctx.refused = str(exception)

    @property
    def search(self) -> Search:
        """How far the search has come."""
        crystal = self.inputs.crystal.get_frames()[0]
        return Search.from_dict(self.inputs.parameters.get_dict(), crystal, self.ctx.search)

    def store(self, search: Search) -> None:
        """Keep the state of the search, and what the next simulation is to do."""
        self.ctx.run = search.next()  # may end the search
        self.ctx.search = search.to_dict()

    def should_run_simulation(self) -> bool:
        """Return whether the search goes on."""
        return self.ctx.refused is None and self.ctx.run is not None

    def run_simulation(self):
        """Submit a simulation."""
        self.ctx.attempt += 1
        number = len(self.ctx.search['runs'])
        label = f'simulation_{number:02d}' + ('_again' if self.ctx.attempt > 1 else '')
        self.to_context(simulation=submit_once(self, label, self.get_simulation_builder))

    def get_simulation_builder(self) -> ProcessBuilder:
        """Return the builder of the next simulation."""
        run = self.ctx.run
        builder = LammpsMeltingCalculation.get_builder()
        builder.code = self.inputs.code
        builder.potential = self.inputs.potential
        builder.crystal = self.inputs.crystal
        builder.parameters = orm.Dict(run)
        if run['program'] == 'extend':
            builder.restart = orm.load_node(self.ctx.last).outputs.restart
        builder.metadata.options = get_options(self.inputs.options.get_dict() if 'options' in self.inputs else None)
        formula = self.inputs.crystal.get_frames()[0].get_chemical_formula(empirical=True)
        builder.metadata.label = f'{formula} {run["program"]} at {run["temperature"]:.0f} K'
        return builder

    def inspect_simulation(self):
        """Tell the search how the simulation ended."""
        node = self.ctx.simulation
        if not node.is_finished_ok:
            message = f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}'
            self.report(f'a simulation failed: {message}')
            if self.ctx.attempt >= self.defaults.attempts:
                return self.exit_codes.ERROR_SIMULATION_FAILED.format(times=self.ctx.attempt, message=message)
            return None
        self.ctx.attempt = 0
        self.ctx.last = node.pk
        arrays = node.outputs.track if 'track' in node.outputs else None
        track = {name: arrays.get_array(name) for name in arrays.get_arraynames()} if arrays else {}
        search = self.search
        search.done(self.ctx.run, Run(**node.outputs.results.get_dict(), track=track))
        self.report(search.last)
        self.store(search)
        return None

    def results(self):
        """Output what was found."""
        refused = self.ctx.refused
        result = {'status': 'not_applicable', 'message': refused} if refused else self.search.result()
        self.out('results', orm.Dict(result).store())
