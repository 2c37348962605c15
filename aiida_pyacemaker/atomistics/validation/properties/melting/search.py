"""The melting point of a potential: which simulations find it, and what they say.

Two methods, both at constant pressure and *enthalpy*, where a system with both phases comes to the melting point by
itself: as long as it is too hot the crystal melts and takes up heat, and the other way round.

- `coexistence`: a long box, half crystal and half melt. If one of the phases is gone before the temperature stands, the
  melting point is below (molten) or above (frozen) the temperature to which the system has come; from such bounds the
  next start follows by bisection. Where both remain, the simulation goes on until the mean temperature is known to
  `precision`.
- `z_method`: a crystal is heated beyond its melting point until it begins to melt by itself. It cools itself by doing
  so; the temperature at which this ends, for the lowest start that melts, is the estimate. The original method keeps
  the volume, and finds the melting point of a pressure that is known only afterwards (Belonoshko et al., Phys. Rev. B
  73, 012201 (2006)); at constant enthalpy the pressure is that which was asked for. The result is
  too high, the more so the shorter the simulation: a small crystal without a surface holds out.

Where to begin is found by heating a small crystal quickly until its order is gone.

:class:`Search` is all the state there is, plain and JSON-able, so that a WorkChain and a script decide alike::

    search = Search(parameters, crystal)
    while (run := search.next()) is not None:
        # write_script(run, pair), and unless run['program'] == 'extend' write_structure(path, crystal, run, elements);
        # else from the restart file of the last simulation. Run LAMMPS.
        search.done(run, read_run(directory, run, content))
    search.result()
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import ValidationError

from ....checks.vacuum import detect_vacuum
from ....core.errors import InputError
from ....labelling.teachers import lammps_commands, read_teacher
from ....lammps.files import pair_lines
from ....potential.potential import AcePotential
from ....variants import NotApplicableError
from . import Melting, MeltingResult, Summary
from .script import (
    ELONGATION,
    RESTART,
    RESTART_IN,
    STRUCTURE,
    Box,
    Run,
    Simulation,
    build_box,
    default_timestep,
    read_run,
    write_script,
    write_structure,
)

#: Atoms of the crystal that is heated.
HEATED_ATOMS = 200
#: K; where the heating begins.
START_TEMPERATURE = 100.0
#: Steps of the heating at each temperature.
HEATING_STEPS = 1000
#: A crystal without surface, heated so quickly, stays solid up to about this many times its melting point.
OVERHEATING_RATIO = 1.35
#: The half that is to melt is heated to this many times the temperature.
MELT_RATIO = 1.45
#: The same if that was not enough.
SECOND_MELT_RATIO = 2.0
#: Factor between two temperatures as long as there is a bound on one side only and no better guess.
TEMPERATURE_FACTOR = 1.15
#: Between these shares of solid atoms the two interfaces are far from each other.
COEXISTENCE_SHARES = (0.25, 0.75)
#: This part of a coexistence is not looked at.
SETTLING = 0.2
#: The halves of the rest agree if they differ by no more standard errors than this.
MAX_DRIFT = 2.5
#: The temperature is known when so many independent values stand behind its mean.
MIN_SAMPLES = 6
#: ps; and not before: interfaces need about 10 ps to move, which a shorter simulation cannot see.
MIN_TIME = 40.0
#: The Z-method ends when the lowest start that melts and the highest that does not differ by this share.
MAX_BRACKET = 0.04
SOURCES = ('potential.yaml', 'potential.asi')


@dataclass
class Search:
    """How far the search has come, and what it does next; see the module for the order of the calls.

    :param parameters: keys of :class:`Melting`, and `seed`.
    :param crystal: the phase that melts, at equilibrium; any cell of it.
    :raises NotApplicableError: if the crystal cannot be looked at.
    """

    parameters: dict[str, Any]
    crystal: Atoms
    #: running, found or failed; and why, with the remedy.
    state: str = 'running'
    reason: str = ''
    #: What each simulation did, and what became of it.
    runs: list[Summary] = field(default_factory=list)
    #: K; where the next simulation begins, and between what the melting point lies.
    temperature: float | None = None
    lower: float | None = None
    upper: float | None = None
    hot: float = MELT_RATIO
    #: Whether the next simulation goes on from the last one; the order of the solid in it.
    extends: bool = False
    order: float | None = None
    #: Track of the coexistence that goes on.
    times: list[float] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    solid: list[float] = field(default_factory=list)
    #: K; what was found.
    melting_point: float | None = None
    uncertainty: float | None = None
    n_atoms: int = 0
    version: str | None = None

    def __post_init__(self) -> None:
        self.settings = self.check(self.parameters)
        self.seed = self.parameters.get('seed', 42)
        if not self.crystal.pbc.all() or detect_vacuum(self.crystal).kind != 'bulk':
            raise NotApplicableError('melting is that of a crystal that is endless in three directions')
        self.temperature = self.temperature or self.settings.temperature
        self._box('coexist')  # fails at once if it does

    @staticmethod
    def check(parameters: Mapping[str, Any]) -> Melting:
        """Return the keys of :class:`Melting` among the parameters.

        :raises InputError: naming the key.
        """
        try:
            return Melting.model_validate({key: value for key, value in parameters.items() if key != 'seed'})
        except ValidationError as exception:
            error = exception.errors()[0]
            raise InputError('.'.join(map(str, ('melting', *error['loc']))), error['msg']) from None

    def _box(self, program: str) -> Box:
        """Return what the input says of the box."""
        atoms = self.settings.atoms
        sizes = {'heat': (min(HEATED_ATOMS, atoms), 1.0), 'superheat': (atoms, 1.0)}
        return build_box(self.crystal, *sizes.get(program, (atoms, ELONGATION)))[1]

    # Plain content ----------------------------------------------------------------------------------------------------

    PLAIN = (
        'state', 'reason', 'runs', 'temperature', 'lower', 'upper', 'hot', 'extends', 'order', 'times', 'temperatures',
        'solid', 'melting_point', 'uncertainty', 'n_atoms', 'version',
    )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the state: numbers, text, lists and dictionaries."""
        return {name: getattr(self, name) for name in self.PLAIN}

    @classmethod
    def from_dict(cls, parameters: dict[str, Any], crystal: Atoms, content: dict[str, Any]) -> Search:
        """Return what :meth:`to_dict` was made of."""
        return cls(parameters, crystal, **content)

    # Simulations ------------------------------------------------------------------------------------------------------

    def next(self) -> Simulation | None:
        """Return what the next simulation is to do, None if the search has ended."""
        if self.state == 'running' and len(self.runs) >= self.settings.max_runs:
            self._fail(f'{len(self.runs)} simulations were not enough: raise max_runs, atoms or steps')
        if self.state != 'running':
            return None
        settings = self.settings
        if self.temperature is None:
            program = 'heat'
        elif settings.method == 'z_method':
            program = 'superheat'
        else:
            program = 'extend' if self.extends else 'coexist'
        run = {
            'program': program,
            'temperature': START_TEMPERATURE if program == 'heat' else float(self.temperature),
            'pressure': settings.pressure,
            'timestep': settings.timestep or default_timestep(self.crystal),
            'steps': HEATING_STEPS if program == 'heat' else settings.steps,
            'seed': (self.seed + 100 * len(self.runs)) % 899999900 + 1,
            **self._box(program),
        }
        needs = {
            'heat': {'until': settings.max_temperature},
            'coexist': {'hot': self.hot},
            'extend': {'order': self.order},
        }
        return run | needs.get(program, {})

    def done(self, run: Simulation, left: Run) -> None:
        """Take note of how a simulation ended, and decide what follows.

        :param left: what it left; of those only that LAMMPS did not fail in for a reason of its own.
        """
        self.n_atoms, self.version = left.n_atoms, left.version
        self.runs.append(_describe(run, left))
        if left.outcome == 'broken':
            self._fail(
                f'the potential broke down at {run["temperature"]:.0f} K ({left.message.removeprefix("ERROR: ")}): it '
                'does not know the melt'
            )
        else:
            {'heat': self._heated, 'superheat': self._superheated}.get(run['program'], self._coexisted)(run, left)

    @property
    def last(self) -> str:
        """What the last simulation did and what became of it, for people."""
        run = self.runs[-1]
        text = f'{run["program"]} from {run["start"]:.0f} K: {run["outcome"].replace("_", " ")}'
        return text + (f' at {run["temperature"]:.0f} K' if run['temperature'] else '')

    # Decisions --------------------------------------------------------------------------------------------------------

    def _heated(self, run: Simulation, left: Run) -> None:
        if left.outcome == 'solid':
            self._fail(f'the crystal does not melt up to {run["until"]:.0f} K: raise max_temperature')
        elif left.marks['heated'] < 1.5 * START_TEMPERATURE:
            self._fail(f'the crystal loses its order at {left.marks["heated"]:.0f} K: it is not stable')
        else:
            over = 1.0 if self.settings.method == 'z_method' else OVERHEATING_RATIO
            self.temperature = left.marks['heated'] / over

    def _superheated(self, run: Simulation, left: Run) -> None:
        """Bisect the starts between the highest that stays solid and the lowest that melts."""
        start = run['temperature']
        if left.outcome == 'molten':
            self.upper, self.melting_point = start, self.runs[-1]['temperature']
        else:
            self.lower = start
        if self.lower is None or self.upper is None:
            self.temperature = (
                start / TEMPERATURE_FACTOR**0.5 if left.outcome == 'molten' else start * TEMPERATURE_FACTOR**0.5
            )
        elif self.upper - self.lower > MAX_BRACKET * self.upper:
            self.temperature = (self.lower + self.upper) / 2
        else:
            # A start that is higher by the bracket would end as much higher.
            error = next(run['error'] for run in self.runs if run['start'] == self.upper)
            self.state, self.uncertainty = 'found', float(np.hypot(error, self.upper - self.lower))
        self._check_temperature()

    def _coexisted(self, run: Simulation, left: Run) -> None:
        """Go on with a coexistence, or start another one between the bounds."""
        if left.outcome == 'not_melted':
            if self.hot == SECOND_MELT_RATIO:
                self.temperature *= OVERHEATING_RATIO
                self._check_temperature()
            self.hot = SECOND_MELT_RATIO
            return
        if run['program'] == 'coexist':
            self.times, self.temperatures, self.solid = [], [], []
            self.order = left.marks['order']
        offset = self.times[-1] if self.times else 0.0
        self.times += (left.track['time'] + offset).tolist()
        self.temperatures += left.track['temperature'].tolist()
        self.solid += left.track['solid'].tolist()
        if left.outcome == 'coexists':
            self.extends = True
            self._look()
            return
        # It has moved towards the melting point, and not reached it.
        self.extends = False
        came = self._came_to()
        start = next(run['start'] for run in reversed(self.runs) if run['program'] == 'coexist')
        if left.outcome == 'molten':
            self.upper = min(came, self.upper or came)
        else:
            self.lower = max(came, self.lower or came)
        if self.lower is not None and self.upper is not None:
            self.temperature = (self.lower + self.upper) / 2
        else:
            # By melting half of the box it has come so far, and would have from the other side.
            self.temperature = came - max(abs(start - came), 0.03 * came) * (1 if left.outcome == 'molten' else -1)
        self._check_temperature()

    def _came_to(self) -> float:
        """Return the temperature (K) at which the last simulation was before its two interfaces met.

        What happens then is no matter of the melting point: both vanish at once, and their energy becomes heat.
        """
        solid = np.array(self.solid)
        both = np.flatnonzero((solid > COEXISTENCE_SHARES[0]) & (solid < COEXISTENCE_SHARES[1]))
        last = both[-max(1, len(both) // 3) :] if len(both) else [-1]
        return float(np.mean(np.array(self.temperatures)[last]))

    def _look(self) -> None:
        """End the search if the temperature stands and is known well enough."""
        values = np.array(self.temperatures)
        mean, error, samples, stands = equilibrium(values, fluctuation(values.mean(), self.n_atoms))
        wanted = self.settings.precision * mean
        enough = samples >= MIN_SAMPLES and self.times[-1] >= MIN_TIME
        if stands and enough and error <= wanted:
            self.state, self.melting_point, self.uncertainty = 'found', mean, error

    def _check_temperature(self) -> None:
        if self.state == 'running' and not START_TEMPERATURE / 2 < self.temperature < self.settings.max_temperature:
            self._fail(
                f'the search has come to {self.temperature:.0f} K: give temperature, or another max_temperature '
                f'({self.settings.max_temperature:g})'
            )

    def _fail(self, reason: str) -> None:
        self.state, self.reason = 'failed', reason

    def result(self) -> MeltingResult:
        """Return what was found, plain.

        :returns: `status`, `message`, `method`, `temperature` (K), `uncertainty` (K, one standard error; it does not
            tell how far a box of `n_atoms` is from a large one), `n_atoms`, `pressure` (GPa), `bounds` (K, of the
            bisection), `runs`, `track` (`times` in ps, `temperatures`, `solid`: share of solid atoms, at most 200 of
            each), `lammps_version`, `seconds`.
        """
        found = self.state == 'found'
        message = self.reason
        if not found and (self.lower or self.upper):
            message += f'; the melting point is {_between(self.lower, self.upper)}'
        return {
            'status': 'ok' if found else 'failed',
            'message': '' if found else message,
            'method': self.settings.method,
            'temperature': self.melting_point if found else None,
            'uncertainty': self.uncertainty if found else None,
            'n_atoms': self.n_atoms,
            'pressure': self.settings.pressure,
            'bounds': [self.lower, self.upper],
            'runs': self.runs,
            'track': _thinned({'times': self.times, 'temperatures': self.temperatures, 'solid': self.solid}),
            'lammps_version': self.version,
            'seconds': sum(run['seconds'] for run in self.runs),
        }


def _describe(run: Simulation, left: Run) -> Summary:
    """Return in plain numbers what a simulation was and what became of it; means over its last third."""
    track, steps = left.track, run['steps']
    if len(track.get('time', ())):
        steps = round(track['time'][-1] / (run['timestep'] * 1e-3))
    described = {
        'program': run['program'],
        'start': run['temperature'],
        'outcome': left.outcome,
        'steps': steps,
        'n_atoms': left.n_atoms,
        'timestep': run['timestep'],
        'seconds': left.seconds,
        'temperature': left.marks.get('heated') if run['program'] == 'heat' else None,
    }
    if len(track.get('time', ())):
        last = {name: values[-max(2, len(values) // 3) :] for name, values in track.items()}
        described |= {
            name: float(last[name].mean()) for name in ('temperature', 'solid', 'pressure', 'lateral_pressure')
        }
        least = fluctuation(described['temperature'], left.n_atoms)
        described['error'] = standard_error(last['temperature'], least)[1]
    return described


def _between(lower: float | None, upper: float | None) -> str:
    if lower and upper:  # few atoms fluctuate, and may cross them
        return f'between {min(lower, upper):.0f} and {max(lower, upper):.0f} K'
    return f'above {lower:.0f} K' if lower else f'below {upper:.0f} K'


def _thinned(columns: dict[str, list[float]], most: int = 200) -> dict[str, list[float]]:
    """Return at most so many values of each column, evenly spread."""
    number = len(columns['times'])
    keep = np.linspace(0, number - 1, min(number, most)).round().astype(int)
    return {name: [float(values[index]) for index in keep] for name, values in columns.items()}


# Statistics -----------------------------------------------------------------------------------------------------------


def standard_error(values: np.ndarray, least: float = 0.0) -> tuple[float, float, float]:
    """Return mean, its standard error and the number of independent values of a correlated series.

    The correlation time is the sum of the autocorrelation up to its first value below zero (Chodera et al., J. Chem.
    Theory Comput. 3, 26 (2007)).

    :param values: shape (n,).
    :param least: variance that the values are known to have: a short series sees less of it.
    """
    number, mean = len(values), float(np.mean(values))
    deviations = np.asarray(values) - mean
    variance = float((deviations**2).mean())
    if number < 4 or variance == 0:
        return mean, float(np.sqrt(max(variance, least) / max(1, number - 1))), float(number)
    inefficiency = 1.0
    for lag in range(1, number - 1):
        correlation = float((deviations[:-lag] * deviations[lag:]).mean()) / variance
        if correlation <= 0:
            break
        inefficiency += 2 * correlation * (1 - lag / number)
    samples = number / inefficiency
    return mean, float(np.sqrt(max(variance, least) / max(samples - 1, 0.5))), samples


def equilibrium(values: np.ndarray, least: float = 0.0) -> tuple[float, float, float, bool]:
    """Return mean, standard error, number of independent values, and whether the series stands: its halves agree.

    The first part, :data:`SETTLING`, is left out.

    :param values: shape (n,).
    :param least: see :func:`standard_error`.
    """
    rest = values[int(SETTLING * len(values)) :]
    mean, error, samples = standard_error(rest, least)
    (first, first_error, _), (last, last_error, _) = (standard_error(half, least) for half in np.array_split(rest, 2))
    return mean, error, samples, bool(abs(first - last) <= MAX_DRIFT * np.hypot(first_error, last_error))


def fluctuation(temperature: float, n_atoms: int) -> float:
    """Return the variance (K²) of the temperature of a closed system, :math:`T^2 k / (N c)` with c = 3.5 k per atom.

    That is the fluctuation theorem of a system without thermostat (Landau, Lifshitz, Statistical Physics, § 112), and
    about the heat capacity of crystals at their melting point. Where two phases are side by side it takes as long as
    the interfaces need to move.
    """
    return temperature**2 / (3.5 * max(1, n_atoms))


# Driver ---------------------------------------------------------------------------------------------------------------


def prepare_potential(description: Any, directory: Path) -> tuple[str, list[str]]:
    """Return the lines of a potential in the input of LAMMPS, and its elements in the order of the atom types.

    :param description: directory of an ACE potential, or the keys of a `label.teacher` section with `calculator:
        lammps`.
    :param directory: where LAMMPS runs; the files of an ACE potential are copied there.
    :raises NotApplicableError: if LAMMPS cannot run it.
    """
    if isinstance(description, dict):
        teacher = read_teacher(description)
        if teacher.calculator != 'lammps':
            raise NotApplicableError(
                f'melting is simulated by LAMMPS, and {teacher.calculator} is none of its potentials: give an ACE '
                'potential or a pair style'
            )
        return '\n'.join(lammps_commands(teacher, teacher.model_file())) + '\n', teacher.parameters['elements']
    if not isinstance(description, str | os.PathLike):
        raise NotApplicableError('melting is simulated by LAMMPS: give an ACE potential or a pair style')
    potential = AcePotential(Path(description))
    for name in SOURCES:
        shutil.copy(potential.directory / name, directory / name)
    return pair_lines(potential.metadata), potential.metadata['elements']


def run_melting(
    description: Any,
    crystal: Atoms,
    parameters: dict[str, Any],
    lmp: tuple[str | Sequence[str], dict[str, str]],
    directory: str | os.PathLike,
    report: Callable[[str], None] = print,
) -> MeltingResult:
    """Find the melting point of a crystal with a potential.

    :param description: directory of an ACE potential, or the keys of a `label.teacher` section with `calculator:
        lammps`.
    :param crystal: the phase that melts, at equilibrium.
    :param parameters: keys of :class:`Melting`, and `seed`.
    :param lmp: executable of LAMMPS (or a command, such as mpirun with its options), and the complete environment.
    :param directory: where the simulations run, each in a folder of its own.
    :param report: is told the progress.
    :returns: see :meth:`Search.result`; `status` is not_applicable if it cannot be looked at.
    :raises ValueError: if LAMMPS fails for another reason than the potential.
    """
    start, folder = time.perf_counter(), Path(directory).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        search = Search(parameters, crystal)
        pair, elements = prepare_potential(description, folder)
    except NotApplicableError as exception:
        return {'status': 'not_applicable', 'message': str(exception)}
    foreign = sorted(set(crystal.symbols) - set(elements))
    if foreign:
        raise ValueError(f'the crystal holds {", ".join(foreign)}, but the potential is for {", ".join(elements)}')
    former = None
    while (run := search.next()) is not None:
        place = folder / f'{len(search.runs):02d}_{run["program"]}'
        former = _simulate(search, run, pair, elements, lmp, place, former)
        report(search.last)
    return search.result() | {'seconds': time.perf_counter() - start}


def _simulate(
    search: Search, run: Simulation, pair: str, elements: list[str], lmp: tuple, place: Path, former: Path | None
) -> Path:
    """Run one simulation of a search in a folder, and return it."""
    place.mkdir(exist_ok=True)
    for name in SOURCES:
        if (place.parent / name).is_file():
            shutil.copy(place.parent / name, place / name)
    if run['program'] == 'extend':
        shutil.copy(former / RESTART, place / RESTART_IN)
    else:
        write_structure(place / STRUCTURE, search.crystal, run, elements)
    (place / 'input.in').write_text(write_script(run, pair))
    executable, environment = lmp
    command = [executable] if isinstance(executable, str) else list(executable)
    with (place / 'lammps.out').open('w') as handle:
        subprocess.run(
            [*command, '-in', 'input.in', '-log', 'none'],
            cwd=place,
            env=environment,
            stdout=handle,
            stderr=subprocess.STDOUT,
            check=False,
        )
    left = read_run(place, run, (place / 'lammps.out').read_text())
    if left.failure:
        name, message = left.failure
        raise ValueError(f'LAMMPS failed in {place} ({name.removeprefix("ERROR_").lower()}): {message}')
    search.done(run, left)
    return place
