"""Calcfunction that makes a structure node of one configuration."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_pyacemaker.atomistics.configurations import group_name
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def get_structure(configurations: ConfigurationsData, index: orm.Int) -> orm.StructureData:
    """Return one configuration as a structure, which can go to DFT: same atoms in the same order, same periodicity.

    :param configurations: the configurations.
    :param index: which one, counted from 0; it is written in the label and in the extra ``index`` of the structure.
    """
    atoms = configurations.get_structure_ase(index.value)
    # Without tags, magnetic moments and the like, which would split an element into several kinds.
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    structure = orm.StructureData(ase=bare)
    structure.label = f'{atoms.get_chemical_formula()} {group_name(atoms)} {index.value}'
    structure.base.extras.set_many({'index': index.value, 'family': atoms.info.get('family', 'unknown')})
    return structure
