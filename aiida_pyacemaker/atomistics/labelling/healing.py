"""What the outputs of pw.x say about a failure, and the steps of the ladder that heals it: text and numbers only."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_pyacemaker.atomistics.checks.batch import batches
from aiida_pyacemaker.atomistics.checks.overlap import closest_pairs

#: Atoms closer than this times their contact distance are no structure at all. Simulated collisions and the dimers of
#: the generator come to about half; pw.x itself refuses only atoms in the same place, and "converges" what is 0.1 Å
#: apart.
ABSURD_RATIO = 0.3
#: Mixing of the charge density, going down; a step smaller than by a third is not worth a calculation.
MIXING_BETAS = (0.7, 0.3, 0.1)
SMALLEST_STEP = 0.67
#: Diagonalisations in the order in which they are tried, and the first version of pw.x that has each.
DIAGONALIZATIONS = {'david': (0, 0), 'cg': (0, 0), 'ppcg': (6, 2), 'paro': (6, 6)}
#: Negative density (electrons) over all electrons above which a pseudopotential is not what it should be.
NEGATIVE_DENSITY = 0.01

_ERROR = re.compile(r'%{20,}\s*\n\s*Error in routine\s+(\S+)\s*\(\s*-?\d+\s*\):\s*\n(.*?)\n\s*%{20,}', re.DOTALL)
_ACCURACY = re.compile(r'estimated scf accuracy\s*<\s*(\S+)\s*Ry')
_NEGATIVE = re.compile(r'negative rho \(up, down\):\s*(\S+)\s+(\S+)')
_VERSION = re.compile(r'Program PWSCF v\.(\d+)\.(\d+)')

#: What each kind of failure is recognised by, in the texts that pw.x, its libraries and schedulers leave; the first
#: that matches counts.
_SIGNS: dict[str, re.Pattern] = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        'memory': (
            r'out[ -]of[ -]memory|oom[-_ ]?kill|cannot allocate memory|insufficient (virtual )?memory|std::bad_alloc|'
            r'exceeded .{0,20}memory limit|error allocating|memory allocation failed|allocation would exceed'
        ),
        'pools': r'nodes have no k-points|invalid number of pools|mp_start_pools',
        'bands': r'too few bands',
        'geometry': r'atoms #\s*\d+ and #\s*\d+ overlap|routine (latgen|cell_base|recips|volume)',
        'pseudopotential': (
            r'routine (readpp|read_pseudo|read_upf\w*|upf_to_internal|set_dft\w*|setup_dft)|inconsistent dft|'
            r'(xmltools|read_upf\w*|upf_\w+|read_pp\w*)\.f90'
        ),
        'occupations': r'smearing is needed',
        'disk': r'no space left|disk quota|routine (davcio|diropn)|input/output error|stale file handle',
    }.items()
}


@dataclass(frozen=True)
class Failure:
    """What stopped pw.x, by its own words.

    :param kind: a key of the table of signs, or '' where pw.x says something else, or nothing.
    :param message: one line, empty where pw.x says nothing: it was stopped from outside.
    """

    kind: str
    message: str


def read_failure(stdout: str = '', stderr: str = '', crash: str = '') -> Failure:
    """Return what the files of a calculation that failed say about the reason.

    :param stdout, stderr, crash: contents of pw.x's output, of the scheduler's standard error, of the file ``CRASH``.
    """
    stopped = _ERROR.search(crash) or _ERROR.search(stdout)
    texts = [] if stopped is None else [f'routine {stopped[1]}: {" ".join(stopped[2].split())}']
    # the last lines: where a job dies, and where no harmless remark of the header can be mistaken for a reason
    texts += ['\n'.join(text.splitlines()[-40:]) for text in (stderr, stdout)]
    for text in texts:
        for kind, pattern in _SIGNS.items():
            match = pattern.search(text)
            if match:
                return Failure(kind, _line_of(text, match.start()))
    return Failure('', texts[0] if stopped else '')


def _line_of(text: str, position: int) -> str:
    """Return the line of a text at a position."""
    start, end = text.rfind('\n', 0, position) + 1, text.find('\n', position)
    return text[start : end if end >= 0 else None].strip()


def read_accuracies(stdout: str) -> list[float]:
    """Return the estimated accuracy (Ry) of every SCF iteration."""
    return [_number(text) for text in _ACCURACY.findall(stdout)]


def read_negative_density(stdout: str) -> float:
    """Return how many electrons the negative density of the last SCF iteration amounts to.

    That of the start, made of atoms at a low cutoff, may be large and means nothing.
    """
    found = _NEGATIVE.findall(stdout[stdout.rfind('iteration #') :]) if 'iteration #' in stdout else []
    return sum(abs(_number(text)) for text in found[-1]) if found else 0.0


def read_version(stdout: str) -> tuple[int, int]:
    """Return major and minor version of pw.x, (0, 0) where its output does not tell."""
    found = _VERSION.search(stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # Fortran writes stars where a number does not fit
        return math.inf


def next_mixing_beta(current: float) -> float | None:
    """Return the next lower mixing of the ladder, None at its end."""
    return next((beta for beta in MIXING_BETAS if beta <= SMALLEST_STEP * current), None)


def next_diagonalization(tried: list[str], version: tuple[int, int]) -> str | None:
    """Return the next diagonalisation that this version of pw.x has, None where all were tried."""
    known = [name for name, since in DIAGONALIZATIONS.items() if version >= since]
    return next((name for name in known if name not in tried), None)


def find_overlap(atoms: Atoms, ratio: float = ABSURD_RATIO) -> str | None:
    """Return what is absurd about a geometry, or None: a cell without volume, numbers that are none, merged atoms.

    :param ratio: of the distance to the contact distance of a pair, below which two atoms are one too many.
    """
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return 'the positions or the cell hold numbers that are not finite'
    if abs(np.linalg.det(atoms.cell.array)) < 1e-3:
        return 'the cell has no volume'
    (batch,) = batches([atoms])
    closest = closest_pairs(batch, np.array([ratio]))
    if closest.ratio[0] >= ratio:
        return None
    names = [f'{chemical_symbols[atoms.numbers[k]]} (atom {k})' for k in (closest.first[0], closest.second[0])]
    return (
        f'{names[0]} and {names[1]} are {closest.distance[0]:.2f} Å apart, '
        f'where {closest.contact[0]:.2f} Å are the sum of their radii'
    )
