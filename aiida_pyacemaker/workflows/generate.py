"""WorkChain that makes the initial configurations of a run."""

from __future__ import annotations

from aiida import orm
from aiida.plugins import CalculationFactory

from .worker_base import WorkerBaseWorkChain, get_options

GenerateCalculation = CalculationFactory('pyacemaker.generate')


class GenerateWorkChain(WorkerBaseWorkChain):
    """Make initial configurations from elements and the user's own structures."""

    _process_class = GenerateCalculation

    @classmethod
    def get_builder_from_protocol(cls, code, parameters, structures=None, options=None):
        """Return a builder that makes what a run file asks for.

        :param code: code of the worker, ``pyacemaker-worker``.
        :param parameters: dictionary, see :class:`~aiida_pyacemaker.atomistics.generators.parameters.InitialSet`.
        :param structures: the user's own structures, nodes by any names.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.job.code = code
        builder.job.parameters = orm.Dict(parameters)
        builder.job.structures = dict(structures or {})
        builder.job.metadata.options = get_options(options)
        return builder
