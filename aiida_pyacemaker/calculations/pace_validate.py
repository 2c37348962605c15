"""CalcJob that looks at crystals with a potential."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.core.validation import read_section
from aiida_pyacemaker.atomistics.validation.same_cells import SameCells
from aiida_pyacemaker.atomistics.validation.suite import read_suite
from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


class PaceValidateCalculation(WorkerCalculation):
    """Relax crystals, and compute their elastic constants, phonons and whatever else tells a good potential."""

    TASK = 'validate'
    NEEDS_POTENTIAL = True
    PRODUCT = 'crystals.npz'
    #: Cells for the oracle of the labels, which are not always there.
    FILENAME_CELLS = 'cells.npz'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        spec.inputs['configurations'].help = 'The crystals to look at, near their equilibrium.'
        spec.inputs['potential'].help = 'The potential that is looked at.'
        spec.inputs['parameters'].help = (
            'properties: what is looked at, by default everything but the melting point; settings: keys of single '
            'properties, by property; processes: how many work side by side, 2 by default; same_cells: what is made '
            'for the oracle of the labels.'
        )
        spec.output('crystals', valid_type=ConfigurationsData, help='The crystals, relaxed, in the order of the input.')
        spec.output(
            'cells',
            valid_type=ConfigurationsData,
            required=False,
            help='Cells that the potential has relaxed, with its labels, for the oracle of the labels.',
        )

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the task file; the cells are fetched where they are asked for.

        :param folder: the sandbox folder.
        """
        calcinfo = super().prepare_for_submission(folder)
        if self.inputs.parameters.get_dict().get('same_cells'):
            calcinfo.retrieve_temporary_list.append(self.FILENAME_CELLS)
        return calcinfo

    @classmethod
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``."""
        try:
            suite = read_suite({} if value is None else value.get_dict())
            if suite.same_cells:
                read_section(SameCells, suite.same_cells)
        except ValueError as exception:
            return f'the parameter {exception}'
        return None
