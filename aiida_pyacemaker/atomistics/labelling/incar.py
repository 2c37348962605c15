"""VASP: what a user can set, and the INCAR of a static calculation made from physics."""

from __future__ import annotations

from typing import Literal

from ase import Atoms
from ase.units import Ry
from pydantic import field_validator

from ..core.errors import InputError
from ..core.parameters import Positive, Section, parameter
from .dipole import is_symmetric, sawtooth, slab_axis
from .magnetism import is_free_atom, start_moments

#: ISMEAR of each kind of smearing. VASP has no Marzari-Vanderbilt smearing; first-order Methfessel-Paxton is like it in
#: that the free energy has no quadratic term in the width. The width means the same in both programs.
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
RESERVED_TAGS = {
    **dict.fromkeys(('nsw', 'ibrion', 'isif'), 'fixed, a label is one static calculation'),
    **dict.fromkeys(('kspacing', 'kgamma'), 'set `label.kpoints_distance`'),
    **dict.fromkeys(('ismear', 'sigma'), 'set `label.smearing` and `label.degauss`'),
    **dict.fromkeys(('ispin', 'magmom', 'nupdown'), 'set `label.spin`'),
    **dict.fromkeys(('ldipol', 'idipol', 'dipol'), 'set `label.dipole_correction`'),
    **dict.fromkeys(('gga', 'metagga'), 'set `label.vasp.functional`'),
    'encut': 'set `label.vasp.encut`',
}
#: Tags on which no label depends.
TECHNICAL_TAGS = {
    'ncore',
    'npar',
    'kpar',
    'nsim',
    'lplane',
    'nwrite',
    'algo',
    'nelm',
    'amix',
    'bmix',
    'amin',
    'lscalapack',
}
#: Projected moments are asked for where there is spin.
LORBIT = 11


#: INCAR tags in small letters.
Tags = dict[str, str | int | float | bool | list[int | float]]


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
    incar: Tags = parameter('Further INCAR tags, such as {NCORE: 4}.', default={})

    @field_validator('incar')
    @classmethod
    def _check_incar(cls, value: Tags) -> Tags:
        for tag in value:
            if tag.lower() in RESERVED_TAGS:
                raise InputError('', f'{tag} is not set here', RESERVED_TAGS[tag.lower()])
        return {tag.lower(): entry for tag, entry in value.items()}

    def settings(self) -> Tags:
        """Return the further tags that a label depends on."""
        return {tag: value for tag, value in self.incar.items() if tag not in TECHNICAL_TAGS}


def get_incar(
    atoms: Atoms,
    section: Vasp,
    encut: float,
    smearing: str,
    degauss: float,
    spin: str = 'auto',
    dipole_correction: bool = True,
) -> Tags:
    """Return the INCAR tags of a static calculation, in small letters as aiida-vasp has them.

    :param encut: eV. :param smearing: one of `ISMEAR`. :param degauss: Ry.
    :param spin: the key `label.spin`, `auto` or `none`.
    """
    tags = {**STATIC, **SCRATCH, **FUNCTIONALS[section.functional], 'encut': encut}
    tags |= {'ismear': ISMEAR[smearing], 'sigma': degauss * Ry}
    tags |= spin_tags(atoms) if spin == 'auto' else {}
    tags |= dipole_tags(atoms) if dipole_correction else {}
    return {**tags, **section.incar}


def spin_tags(atoms: Atoms) -> Tags:
    """Return the tags of collinear spins, none where a configuration is not magnetic.

    The moment of a free atom is fixed, as Hund's rule has it.
    """
    moments = start_moments(atoms)
    if moments is None:
        return {}
    fixed = {'nupdown': float(moments[0])} if is_free_atom(atoms) else {}
    return {'ispin': 2, 'magmom': [round(float(moment), 3) for moment in moments], 'lorbit': LORBIT, **fixed}


def dipole_tags(atoms: Atoms) -> Tags:
    """Return the tags of the dipole correction, for slabs whose faces differ and whose vacuum is thick enough."""
    axis = slab_axis(atoms) if atoms.pbc.any() else None
    jump = None if axis is None or is_symmetric(atoms, axis) else sawtooth(atoms, axis)
    if jump is None:
        return {}
    # VASP is told where the matter is, as far as can be from the middle of the jump.
    centre = [0.5, 0.5, 0.5]
    centre[axis] = round((jump[0] + jump[1] / 2 + 0.5) % 1.0, 6)
    return {'ldipol': True, 'idipol': axis + 1, 'dipol': centre}
