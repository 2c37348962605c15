"""CalcJob that runs one simulation of the search for a melting point."""

from __future__ import annotations

from typing import Any, Literal, TextIO

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.core.parameters import Count, Positive, Section, parameter
from aiida_pyacemaker.atomistics.lammps.files import pair_lines
from aiida_pyacemaker.atomistics.validation.properties.melting import script
from aiida_pyacemaker.data.configurations import ConfigurationsData

from .lammps_pace import LammpsPaceCalculation
from .validators import section_validator


class MeltingSimulation(Section):
    """What one simulation is to do, see `Search.next`."""

    program: Literal['heat', 'coexist', 'extend', 'superheat'] = parameter('What the simulation does.')
    temperature: Positive = parameter('Temperature at the start.', unit='K')
    pressure: float = parameter('Pressure.', unit='GPa')
    timestep: Positive = parameter('Time step.', unit='fs')
    steps: Count = parameter('Number of steps.', ge=1)
    seed: Count = parameter('Seed of the velocities.', ge=1)
    atoms: Count = parameter('About how many atoms the box has.', ge=1)
    elongation: float = parameter('How much longer than wide the box is.', ge=1)
    reflections: list[list[int]] = parameter('Two reflections [h, k] of the box that show the order.')
    factor: Positive = parameter('Structure factor of the reflections in the crystal at rest.')
    coupling: Literal['iso', 'aniso', 'aniso_xy'] = parameter('Which sides of the box the barostat couples.')
    tilted: bool = parameter('Whether the base of the box has no right angle.')
    until: Positive | None = parameter('For `heat`: where heating ends.', default=None, unit='K')
    hot: float | None = parameter(
        'For `coexist`: temperature that melts one half, over `temperature`.', default=None, gt=1
    )
    order: Positive | None = parameter('For `extend`: order of the crystal at the start.', default=None)


class LammpsMeltingCalculation(LammpsPaceCalculation):
    """Heat a crystal until it melts, bring crystal and melt side by side, or let them go on from a restart file.

    What it is to do is decided by :class:`~aiida_pyacemaker.atomistics.validation.properties.melting.search.Search`.
    That a phase is gone is an outcome, not an error, and so is a simulation in which the potential broke down.
    """

    OUTPUTS = script.OUTPUTS

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
        spec.inputs['parameters'].validator = section_validator(MeltingSimulation)
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
