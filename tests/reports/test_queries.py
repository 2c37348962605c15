"""Tests of what is told about a batch of labels while it runs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.common.timezone import now
from aiida.engine import ProcessState
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pyacemaker.reports.queries import TIERED, count_labels, get_running_tree

LabelWorkChain = WorkflowFactory('pyacemaker.label')


@pytest.fixture
def batch(generate_workchain, worker_code):
    """Return a batch of twelve configurations in jobs of three: one ended a minute ago, one failed, one runs."""
    cells = DataFactory('pyacemaker.configurations')([bulk('Cu', a=3.5 + 0.02 * k) for k in range(12)])
    parameters = {
        'oracle': 'teacher',
        'teacher': {'calculator': 'emt', 'batch': 3},
        'max_concurrent': 1,
        'max_failed_fraction': 0.5,
    }
    process = generate_workchain(
        LabelWorkChain, LabelWorkChain.get_builder_from_protocol(worker_code, cells, parameters)
    )
    process.setup()
    states = {0: (ProcessState.FINISHED, 0), 3: (ProcessState.FINISHED, 401), 6: (ProcessState.WAITING, None)}
    for index, (state, exit_status) in states.items():
        child = orm.WorkChainNode(ctime=now() - timedelta(seconds=60))
        child.base.links.add_incoming(process.node, LinkType.CALL_WORK, f'label_{index:04d}')
        child.set_process_state(state)
        if exit_status is not None:
            child.set_exit_status(exit_status)
        child.store()
        child.base.extras.set_many({'configurations': 3, 'work': 3.0, 'core_hours': 0.5, 'healed': index == 0})
    return process.node


def test_count_labels(batch):
    """Jobs of many configurations count as many; the time left follows from the work done."""
    counts = count_labels([batch])
    assert (counts.total, counts.done, counts.failed) == (12, 3, 3)
    assert (counts.running, counts.left, counts.healed) == (3, 6, 1)
    assert counts.core_hours == pytest.approx(1.0)
    # In 60 s: two jobs of four and a half, so two and a half remain of twice and a half.
    assert counts.seconds_left == pytest.approx(60 * 4.5 / 7.5, rel=0.1)
    assert counts.per_hour == pytest.approx(6 * 60, rel=0.1)


def test_count_labels_of_tiers(batch):
    """Labels of the teacher do not count as expensive ones, and are told."""
    assert count_labels([batch]).teacher is None
    step = orm.WorkChainNode(process_type=TIERED).store()
    results = orm.Dict({'tiers': {'teacher': 21, 'expensive': 11}}).store()
    results.base.links.add_incoming(step, LinkType.RETURN, 'results')
    counts = count_labels([step, orm.WorkChainNode(process_type=TIERED).store()])
    assert (counts.teacher, counts.total) == (21, 0)


def test_running_tree(batch):
    """Only what runs is in the tree."""
    assert [child.label for child in get_running_tree(batch)] == ['label_0006']
