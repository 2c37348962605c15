"""Calcfunctions that make structure nodes of configurations."""

from __future__ import annotations

from collections.abc import Sequence

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_pyacemaker.atomistics.core.frame import group_name
from aiida_pyacemaker.atomistics.labelling.magnetism import kind_tags
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def get_structure(configurations: ConfigurationsData, index: orm.Int) -> orm.StructureData:
    """Return one configuration as a structure, which can go to DFT: same atoms in the same order, same periodicity.

    :param configurations: the configurations.
    :param index: which one, counted from 0; it is written in the label and in the extra ``index`` of the structure.
    """
    return make_structure(configurations.get_structure_ase(index.value), index.value)


@calcfunction
def get_structures(configurations: ConfigurationsData, indices: orm.List) -> dict[str, orm.StructureData]:
    """Return many configurations as structures, see :func:`get_structure`: one process instead of one for each.

    Atoms of an element that carry different magnetic moments are of different kinds, as DFT needs them.

    :param configurations: the configurations.
    :param indices: which ones, counted from 0.
    :returns: ``structure_0003`` for configuration 3, and so on.
    """
    frames = configurations.get_frames()
    return {
        f'structure_{index:04d}': make_structure(frames[index], index, kind_tags(frames[index])) for index in indices
    }


def make_structure(atoms: Atoms, index: int, tags: Sequence[int] | None = None) -> orm.StructureData:
    """Return a configuration as an unstored structure.

    :param index: its place among the configurations, written in the label and in the extra ``index``.
    :param tags: (n,) what splits an element into several kinds; nothing does by default.
    """
    # Without its own tags, charges and the like, which would split an element into several kinds.
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, tags=tags)
    structure = orm.StructureData(ase=bare)
    structure.label = f'{atoms.get_chemical_formula()} {group_name(atoms)} {index}'
    structure.base.extras.set_many({'index': index, 'family': atoms.info.get('family', 'unknown')})
    return structure
