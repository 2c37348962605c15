"""The oracle VASP, through aiida-vasp: one static calculation per configuration.

aiida-vasp is an extra, and so nothing of it is imported before an oracle is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from io import StringIO
from typing import Any, Literal

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import ProcessBuilder
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.units import Ry
from pydantic import ValidationError, field_validator

from aiida_pyacemaker.atomistics.labelling.dipole import is_symmetric, sawtooth, slab_axis
from aiida_pyacemaker.atomistics.labelling.kpoints import kpoints_mesh
from aiida_pyacemaker.atomistics.labelling.magnetism import SPIN_TREATMENTS, is_free_atom, start_moments
from aiida_pyacemaker.atomistics.parameters import Positive, Section, parameter
from aiida_pyacemaker.calculations.readers.vasp import SETTINGS_KEY

from ..restart import get_options
from .base import Oracle
from .qe import DEGAUSS, SMEARING, number_of_processes

#: ISMEAR of each kind of smearing. VASP has no Marzari-Vanderbilt smearing; first-order Methfessel-Paxton is like it in
#: that the free energy depends on the width in third order only. The width means the same in both programs.
ISMEAR = {'cold': 1, 'methfessel-paxton': 1, 'gaussian': 0, 'fermi-dirac': -1}
#: Tags that make a functional, in INCAR.
FUNCTIONALS = {
    'PBE': {'gga': 'PE'},
    'PBEsol': {'gga': 'PS'},
    'SCAN': {'metagga': 'SCAN'},
    'r2SCAN': {'metagga': 'R2SCAN'},
}
#: The cutoff is this many times the largest ENMAX, as VASP advises where cells of different sizes are compared.
ENCUT_FACTOR = 1.3
#: What makes the calculation a label: energy, forces and stress of the configuration as it is, converged.
STATIC = {'nsw': 0, 'ibrion': -1, 'isif': 2, 'ediff': 1e-6, 'prec': 'Accurate', 'lreal': False, 'lasph': True}
SCRATCH = {'lwave': False, 'lcharg': False}
#: Tags that are not for the section `vasp.incar`: where they are set instead, or that they are fixed.
TAKEN = {
    **dict.fromkeys(('nsw', 'ibrion', 'isif'), 'fixed, a label is one static calculation'),
    **dict.fromkeys(('kspacing', 'kgamma'), 'set `label.kpoints_distance`'),
    **dict.fromkeys(('ismear', 'sigma'), 'set `label.smearing` and `label.degauss`'),
    **dict.fromkeys(('ispin', 'magmom', 'nupdown'), 'set `label.spin`'),
    **dict.fromkeys(('ldipol', 'idipol', 'dipol'), 'set `label.dipole_correction`'),
    **dict.fromkeys(('gga', 'metagga'), 'set `label.vasp.functional`'),
    'encut': 'set `label.vasp.encut`',
}
#: Tags on which no label depends.
TECHNICAL = {'ncore', 'npar', 'kpar', 'nsim', 'lplane', 'nwrite', 'algo', 'nelm', 'amix', 'bmix', 'amin', 'lscalapack'}
#: Projected moments are asked for where there is spin.
LORBIT = 11


class Vasp(Section):
    """What the oracle `vasp` needs beside the keys of `label` that it shares with Quantum ESPRESSO."""

    potential_family: str = parameter(
        'Family of potentials, uploaded with `aiida-vasp potcar uploadfamily`.', min_length=1
    )
    potential_mapping: dict[str, str] = parameter(
        'Potential of an element where it is not the one of the same name, such as {Fe: Fe_pv}.', default={}
    )
    functional: Literal['PBE', 'PBEsol', 'SCAN', 'r2SCAN'] = parameter('Exchange and correlation.', default='PBE')
    encut: Positive | None = parameter(
        f'Cutoff of the plane waves; null: {ENCUT_FACTOR} times the largest ENMAX of the potentials of all elements.',
        unit='eV',
        default=None,
    )
    incar: dict[str, str | int | float | bool | list[int | float]] = parameter(
        'Further INCAR tags, such as {NCORE: 4}.', default={}
    )

    @field_validator('incar')
    @classmethod
    def _check_incar(cls, value: dict[str, Any]) -> dict[str, Any]:
        for tag in value:
            if tag.lower() in TAKEN:
                raise ValueError(f'{tag} is not set here: {TAKEN[tag.lower()]}')
        return {tag.lower(): entry for tag, entry in value.items()}


class VaspOracle(Oracle):
    """Static DFT with forces and stress, one ``VaspWorkChain`` of aiida-vasp per configuration."""

    CODE = 'vasp'
    READER = 'vasp'

    def __init__(self, parameters: dict[str, Any]):
        super().__init__(parameters)
        if find_spec('aiida_vasp') is None:
            raise ValueError(
                '`label.oracle`: vasp needs aiida-vasp, which is not installed; install it with: '
                'pip install "aiida-pyacemaker[vasp]"'
            )
        if not parameters.get('vasp'):
            raise ValueError('`label.vasp` is missing: give at least `label.vasp.potential_family`')
        if parameters.get('kpoints_distance', 0) <= 0:
            raise ValueError('`label.kpoints_distance` is missing or not positive')
        if parameters.get('spin', 'auto') not in SPIN_TREATMENTS:
            raise ValueError(f'`label.spin` must be {" or ".join(SPIN_TREATMENTS)}, got {parameters["spin"]!r}')
        self.smearing = parameters.get('smearing') or SMEARING
        if self.smearing not in ISMEAR:
            raise ValueError(f'`label.smearing` must be one of {", ".join(ISMEAR)}, got {self.smearing!r}')
        self.degauss = parameters.get('degauss') or DEGAUSS
        try:
            self.section = Vasp.model_validate(parameters['vasp'])
        except ValidationError as exception:
            error = exception.errors()[0]
            key = '.'.join(str(part) for part in ('label.vasp', *error['loc']))
            raise ValueError(f'`{key}`: {error["msg"].removeprefix("Value error, ")}') from exception

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of one static calculation with forces and stress."""
        atoms = configurations.get_structure_ase(indices[0])
        # The cutoff is that of all elements of the batch, so that their labels can be compared.
        potentials = self.get_potentials(set(configurations.elements))
        settings = self.get_settings(potentials)
        builder = WorkflowFactory('vasp.v2.vasp').get_builder()
        builder.code = code
        builder.structure = structure
        builder.kpoints = orm.KpointsData()
        builder.kpoints.set_kpoints_mesh(kpoints_mesh(atoms, self.parameters['kpoints_distance']))
        builder.potential_family = orm.Str(self.section.potential_family)
        builder.potential_mapping = orm.Dict({kind.name: self.get_mapping(kind.symbol) for kind in structure.kinds})
        builder.parameters = orm.Dict({'incar': self.get_incar(atoms, settings['encut'])})
        builder.settings = orm.Dict(
            {
                'parser_settings': {
                    'include_node': ['trajectory'],
                    'energy_type': ['energy_free', 'energy_extrapolated'],
                    # They are in the trajectory, as arrays.
                    'exclude_quantity': ['forces', 'stress'],
                },
                SETTINGS_KEY: settings,
            }
        )
        builder.clean_workdir = orm.Bool(self.parameters.get('clean_workdir', True))
        builder.calc.metadata.options = get_options(
            options, max_wallclock_seconds=self.parameters.get('max_wallclock_seconds', 43200)
        )
        return builder

    def get_mapping(self, element: str) -> str:
        """Return the name of the potential of an element."""
        return self.section.potential_mapping.get(element, element)

    def get_potentials(self, elements: set[str]) -> dict[str, orm.Data]:
        """Return the potentials (``PotcarData``) of the elements.

        :raises ValueError: if the family or one of its potentials is not in the profile.
        """
        potcar, family = DataFactory('vasp.potcar'), self.section.potential_family
        if potcar.get_potcar_group(family) is None:
            raise ValueError(
                f'`label.vasp.potential_family`: there is no family {family!r} in this profile; upload it with: '
                f'aiida-vasp potcar uploadfamily --path=PATH --name={family} --description=TEXT'
            )
        mapping = {element: self.get_mapping(element) for element in sorted(elements)}
        try:
            return potcar.get_potcars_dict(list(mapping), family, mapping=mapping)
        except NotExistent as exception:
            raise ValueError(f'`label.vasp.potential_mapping`: {exception}') from exception

    def get_settings(self, potentials: dict[str, orm.Data]) -> dict[str, Any]:
        """Return what a label of this batch depends on, but for what the calculation itself tells."""
        extra = {tag: value for tag, value in self.section.incar.items() if tag not in TECHNICAL}
        return {
            'xc': self.section.functional,
            'encut': self.section.encut or round(ENCUT_FACTOR * max(map(get_enmax, potentials.values()))),
            'smearing': self.smearing,
            'degauss': self.degauss,
            'kpoints_distance': self.parameters['kpoints_distance'],
            'spin': self.parameters.get('spin', 'auto'),
            **({'incar': extra} if extra else {}),
        }

    def get_incar(self, atoms: Atoms, encut: float) -> dict[str, Any]:
        """Return the INCAR tags, in small letters as aiida-vasp has them."""
        tags = {**STATIC, **SCRATCH, **FUNCTIONALS[self.section.functional], 'encut': encut}
        tags |= {'ismear': ISMEAR[self.smearing], 'sigma': self.degauss * Ry}
        tags |= spin_tags(atoms) if self.parameters.get('spin', 'auto') == 'auto' else {}
        tags |= dipole_tags(atoms) if self.parameters.get('dipole_correction', True) else {}
        return {**tags, **self.section.incar}

    def get_labels(self, child) -> dict[str, orm.Data]:
        """Return the outputs of a finished calculation that hold the labels."""
        return {'misc': child.outputs.misc, 'trajectory': child.outputs.trajectory}

    def get_cost(self, child) -> dict[str, float]:
        """Return the cost of a job over all its calculations, as VASP reports it, those that failed included."""
        cost = {'wall_seconds': 0.0, 'core_hours': 0.0}
        for calculation in child.called_descendants:
            if isinstance(calculation, orm.CalcJobNode) and 'misc' in calculation.outputs:
                stats = calculation.outputs.misc.get_dict().get('run_stats') or {}
                seconds = float(stats.get('elapsed_time') or 0.0)
                cost['wall_seconds'] += seconds
                cost['core_hours'] += seconds * number_of_processes(calculation) / 3600
        return cost


def spin_tags(atoms: Atoms) -> dict[str, Any]:
    """Return the tags of collinear spins, none where a configuration is not magnetic.

    The moment of a free atom is fixed, as Hund's rule has it.
    """
    moments = start_moments(atoms)
    if moments is None:
        return {}
    fixed = {'nupdown': float(moments[0])} if is_free_atom(atoms) else {}
    return {'ispin': 2, 'magmom': [round(float(moment), 3) for moment in moments], 'lorbit': LORBIT, **fixed}


def dipole_tags(atoms: Atoms) -> dict[str, Any]:
    """Return the tags of the dipole correction, for slabs whose faces differ and whose vacuum is thick enough."""
    axis = slab_axis(atoms) if atoms.pbc.any() else None
    jump = None if axis is None or is_symmetric(atoms, axis) else sawtooth(atoms, axis)
    if jump is None:
        return {}
    # VASP is told where the matter is, as far as can be from the middle of the jump.
    centre = [0.5, 0.5, 0.5]
    centre[axis] = round((jump[0] + jump[1] / 2 + 0.5) % 1.0, 6)
    return {'ldipol': True, 'idipol': axis + 1, 'dipol': centre}


def get_enmax(potential: orm.Data) -> float:
    """Return the cutoff (eV) that a POTCAR recommends."""
    from parsevasp.potcar import Potcar

    return Potcar(file_handler=StringIO(potential.find_file_node().get_content().decode())).enmax
