"""LAMMPS input of the simulations that find a melting point, and their outcome; :mod:`.search` decides which to run.

Solid is told from liquid by the long-range order of the crystal itself, so that nothing has to be known of its kind:
the crystal stays in register with the sides of the box in the plane of the interface, and the amplitude of one of its
reflections (h k 0), :math:`|\\sum_j \\exp(2 \\pi i (h x_j + k y_j))| / N` with fractional coordinates, is the share of
atoms that are solid times the Debye-Waller factor and that of the structure; a liquid of n atoms adds about
:math:`n^{1/2} / N`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import spglib
from ase import Atoms
from ase.io.lammpsdata import write_lammps_data

from ....core.symmetry import call_spglib
from ....lammps.files import read_log
from ....lammps.outcome import read_ending
from ....lammps.watch import BAR_PER_GPA, BAROSTAT_STEPS, MARK, PS_PER_FS, THERMOSTAT_STEPS
from ....variants import NotApplicableError

STRUCTURE = 'structure.data'
RESTART_IN = 'start.restart'
RESTART = 'final.restart'
TRACK = 'track.dat'
#: What LAMMPS leaves beside its output.
OUTPUTS = (RESTART, TRACK)
#: Columns of the track after the step: K, share of solid atoms, eV/atom, bar, bar, Å³/atom.
TRACKED = ('temperature', 'solid', 'enthalpy', 'pressure', 'lateral_pressure', 'volume')
#: Units of the track as :func:`read_track` returns it; the rest has none.
UNITS = {
    'time': 'ps',
    'temperature': 'K',
    'enthalpy': 'eV/atom',
    'pressure': 'GPa',
    'lateral_pressure': 'GPa',
    'volume': 'Å^3/atom',
}
#: Steps between two lines of the track.
TRACK_EVERY = 500
#: Samples of which each line is the mean.
SAMPLES = 50
#: Length of the box by its width, where an interface is to be.
ELONGATION = 3.0
#: A coexistence has ended when less of the atoms is solid: all has melted.
MIN_SOLID = 0.1
#: It has ended when more is: all has frozen.
MAX_SOLID = 0.9
#: This share of the crystal is held while the rest melts: as it cools a part of the melt freezes onto it.
HELD_SHARE = 0.45
#: Parts that prepare a coexistence, by the steps of the simulation: solid, melting one half, cooling it, both together.
PREPARE = {'solid': 0.2, 'melt': 0.2, 'cool': 0.1, 'settle': 0.1}
#: Å; shortest distance of lattice planes of a reflection that shows order.
SHORTEST_SPACING = 0.8
#: Smallest structure factor by atom of such a reflection.
LEAST_FACTOR = 0.3
#: Mean displacement (by the width of the lattice planes) up to which a crystal holds, for the choice of reflections.
DISPLACEMENT = 0.15
#: By this factor the heating of a crystal goes from step to step.
HEATING_FACTOR = 1.15
#: Order below which it has melted.
MOLTEN_ORDER = 0.4


class Box(TypedDict):
    """What the input says of a box, see :func:`build_box`."""

    atoms: int
    elongation: float
    reflections: list[list[int]]
    factor: float
    coupling: str
    tilted: bool


class Simulation(Box, total=False):
    """What a simulation is to do, see :func:`write_script`."""

    program: str
    temperature: float
    pressure: float
    timestep: float
    steps: int
    seed: int
    until: float
    hot: float
    order: float


@dataclass
class Run:
    """What a simulation left.

    :param outcome: `coexists`, `molten`, `frozen`, `not_melted`, `solid`, or `broken`, by the fault of the potential;
        empty if it failed.
    :param failure: name of the exit code and message, if LAMMPS failed for another reason.
    :param track: column name -> (n,) array, a mean over :data:`TRACK_EVERY` steps each; `time` in ps.
    :param marks: numbers that the input prints: `order` (of the solid at that temperature), `heated` (K).
    """

    outcome: str = ''
    failure: tuple[str, str] | None = None
    track: dict[str, np.ndarray] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    message: str = ''
    n_atoms: int = 0
    version: str | None = None
    seconds: float = 0.0

    @property
    def results(self) -> dict[str, Any]:
        """All but the track, plain; `Run(**results, track=...)` is the same again."""
        return {key: value for key, value in vars(self).items() if key not in ('track', 'failure')}


# Boxes ----------------------------------------------------------------------------------------------------------------


def build_box(crystal: Atoms, atoms: int, elongation: float = 1.0) -> tuple[Atoms, Box]:
    """Return the crystal repeated to about so many atoms, its third side at right angles to the others.

    :param crystal: any cell of it.
    :param elongation: how much longer than wide the box is, along the third side.
    :returns: the box, and what the input says of it: `atoms`, `elongation`, `reflections` (two [h, k] of the box),
        their `factor` in the crystal at rest, `coupling` of the barostat, `tilted`.
    :raises NotApplicableError: if no side of the conventional cell is at right angles to the other two, or no
        reflection shows the order.
    """
    unit = _upright(crystal)
    lengths = unit.cell.lengths()
    width = (unit.get_volume() / len(unit) * atoms / elongation) ** (1 / 3)
    repeats = [max(1, round(width / lengths[axis])) for axis in (0, 1)]
    layer = len(unit) * repeats[0] * repeats[1]
    repeats.append(max(2 if elongation > 1 else 1, round(atoms / layer)))
    reflections = _reflections(unit)
    return unit.repeat(repeats), {
        'atoms': atoms,
        'elongation': elongation,
        'reflections': [[h * repeats[0], k * repeats[1]] for h, k in reflections],
        'factor': float(np.mean([_factor(unit, index) for index in reflections])),
        'coupling': _coupling(unit),
        'tilted': bool(abs(unit.cell.angles()[2] - 90) > 0.01),
    }


def _upright(crystal: Atoms) -> Atoms:
    """Return the conventional cell with a side at right angles to the other two as the third one."""
    found = call_spglib(
        spglib.standardize_cell, (crystal.cell[:], crystal.get_scaled_positions(), crystal.numbers), symprec=1e-3
    )
    if found is None:
        raise NotApplicableError('the symmetry of the crystal cannot be found: relax it first')
    cell, positions, numbers = found
    unit = Atoms(numbers, cell=cell, scaled_positions=positions, pbc=True)
    angles = unit.cell.angles()
    for axis in (2, 0, 1):  # of those at right angles the third if possible: the axis of hexagonal and tetragonal ones
        others = [k for k in range(3) if k != axis]
        if all(abs(angles[k] - 90) < 0.01 for k in others):
            order = [others[0], others[1], axis] if axis != 1 else [2, 0, 1]  # right-handed
            return Atoms(
                numbers, cell=unit.cell[order], scaled_positions=unit.get_scaled_positions()[:, order], pbc=True
            )
    raise NotApplicableError(
        'an interface needs a side of the conventional cell at right angles to the other two, and a triclinic crystal '
        'has none: look at another phase'
    )


def _reflections(unit: Atoms) -> list[list[int]]:
    """Return two reflections (h k 0), not parallel, that show best whether the crystal is there."""
    reciprocal = unit.cell.reciprocal()[:2]
    most = [int(length / SHORTEST_SPACING) + 1 for length in unit.cell.lengths()[:2]]
    spacing = DISPLACEMENT * (unit.get_volume() / len(unit)) ** (1 / 3)
    scores = {}
    for h in range(0, most[0] + 1):
        for k in range(-most[1], most[1] + 1):
            q = 2 * np.pi * np.linalg.norm([h, k] @ reciprocal)
            if (h, k) <= (0, 0) or 2 * np.pi / q < SHORTEST_SPACING:
                continue
            factor = _factor(unit, [h, k])
            if factor > LEAST_FACTOR:
                scores[h, k] = factor * np.exp(-0.5 * (q * spacing) ** 2 / 3)
    best = sorted(scores, key=lambda index: (-round(scores[index], 6), index))
    pair = next(([best[0], other] for other in best[1:] if best[0][0] * other[1] != best[0][1] * other[0]), None)
    if pair is None:
        raise NotApplicableError('no two reflections (h k 0) show the order of the crystal: look at another phase')
    return [list(index) for index in pair]


def _factor(unit: Atoms, index: list[int]) -> float:
    """Return the amplitude of a reflection [h, k] by atom, one where all atoms scatter in phase."""
    return float(abs(np.exp(2j * np.pi * unit.get_scaled_positions()[:, :2] @ index).mean()))


def _coupling(unit: Atoms) -> str:
    """Return the keyword of a barostat that leaves a conventional cell its shape."""
    a, b, c = unit.cell.lengths()
    if np.allclose(unit.cell.angles(), 90, atol=0.01) and np.ptp([a, b, c]) < 1e-3 * a:
        return 'iso'
    return 'aniso_xy' if abs(a - b) < 1e-3 * a else 'aniso'


def default_timestep(box: Atoms) -> float:
    """Return a time step (fs): 2 fs for aluminium, by the square root of the lightest mass, 0.5 to 3 fs."""
    return float(np.clip(2.0 * (box.get_masses().min() / 27) ** 0.5, 0.5, 3.0))


def write_structure(target: Any, crystal: Atoms, run: Simulation, elements: list[str]) -> None:
    """Write the data file of LAMMPS for a simulation that starts, to a path or a stream.

    :param run: what it is to do.
    :param elements: element of atom type 1, 2, ..., those of the potential.
    """
    box, _ = build_box(crystal, run['atoms'], run['elongation'])
    write_lammps_data(target, box, specorder=elements, masses=True, units='metal', atom_style='atomic')


# Input ----------------------------------------------------------------------------------------------------------------


def write_script(run: Simulation, pair: str) -> str:
    """Return the input of LAMMPS for one simulation.

    :param run: what :meth:`~.search.Search.next` says: `program` (heat, coexist, extend, superheat), `temperature`
        (K), `pressure` (GPa), `timestep` (fs), `steps`, `seed`, those of the box (`atoms`, `elongation`, `reflections`,
        `factor`, `coupling`, `tilted`), and `until` (K) for heat, `hot` (by the temperature) for coexist, `order`
        of the solid for extend.
    :param pair: the lines of the potential.
    """
    programs = {'heat': _heat, 'coexist': _coexist, 'extend': _extend, 'superheat': _superheat}
    resume = run['program'] == 'extend'
    head = (
        [f'read_restart {RESTART_IN}']
        if resume
        else ['units metal', 'atom_style atomic', 'boundary p p p', 'box tilt large', f'read_data {STRUCTURE}']
    )
    lines = [
        f'# melting point: {run["program"]} at {run["temperature"]:.0f} K',
        *head,
        pair.rstrip('\n'),
        'neigh_modify every 1 delay 0 check yes',
        f'timestep {run["timestep"] * PS_PER_FS:.6g}',
        *_order_lines(run['reflections'], run['factor']),
        f'thermo {TRACK_EVERY}',
        'thermo_style custom step temp pe press vol',
        'thermo_modify flush yes lost error',
        *programs[run['program']](run),
        f'write_restart {RESTART}',
    ]
    return '\n'.join(lines) + '\n'


def _order_lines(reflections: list[list[int]], factor: float) -> list[str]:
    """Return the lines of the variable `order`, the mean amplitude of the reflections by that of the crystal at rest.

    :param factor: mean structure factor by atom.
    """
    lines, terms = ['compute scaled all property/atom xs ys'], []
    for number, (h, k) in enumerate(reflections):
        phase = f'2*PI*({h}*c_scaled[1]+({k})*c_scaled[2])'
        lines += [f'variable cos{number} atom cos({phase})', f'variable sin{number} atom sin({phase})']
        terms.append(f'sqrt(c_sums[{2 * number + 1}]^2+c_sums[{2 * number + 2}]^2)')
    names = ' '.join(f'v_{name}{number}' for number in range(len(reflections)) for name in ('cos', 'sin'))
    return [
        *lines,
        f'compute sums all reduce ave {names}',
        f'variable order equal ({"+".join(terms)})/{len(reflections) * factor:.10g}',
    ]


def _track_lines(order: str) -> list[str]:
    """Return the lines that write the track.

    :param order: that of the solid, a number or a reference to a variable.
    """
    between = TRACK_EVERY // SAMPLES
    return [
        f'variable solid equal v_order/{order}',
        'variable heat equal enthalpy/atoms',
        'variable temperature equal temp',
        'variable along equal pzz',
        'variable across equal (pxx+pyy)/2',
        'variable volume equal vol/atoms',
        f'fix track all ave/time {between} {SAMPLES} {TRACK_EVERY} v_temperature v_solid v_heat v_along v_across '
        f'v_volume format " %.10g" file {TRACK}',
    ]


def _barostat(run: Simulation, keyword: str) -> str:
    """Return the part of a fix on the pressure."""
    bar = run['pressure'] * BAR_PER_GPA
    relaxation = BAROSTAT_STEPS * run['timestep'] * PS_PER_FS
    name, couple = ('aniso', ' couple xy') if keyword == 'aniso_xy' else (keyword, '')
    return f'{name} {bar:.10g} {bar:.10g} {relaxation:.6g}{couple}'


def _thermostat(run: Simulation, temperature: float | str) -> str:
    """Return the part of a fix on the temperature (K, or a reference to a variable)."""
    return f'temp {temperature} {temperature} {THERMOSTAT_STEPS * run["timestep"] * PS_PER_FS:.6g}'


def _heat(run: Simulation) -> list[str]:
    """Heat a crystal by a constant factor, step by step, until its order is gone."""
    number = int(np.ceil(np.log(run['until'] / run['temperature']) / np.log(HEATING_FACTOR)))
    # Two thirds of the steps are for the new temperature, the last third is looked at: all whole multiples of it, for
    # only then has LAMMPS a mean at the end.
    look = run['steps'] // 3 // 10 * 10
    return [
        f'velocity all create {2 * run["temperature"]:.6f} {run["seed"]} mom yes rot no dist gaussian',
        f'variable heated equal {run["temperature"]:.6f}',
        f'variable turn loop {number}',
        'label heat',
        'variable upper equal ${heated}',
        f'fix dynamics all npt {_thermostat(run, "${upper}")} {_barostat(run, run["coupling"])}',
        f'run {2 * look} post no',
        f'fix look all ave/time 10 {look // 10} {look} v_order',
        f'run {look} post no',
        'variable found equal $(f_look:%.10g)',
        f'print "{MARK} heated ${{upper}}"',
        f'print "{MARK} order ${{found}}"',
        'unfix look',
        'unfix dynamics',
        f'if "${{found}} < {MOLTEN_ORDER}" then "jump SELF molten"',
        f'variable heated equal $(v_upper*{HEATING_FACTOR}:%.10g)',
        'next turn',
        'jump SELF heat',
        'label molten',
    ]


def _coexist(run: Simulation) -> list[str]:
    """Bring a crystal to a temperature, melt one half of it, and leave both halves to themselves at constant enthalpy.

    The crystal half is held while the other melts, and its sides are those of the crystal at that temperature: in the
    plane of the interface they stay, and only the length of the box follows the pressure.
    """
    t, hot, seed = run['temperature'], run['hot'] * run['temperature'], run['seed']
    damping = THERMOSTAT_STEPS * run['timestep'] * PS_PER_FS
    steps = {part: 10 * round(share * run['steps'] / 10) for part, share in PREPARE.items()}
    half = 10 * round(steps['solid'] / 20)
    sides = ' '.join(f'v_{name}' for name in ('lx', 'ly', 'lz', 'order'))
    return [
        *(f'variable {name} equal {name}' for name in ('lx', 'ly', 'lz')),
        f'velocity all create {2 * t:.6f} {seed} mom yes rot no dist gaussian',
        f'fix dynamics all npt {_thermostat(run, t)} {_barostat(run, run["coupling"])}',
        f'run {half} post no',
        f'fix look all ave/time 10 {half // 10} {half} {sides}',
        f'run {half} post no',
        *(f'variable mean_{name} equal $(f_look[{index}]:%.12g)' for index, name in enumerate(('x', 'y', 'z'), 1)),
        'variable solid_order equal $(f_look[4]:%.10g)',
        f'print "{MARK} order ${{solid_order}}"',
        'unfix look',
        'unfix dynamics',
        # In one go, so that a tilted box keeps its shape.
        'change_box all x scale $(v_mean_x/lx:%.12g) y scale $(v_mean_y/ly:%.12g) z scale $(v_mean_z/lz:%.12g) '
        + ('xy final $(xy*v_mean_y/ly:%.12g) ' if run['tilted'] else '')
        + 'remap units box',
        f'variable middle equal $(zlo+{HELD_SHARE}*lz:%.12g)',
        'region upper block INF INF INF INF ${middle} INF units box',
        'group liquid region upper',
        # The lower edge of the box stays where it is, and with it the half that is held.
        f'fix dynamics liquid nph {_barostat(run, "z")} dilate liquid fixedpoint 0 0 $(zlo:%.12g)',
        f'fix heat liquid langevin {hot:.6f} {hot:.6f} {damping:.6g} {seed + 1}',
        f'run {steps["melt"]} post no',
        f'fix heat liquid langevin {hot:.6f} {t:.6f} {damping:.6g} {seed + 2}',
        f'run {steps["cool"]} post no',
        'unfix heat',
        'unfix dynamics',
        f'print "{MARK} solid_start $(v_order/v_solid_order:%.10g)"',
        'velocity all zero linear',
        f'fix dynamics all npt {_thermostat(run, t)} {_barostat(run, "z")}',
        f'run {steps["settle"]} post no',
        'unfix dynamics',
        'velocity all zero linear',
        f'velocity all scale {t:.6f}',
        *_coexistence_lines(run, '${solid_order}'),
    ]


def _coexistence_lines(run: Simulation, order: str) -> list[str]:
    """Return the lines of a simulation at constant enthalpy that ends when one of the phases is gone."""
    return [
        'reset_timestep 0',
        *_track_lines(order),
        f'variable is_gone equal (f_track[2]<{MIN_SOLID})+(f_track[2]>{MAX_SOLID})',
        f'fix gone all halt {TRACK_EVERY} v_is_gone > 0 error continue message no',
        f'fix dynamics all nph {_barostat(run, "z")}',
        f'run {run["steps"]}',
    ]


def _extend(run: Simulation) -> list[str]:
    return _coexistence_lines(run, f'{run["order"]:.10g}')


def _superheat(run: Simulation) -> list[str]:
    """Heat a crystal beyond its melting point, and leave it to itself at constant enthalpy."""
    t = run['temperature']
    return [
        f'velocity all create {2 * t:.6f} {run["seed"]} mom yes rot no dist gaussian',
        f'fix dynamics all npt {_thermostat(run, t)} {_barostat(run, run["coupling"])}',
        f'run {TRACK_EVERY} post no',
        f'fix look all ave/time 10 {TRACK_EVERY // 10} {TRACK_EVERY} v_order',
        f'run {TRACK_EVERY} post no',
        'variable solid_order equal $(f_look:%.10g)',
        f'print "{MARK} order ${{solid_order}}"',
        'unfix look',
        'unfix dynamics',
        'velocity all zero linear',
        f'velocity all scale {t:.6f}',
        'reset_timestep 0',
        *_track_lines('${solid_order}'),
        f'fix dynamics all nph {_barostat(run, run["coupling"])}',
        f'run {run["steps"]}',
    ]


# Outcome --------------------------------------------------------------------------------------------------------------


def read_run(directory: str | os.PathLike, run: Simulation, content: str) -> Run:
    """Read what a simulation left.

    :param directory: folder with the files :data:`OUTPUTS`, as far as they are there.
    :param run: what it was to do.
    :param content: the output of LAMMPS.
    """
    if 'LAMMPS' not in content:
        return Run(failure=('ERROR_NO_LOG', ''))
    log = read_log(content + '\n')
    track = read_track(Path(directory) / TRACK, run['timestep'])
    # The last one counts: the heating prints them again and again.
    marks = {name: float(value) for name, value in re.findall(rf'^{MARK} (\w+) (\S+)\s*$', content, re.MULTILINE)}
    began = np.ones((int('Step' in log['thermo']), 1))
    broken, failure = read_ending(log, began)
    left = Run('', failure, track, marks, next(iter(log['errors']), ''), log['atoms'] or 0, log['version'])
    left.seconds = log['loop_time']
    if failure is None:
        try:
            left.outcome = 'broken' if broken else _judge(run, track, marks)
        except (KeyError, ValueError) as exception:
            left.failure = ('ERROR_OUTPUT_BROKEN', f'{exception!r}')
    return left


def _judge(run: Simulation, track: dict[str, np.ndarray], marks: dict[str, float]) -> str:
    """Return what became of crystal and melt.

    :raises KeyError, ValueError: if a number is missing.
    """
    if run['program'] == 'heat':
        return 'molten' if marks['order'] < MOLTEN_ORDER else 'solid'
    solid = track['solid']
    if not len(solid):
        raise ValueError(f'{TRACK} is empty: {run["steps"]} steps are too few')
    if run['program'] == 'superheat':
        # early enough that the last third tells the temperature to which it has come
        return 'molten' if solid[len(solid) // 2 :].mean() < 0.7 else 'solid'
    if marks.get('solid_start', 0.0) > 0.75:
        return 'not_melted'
    return 'molten' if solid[-1] < MIN_SOLID else 'frozen' if solid[-1] > MAX_SOLID else 'coexists'


def read_track(path: Path, timestep: float) -> dict[str, np.ndarray]:
    """Return the columns of the track, and `time` (ps); pressures in GPa. Good for a simulation that still runs."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    rows = [line.split() for line in lines if line.endswith('\n') and not line.startswith('#')]
    table = np.array([row for row in rows if len(row) == len(TRACKED) + 1], dtype=float).reshape(-1, len(TRACKED) + 1)
    table = table[table[:, 0] > 0]  # the first line is one sample
    track = {'time': table[:, 0] * timestep * PS_PER_FS, **dict(zip(TRACKED, table[:, 1:].T, strict=True))}
    for name in ('pressure', 'lateral_pressure'):
        track[name] = track[name] / BAR_PER_GPA
    return track
