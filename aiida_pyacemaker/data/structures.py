"""The user's own structures: AiiDA nodes, and what is in them as frames."""

from __future__ import annotations

from aiida import orm
from ase import Atoms

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.io.files import own_structure
from aiida_pyacemaker.data.configurations import ConfigurationsData

#: Where a run file names nodes.
KEY = 'structures.nodes'
#: Node types that hold structures.
STRUCTURE_TYPES = (orm.StructureData, orm.TrajectoryData, ConfigurationsData)


def get_frames(nodes: dict[str, orm.Data]) -> list[Atoms]:
    """Return the structures of all nodes, without labels, in the alphabetical order of the names.

    :param nodes: name -> StructureData, TrajectoryData or ConfigurationsData.
    :returns: frames whose info has `family` 'user', `phase` and `parent`, the uuid of the node.
    :raises InputError: naming the node, if a structure is of no use.
    """
    frames = []
    for name in sorted(nodes):
        node = nodes[name]
        for index, atoms in enumerate(_frames(node)):
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


def _frames(node: orm.Data) -> list[Atoms]:
    if isinstance(node, ConfigurationsData):
        return node.get_frames()
    if isinstance(node, orm.TrajectoryData):
        return [node.get_step_structure(index).get_ase() for index in range(node.numsteps)]
    return [node.get_ase()]


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
