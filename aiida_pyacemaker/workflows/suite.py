"""WorkChain that looks at the physics of a potential: everything of its crystals but the melting point."""

from __future__ import annotations

from aiida import orm
from aiida.plugins import CalculationFactory

from .worker_base import WorkerBaseWorkChain, get_options

PaceValidateCalculation = CalculationFactory('pyacemaker.pace_validate')


class SuiteWorkChain(WorkerBaseWorkChain):
    """Equations of state, elastic constants, phonons, defects, surfaces and short simulations of some crystals."""

    _process_class = PaceValidateCalculation

    @classmethod
    def get_builder_from_protocol(cls, code, potential, crystals, parameters, options=None):
        """Return a builder that looks at ``crystals`` with ``potential``.

        :param code: code of the worker, ``pyacemaker-worker``.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData`.
        :param crystals: ideal structures.
        :param parameters: dictionary with ``properties``, what is looked at.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.job.code = code
        builder.job.potential = potential
        builder.job.configurations = crystals
        builder.job.parameters = orm.Dict(parameters)
        builder.job.metadata.options = get_options(options)
        return builder
