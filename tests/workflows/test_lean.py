"""Tests of what keeps WorkChains with many children cheap: it reaches into AiiDA, which this pins."""

from __future__ import annotations

from types import SimpleNamespace

from aiida.engine import ProcessState, WorkChain

from aiida_pyacemaker.workflows.lean import Lean, WaitForAny, pw_xml


class Outputs:
    """Stands for a process, and counts how often its outputs are looked up."""

    outputs: dict = {}
    looked_up = 0

    def update_outputs(self):
        """Look up."""
        self.looked_up += 1


class LeanOutputs(Lean, Outputs):
    """The same, lean."""


class Waiting(WaitForAny):
    """Stands for a WorkChain that waits for children."""

    state = ProcessState.WAITING

    def __init__(self):
        self.callbacks, self.resumed = {}, 0
        self.runner = SimpleNamespace(call_on_process_finish=self.callbacks.setdefault)

    def call_soon(self, function, *arguments):
        """Call at once."""
        function(*arguments)

    def resume(self):
        """Take the next step."""
        self.resumed += 1


def test_hooks_are_there():
    """What is overridden exists in this version of AiiDA and aiida-quantumespresso."""
    assert all(hasattr(WorkChain, name) for name in ('update_outputs', '_action_awaitables', '_on_awaitable_finished'))
    assert hasattr(pw_xml.XMLSchema, 'cache_info')


def test_outputs_are_looked_up_once_there_are_some():
    process = LeanOutputs()
    process.update_outputs()
    assert process.looked_up == 0
    process.outputs = {'results': 1}
    process.update_outputs()
    assert process.looked_up == 1


def test_any_child_is_enough():
    """The first end resumes; a child is watched once, however often it is waited for."""
    process = Waiting()
    process.wait_for_any([1, 2])
    process._action_awaitables()
    process.wait_for_any([1, 2])
    process._action_awaitables()
    assert sorted(process.callbacks) == [1, 2]
    process.callbacks[2]()
    assert process.resumed == 1
    process.wait_for_any([3])
    process._action_awaitables()
    process.callbacks[1]()  # nobody waits for it any more
    assert process.resumed == 1
