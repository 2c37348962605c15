"""Tests of what a repeated step does with the children of its interrupted run."""

from __future__ import annotations

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pyacemaker.workflows.reuse_children import find_child

LabelWorkChain = WorkflowFactory('pyacemaker.label')


def add_child(process, label, state):
    """Add a child as an interrupted step leaves it."""
    child = orm.WorkChainNode()
    child.base.links.add_incoming(process.node, LinkType.CALL_WORK, label)
    child.set_process_state(state)
    return child.store()


def test_find_child(generate_workchain, pw_code, label_parameters):
    """A child that runs or has ended is found and not submitted again; one that was killed is submitted anew."""
    cells = DataFactory('pyacemaker.configurations')([bulk('Al'), bulk('Al', a=4.1)])
    process = generate_workchain(
        LabelWorkChain, LabelWorkChain.get_builder_from_protocol(pw_code, cells, label_parameters)
    )
    process.setup()
    waiting = add_child(process, 'label_0000', ProcessState.WAITING)
    add_child(process, 'label_0001', ProcessState.KILLED)

    assert find_child(process, 'label_0000').pk == waiting.pk
    assert find_child(process, 'label_0001') is None
    assert find_child(process, 'label_0002') is None

    process.run_next()
    assert process.ctx.running[0] == waiting.pk
    assert orm.load_node(process.ctx.running[1]).process_label == 'PyacemakerPwBaseWorkChain'
