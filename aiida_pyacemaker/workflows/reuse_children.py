"""Steps of a WorkChain that may be interrupted: children that are there already are not submitted twice."""

from __future__ import annotations

from collections.abc import Callable

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessBuilder, ProcessState, WorkChain

#: States of a process, as the database has them, in which it has ended.
TERMINATED = ('finished', 'excepted', 'killed')


def find_child(process: WorkChain, label: str) -> orm.ProcessNode | None:
    """Return the child that an interrupted run of the current step has submitted under this call link label, if any.

    When the daemon's worker is killed in the middle of a step, the WorkChain goes on from the checkpoint before it and
    repeats the step. What the step had submitted by then goes on as well, unknown to the context, and would be computed
    twice. Labels must therefore be unique among the children of a WorkChain.

    :returns: the child, or None if there is none or it was killed or excepted, so that it has to be submitted.
    """
    links = process.node.base.links.get_outgoing(
        link_type=(LinkType.CALL_WORK, LinkType.CALL_CALC), link_label_filter=label
    )
    child = max((link.node for link in links.all()), key=lambda node: node.pk, default=None)
    if child is None or child.is_killed or child.is_excepted:
        return None
    if child.process_state in (None, ProcessState.CREATED) and process.runner.controller is not None:
        # The worker may have been killed before it sent the task; a task that comes twice is ignored.
        process.runner.controller.continue_process(child.pk, nowait=False, no_reply=True)
    return child


def submit_once(process: WorkChain, label: str, get_builder: Callable[[], ProcessBuilder]) -> orm.ProcessNode:
    """Return the child of this call link label: what an interrupted run of the step has submitted, or a new one.

    :param get_builder: makes the inputs; not called if the child is there, as this may store nodes.
    """
    child = find_child(process, label)
    if child is None:
        builder = get_builder()
        builder.metadata.call_link_label = label
        child = process.submit(builder)
    return child
