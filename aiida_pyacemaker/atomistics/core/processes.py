"""Work that is done by forked processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from time import sleep
from typing import Any, TypeVar

import numpy as np
from ase import Atoms

T = TypeVar('T')

#: What the forked children inherit: a function and its items.
_job: tuple[Callable[[Any], Any], Sequence[Any]] | None = None


def bare(atoms: Atoms) -> Atoms:
    """Return a frame without labels and info."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def forked_map(function: Callable[[Any], T], items: Sequence[Any], processes: int = 2) -> Iterator[T]:
    """Yield `function(item)` for all items in order, computed by forked processes.

    The children inherit function and items, so only the results are pickled (a basis of python-ace cannot be).

    :raises RuntimeError: if a process is killed; `multiprocessing.Pool` would wait forever.
    """
    processes = min(processes, len(items))
    if processes <= 1:
        yield from map(function, items)
        return
    global _job
    outer, _job = _job, (function, items)
    # small blocks, so that all end at the same time
    size = int(np.clip(len(items) // (16 * processes), 1, 16))
    blocks = [range(first, min(first + size, len(items))) for first in range(0, len(items), size)]
    try:
        context = multiprocessing.get_context('fork')
        with ProcessPoolExecutor(processes, context, initializer=follow_parent, initargs=(os.getpid(),)) as pool:
            yield from _in_order(pool, blocks, 2 * processes)
    except BrokenProcessPool as exception:
        raise RuntimeError(
            'a process of the fit was killed, most often because memory ran out: use fewer processes or functions'
        ) from exception
    finally:
        _job = outer


def _in_order(pool: ProcessPoolExecutor, blocks: list[range], ahead: int) -> Iterator[Any]:
    """Yield the results of all blocks in order; only so many are computed ahead of what has been taken."""
    waiting, results, next_block = {}, {}, 0
    for index in range(len(blocks)):
        while index not in results:
            while next_block < len(blocks) and next_block < index + ahead:
                waiting[pool.submit(_run_block, blocks[next_block])] = next_block
                next_block += 1
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                results[waiting.pop(future)] = future.result()
        yield from results.pop(index)


def follow_parent(parent: int) -> None:
    """End this process soon after its parent: a parent that is killed cannot tell its children."""

    def watch() -> None:
        while os.getppid() == parent:
            sleep(1.0)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _run_block(block: range) -> list[Any]:
    assert _job is not None
    function, items = _job
    return [function(items[index]) for index in block]
