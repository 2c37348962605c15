"""How a simulation ended, out of the files that LAMMPS left; see :mod:`.watch` for what it was asked to write."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
from ase import Atoms, units
from ase.neighborlist import neighbor_list

from ..explorers.dynamics import WatchedDynamics
from ..explorers.walker import EndReason, FrameKind
from . import watch as script
from .files import Log, read_dump, read_log

#: Name in the thermo table, and factor to the units of the package, of the columns of LAMMPS.
COLUMNS = {
    'Step': ('step', 1),
    'Temp': ('temperature', 1.0),
    'PotEng': ('potential_energy', 1.0),
    'Press': ('pressure', units.bar),
    'Volume': ('volume', 1.0),
}
#: Units of what is in :attr:`Outcome.thermo`; the rest has none.
UNITS = {
    'temperature': 'K',
    'potential_energy': 'eV',
    'pressure': 'eV/Å^3',
    'volume': 'Å^3',
    'watch_temperature': 'K',
}
NO_ML_PACE = re.compile(r"(Unrecognized|Unknown) pair style '?(pace|hybrid/overlay pace)|ML-PACE package which is not")
#: Errors of LAMMPS that are the fault of the potential: it drove the atoms into each other, or apart.
UNSTABLE = re.compile(
    r'[Nn]on-numeric|unstable|list overflow|too large for neighbor bins|Too many neighbor bins|tilted box too far|'
    r'too far apart'
)
#: More snapshots than these are thinned out evenly: a long simulation above `gamma_select` writes very many.
MAX_SNAPSHOTS = 2000
#: Per-atom arrays of the start that its frames keep.
KEPT_ARRAYS = ('oxidation_states', 'magnetic_moments')


class SimulationResults(TypedDict):
    """How a simulation ended, as it is stored."""

    halted: bool
    reason: str
    """A value of :class:`~..explorers.walker.EndReason`."""
    halt_value: float | None
    """Gamma, ratio of volumes or of temperatures, shortest distance (Å); None for the other reasons."""
    extreme: bool
    start_step: int
    step: int
    steps: int
    gamma_max: float
    """Largest of all checks."""
    gamma_threshold: float
    atoms_above_select: int
    """At the last check."""
    temperature_final: float
    """In K."""
    reference_volume_per_atom: float | None
    """In Å³."""
    wall_time_seconds: float
    atom_steps_per_second: float | None
    lammps_version: str | None
    diagnosis: NotRequired[str]
    """A sentence for people."""
    swaps_tried: NotRequired[int]
    swaps_accepted: NotRequired[int]


class Failure(NamedTuple):
    """Why a simulation came neither to its end nor to a halt."""

    #: Name of the exit code.
    name: str
    #: What its message says.
    message: str = ''


@dataclass
class Outcome:
    """How a simulation ended, and what it left.

    :param results: how it ended; None if `failure` says that nothing can be known.
    :param halted: the frame at which gamma halted, with gamma per atom.
    :param trajectory: frames on the way, without start and halt; those above `gamma_select` have info `selected`. All
        frames have info `step`, `gamma_max`, `temperature` (K) and `ended`, the reason why their simulation did.
    :param violation: the last frame of a simulation that ended by volume, temperature or overlap: for study only,
        never to be labelled.
    :param thermo: `step`, `temperature`, `potential_energy`, `pressure`, `volume` of the thermo output, and of every
        check `watch_step`, `watch_gamma_max`, `watch_atoms_above_select`, `watch_temperature`, `watch_volume_ratio`;
        shape (n,) each, units in :data:`UNITS`.
    :param failure: None if it ended, whatever the reason.
    :param restart: the restart file to resume from, if gamma halted it or it completed.
    """

    results: SimulationResults | None = None
    halted: Atoms | None = None
    trajectory: list[Atoms] = field(default_factory=list)
    violation: Atoms | None = None
    thermo: dict[str, np.ndarray] = field(default_factory=dict)
    failure: Failure | None = None
    restart: Path | None = None


def read_outcome(directory: str | os.PathLike, dynamics: WatchedDynamics, elements: list[str], content: str) -> Outcome:
    """Read what a simulation left.

    :param directory: folder with the files :data:`~.watch.OUTPUTS`, as far as they are there.
    :param dynamics: what the simulation was to do.
    :param elements: element of atom type 1, 2, ..., those of the potential.
    :param content: the output of LAMMPS.
    """
    if 'LAMMPS' not in content:
        return Outcome(failure=Failure('ERROR_NO_LOG'))
    folder, log = Path(directory), read_log(content + '\n')
    checks = read_checks(folder / script.WATCH)
    outcome = Outcome(thermo=_thermo(log['thermo'], checks))
    reason, outcome.failure = read_ending(log, checks)
    if outcome.failure:
        return outcome
    marks = dict(re.findall(rf'^{script.MARK} (\w+) (\S+)\s*$', content, flags=re.MULTILINE))
    try:
        outcome.results = _results(dynamics, log, checks, marks, reason)
        _read_frames(folder, outcome, dynamics, elements, checks)
        outcome.results['diagnosis'] = _diagnosis(outcome, dynamics, log)
    except (KeyError, ValueError, OSError) as exception:
        outcome.failure = Failure('ERROR_OUTPUT_BROKEN', f'{exception!r}')
        return outcome
    if outcome.results['gamma_max'] == 0.0:
        outcome.failure = Failure('ERROR_NO_GAMMA')
    return outcome


def read_checks(path: Path) -> np.ndarray:
    """Return step and :data:`~.watch.WATCHED` of every check, shape (n, 7), each step once.

    Good for a simulation that is still running: a line cut short is left out.
    """
    width = len(script.WATCHED) + 1
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    rows = [line.split() for line in lines if line.endswith('\n') and not line.startswith('#')]
    rows = [[float(word) for word in row] for row in rows if len(row) == width and row[0].isdigit()]
    # A run that goes on begins with the check with which the one before ended.
    return np.array(list({row[0]: row for row in rows}.values())).reshape(-1, width)


def _thermo(table: dict[str, np.ndarray], checks: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {}
    for column, (name, factor) in COLUMNS.items():
        if column in table and len(table[column]):
            arrays[name] = table[column].astype(int) if name == 'step' else table[column] * factor
    if arrays:
        arrays['watch_step'] = checks[:, 0].astype(int)
        for index, name in enumerate(script.WATCHED[:4], start=1):
            arrays[f'watch_{name}'] = checks[:, index]
    return arrays


def read_ending(log: Log, checks: np.ndarray) -> tuple[EndReason | None, Failure | None]:
    """Return why LAMMPS stopped if it did not come to the end of its input, and the failure if it is one.

    :param log: what :func:`~.files.read_log` returns.
    :param checks: (n, m), the step of each check first: where there is one, the simulation had begun.
    :returns: `lost_atoms` or `crashed`, by the fault of the potential; name of the exit code and message.
    """
    error = next(iter(log['errors']), '')
    if NO_ML_PACE.search(error):
        return None, Failure('ERROR_NO_ML_PACE')
    if len(checks) and log['lost_atoms'] and error:
        return EndReason.LOST_ATOMS, None
    if len(checks) and (UNSTABLE.search(error) or (not error and _is_not_a_number(log))):
        return EndReason.CRASHED, None
    if error:
        return None, Failure('ERROR_LAMMPS', error)
    if log['completed'] and log['runs_ended']:
        return None, None
    steps = [*log['thermo'].get('Step', [])[-1:], *checks[-1:, 0]]
    return None, Failure('ERROR_INCOMPLETE', f'{max(steps):.0f}' if steps else 'none')


def _is_not_a_number(log: Log) -> bool:
    return any(len(values) and not np.isfinite(values[-1]) for values in log['thermo'].values())


def _results(
    dynamics: WatchedDynamics, log: Log, checks: np.ndarray, marks: dict[str, str], reason: EndReason | None
) -> SimulationResults:
    """Return how the simulation ended.

    :param marks: what the script prints for us; of a simulation that broke there is none.
    :param reason: why it broke, or None.
    :raises KeyError: if a number is missing.
    """
    if reason is None:
        reason = EndReason(marks['reason'])
        start, step, temperature = int(marks['start_step']), int(marks['step']), float(marks['temperature'])
        reference = float(marks['reference_volume_per_atom'])
    else:
        start, step, temperature = int(log['thermo']['Step'][0]), int(checks[-1, 0]), float(checks[-1, 3])
        reference = dynamics.reference_volume_per_atom
    results: SimulationResults = {
        'halted': reason is not EndReason.COMPLETED,
        'reason': reason.value,
        'halt_value': _halt_value(reason, dynamics, checks),
        'extreme': reason is EndReason.GAMMA and bool(checks[-1, 1] > dynamics.gamma_extreme),
        'start_step': start,
        'step': step,
        'steps': dynamics.steps,
        'gamma_max': float(np.nanmax(checks[:, 1])),
        'gamma_threshold': dynamics.gamma_halt,
        'atoms_above_select': int(checks[-1, 2]),
        'temperature_final': temperature,
        'reference_volume_per_atom': reference,
        'wall_time_seconds': max(log['wall_time'] or 0.0, log['loop_time']),
        'atom_steps_per_second': log['atoms'] * log['steps'] / log['loop_time'] if log['loop_time'] else None,
        'lammps_version': log['version'],
    }
    if 'swaps_tried' in marks:
        results['swaps_tried'] = int(float(marks['swaps_tried']))
    if 'swaps_accepted' in marks:
        results['swaps_accepted'] = int(float(marks['swaps_accepted']))
    return results


def _halt_value(reason: EndReason, dynamics: WatchedDynamics, checks: np.ndarray) -> float | None:
    """Return the value at the last check that made it halt."""
    step, gamma, _, temperature, volume_ratio, *_ = checks[-1]
    values = {
        EndReason.GAMMA: gamma,
        EndReason.VOLUME: volume_ratio,
        EndReason.TEMPERATURE: temperature / dynamics.target_temperature(step),
    }
    return float(values[reason]) if reason in values else None


def _read_frames(
    folder: Path, outcome: Outcome, dynamics: WatchedDynamics, elements: list[str], checks: np.ndarray
) -> None:
    """Add the frames and the restart file to the outcome.

    :raises ValueError: if they are missing though the simulation came to its end.
    """
    results = outcome.results
    temperatures = dict(zip(checks[:, 0].astype(int), checks[:, 3], strict=True))

    def read(name: str, family: str) -> list[Atoms]:
        """LAMMPS writes no dump when every frame is skipped."""
        path = folder / name
        frames = read_dump(path, elements, gamma='f_gamma') if path.is_file() else []
        frames = [atoms for atoms in frames if np.isfinite(atoms.positions).all()]
        for atoms in frames:
            atoms.info.update({'family': family, 'role': family, 'ended': results['reason']})
            if atoms.info['step'] in temperatures:
                atoms.info['temperature'] = float(temperatures[atoms.info['step']])
            if atoms.info['gamma_max'] > dynamics.gamma_select:
                atoms.info['selected'] = True
        return frames

    snapshots = [*read(script.TRAJECTORY, 'trajectory'), *read(script.SELECTED, 'trajectory')]
    # The start is known already; the end of a halted run may be broken, and is `halted` if it is worth anything.
    end = results['step'] if results['halted'] else results['step'] + 1
    by_step = {atoms.info['step']: atoms for atoms in snapshots if results['start_step'] < atoms.info['step'] < end}
    outcome.trajectory = thin_out([by_step[step] for step in sorted(by_step)])
    reason = EndReason(results['reason'])
    if reason in (EndReason.LOST_ATOMS, EndReason.CRASHED):
        return
    family = FrameKind.VIOLATION.value if reason.is_violation else FrameKind.HALTED.value
    last = read(script.LAST, family)[-1:]
    if not last or not (folder / script.RESTART).is_file():
        raise ValueError('the restart file or the last frame is missing, or holds no numbers')
    if reason.is_violation:
        outcome.violation = last[0]
        if reason is EndReason.OVERLAP:
            results['halt_value'] = _shortest(last[0], dynamics.min_distances)[1]
        return
    outcome.restart = folder / script.RESTART
    if results['halted']:
        outcome.halted = last[0]


def keep_arrays(atoms: Atoms, start: Atoms) -> None:
    """Write what LAMMPS does not know of the atoms (:data:`KEPT_ARRAYS`) into a frame, in place.

    An atom that was exchanged for another element gets what most atoms of that element had at the start.

    :param start: cell in which the trajectory began, its atoms in the same order.
    """
    if len(atoms) != len(start):
        return
    for name in set(KEPT_ARRAYS) & set(start.arrays):
        values = start.arrays[name].copy()
        for index in np.flatnonzero(atoms.numbers != start.numbers):
            kinds, counts = np.unique(start.arrays[name][start.numbers == atoms.numbers[index]], return_counts=True)
            values[index] = kinds[counts.argmax()] if len(kinds) else np.nan
        atoms.set_array(name, values)


def _shortest(atoms: Atoms, distances: dict[str, float]) -> tuple[str, float | None, float | None]:
    """Return the pair of elements that is closest in proportion to its least distance, its distance and its limit."""
    limits = {tuple(sorted(pair.split('-'))): value for pair, value in distances.items()}
    i, j, d = neighbor_list('ijd', atoms, limits)
    if not len(d):
        return '', None, None
    pairs = [tuple(sorted((atoms.symbols[a], atoms.symbols[b]))) for a, b in zip(i, j, strict=True)]
    worst = min(range(len(d)), key=lambda k: d[k] / limits[pairs[k]])
    return '-'.join(pairs[worst]), float(d[worst]), limits[pairs[worst]]


def _diagnosis(outcome: Outcome, dynamics: WatchedDynamics, log: Log) -> str:
    """Return in a sentence how the simulation ended, and why."""
    results = outcome.results
    value = results['halt_value']
    where = f'at step {results["step"]} of {results["steps"]}, {results["temperature_final"]:.0f} K'
    reason = EndReason(results['reason'])
    if reason is EndReason.COMPLETED:
        return f'completed {results["steps"]} steps, largest gamma {results["gamma_max"]:.2f}'
    if reason is EndReason.GAMMA:
        atoms = outcome.halted
        worst = atoms.symbols[int(atoms.arrays['gamma'].argmax())]
        often = f'on {dynamics.halt_after} checks in a row' if dynamics.halt_after > 1 else 'at a check'
        why = (
            f'is above {dynamics.gamma_extreme:g}, far from what the potential knows'
            if results['extreme']
            else f'was above {dynamics.gamma_halt:g} {often}'
        )
        return (
            f'gamma {why}: {value:.2f} {where}; {results["atoms_above_select"]} of {len(atoms)} atoms above '
            f'{dynamics.gamma_select:g}, {worst} the worst'
        )
    if reason is EndReason.VOLUME:
        return f'the cell grew to {value:.2f} times its volume {where}: it boils or breaks'
    if reason is EndReason.TEMPERATURE:
        return f'the temperature ran away to {value:.1f} times that of the thermostat {where}'
    if reason is EndReason.OVERLAP:
        pair, distance, limit = _shortest(outcome.violation, dynamics.min_distances)
        close = f'{pair} came as close as {distance:.2f} Å (limit {limit:.2f} Å)' if pair else 'atoms overlapped'
        return f'{close} {where}'
    what = 'atoms were lost' if reason is EndReason.LOST_ATOMS else 'the simulation broke down'
    error = next(iter(log['errors']), '' if reason is EndReason.LOST_ATOMS else 'numbers that are not finite')
    return f'{what} {where}' + (f': {error}' if error else '')


def thin_out(frames: list[Atoms], maximum: int = MAX_SNAPSHOTS) -> list[Atoms]:
    """Return at most so many of the frames, evenly spread."""
    if len(frames) <= maximum:
        return frames
    return [frames[index] for index in np.linspace(0, len(frames) - 1, maximum).round().astype(int)]
