"""What keeps WorkChains with hundreds of children cheap and their places filled."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from aiida.engine import Awaitable, AwaitableAction, AwaitableTarget, ProcessState
from aiida_quantumespresso.parsers.parse_xml import parse as pw_xml

# aiida-quantumespresso compiles the schema of pw.x's XML again for every output: 0.16 s of CPU, a tenth of what a label
# costs. A machine has a few schemas at most, one per version of pw.x.
schema = getattr(pw_xml, 'XMLSchema', None)
if schema is not None and not hasattr(schema, 'cache_info'):
    pw_xml.XMLSchema = functools.cache(schema)


class Lean:
    """Mixin of processes that have their outputs at the end only: nothing is looked up before.

    At each change of state a process asks the database which of its outputs are linked already, which is about a
    quarter of what the change costs, and there are ten of them in a label.
    """

    def update_outputs(self) -> None:
        """Link new outputs, if there are any."""
        if self.outputs:
            super().update_outputs()


class WaitForAny:
    """Mixin of WorkChains that take their next step when *any* of the processes they wait for has ended.

    AiiDA waits for all of them: a WorkChain that keeps a number of children running would find its places empty until
    the slowest is done. Nothing comes into the context; the step looks itself at what has ended.
    """

    def wait_for_any(self, pks: Iterable[int]) -> None:
        """Wait after the current step until one of these processes has ended."""
        same = {'action': AwaitableAction.ASSIGN, 'target': AwaitableTarget.PROCESS, 'outputs': False}
        self._awaitables = [Awaitable(pk=pk, key=f'awaited_{pk}', **same) for pk in pks]

    def _action_awaitables(self) -> None:
        """Ask to be called at the end of each process: once, not again with every step that waits for it."""
        watched = self.__dict__.setdefault('_watched', set())
        for awaitable in self._awaitables:
            if awaitable.pk not in watched:
                watched.add(awaitable.pk)
                callback = functools.partial(self.call_soon, self._on_awaitable_finished, awaitable)
                self.runner.call_on_process_finish(awaitable.pk, callback)

    def _on_awaitable_finished(self, awaitable: Awaitable) -> None:
        """Go on, unless a step is running: if that does not notice the end, it will ask again and be called at once."""
        self._watched.discard(awaitable.pk)
        if self.state == ProcessState.WAITING and any(awaitable.pk == other.pk for other in self._awaitables):
            self.resume()
