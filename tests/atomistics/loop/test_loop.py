"""The whole loop without AiiDA, by the script that benchmarks use, on the real engines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

SCRIPT = Path(__file__).parents[2] / 'benchmarks' / 'loop.py'
#: A small basis, one walker and little data: it halts on its first way up, learns, and comes to an end.
SETTINGS = {
    'explore.walkers': 1,
    'explore.programs': '[heat]',
    'explore.seeds': 1,
    'explore.atoms': 16,
    'explore.stages': '[{name: only, share: 1.0}]',
    'explore.temperature': '[300, 2000]',
    'explore.steps': 800,
    'structures.rattle': '{number: 8, amplitude: [0.05, 0.1], atoms: 16}',
    'train.number_of_functions': 40,
    'train.cutoff': 5.0,
}


@pytest.fixture(scope='module')
def story(make_once) -> dict:
    def run(folder: Path) -> None:
        settings = [word for key, value in SETTINGS.items() for word in ('--set', f'{key}={value}')]
        command = [sys.executable, str(SCRIPT), 'al', str(folder / 'al'), *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    directory = make_once('loop', run)[0] / 'al'
    return json.loads((directory / 'story.json').read_text()) | {'directory': directory}


def test_loop_learns_and_converges(story):
    assert story['state'] == 'converged', story['reason']
    assert story['halts'] > 0
    steps = [
        (walker['start_step'], walker['step']) for entry in story['iterations'] for walker in entry.get('walkers', [])
    ]
    assert any(start > 0 for start, _ in steps)
    assert steps[-1] == (0, 800)


def test_loop_keeps_what_it_labelled(story):
    labelled = load_configurations(story['directory'] / 'labelled.npz')
    learned = [atoms for atoms in labelled if atoms.info['iteration'] and atoms.info['split'] == 'train']
    assert len(labelled) == story['labels']['train'] + story['labels']['test']
    assert learned and all('predicted_forces' in atoms.arrays for atoms in learned)


def test_potential_knows_what_halted_it(story):
    labelled = load_configurations(story['directory'] / 'labelled.npz')
    halted = [atoms for atoms in labelled if atoms.info['family'] == 'halted']
    threshold = story['parameters']['explore']['gamma_halt']
    assert all(atoms.info['gamma_max'] > threshold for atoms in halted)
    assert max(gamma.max() for gamma in AcePotential(story['exploring']).gamma(halted)) < threshold
