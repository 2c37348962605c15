"""Tests of the user's own structures that are AiiDA nodes."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk, fcc111

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.calculations.functions.starting_configurations import starting_configurations
from aiida_pyacemaker.calculations.generate import GenerateCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.structures import check_moments, find_structure_nodes, get_frames

pytestmark = pytest.mark.usefixtures('aiida_profile')


@pytest.fixture
def nodes() -> list[orm.Data]:
    """One node of each type, stored: a bcc crystal, a trajectory of two steps, two configurations."""
    crystal = bulk('Al', 'bcc', a=3.3, cubic=True)
    trajectory = orm.TrajectoryData([orm.StructureData(ase=bulk('Al', 'fcc', a=a)) for a in (4.0, 4.1)])
    configurations = ConfigurationsData([bulk('Al', 'sc', a=2.8), bulk('Al', 'hcp', a=2.9, c=4.7)])
    return [node.store() for node in (orm.StructureData(ase=crystal), trajectory, configurations)]


def test_find_by_pk_uuid_and_group(nodes):
    """Nodes are named by pk, uuid or the label of a group; each comes once."""
    group = orm.Group(label='my structures').store()
    group.add_nodes([*nodes[:2], orm.Int(1).store()])
    found = find_structure_nodes([nodes[2].pk, nodes[0].uuid, 'my structures'])
    assert [node.pk for node in found] == [nodes[2].pk, nodes[0].pk, nodes[1].pk]


def test_what_is_not_there(nodes):
    """The message names what was asked for and what is possible."""
    with pytest.raises(ValueError, match=r'structures\.nodes: there is no node and no group `nothing`'):
        find_structure_nodes(['nothing'])
    with pytest.raises(ValueError, match='is a Int; known are StructureData'):
        find_structure_nodes([orm.Int(3).store().pk])
    orm.Group(label='numbers').store().add_nodes([orm.Int(1).store()])
    with pytest.raises(ValueError, match='`numbers` has no structures in it'):
        find_structure_nodes(['numbers'])


def test_frames_of_all_types(nodes):
    """Every structure of every node, which it names as its parent."""
    frames = get_frames({f'node_{index}': node for index, node in enumerate(nodes)})
    assert [len(atoms) for atoms in frames] == [2, 1, 1, 1, 2]
    assert [atoms.info['parent'] for atoms in frames] == [nodes[0].uuid] + 2 * [nodes[1].uuid] + 2 * [nodes[2].uuid]
    assert all(atoms.info['family'] == 'user' for atoms in frames)


def test_slabs_are_marked():
    """A slab that is periodic in its plane becomes periodic in all directions, with its vacuum known."""
    slab = fcc111('Al', (1, 1, 3), vacuum=6.0)
    (frame,) = get_frames({'slab': orm.StructureData(ase=slab).store()})
    assert frame.pbc.all() and frame.info['vacuum_axes'] == [2]
    with pytest.raises(ValueError, match=r'structures: given by the user: .*Al not among the elements Cu'):
        generate(['Cu'], Structures(), seed=1, own=[frame])


def test_generate_from_nodes(nodes, worker_code):
    """The job has the nodes as inputs, so that provenance leads from the set to them, and tells its progress."""
    structures = {'automatic': False, 'rattle': {'number': 3, 'atoms': 4}}
    parameters = {'elements': ['Al'], 'seed': 1, 'structures': structures}
    builder = GenerateCalculation.get_builder()
    builder.code, builder.parameters, builder.structures = worker_code, orm.Dict(parameters), {'bcc': nodes[0]}
    outputs, process = run_get_node(builder)
    assert process.is_finished_ok, process.exit_message
    assert process.inputs.structures.bcc.pk == nodes[0].pk
    assert ' variants' in process.outputs.retrieved.base.repository.get_object_content('worker.out')
    result = outputs['configurations']
    assert result.creator.pk == process.pk
    frames = result.get_frames()
    assert {atoms.info['family'] for atoms in frames} == {'isolated_atom', 'user'}
    given = next(atoms for atoms in frames if atoms.info['operation'] == 'as given')
    np.testing.assert_allclose(given.positions, nodes[0].get_ase().positions)
    table = outputs['results']['table']
    assert {row['family']: row['structures'] for row in table} == {'isolated_atom': 1, 'user': len(frames) - 1}
    cells = starting_configurations(orm.Dict({**parameters, 'atoms': 16, 'number': 2}), bcc=nodes[0])
    assert [len(atoms) for atoms in cells.get_frames()] == [16]


def test_moments_of_kinds(worker_code):
    """Kinds of atoms have the moments that were given for them, in the initial set and where simulations start."""
    cell = bulk('Fe', a=2.87, cubic=True)
    node = orm.StructureData(ase=Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True, tags=[1, 2])).store()
    moments = {'Fe1': 2.0, 'Fe2': -2.0}
    (frame,) = get_frames({'iron': node}, moments)
    assert frame.get_chemical_symbols() == ['Fe', 'Fe'] and frame.arrays['magnetic_moments'].tolist() == [2.0, -2.0]
    check_moments([node], moments)
    with pytest.raises(
        InputError, match=r'structures\.moments: .* moments for Fe3, .*; their kinds are Fe1, Fe2; files'
    ):
        check_moments([node], {**moments, 'Fe3': 1.0})
    with pytest.raises(InputError, match=r'has the kinds Fe1, Fe2, .*; give the moments, such as {Fe1: 3, Fe2: -3}'):
        check_moments([node], {})
    structures = {'automatic': False, 'rattle': {'number': 1, 'atoms': 4}, 'moments': moments}
    parameters = {'elements': ['Fe'], 'seed': 1, 'structures': structures}
    builder = GenerateCalculation.get_builder()
    builder.code, builder.parameters, builder.structures = worker_code, orm.Dict(parameters), {'iron': node}
    generated = run_get_node(builder)[0]['configurations'].get_frames()
    made = [atoms for atoms in generated if len(atoms) > 1]
    made += starting_configurations(orm.Dict({**parameters, 'atoms': 16, 'number': 1}), iron=node).get_frames()
    assert made and all(np.abs(atoms.arrays['magnetic_moments']).tolist() == [2.0] * len(atoms) for atoms in made)
    assert all(atoms.arrays['magnetic_moments'].sum() == 0 for atoms in made if len(atoms) % 2 == 0)


def test_oxidation_states_are_stored():
    """They come back with the configurations; where there are none, none come back."""
    salt = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    salt.set_array('oxidation_states', np.array([1.0, -1.0] * 4))
    node = ConfigurationsData([salt, Atoms('Al', cell=[9] * 3)]).store()
    first, second = node.get_frames()
    np.testing.assert_array_equal(first.arrays['oxidation_states'], salt.arrays['oxidation_states'])
    assert 'oxidation_states' not in second.arrays


def test_generate_refuses(worker_code):
    """What cannot be generated is refused before submission, by name."""
    builder = GenerateCalculation.get_builder()
    with pytest.raises(ValueError, match='structures'):
        builder.parameters = orm.Dict({'elements': ['Al'], 'seed': 1, 'structures': {'ratle': {}}})
    with pytest.raises(ValueError, match='limits'):
        builder.parameters = orm.Dict({'elements': ['Al'], 'seed': 1, 'limits': {'nummber': 1}})
