"""Settings of labels: what tells them apart, and that mixtures are refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.labelling.settings import (
    check_consistent,
    differences,
    fingerprint,
    get_scale,
    group_by_settings,
)

QE = {
    'oracle': 'qe', 'version': '6.7', 'xc': 'PBE', 'ecutwfc': 40, 'ecutrho': 160.0, 'smearing': 'cold', 'degauss': 0.02,
    'kpoints_distance': 0.15, 'pseudos': {'Al': 'a1', 'Cu': 'c1'},
}  # fmt: skip
TEACHER = {'oracle': 'teacher', 'calculator': 'sevennet', 'model': '7net-0', 'version': '0.11'}


def frame(settings: dict | None, symbol: str = 'Al', labelled: bool = True) -> Atoms:
    atoms = bulk(symbol, 'fcc', a=4.0)
    if settings is not None:
        atoms.info['settings'] = settings
    return set_labels(atoms, -1.0, np.zeros((1, 3))) if labelled else atoms


@pytest.mark.parametrize(
    ('changed', 'told'),
    [
        ({'ecutwfc': 60}, 'ecutwfc 40 Ry against 60 Ry'),
        ({'version': '7.2'}, 'Quantum ESPRESSO 6.7 against 7.2'),
        ({'pseudos': {'Al': 'a2', 'Cu': 'c1'}}, 'pseudopotential of Al differs'),
        ({'xc': 'PBEsol'}, 'functional PBE against PBEsol'),
        ({'kpoints_distance': 0.2}, 'distance of k-points 0.15 1/Å against 0.2 1/Å'),
        ({'smearing': None}, 'smearing cold against none'),
    ],
)
def test_difference_in_words(changed, told):
    assert differences(QE, {**QE, **changed}) == [told]
    assert fingerprint(QE) != fingerprint({**QE, **changed})


def test_who_labelled_comes_first():
    assert differences(TEACHER, QE) == ['labelled by teacher sevennet 7net-0 against qe']
    other = {**TEACHER, 'model': 'f' * 64}
    assert differences(TEACHER, other) == [f'labelled by teacher sevennet 7net-0 against teacher sevennet {"f" * 20}']
    assert differences(TEACHER, {**TEACHER, 'version': '1.0'}) == ['teacher sevennet 7net-0 0.11 against 1.0']
    assert differences(None, QE) == ['labelled by unknown settings against qe']
    assert differences({}, None) == []


def test_aligned_energies():
    """Energies that were aligned tell to what; by their scale they belong to the labels that they were aligned to."""
    aligned = {**TEACHER, 'aligned_to': QE}
    assert differences(aligned, {**TEACHER, 'aligned_to': {**QE, 'pseudos': {'Al': 'a1'}}}) == []
    told = differences(aligned, {**TEACHER, 'aligned_to': {**QE, 'ecutwfc': 60}})
    assert told == ['energies aligned to other ones: ecutwfc 40 Ry against 60 Ry']
    frames = [frame(QE), frame(aligned), frame(TEACHER), frame(None)]
    assert [group.indices for group in group_by_settings(frames)] == [[0], [1], [2], [3]]
    assert [group.indices for group in group_by_settings(frames, get_scale)] == [[0, 1], [2], [3]]


def test_equal_settings_have_equal_names():
    """Order and the type of numbers are no difference, nor elements that one of them does not have."""
    same = {**dict(reversed(QE.items())), 'ecutwfc': 40.0}
    assert differences(QE, same) == [] and fingerprint(QE) == fingerprint(same)
    assert differences(QE, {**QE, 'pseudos': {'Cu': 'c1', 'Mg': 'm1'}}) == []
    assert len(fingerprint(QE)) == 12 and fingerprint(None) == fingerprint({}) == 'unknown'


def test_groups_join_elements():
    """Frames of some of the elements belong to one group; its settings know the elements of all."""
    frames = [frame({**QE, 'pseudos': pseudos}) for pseudos in ({'Al': 'a1'}, {'Cu': 'c1'}, {'Al': 'a2', 'Cu': 'c1'})]
    one, other = group_by_settings(frames)
    assert (one.indices, other.indices) == ([0, 1], [2])
    assert one.settings['pseudos'] == {'Al': 'a1', 'Cu': 'c1'}
    assert one.fingerprint == fingerprint(QE) != other.fingerprint


def test_mixtures_are_refused():
    check_consistent([frame(QE), frame({**QE, 'pseudos': {'Al': 'a1'}}), frame(TEACHER, labelled=False)])
    check_consistent([frame(None), frame(None)])
    frames = [frame(QE)] * 6 + [frame(None, labelled=False), frame({**QE, 'ecutwfc': 60, 'version': '7.2'})]
    message = (
        r'Quantum ESPRESSO 6\.7 against 7\.2; ecutwfc 40 Ry against 60 Ry; 6 configurations \(0, 1, 2, 3, 4, \.\.\.\) '
        r'against 1 configuration \(7\)\. .*`label\.mix_settings: true`'
    )
    with pytest.raises(ValueError, match=message):
        check_consistent(frames)
    with pytest.raises(ValueError, match='labelled by qe against unknown settings'):
        check_consistent([frame(QE), frame(None)])
