"""Tests of `aiida-pyacemaker report`."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from aiida_pyacemaker.cli.report import cmd_report


@pytest.fixture
def invoke(aiida_profile):
    """Return a function that runs the command."""
    return lambda *arguments: CliRunner().invoke(cmd_report, [str(argument) for argument in arguments])


def test_exploring(exploring_graph, invoke, tmp_path):
    """A run that is still going: text, tables and pictures, written again over an earlier report."""
    node = exploring_graph.run
    for _ in range(2):
        result = invoke('-o', tmp_path / 'new' / 'report')
        assert result.exit_code == 0, result.output
    names = ['report.md', 'dynamics.png', 'learning.png', 'parity.png']
    assert [line.rpartition('/')[2] for line in result.output.splitlines()] == names
    folder = tmp_path / 'new' / 'report'
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for name in names[1:]:
        assert (folder / name).read_bytes().startswith(b'\x89PNG')
    text = re.sub(' +', ' ', (folder / 'report.md').read_text())  # tables are padded
    for line in (
        f'# Al: run {node.pk}',
        'The run is still going.',
        '- Errors of the potential that explored on held-out configurations: 2.10 meV/atom, 33.0 meV/Å '
        '(wanted: 5 and 50)',
        '- Simulated: 19.2 ps in 4 trajectories, 4 halts',
        '- Iteration 1, walker 1: overlap at step 1800 of 6000.',
        '| 0 | 1 | short | heat | 1 to 3 | 12.00 | 3.60, 7.20 | completed |',
        '| 1 | 1 | short | cool | 1 | 3.60 | 3.60 (overlap) | ended by atoms too close to each other |',
        '![Gamma, temperature and halts](dynamics.png)',
    ):
        assert line in text.splitlines()
    assert '| 1 | 1 | 30 | 4 | 64 | - | 182 | 0.71 | 2.10 | 33.0 |' in text


def test_nothing_yet(new_run_graph, invoke, tmp_path, monkeypatch):
    """A run without a single step says so in its report; by default it is in a folder of its own here."""
    monkeypatch.chdir(tmp_path)
    node = new_run_graph().run
    result = invoke(node.pk)
    assert result.exit_code == 0, result.output
    assert 'The run is still going.' in (tmp_path / f'report_{node.pk}' / 'report.md').read_text()


def test_other_node(exploring_graph, invoke, tmp_path):
    """A node of another kind is refused, and no folder is made."""
    result = invoke(exploring_graph.potential.pk, '-o', tmp_path / 'report')
    assert result.exit_code == 1
    assert 'is a AcePotentialData, not a run of the active learning loop' in result.output
    assert not list(tmp_path.iterdir())
