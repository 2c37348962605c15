"""Tests of the INCAR of a static calculation."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.units import Ry
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.labelling.incar import Vasp, get_incar


def make(atoms, incar=None, **options):
    """Return the tags of a configuration."""
    section = Vasp(potential_family='x', incar=incar or {})
    return get_incar(atoms, section, 300.0, **{'smearing': 'cold', 'degauss': 0.02, **options})


def test_static():
    """Energy, forces and stress of the configuration as it is, on the user's terms."""
    tags = make(bulk('Al'), {'NCORE': 4, 'EDIFF': 1e-7})
    expected = {'nsw': 0, 'ibrion': -1, 'isif': 2, 'encut': 300.0, 'gga': 'PE', 'ismear': 1, 'ncore': 4, 'ediff': 1e-7}
    assert {key: tags[key] for key in expected} == expected
    assert tags['sigma'] == pytest.approx(0.02 * Ry)
    assert 'ispin' not in tags and 'ldipol' not in tags
    assert make(bulk('Al'), smearing='gaussian')['ismear'] == 0
    assert Vasp(potential_family='x', incar={'NCORE': 4, 'IVDW': 12}).settings() == {'ivdw': 12}


def test_spins():
    """Magnetic elements start ferromagnetic, or with the moments that they remember; free atoms by Hund's rule."""
    iron = bulk('Fe', cubic=True)
    assert make(iron)['magmom'] == [3.0, 3.0]
    iron.set_array('magnetic_moments', [2.2, -2.1], float, ())
    assert (make(iron)['ispin'], make(iron)['magmom']) == (2, [2.2, -2.1])
    assert 'ispin' not in make(iron, spin='none')
    assert make(Atoms('O', cell=[9] * 3))['nupdown'] == 2.0


def test_dipole():
    """Slabs whose faces differ get the dipole correction, with the matter far from the jump; others do not."""
    slab = fcc111('Al', size=(1, 1, 4), vacuum=7.0, periodic=True)
    assert 'ldipol' not in make(slab)
    add_adsorbate(slab, 'Cu', 2.0, 'fcc')
    tags = make(slab)
    assert (tags['ldipol'], tags['idipol']) == (True, 3)
    heights = slab.get_scaled_positions()[:, 2]
    assert abs(tags['dipol'][2] - (heights.min() + heights.max()) / 2) < 0.01
    assert 'ldipol' not in make(slab, dipole_correction=False)


@pytest.mark.parametrize('tag', ['NSW', 'kspacing', 'SIGMA', 'MAGMOM', 'IDIPOL', 'METAGGA', 'ENCUT'])
def test_taken(tag):
    """What has a key of its own, or makes no label, is refused."""
    with pytest.raises(ValidationError, match=f'{tag} is not set here; '):
        Vasp(potential_family='x', incar={tag: 1})
