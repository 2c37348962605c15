"""The user's own structures: AiiDA nodes, and what is in them as frames."""

from __future__ import annotations

from aiida import orm
from ase import Atoms

from aiida_pyacemaker.atomistics.checks.moments import MOMENTS
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.io.files import own_structure
from aiida_pyacemaker.atomistics.io.moments import moments_of_kinds
from aiida_pyacemaker.atomistics.labelling.magnetism import START_MOMENTS
from aiida_pyacemaker.data.configurations import ConfigurationsData

#: Where a run file names nodes.
KEY = 'structures.nodes'
#: Where it gives moments to their kinds of atoms.
KEY_OF_MOMENTS = 'structures.moments'
#: Node types that hold structures.
STRUCTURE_TYPES = (orm.StructureData, orm.TrajectoryData, ConfigurationsData)


def get_frames(nodes: dict[str, orm.Data], moments: dict[str, float] | None = None) -> list[Atoms]:
    """Return the structures of all nodes, without labels, in the alphabetical order of the names.

    :param nodes: name -> StructureData, TrajectoryData or ConfigurationsData.
    :param moments: Bohr magnetons by the kind of atoms of StructureData. The moments of ConfigurationsData are theirs.
    :returns: frames whose info has `family` 'user', `phase` and `parent`, the uuid of the node.
    :raises InputError: naming the node, if a structure is of no use.
    """
    frames = []
    for name in sorted(nodes):
        node = nodes[name]
        for index, atoms in enumerate(_frames(node, moments or {})):
            own = own_structure(atoms, KEY, f'structure {index} of node {node.pk}')
            own.info.update(
                family='user',
                phase=atoms.info.get('phase', atoms.get_chemical_formula(empirical=True)),
                split='train',
                parent=node.uuid,
                reason=f'given by the user: structure {index} of node {node.pk}',
                parameters={'node': node.uuid, 'index': index},
            )
            frames.append(own)
    return frames


def check_moments(nodes: list[orm.Data], moments: dict[str, float]) -> None:
    """Check that moments and kinds of atoms belong together.

    :param moments: Bohr magnetons by the kind of atoms of StructureData.
    :raises InputError: if no StructureData among the nodes has a kind that is named, or if one has several kinds of a
        magnetic element, which nobody said the moments of.
    """
    structures = [node for node in nodes if isinstance(node, orm.StructureData)]
    there = {kind.name for node in structures for kind in node.kinds}
    strange = sorted(set(moments) - there)
    if strange:
        kinds = f'their kinds are {", ".join(sorted(there))}' if there else 'there is no StructureData among them'
        raise InputError(
            KEY_OF_MOMENTS,
            f'there are moments for {", ".join(strange)}, which no structure of {KEY} has',
            f'{kinds}; files bring their moments with them (the array initial_magmoms of extxyz, magnetic CIF)',
        )
    for node in structures:
        for symbol in sorted(START_MOMENTS.keys() & {kind.symbol for kind in node.kinds}):
            kinds_of = sorted(kind.name for kind in node.kinds if kind.symbol == symbol)
            if len(kinds_of) > 1 and moments.keys().isdisjoint(kinds_of):
                raise InputError(
                    KEY_OF_MOMENTS,
                    f'node {node.pk} has the kinds {", ".join(kinds_of)}, which may differ in their moments, and a '
                    'StructureData cannot say how',
                    f'give the moments, such as {{{kinds_of[0]}: {START_MOMENTS[symbol]:g}, '
                    f'{kinds_of[1]}: {-START_MOMENTS[symbol]:g}}}, or equal ones for a ferromagnet',
                )


def _frames(node: orm.Data, moments: dict[str, float]) -> list[Atoms]:
    if isinstance(node, ConfigurationsData):
        return node.get_frames()
    if isinstance(node, orm.TrajectoryData):
        return [node.get_step_structure(index).get_ase() for index in range(node.numsteps)]
    atoms = node.get_ase()
    names = [site.kind_name for site in node.sites]
    found = moments_of_kinds(names, moments, KEY_OF_MOMENTS, f'node {node.pk}')
    if found is not None:
        atoms.set_array(MOMENTS, found)
    return [atoms]


def find_structure_nodes(identifiers: list[str | int]) -> list[orm.Data]:
    """Return the nodes that a run file names.

    :param identifiers: pk or uuid of a node, or label of a group, of which all structures are taken.
    :raises InputError: naming what is not there, or holds no structures.
    """
    nodes = [node for identifier in identifiers for node in _find(identifier)]
    return list({node.pk: node for node in nodes}.values())


def _find(identifier: str | int) -> list[orm.Data]:
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    try:
        node = orm.load_node(identifier)
    except MultipleObjectsError:
        raise InputError(KEY, f'`{identifier}` is the beginning of several uuids', 'give more of it') from None
    except (NotExistent, ValueError):
        group = orm.QueryBuilder().append(orm.Group, filters={'label': str(identifier)}).first(flat=True)
        if group is None:
            raise InputError(
                KEY, f'there is no node and no group `{identifier}`', 'see `verdi group list -A`'
            ) from None
        found = sorted((node for node in group.nodes if isinstance(node, STRUCTURE_TYPES)), key=lambda node: node.pk)
        if not found:
            raise InputError(KEY, f'the group `{identifier}` has no structures in it') from None
        return found
    if not isinstance(node, STRUCTURE_TYPES):
        kinds = ', '.join(kind.__name__ for kind in STRUCTURE_TYPES)
        raise InputError(KEY, f'node {identifier} is a {type(node).__name__}', f'known are {kinds}')
    return [node]
