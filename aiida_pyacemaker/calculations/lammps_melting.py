"""CalcJob that runs one simulation of the search for a melting point."""

from __future__ import annotations

from typing import Any, TextIO

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.lammps.files import pair_lines
from aiida_pyacemaker.atomistics.validation.properties.melting import script
from aiida_pyacemaker.data.configurations import ConfigurationsData

from .lammps_pace import LammpsPaceCalculation
from .worker import at_least, check_parameters, one_of


class LammpsMeltingCalculation(LammpsPaceCalculation):
    """Heat a crystal until it melts, bring crystal and melt side by side, or let them go on from a restart file.

    What it is to do is decided by :class:`~aiida_pyacemaker.atomistics.validation.properties.melting.search.Search`.
    That a phase is gone is an outcome, not an error, and so is a simulation in which the potential broke down.
    """

    OUTPUTS = script.OUTPUTS
    PARAMETERS = {
        'program': one_of('heat', 'coexist', 'extend', 'superheat'),
        'temperature': at_least(0, strict=True),
        'pressure': at_least(float('-inf')),
        'timestep': at_least(0, strict=True),
        'steps': at_least(1),
        'seed': at_least(1),
        'atoms': at_least(1),
        'elongation': at_least(1),
        'reflections': lambda value: None if isinstance(value, list) else 'must be a list of pairs [h, k]',
        'factor': at_least(0, strict=True),
        'coupling': one_of('iso', 'aniso', 'aniso_xy'),
        'tilted': one_of(True, False),
        'until': at_least(0, strict=True),
        'hot': at_least(1, strict=True),
        'order': at_least(0, strict=True),
    }
    #: The others belong to one program each.
    REQUIRED_PARAMETERS = tuple(PARAMETERS)[:12]

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        # What there is only under a watch on gamma.
        del spec.inputs['structure']
        for name in ('trajectory', 'halted', 'violation', 'thermo'):
            del spec.outputs[name]
        del spec.exit_codes['ERROR_NO_GAMMA']
        spec.input('crystal', valid_type=ConfigurationsData, help='The phase that melts: the first configuration.')
        spec.inputs['restart'].help = 'The restart file of a coexistence that goes on.'
        spec.inputs['parameters'].validator = cls.validate_parameters
        spec.inputs['parameters'].help = (
            'What the simulation is to do, as `Search.next` says it: `program`, `temperature` (K), `pressure` (GPa), '
            '`timestep` (fs), `steps`, `seed`, what belongs to the box (`atoms`, `elongation`, `reflections`, '
            '`factor`, `coupling`, `tilted`), and `until` (K) of heat, `hot` of coexist, `order` of extend.'
        )
        spec.inputs['metadata']['options']['parser_name'].default = 'pyacemaker.lammps_melting'
        spec.outputs['results'].help = 'What became of crystal and melt.'
        spec.outputs['restart'].help = 'Restart file of a coexistence that may go on.'
        spec.output(
            'track',
            valid_type=orm.ArrayData,
            required=False,
            help='Temperature, share of solid atoms, pressures and volume, each a mean over some time.',
        )

    @classmethod
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``."""
        return value and check_parameters(value.get_dict(), cls.PARAMETERS, cls.REQUIRED_PARAMETERS)

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        if 'parameters' in inputs and ('restart' in inputs) != (inputs['parameters']['program'] == 'extend'):
            return 'give `restart` for the program extend, and for no other.'
        if 'crystal' in inputs and 'potential' in inputs:
            elements = inputs['potential'].elements
            foreign = sorted(set(inputs['crystal'].elements) - set(elements))
            if foreign:
                return (
                    f'`crystal` holds the element {", ".join(foreign)}, which the potential does not know: it is for '
                    f'{", ".join(elements)}.'
                )
        return None

    def write_structure(self, handle: TextIO) -> None:
        """Write the data file of a simulation that starts."""
        crystal, parameters = self.inputs.crystal.get_frames()[0], self.inputs.parameters.get_dict()
        script.write_structure(handle, crystal, parameters, self.inputs.potential.elements)

    def get_script(self) -> str:
        """Return the input of LAMMPS."""
        return script.write_script(self.inputs.parameters.get_dict(), pair_lines(self.inputs.potential.metadata))
