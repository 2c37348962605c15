"""Many single points and relaxations with one potential, in several processes.

The potential is a description and not a calculator, so that each process makes its own, late, and keeps it.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from time import perf_counter, process_time
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, LBFGS

from ..core.processes import follow_parent
from ..core.versions import version_of
from ..labelling.teachers import describe, get_settings, label_frame, make_teacher, read_teacher
from ..potential.potential import AcePotential

#: What describes a potential: the directory of an ACE potential, or the keys of a `label.teacher` section.
Description = str | os.PathLike | dict[str, Any]
Report = Callable[[str], None]
#: Forces (eV/Å) at which a relaxation ends.
MAX_FORCE = 1e-4
#: Largest number of steps of a relaxation.
MAX_STEPS = 500
#: Å; longest step of an atom. That of a cell of one atom is the same as a strain, of which symmetry allows no more.
MAX_STEP = 0.1
#: Volume over that of the start, or the inverse: beyond, a crystal is lost, and its neighbours would fill the memory.
MAX_VOLUME_RATIO = 2.0
#: Seconds between two lines of progress.
REPORT_SECONDS = 10.0
#: Packages whose versions the numbers may depend on.
PACKAGES = ('aiida-pyacemaker', 'python-ace', 'numpy', 'scipy', 'ase', 'spglib', 'phonopy', 'pymatgen')

_purpose: ContextVar[str] = ContextVar('purpose', default='other')


class ProcessDiedError(RuntimeError):
    """A process of the pool died, and all that the pool had not finished is lost."""


def make_calculator(description: Description | Calculator) -> Calculator:
    """Return the ASE calculator of a potential.

    :raises ValueError: if there is no such potential.
    """
    if isinstance(description, Calculator):
        return description
    if isinstance(description, dict):
        teacher = read_teacher(description)
        return make_teacher(teacher, teacher.model_file())
    return AcePotential(Path(description)).calculator(gamma=False)


class Evaluator:
    """Evaluate and relax configurations with one potential; the order is kept.

    Use it as a context manager, or call :meth:`close`. Threads may share it where it has several processes.

    :param description: directory of an ACE potential, or the keys of a `label.teacher` section; an ASE calculator, too,
        with one process.
    :param processes: how many work side by side.
    :raises ValueError: if the description is not valid.
    """

    def __init__(self, description: Description | Calculator, processes: int = 1):
        if isinstance(description, Calculator) and processes > 1:
            raise ValueError('an ASE calculator cannot be shared by processes: give its description, or one process')
        self.description, self.processes = description, processes
        self.metadata = identify(description)
        #: CPU seconds spent so far by what they were for: the info `property` of a frame, or see :meth:`purpose`.
        self.seconds: Counter[str] = Counter()
        self._lock = Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._calculator: Calculator | None = None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    @property
    def elements(self) -> list[str] | None:
        """The elements that the potential is for; None where that is not known before it is asked."""
        return self.metadata.get('elements')

    @property
    def cutoff(self) -> float | None:
        """Å; how far the atoms see each other; None where that is not known."""
        return self.metadata.get('cutoff')

    @contextlib.contextmanager
    def purpose(self, name: str) -> Iterator[None]:
        """Count what is computed within the block for something."""
        token = _purpose.set(name)
        try:
            yield
        finally:
            _purpose.reset(token)

    def map(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]], report: Report | None = None) -> list:
        """Return `function(calculator, *item)` of each item, the results in their order.

        :param function: of a module, so that other processes find it.
        :param report: is told the progress.
        :raises ProcessDiedError: if a process dies.
        """
        results, last = [], perf_counter()
        for result, purpose, seconds in self._run(function, items):
            results.append(result)
            self.seconds[purpose] += seconds
            if report is not None and perf_counter() - last > REPORT_SECONDS:
                last = perf_counter()
                report(f'{len(results)} of {len(items)} done')
        return results

    def evaluate(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Return the frames with energy, forces, and stress where they are periodic.

        :raises ValueError: if a label is NaN or infinite.
        """
        return self.map(evaluate, [(atoms,) for atoms in frames])

    def try_evaluate(self, frames: Sequence[Atoms], report: Report | None = None) -> list[Atoms | str]:
        """Return the frames with labels; in the place of one that cannot be evaluated, why."""
        return self.map(try_evaluate, [(atoms,) for atoms in frames], report)

    def relax(self, frames: Sequence[Atoms], *, cell: bool = False, **options: Any) -> list[Atoms]:
        """Return the frames relaxed, with labels and the info `relaxed`: whether it came to its end.

        :param cell: whether the cell relaxes, too.
        :param options: `force`, `steps`, `symmetry`, `mask`, see :func:`relax`.
        """
        return self.map(relax, [(atoms, cell, options) for atoms in frames])

    def _run(self, function: Callable, items: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, str, float]]:
        """Yield each result, what it was for, and the CPU seconds it took."""
        purposes = [purpose_of(item) for item in items]
        if self.processes == 1:
            if self._calculator is None:
                self._calculator = make_calculator(self.description)
            for item, purpose in zip(items, purposes, strict=True):
                result, seconds = _timed(self._calculator, function, item)
                yield result, purpose, seconds
            return
        futures: list[Future] = []
        pool = self._start()
        try:
            for item in items:
                futures.append(pool.submit(_call, function, item))
            for future, purpose in zip(futures, purposes, strict=True):
                result, seconds = future.result()
                yield result, purpose, seconds
        except BrokenProcessPool as exception:
            self._forget(pool)
            raise ProcessDiedError(
                'a process of the potential died, most often because memory ran out or its engine aborted: use fewer '
                'processes, or look at what it was asked'
            ) from exception
        finally:
            for future in futures:
                future.cancel()

    def _start(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self.processes, get_context('spawn'), initializer=_prepare, initargs=(self.description, os.getpid())
                )
            return self._pool

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        """Let the next call start new processes; another thread may have done so already."""
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False)


def purpose_of(item: tuple[Any, ...]) -> str:
    """Return what a call is for."""
    named = item[0].info.get('property') if item and isinstance(item[0], Atoms) else None
    return named or _purpose.get()


_worker: dict[str, Any] = {}


def _prepare(description: Description, parent: int) -> None:
    """Remember the potential: what goes wrong with it is said by the first call, a failing start would say nothing."""
    follow_parent(parent)
    _worker['description'] = description


def _call(function: Callable[..., Any], item: tuple[Any, ...]) -> tuple[Any, float]:
    if 'calculator' not in _worker:
        _worker['calculator'] = make_calculator(_worker['description'])
    return _timed(_worker['calculator'], function, item)


def _timed(calculator: Calculator, function: Callable[..., Any], item: tuple[Any, ...]) -> tuple[Any, float]:
    start = process_time()
    return function(calculator, *item), process_time() - start


def evaluate(calculator: Calculator, atoms: Atoms) -> Atoms:
    """Return a copy with energy (eV), forces (eV/Å), and stress (eV/Å³) where it is periodic."""
    return label_frame(atoms, calculator)


def try_evaluate(calculator: Calculator, atoms: Atoms) -> Atoms | str:
    """Return a copy with labels, or why there are none."""
    try:
        return label_frame(atoms, calculator)
    except Exception as exception:  # whatever an engine raises, it is about this frame
        calculator.reset()
        return describe(exception)


def relax(calculator: Calculator, atoms: Atoms, cell: bool, options: dict[str, Any]) -> Atoms:
    """Return a relaxed copy with labels, and the info `relaxed` (whether it came to its end), `unrelaxed_energy` (eV).

    :param cell: whether the cell relaxes, too.
    :param options: `force` (eV/Å) at which it ends, the largest number of `steps`, `symmetry`: keep that of the start
        (within 0.01 Å) and make it exact, `mask`: which of the six components of the strain (Voigt) are free.
    :raises ValueError: if its volume doubles or halves.
    """
    copy = atoms.copy()
    copy.calc = calculator
    unrelaxed = copy.get_potential_energy(force_consistent='free_energy' in calculator.implemented_properties)
    if options.get('symmetry'):
        copy.set_constraint([*copy.constraints, FixSymmetry(copy)])
    if cell:
        optimiser = BFGS(FrechetCellFilter(copy, mask=options.get('mask')), logfile=None, maxstep=MAX_STEP)
        optimiser.attach(check_volume, 1, copy, copy.get_volume())
    else:
        optimiser = LBFGS(copy, logfile=None, maxstep=MAX_STEP)
    converged = optimiser.run(fmax=options.get('force', MAX_FORCE), steps=options.get('steps', MAX_STEPS))
    copy.set_constraint(atoms.constraints)
    relaxed = label_frame(copy, calculator)
    relaxed.info |= {'relaxed': bool(converged), 'unrelaxed_energy': float(unrelaxed)}
    return relaxed


def check_volume(atoms: Atoms, start: float) -> None:
    """:raises ValueError: if the volume is far from that of the start (Å³)."""
    ratio = atoms.get_volume() / start
    if not 1 / MAX_VOLUME_RATIO < ratio < MAX_VOLUME_RATIO:
        raise ValueError(f'its volume became {ratio:.2g} of what it was')


def identify(description: Description | Calculator) -> dict[str, Any]:
    """Return what is known of a potential: `name`, `kind`, `elements` and `cutoff` (Å) as far as known, `versions`.

    An ACE potential also tells `number_of_functions`, `generation`, `baseline`; another one its `settings`.

    :raises ValueError: if there is no such potential.
    """
    versions = {'python': platform.python_version()} | {name: version_of(name) for name in PACKAGES}
    versions = {name: version for name, version in versions.items() if version is not None}
    if isinstance(description, Calculator):
        return {'name': type(description).__name__, 'kind': 'calculator', 'versions': versions}
    if isinstance(description, dict):
        teacher = read_teacher(description)
        settings = get_settings(teacher)
        known = {'elements': teacher.parameters['elements']} if 'elements' in teacher.parameters else {}
        name = ' '.join(filter(None, (teacher.calculator, teacher.filename or settings.get('model'))))
        return {'name': name, 'kind': teacher.calculator, **known, 'settings': settings, 'versions': versions}
    potential = AcePotential(Path(description))
    kept = ('elements', 'cutoff', 'number_of_functions', 'generation', 'baseline')
    known = {key: potential.metadata[key] for key in kept if key in potential.metadata}
    return {'name': Path(description).resolve().name, 'kind': 'ace', **known, 'versions': versions}
