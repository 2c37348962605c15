"""What a fit computes once for every configuration, kept on disk: rows of the basis, baseline, shortest distances.

A directory of it looks like this; every file is complete or not there, because it is renamed when it is written::

    rows/
        distances.npz                   shortest distances of the configurations
        baseline-<hash>.npz             energies, forces and stresses of one baseline
        <hash of the basis>/
            <hash of a configuration>.rows
            <kind>-<hash>.npz           whatever else was computed from the rows and is wanted again

So a fit that was killed goes on from what is there, and a fit that continues another one (on the same machine) takes
over what it needs by hard links. Nothing here is ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from ..baselines import Baseline
from ..checks.overlap import Pair, shortest_distances
from ..core.files import atomic_file, link_or_copy, load_arrays, save_arrays
from ..core.frame import energy_counts, forces_count
from ..core.processes import bare, forked_map
from .basis import functions_per_element
from .rows import DesignMatrix, FrameRows

#: Raised with every change of the layout of the files or of the meaning of the rows.
FORMAT = 1
#: Part of the file system that is left free.
RESERVE = 0.03
#: Where a fit finds the rows of the one that it continues, beside its own.
PARENT_ROWS = 'rows_parent'
#: Seconds between two lines about the progress.
REPORT_EVERY = 30.0
Evaluation = tuple[float, np.ndarray, np.ndarray]


class RowStore:
    """The rows of configurations in one basis, each computed once; see :class:`~.rows.FrameRows`.

    Energies, stresses and projections are kept in double, rows of forces in single precision, also where they had to be
    computed again: so 20,000 configurations of 64 atoms take 20 GB with 1,000 functions, and a row is the same number
    whenever it is asked for.

    :param directory: what is kept goes below it, in a directory of this basis.
    :param parent: `directory` of the store of a former fit; it may be missing, and is only read.
    :param max_bytes: what the rows may take on disk; what does not fit, or would fill the disk, is computed again
        whenever it is asked for.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        design: DesignMatrix,
        parent: str | os.PathLike[str] | None = None,
        max_bytes: float | None = None,
    ):
        self.design = design
        self.key = basis_key(design.basis)
        self.directory = Path(directory) / self.key
        self.directory.mkdir(parents=True, exist_ok=True)
        self.parents = [path / self.key for path in former(parent)]
        self.max_bytes = max_bytes
        self._sizes = np.zeros(len(chemical_symbols), dtype=int)
        for element, number in functions_per_element(design.basis).items():
            self._sizes[atomic_numbers[element]] = number

    @property
    def number_of_functions(self) -> int:
        return self.design.number_of_functions

    def fill(
        self, frames: Sequence[Atoms], processes: int = 2, report: Callable[[str], None] = print
    ) -> dict[str, float]:
        """Compute and keep the rows of the frames that are not there yet.

        The processes write their files themselves, so they are there even if the fit is killed.

        :returns: numbers of configurations `computed` and `reused` (`linked` of them taken over from the parent),
            `not_kept` for want of space, `bytes` of all of them and `seconds`.
        :raises RuntimeError: if a process is killed, most often for want of memory.
        """
        start = perf_counter()
        unique = {configuration_key(atoms): atoms for atoms in frames}
        linked = sum(self._take_over(f'{key}.rows', self.size(atoms)) for key, atoms in unique.items())
        missing = {key: atoms for key, atoms in unique.items() if not self._is_kept(key, atoms)}
        there = sum(self.size(atoms) for key, atoms in unique.items() if key not in missing)
        sizes = self._compute_all(self._choose(missing, there), processes, report)
        counts = {
            'computed': sum(size > 0 for size in sizes),
            'reused': len(unique) - len(missing),
            'linked': linked,
            'not_kept': len(missing) - sum(size > 0 for size in sizes),
            'bytes': there + sum(sizes),
            'seconds': perf_counter() - start,
        }
        report(
            f'rows of {self.number_of_functions} functions: {counts["computed"]} configurations computed, '
            f'{counts["reused"]} taken over, {counts["bytes"] / 1e6:.0f} MB, {counts["seconds"]:.1f} s'
        )
        if counts['not_kept']:
            report(
                f'no room for the rows of {counts["not_kept"]} of {len(unique)} configurations: they are recomputed '
                'whenever they are needed, which is slow; give more disk, or a smaller basis'
            )
        return counts

    def get(self, atoms: Atoms, forces: bool = True) -> FrameRows:
        """Return the rows of a frame, from disk or computed; the rows of forces are of single precision.

        :param forces: whether the rows of the forces are wanted; without them much less is read.
        """
        try:
            return self._read(f'{self.directory}/{configuration_key(atoms)}.rows', atoms, forces)
        except (FileNotFoundError, ValueError):
            return self._rows(bare(atoms), forces)

    def projections(self, atoms: Atoms) -> list[np.ndarray]:
        """Return the B-projections of each atom; where they are not kept, nothing else is computed for them."""
        try:
            return self._read(f'{self.directory}/{configuration_key(atoms)}.rows', atoms, False).projections
        except (FileNotFoundError, ValueError):
            return self.design.rows(bare(atoms), forces=False).projections

    def size(self, atoms: Atoms) -> int:
        """Return the size of the file of a frame in bytes."""
        return 8 * self._doubles(atoms) + 4 * 3 * len(atoms) * self.number_of_functions

    def remember(self, kind: str, content: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return arrays that `compute` returned once, in this fit or in one that it continues.

        :param kind: a word for the name of the file.
        :param content: everything the arrays depend on beside the basis, as text; its hash names the file.
        """
        name = f'{kind}-{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}.npz'
        self._take_over(name)
        arrays = load_arrays(self.directory / name)
        if arrays is None:
            arrays = compute()
            with _out_of_space_is_no_error():
                save_arrays(self.directory / name, arrays)
        return arrays

    def _choose(self, missing: dict[str, Atoms], there: int) -> list[tuple[str, Atoms]]:
        """Return those of the missing configurations that there is room for, beside the bytes that are there."""
        room = self._free() if self.max_bytes is None else min(self._free(), self.max_bytes - there)
        ends = np.cumsum([self.size(atoms) for atoms in missing.values()])
        return [(key, bare(atoms)) for (key, atoms), end in zip(missing.items(), ends, strict=True) if end <= room]

    def _compute_all(self, items: list[tuple[str, Atoms]], processes: int, report: Callable[[str], None]) -> list[int]:
        """Compute and write rows, and say now and then how far it is; return the bytes of each."""
        start, sizes = perf_counter(), []
        due = start + REPORT_EVERY
        for size in forked_map(self._compute, items, processes):
            sizes.append(size)
            if perf_counter() > due:
                due += REPORT_EVERY
                report(f'rows of {len(sizes)} of {len(items)} new configurations after {perf_counter() - start:.0f} s')
        return sizes

    def _compute(self, item: tuple[str, Atoms]) -> int:
        """Compute and write the rows of a frame; return the bytes, 0 if there was no room."""
        key, atoms = item
        rows = self._rows(atoms, True)
        parts = [rows.energy, *([] if rows.stress is None else [rows.stress.ravel()]), *rows.projections]
        with _out_of_space_is_no_error(), atomic_file(self.directory / f'{key}.rows') as handle:
            handle.write(np.concatenate(parts).astype('<f8').tobytes())
            handle.write(np.ascontiguousarray(rows.forces, dtype='<f4').data)
            return self.size(atoms)
        return 0

    def _rows(self, atoms: Atoms, forces: bool) -> FrameRows:
        rows = self.design.rows(atoms, forces=forces, stress=bool(atoms.pbc.all()))
        if rows.forces is not None:
            rows.forces = rows.forces.astype(np.float32)
        return rows

    def _read(self, path: str, atoms: Atoms, forces: bool) -> FrameRows:
        """:raises ValueError: if the file does not hold rows of this frame."""
        n, has_stress = self.number_of_functions, bool(atoms.pbc.all())
        with open(path, 'rb') as handle:
            if os.fstat(handle.fileno()).st_size != self.size(atoms):
                raise ValueError(f'{path} has not the size of its configuration')
            doubles = np.fromfile(handle, '<f8', self._doubles(atoms))
            gradient = np.fromfile(handle, '<f4').reshape(-1, n) if forces else None
        stress = doubles[n : 7 * n].reshape(6, n) if has_stress else None
        lengths = self._sizes[atoms.numbers]
        ends = np.cumsum(lengths) + (7 * n if has_stress else n)
        projections = [doubles[begin:end] for begin, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
        return FrameRows(doubles[:n], gradient, stress, projections)

    def _doubles(self, atoms: Atoms) -> int:
        """Number of values of double precision: energy, stress, projections."""
        rows = (7 if atoms.pbc.all() else 1) * self.number_of_functions
        return rows + int(self._sizes[atoms.numbers].sum())

    def _is_kept(self, key: str, atoms: Atoms) -> bool:
        return _size(f'{self.directory}/{key}.rows') == self.size(atoms)

    def _take_over(self, name: str, size: int | None = None) -> bool:
        """Take a file of the parent over, if it is there and not here; a `size` says what it must be."""
        target = f'{self.directory}/{name}'
        if not self.parents or os.path.exists(target):
            return False
        for parent in self.parents:
            found = _size(f'{parent}/{name}')
            if found and size in (None, found) and link_or_copy(f'{parent}/{name}', target):
                return True
        return False

    def _free(self) -> float:
        usage = shutil.disk_usage(self.directory)
        return usage.free - RESERVE * usage.total


class FrameCache:
    """What a fit needs of every configuration beside the rows: distances, and the baseline.

    :param directory: that of the rows. :param parent: that of a former fit; it may be missing, and is only read.
    """

    def __init__(self, directory: str | os.PathLike[str], parent: str | os.PathLike[str] | None = None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.parents = former(parent)

    def shortest_distances(self, frames: Sequence[Atoms], processes: int = 2) -> dict[Pair, float]:
        """As :func:`~..checks.overlap.shortest_distances`, every frame being looked at once."""
        pairs: dict[Pair, float] = {}
        for row in self._table('distances.npz', frames, _distances, _mask_key, processes):
            for first, second, distance in row.reshape(-1, 3):
                pair = chemical_symbols[int(first)], chemical_symbols[int(second)]
                pairs[pair] = min(pairs.get(pair, np.inf), float(distance))
        return pairs

    def baseline(self, frames: Sequence[Atoms], baseline: Baseline, processes: int = 2) -> list[Evaluation]:
        """Return what :meth:`~..baselines.base.Baseline.evaluate` returns, for every frame."""

        def evaluate(atoms: Atoms) -> np.ndarray:
            energy, forces, stress = baseline.evaluate(atoms)
            return np.concatenate([[energy], stress, forces.ravel()])

        content = json.dumps(baseline.to_dict(), sort_keys=True)
        name = f'baseline-{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}.npz'
        rows = self._table(name, frames, evaluate, configuration_key, processes)
        return [(float(row[0]), row[7:].reshape(-1, 3), row[1:7]) for row in rows]

    def _table(
        self,
        name: str,
        frames: Sequence[Atoms],
        compute: Callable[[Atoms], np.ndarray],
        get_key: Callable[[Atoms], str],
        processes: int,
    ) -> list[np.ndarray]:
        """Return an array for every frame, from the file or computed; the file then holds those of these frames."""
        known = _read_table(self.directory / name)
        wanted = {get_key(atoms): atoms for atoms in frames}
        for parent in self.parents:
            known = {**_read_table(parent / name), **known}
        missing = [key for key in wanted if key not in known]
        if missing:
            values = forked_map(compute, [wanted[key] for key in missing], processes)
            known |= dict(zip(missing, values, strict=True))
        if missing or _size(self.directory / name) is None:
            keys = [key for key in known if key in wanted]
            with _out_of_space_is_no_error():
                save_arrays(
                    self.directory / name,
                    {
                        'keys': np.array(keys, dtype='S32'),
                        'lengths': np.array([known[key].size for key in keys], dtype=np.int64),
                        'values': np.concatenate([known[key] for key in keys] or [np.zeros(0)]),
                    },
                )
        return [known[get_key(atoms)] for atoms in frames]


def former(parent: str | os.PathLike[str] | None) -> list[Path]:
    """Return the directories of rows that a fit may take over: the parent's, and its parent's.

    A fit that was killed may not yet have taken over what it was to continue.
    """
    if parent is None:
        return []
    # not normalised: the parent may be a link into another directory, beside which its own parent is
    return [path for path in (Path(parent), Path(parent, '..', PARENT_ROWS)) if path.is_dir()]


def basis_key(basis: Any) -> str:
    """Return a hash of what the rows depend on: functions, radial part, cutoffs, inner cutoffs; no coefficients."""
    blocks = []
    for block in basis.to_BBasisConfiguration().funcspecs_blocks:
        radial = {name: getattr(block, name) for name in RADIAL}
        functions = [(f.elements, f.ns, f.ls, f.LS) for f in block.funcspecs]
        blocks.append((block.elements_vec, radial, functions))
    content = json.dumps([FORMAT, list(basis.elements_name), blocks], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


#: Attributes of a block of functions that make its radial part.
RADIAL = (
    'radbase', 'radparameters', 'radcoefficients', 'nradbaseij', 'nradmaxi', 'lmaxi', 'rcutij', 'dcutij',
    'NameOfCutoffFunctionij', 'r_in', 'delta_in', 'inner_cutoff_type',
)  # fmt: skip


def configuration_key(atoms: Atoms) -> str:
    """Return a hash of elements, positions, cell and periodicity, bit for bit."""
    digest = hashlib.blake2b(digest_size=16)
    # adding zero turns -0.0 into 0.0
    for array in (atoms.numbers, atoms.positions + 0.0, atoms.cell.array + 0.0, atoms.pbc.astype(int)):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_table(path: Path) -> dict[str, np.ndarray]:
    arrays = load_arrays(path)
    if arrays is None or set(arrays) != {'keys', 'lengths', 'values'}:
        return {}
    keys, lengths = arrays['keys'].tolist(), arrays['lengths']
    if len(keys) != len(lengths) or lengths.sum() != len(arrays['values']):
        return {}
    parts = np.split(arrays['values'], np.cumsum(lengths)[:-1])
    return {key.decode(): part for key, part in zip(keys, parts, strict=True)}


def _distances(atoms: Atoms) -> np.ndarray:
    """Rows of two atomic numbers, symbols in alphabetical order, and their distance (Å); flat."""
    found = shortest_distances([atoms])
    return np.array([(*(atomic_numbers[name] for name in pair), value) for pair, value in found.items()]).ravel()


def _mask_key(atoms: Atoms) -> str:
    """Hash of the configuration and of what of it counts."""
    counting = np.append(forces_count(atoms), energy_counts(atoms))
    return hashlib.blake2b(configuration_key(atoms).encode() + counting.tobytes(), digest_size=16).hexdigest()


def _size(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


@contextlib.contextmanager
def _out_of_space_is_no_error() -> Iterator[None]:
    """Ignore that there is no room for a file that is only kept to save time."""
    try:
        yield
    except OSError as exception:
        if exception.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
