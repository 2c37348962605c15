"""The run files of examples/structures, generated as a user would, and checked again with means of their own.

Nothing of the package decides here whether a structure is good: distances come from a matrix with explicit periodic
images, charges from a table in this file.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.data import covalent_radii
from ase.io import read
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.generators.plan import FAMILIES
from aiida_pyacemaker.atomistics.generators.spread import spread
from aiida_pyacemaker.cli import cmd_root
from aiida_pyacemaker.runfile import load_runfile

FOLDER = Path(__file__).resolve().parents[1] / 'examples' / 'structures'
NAMES = sorted(path.stem for path in FOLDER.glob('*.yaml'))
NUMBER = 200
#: What every structure has to keep of the sum of the radii.
RATIO = 0.7
#: Shannon radii (Å) of ions with six neighbours, and charges.
IONS = {
    'Na': (1.02, 1), 'Cl': (1.81, -1), 'Mg': (0.72, 2), 'O': (1.40, -2), 'Ti': (0.605, 4), 'Sr': (1.18, 2),
}  # fmt: skip


def shortest_ratio(atoms, ionic: bool) -> float:
    """Shortest distance, images included, in units of the sum of radii of its pair."""
    cell = atoms.cell.array
    volume = abs(np.linalg.det(cell))
    crosses = np.array([np.cross(cell[(k + 1) % 3], cell[(k + 2) % 3]) for k in range(3)])
    widths = volume / np.linalg.norm(crosses, axis=1)
    reach = [int(np.ceil(4.0 / width)) if periodic else 0 for width, periodic in zip(widths, atoms.pbc, strict=True)]
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    fractions = np.where(atoms.pbc, fractions % 1.0, fractions)
    positions = fractions @ cell
    radii = covalent_radii[atoms.numbers]
    sums = radii[:, None] + radii[None, :]
    if ionic:
        ions = np.array([IONS[symbol][0] for symbol in atoms.get_chemical_symbols()])
        charges = np.array([IONS[symbol][1] for symbol in atoms.get_chemical_symbols()])
        opposite = np.outer(charges, charges) < 0
        sums = np.where(opposite, np.minimum(sums, ions[:, None] + ions[None, :]), sums)
    best = np.inf
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        vectors = positions[None, :, :] + np.array(shift) @ cell - positions[:, None, :]
        distances = np.linalg.norm(vectors, axis=-1)
        if shift == (0, 0, 0):
            np.fill_diagonal(distances, np.inf)
        best = min(best, float((distances / sums).min()))
    return best


#: Examples that are made with another seed, too: an alloy and an ionic crystal.
OTHER_SEEDS = ('al-si', 'mgo')


@pytest.fixture(scope='module', params=NAMES)
def generated(request, tmp_path_factory):
    """Run the command in a process of its own; return name, folder, frames and what was printed."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [Path(sys.executable).parent / 'aiida-pyacemaker', 'generate', FOLDER / f'{request.param}.yaml']
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return request.param, folder, read(folder / f'{request.param}.extxyz', ':'), done.stdout


def test_structures(generated):
    """As many as were asked for, all physical, of the family, and different from each other."""
    name, _, frames, printed = generated
    assert len(frames) == NUMBER
    runfile = load_runfile(FOLDER / f'{name}.yaml')
    expected = set(runfile.structures.families(runfile.system.elements))
    assert expected and expected <= {atoms.info['family'] for atoms in frames}
    for index, atoms in enumerate(frames):
        where = f'structure {index}: {atoms.info}'
        assert np.isfinite(atoms.positions).all() and abs(np.linalg.det(atoms.cell.array)) > 1, where
        if len(atoms) == 1 and not atoms.pbc.any():
            continue
        ionic = 'oxidation_states' in atoms.arrays and set(atoms.get_chemical_symbols()) <= set(IONS)
        assert shortest_ratio(atoms, ionic) >= RATIO - 1e-6, where
        if ionic and len(set(atoms.get_chemical_symbols())) > 1 and 'subsystem' not in atoms.info:
            assert sum(IONS[symbol][1] for symbol in atoms.get_chemical_symbols()) == 0, where
        for key in ('family', 'phase', 'operation', 'parameters', 'seed', 'split', 'reason'):
            assert key in atoms.info, (key, where)
    fingerprints = {np.round(atoms.positions, 6).tobytes() + atoms.numbers.tobytes() + atoms.cell.array.tobytes()
                    for atoms in frames}  # fmt: skip
    assert len(fingerprints) == NUMBER
    found = spread(frames)
    assert 'spread:' in printed
    assert len(found['space_groups']) > 3 and found['coordination_shells'] > 30, found
    if found['volume_per_atom']:
        assert found['volume_per_atom'][1] > 1.15 * found['volume_per_atom'][0]


def test_same_seed_same_bytes(generated, tmp_path):
    """Made again it is the same file, byte for byte; another seed makes other structures, of each kind of drawing."""
    name, folder, frames, _ = generated
    arguments = ['generate', str(FOLDER / f'{name}.yaml'), '-o']
    for target, seed in (('same', []), ('other', ['--seed', '7']))[: 2 if name in OTHER_SEEDS else 1]:
        result = CliRunner().invoke(cmd_root, [*arguments, str(tmp_path / f'{target}.extxyz'), *seed])
        assert result.exit_code == 0, result.output
    assert (tmp_path / 'same.extxyz').read_bytes() == (folder / f'{name}.extxyz').read_bytes()
    if name not in OTHER_SEEDS:
        return
    others = {atoms.positions.tobytes() + atoms.cell.array.tobytes() for atoms in read(tmp_path / 'other.extxyz', ':')}
    # ideal crystals and their volume scan are what they are
    drawn = [atoms for atoms in frames if atoms.info['operation'] in ('strain', 'shear', 'rattle', 'vacancy', 'test')]
    assert len(drawn) > 0.2 * NUMBER
    assert not any(atoms.positions.tobytes() + atoms.cell.array.tobytes() in others for atoms in drawn)


@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_is_shown(family):
    """Each family has an example, a page and a picture."""
    files = [load_runfile(path) for path in FOLDER.glob('*.yaml')]
    assert any(family in file.structures.families(file.system.elements) for file in files)
    pages = FOLDER.parents[1] / 'docs' / 'families'
    assert (pages / f'{family}.png').is_file()
    assert f'{{figure}} {family}.png' in (pages / f'{family}.md').read_text()
