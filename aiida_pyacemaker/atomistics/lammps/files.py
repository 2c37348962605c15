"""LAMMPS input lines for a potential, and what LAMMPS writes read back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from ..baselines import baseline_from_dict
from ..core.plain import Json


def pair_lines(
    metadata: Json, *, yaml: str = 'potential.yaml', asi: str = 'potential.asi', yace: str | None = None
) -> str:
    """Return the `pair_style` and `pair_coeff` lines of a potential, baseline included.

    :param metadata: metadata of an :class:`~aiida_pyacemaker.atomistics.potential.AcePotential`; atom type i is its
        element i.
    :param yaml: name of the B-basis file, with `asi` for `pace/extrapolation` (gamma).
    :param asi: name of the active set file.
    :param yace: if given, plain `pace` with this file: faster, no gamma.
    """
    elements = metadata['elements']
    baseline = baseline_from_dict(metadata['baseline'])
    styles, coeffs = baseline.lammps(elements)
    ace, files = ('pace', yace) if yace else ('pace/extrapolation', f'{yaml} {asi}')
    lines = [f'pair_style hybrid/overlay {ace} {" ".join(styles)}', *baseline.lammps_modify()]
    lines += [f'pair_coeff * * {ace} {files} {" ".join(elements)}', *coeffs]
    return '\n'.join(lines) + '\n'


def mass_lines(elements: list[str]) -> str:
    """Return the `mass` lines, atom type i being element i."""
    return ''.join(f'mass {i} {atomic_masses[atomic_numbers[el]]:.6f}\n' for i, el in enumerate(elements, start=1))


def write_in_lammps(
    metadata: Json,
    target: str | os.PathLike | None = None,
    *,
    data: str = 'structure.data',
    yaml: str = 'potential.yaml',
    asi: str = 'potential.asi',
    yace: str = 'potential.yace',
) -> str:
    """Return a ready LAMMPS input for an exported potential, and write it if a target is given.

    It reads a data file and computes energy and pressure with the fast `pace`; variables given with `-var` make it a
    simulation of a repeated cell. The lines with gamma are shown in comments.
    """
    energies = ', '.join(f'{element} {value:.6f}' for element, value in metadata['reference_energies'].items())
    with_gamma = ''.join(f'# {line}\n' for line in pair_lines(metadata, yaml=yaml, asi=asi).splitlines())
    text = (
        f'# ACE potential of {" ".join(metadata["elements"])}, generation {metadata.get("generation", 0)}.\n'
        '# Needs a LAMMPS with ML-PACE. Atom types follow the order of the elements in pair_coeff.\n'
        f'# LAMMPS energies are relative to free atoms; add per atom (eV): {energies}\n'
        '# Energy and pressure:   lmp -in in.lammps\n'
        '# Molecular dynamics:    lmp -in in.lammps -var repeat "10 10 10" -var steps 1000 -var temperature 300\n'
        f'variable data index {data}\n'
        'variable repeat index "1 1 1"\nvariable steps index 0\nvariable temperature index 300\n\n'
        'units metal\natom_style atomic\nboundary p p p\n'
        f'read_data ${{data}}\nreplicate ${{repeat}}\n{mass_lines(metadata["elements"])}\n'
        f'{pair_lines(metadata, yace=yace)}\n'
        '# The same with the extrapolation grade gamma per atom (f_gamma), every 10 steps:\n'
        f'{with_gamma}# fix gamma all pair 10 pace/extrapolation gamma 1\n\n'
        'if "${steps} > 0" then "velocity all create ${temperature} 1 mom yes rot no dist gaussian"\n'
        'fix dynamics all nvt temp ${temperature} ${temperature} 0.1\n'
        'thermo_style custom step temp pe press vol\nthermo 10\nrun ${steps}\n'
    )
    if target is not None:
        Path(target).write_text(text)
    return text


def read_dump(source: str | os.PathLike, elements: list[str], gamma: str | None = None) -> list[Atoms]:
    """Read a LAMMPS text dump (`dump custom`), atoms sorted by id.

    :param source: path of the dump, or its text (then with a newline in it).
    :param elements: element of atom type 1, 2, ... (a column `element` wins).
    :param gamma: name of the column with gamma; by default the first of `gamma` and columns starting with `f_gam`.
    :returns: frames with info `step`; with gamma, array `gamma` and info `gamma_max`. An incomplete last frame
        (a killed run) is left out.
    :raises ValueError: if the dump lacks positions or types.
    """
    lines = _lines(source)
    frames = []
    while True:
        try:
            frames.append(_read_dump_frame(lines, elements, gamma))
        except StopIteration:
            return frames


def _read_dump_frame(lines: Iterator[str], elements: list[str], gamma: str | None) -> Atoms:
    step, n_atoms, cell, origin, pbc = 0, 0, np.zeros((3, 3)), np.zeros(3), [True] * 3
    while not (header := next(lines)).startswith('ITEM: ATOMS'):
        if header.startswith('ITEM: TIMESTEP'):
            step = int(next(lines))
        elif header.startswith('ITEM: NUMBER OF ATOMS'):
            n_atoms = int(next(lines))
        elif header.startswith('ITEM: BOX BOUNDS'):
            pbc = [word == 'pp' for word in header.split()[-3:]]
            cell, origin = _box([[float(word) for word in next(lines).split()] for _ in range(3)])
    columns = header.split()[2:]
    rows = [next(lines).split() for _ in range(n_atoms)]
    table = {name: [row[k] for row in rows] for k, name in enumerate(columns)}
    if 'element' in table:
        symbols = table['element']
    elif 'type' in table:
        symbols = [elements[int(kind) - 1] for kind in table['type']]
    else:
        raise ValueError('the LAMMPS dump has neither a column "type" nor "element": write one of them')
    order = np.argsort(np.array(table['id'], dtype=int)) if 'id' in table else np.arange(n_atoms)
    atoms = Atoms([symbols[k] for k in order], cell=cell, pbc=pbc)
    atoms.positions = _dump_positions(table, cell, origin)[order]
    atoms.info['step'] = step
    name = gamma or next((name for name in columns if name == 'gamma' or name.startswith('f_gam')), None)
    if name in table:
        atoms.set_array('gamma', np.array(table[name], dtype=float)[order])
        atoms.info['gamma_max'] = float(atoms.arrays['gamma'].max())
    return atoms


def _dump_positions(table: dict[str, list[str]], cell: np.ndarray, origin: np.ndarray) -> np.ndarray:
    for suffix in ('', 'u'):
        names = [axis + suffix for axis in 'xyz']
        if all(name in table for name in names):
            return np.array([table[name] for name in names], dtype=float).T - origin
    for suffix in ('s', 'su'):
        names = [axis + suffix for axis in 'xyz']
        if all(name in table for name in names):
            return np.array([table[name] for name in names], dtype=float).T @ cell
    raise ValueError('the LAMMPS dump has no positions: write the columns x y z')


def _box(bounds: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Cell ((3, 3), Å) and origin from the BOX BOUNDS of a dump, which give the bounding box of a tilted cell."""
    xy, xz, yz = (row[2] if len(row) > 2 else 0.0 for row in bounds)
    (xlo, xhi), (ylo, yhi), (zlo, zhi) = (row[:2] for row in bounds)
    xlo, xhi = xlo - min(0.0, xy, xz, xy + xz), xhi - max(0.0, xy, xz, xy + xz)
    ylo, yhi = ylo - min(0.0, yz), yhi - max(0.0, yz)
    return np.array([[xhi - xlo, 0, 0], [xy, yhi - ylo, 0], [xz, yz, zhi - zlo]]), np.array([xlo, ylo, zlo])


class Log(TypedDict):
    """What a log of LAMMPS says, see :func:`read_log`."""

    thermo: dict[str, np.ndarray]
    version: str | None
    halted: bool
    halt_step: int | None
    halt_value: float | None
    halt_id: str | None
    halt_line: str | None
    errors: list[str]
    warnings: list[str]
    lost_atoms: bool
    loop_time: float
    steps: int
    atoms: int | None
    runs_ended: int
    completed: bool
    wall_time: float | None


def read_log(source: str | os.PathLike) -> Log:
    """Read a LAMMPS log.

    :param source: path of the log, or its text (then with a newline in it).
    :returns: `thermo` (column -> (n,) array, all runs joined, a repeated step only once), `version` (str or None),
        `halted` (bool), `halt_step`, `halt_value`, `halt_id` (of the last 'Fix halt condition' line), `halt_line`,
        `errors` (list of the lines that start with ERROR), `warnings`, `lost_atoms` (bool), `loop_time` (s, summed
        over the runs that ended), `steps` (run in those), `atoms`, `runs_ended` (int), `completed` (bool: the log ends
        with 'Total wall time'), `wall_time` (s or None).
    """
    log: Log = {
        'thermo': {}, 'version': None, 'halted': False, 'halt_step': None, 'halt_value': None, 'halt_id': None,
        'halt_line': None, 'errors': [], 'warnings': [], 'lost_atoms': False, 'loop_time': 0.0, 'steps': 0,
        'atoms': None, 'runs_ended': 0, 'completed': False, 'wall_time': None,
    }  # fmt: skip
    rows: list[dict[str, float]] = []
    columns: list[str] | None = None
    for line in _lines(source):
        words = line.split()
        if words and words[0] == 'Step':
            columns = words
            continue
        if columns is not None and len(words) == len(columns):
            try:
                rows.append(dict(zip(columns, map(float, words), strict=True)))
                continue
            except ValueError:
                pass
        if line.startswith('Loop time of'):
            columns = None
        _read_log_line(line, log)
    names = list(dict.fromkeys(name for row in rows for name in row))
    rows = list({row['Step']: row for row in rows}.values())
    log['thermo'] = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    return log


_HALT = re.compile(r'Fix halt condition for fix-id (\S+) met on step (\d+) with value (\S+)')
_LOOP = re.compile(r'Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms')
_WALL = re.compile(r'Total wall time: (\d+):(\d+):(\d+)')


def _read_log_line(line: str, log: Log) -> None:
    if log['version'] is None and line.startswith('LAMMPS ('):
        log['version'] = line.strip()[8:].split(')')[0]
    elif found := _HALT.search(line):
        log.update(halted=True, halt_id=found[1], halt_step=int(found[2]), halt_line=line.strip())
        log['halt_value'] = float(found[3])
    elif found := _LOOP.match(line):
        log['loop_time'] += float(found[1])
        log['steps'] += int(found[2])
        log['atoms'] = int(found[3])
        log['runs_ended'] += 1
    elif found := _WALL.match(line):
        hours, minutes, seconds = map(int, found.groups())
        log.update(completed=True, wall_time=float(3600 * hours + 60 * minutes + seconds))
    elif line.startswith('ERROR'):
        log['errors'].append(line.strip())
        log['lost_atoms'] |= 'Lost atoms' in line
    elif line.startswith('WARNING'):
        log['warnings'].append(line.strip())
        log['lost_atoms'] |= 'Lost atoms' in line


def _lines(source: str | os.PathLike) -> Iterator[str]:
    """Yield the lines of a file, or of a text (which has a newline in it).

    A last line without its newline is left out: the run was killed while writing it.
    """
    if isinstance(source, str) and '\n' in source:
        yield from source.split('\n')[:-1]
        return
    with open(source, encoding='utf-8', errors='replace') as handle:
        for line in handle:
            if line.endswith('\n'):
                yield line
