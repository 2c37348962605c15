"""The task `label` of the worker."""

from __future__ import annotations

import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.core.frame import labels

from .test_main import result, run, task

FRAMES = [bulk('Xe'), *(bulk('Al', a=3.9 + 0.05 * k) for k in range(4))]


def test_label(tmp_path):
    """Those asked for are labelled in their order, known by their place in the file; progress is told."""
    task(tmp_path, {'teacher': {'calculator': 'emt'}, 'indices': [3, 0, 1]}, configurations=FRAMES)
    done = run(tmp_path, 'label')
    assert done.returncode == 0, done.stderr
    assert '3 of 3 done, 1 failed' in done.stdout
    answer = result(tmp_path)
    assert (answer['number_of_configurations'], answer['number_labelled'], answer['number_failed']) == (3, 2, 1)
    assert answer['failures'][0]['index'] == 0 and 'Xe' in answer['failures'][0]['message']
    assert answer['wall_time_seconds'] > 0 and answer['threads'] == 1
    labelled = load_configurations(tmp_path / 'labelled.npz')
    assert [atoms.info['index'] for atoms in labelled] == [3, 1]
    assert all(set(labels(atoms)) == {'energy', 'forces', 'stress'} for atoms in labelled)
    assert labelled[0].cell.volume == pytest.approx(FRAMES[3].cell.volume)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    (
        ({'teacher': {'calculator': 'emt'}, 'indices': [5]}, 'configurations.npz has 5 configurations'),
        ({'teacher': {'calculator': 'emt'}, 'indices': [0]}, 'none of 1 configurations could be labelled'),
        ({'teacher': {'calculator': 'nonsense'}}, "'nonsense' cannot be a teacher"),
    ),
)
def test_bad_input(tmp_path, parameters, message):
    """What cannot be labelled is said in the result, and nothing is left that could be taken for labels."""
    task(tmp_path, parameters, configurations=FRAMES)
    assert run(tmp_path, 'label').returncode == 1
    assert result(tmp_path)['code'] == 'invalid_data' and message in result(tmp_path)['message']
    assert not (tmp_path / 'labelled.npz').exists()
