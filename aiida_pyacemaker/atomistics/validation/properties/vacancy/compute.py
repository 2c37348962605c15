"""Formation energies of vacancies, relaxed, one for each inequivalent site.

At the composition of the crystal, so that nothing but the crystal itself is the reference: with :math:`e_i` the energy
that the removal of an atom from site i costs, :math:`e_X` the lowest of them for the element X, :math:`\\nu_X` the
atoms of X in a formula unit of :math:`n` atoms and the energy :math:`E_u`, the Schottky energy is
:math:`E_S = \\sum_X \\nu_X e_X + E_u`, and a site i of the element X has

.. math:: E_f(i) = E_S / n + e_i - e_X

In an element that is the usual :math:`E(N-1) - (N-1) E(N) / N`. In a compound it is what vacancies cost as long as the
composition is kept (all sublattices have their share of them; none is bound to another), so the elements need no other
phase as a reference, which a potential of the compound need not know.

The volume is kept, so that energies come down as 1/N with the atoms of the supercell: with the default by 0.003 eV for
copper (EAM, 108 atoms), 0.1 eV for silicon (Stillinger-Weber, 96 atoms), whose neighbours move far.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import spglib
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import get_distances

from ....checks.fingerprint import reduced_composition
from ....core.frame import labels
from ....variants.supercell import supercell
from ...defects import MAX_FORCE, MAX_STEPS, energies, outcome, require_crystal
from ...evaluator import Evaluator
from . import Vacancy, VacancyResult

#: Å within which atoms are equivalent.
SYMPREC = 1e-3
#: Neighbours of a vacancy are nearer to it than so many times the nearest one.
FIRST_SHELL_RATIO = 1.3
#: Relaxations start with them nearer to it by these parts of their distance; the lowest end counts. From near their
#: symmetric positions alone the vacancy of silicon (Stillinger-Weber) stays at 4.34 eV and does not find 2.75 eV;
#: close-packed metals end where they do from anywhere.
INWARD_SHIFTS = (0.0, 0.2)
#: Å; width of the Gaussians by which they are displaced at random.
SHAKE_WIDTH = 0.05
#: Of these displacements.
SEED = 1


def plan(crystal: Atoms, parameters: Vacancy) -> list[Atoms]:
    """Return the perfect supercell, and one with a vacancy for each inequivalent site, all to be relaxed.

    The volume is that of the crystal. Their info has `element`, `vacancy` (Å, where the atom was), `multiplicity` (of
    the site, in the conventional cell) and `sites` (how many the element has).

    :raises NotApplicableError: for molecules.
    """
    parent = _conventional(crystal)
    kinds = parent.arrays['site']
    perfect = supercell(parent, parameters.atoms)
    perfect.info = {'property': 'vacancy'}
    frames = [perfect]
    for element in sorted(set(parent.symbols)):
        mine = Counter(kinds[parent.symbols == element].tolist())
        for kind, multiplicity in mine.most_common(parameters.max_sites):
            frame = perfect.copy()
            atom = int(np.flatnonzero(perfect.arrays['site'] == kind)[0])
            frame.info |= {'element': element, 'multiplicity': multiplicity, 'sites': len(mine)}
            frame.info['vacancy'] = frame.positions[atom].tolist()
            del frame[atom]
            frames.append(frame)
    for frame in frames:
        del frame.arrays['site']
    return frames


def analyse(crystal: Atoms, relaxed: list[Atoms], parameters: Vacancy) -> VacancyResult:
    """Return `sites`: element, energy and unrelaxed (eV), n_atoms (with the vacancy), multiplicity; `schottky` (eV).

    :param relaxed: the frames of :func:`plan`, relaxed.
    :raises ValueError: if one did not relax.
    """
    perfect, *vacancies = relaxed
    found = [energy[1:] - energy[0] for energy in energies(relaxed, 'vacancy')]
    symbols = np.array([frame.info['element'] for frame in vacancies])
    unit = _formula_unit(perfect)
    unit_energy = energies([perfect], 'vacancy')[1][0] * sum(unit.values()) / len(perfect)
    shown = []
    for removal in found:
        lowest = {element: removal[symbols == element].min() for element in unit}
        schottky = sum(number * lowest[element] for element, number in unit.items()) + unit_energy
        shown.append(schottky / sum(unit.values()) + removal - [lowest[element] for element in symbols])
    sites = [
        {
            'element': str(element),
            'energy': float(energy),
            'unrelaxed': float(before),
            'n_atoms': len(frame),
            'multiplicity': int(frame.info['multiplicity']),
        }
        for element, energy, before, frame in zip(symbols, shown[1], shown[0], vacancies, strict=True)
    ]
    left_out = any(frame.info['sites'] > parameters.max_sites for frame in vacancies)
    message = f'of each element only {parameters.max_sites} inequivalent sites were looked at' if left_out else ''
    return outcome({'sites': sites, 'schottky': float(schottky), 'formula_unit': unit}, message)


def run(crystal: Atoms, evaluator: Evaluator, parameters: Vacancy) -> VacancyResult:
    """Relax, from several starts, and analyse: see :func:`relax` and :func:`analyse`."""
    return analyse(crystal, relax(crystal, evaluator, parameters), parameters)


def relax(crystal: Atoms, evaluator: Evaluator, parameters: Vacancy) -> list[Atoms]:
    """Return the frames of :func:`plan` relaxed, each from several starts: the lowest end of each."""
    frames = plan(crystal, parameters)
    perfect, *vacancies = frames
    starts = [perfect] + [_shaken(frame, inward) for frame in vacancies for inward in INWARD_SHIFTS]
    perfect, *ends = evaluator.relax(starts, force=MAX_FORCE, steps=MAX_STEPS)
    lowest = [
        min(ends[first : first + len(INWARD_SHIFTS)], key=lambda end: (not end.info['relaxed'], labels(end)['energy']))
        for first in range(0, len(ends), len(INWARD_SHIFTS))
    ]
    for end, frame in zip(lowest, evaluator.evaluate(vacancies), strict=True):
        end.info['unrelaxed_energy'] = float(labels(frame)['energy'])
    return [perfect, *lowest]


def _conventional(crystal: Atoms) -> Atoms:
    """Return the conventional cell (of what has vacuum the cell as it is), its array `site` equal for equivalent atoms.

    It is not idealised: the atoms are where the potential wants them.
    """
    space = require_crystal(crystal, 'vacancy')
    parent = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    if space.kind in ('bulk', 'porous'):
        lattice, positions, numbers = spglib.standardize_cell(_spglib_cell(parent), no_idealize=True, symprec=SYMPREC)
        parent = Atoms(numbers, cell=lattice, scaled_positions=positions, pbc=True)
    else:
        parent.info['vacuum_axes'] = list(space.axes)
    symmetry = spglib.get_symmetry_dataset(_spglib_cell(parent), symprec=SYMPREC)
    parent.set_array('site', np.asarray(symmetry.crystallographic_orbits))
    return parent


def _shaken(frame: Atoms, inward: float) -> Atoms:
    """Return a copy in which the neighbours of the vacancy have left their symmetric positions."""
    vectors, distances = get_distances(frame.info['vacancy'], frame.positions, cell=frame.cell, pbc=frame.pbc)
    near = np.flatnonzero(distances[0] < FIRST_SHELL_RATIO * distances.min())
    shaken = frame.copy()
    shaken.positions[near] -= inward * vectors[0][near]
    shaken.positions[near] += np.random.default_rng(SEED).normal(0.0, SHAKE_WIDTH, (len(near), 3))
    return shaken


def _spglib_cell(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers


def _formula_unit(atoms: Atoms) -> dict[str, int]:
    return {chemical_symbols[number]: count for number, count in reduced_composition(atoms)}
