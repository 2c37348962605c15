"""Rows of the linear problem against python-ace's own derivatives and against differences of energies."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.basis import functions_per_element, import_pyace
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix


def make_basis(elements: list[str], functions: int = 60, cutoff: float = 5.0, **bonds: Any) -> Any:
    """A basis with an inner cutoff; `bonds` change the radial functions."""
    pyace = import_pyace()
    bond = {
        'radbase': 'SBessel', 'radparameters': [5.25], 'rcut': cutoff, 'dcut': 0.01, 'NameOfCutoffFunction': 'cos',
        'r_in': 1.8, 'delta_in': 0.3, 'inner_cutoff_type': 'distance', **bonds,
    }  # fmt: skip
    configuration = {
        'deltaSplineBins': 0.001,
        'elements': sorted(elements),
        'embeddings': {'ALL': {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1], 'ndensity': 1}},
        'bonds': {'ALL': bond},
        'functions': {
            'number_of_functions_per_element': functions,
            'ALL': {'nradmax_by_orders': [8, 4, 3, 2, 1], 'lmax_by_orders': [0, 3, 2, 2, 1]},
        },
    }
    return pyace.ACEBBasisSet(pyace.create_multispecies_basis_config(configuration))


def make_cells(elements: list[str]) -> list[Atoms]:
    """Crystals and clusters that are awkward: primitive, sheared, thin, not wrapped, not periodic, alone."""
    rng = np.random.default_rng(3)
    cubic = bulk('Al', cubic=True) * (2, 2, 1)
    sheared = bulk('Al') * (2, 1, 1)
    sheared.set_cell(sheared.cell.array @ (np.eye(3) + rng.normal(0, 0.15, (3, 3))), scale_atoms=True)
    thin = Atoms('Al', cell=[2.4, 3.0, 9.0], pbc=True)
    cluster = Atoms('Al5', rng.permutation(np.indices((2, 2, 2)).reshape(3, -1).T)[:5] * 2.2 - [9.0, 2.0, -4.0])
    within = Atoms('Al2', [[0, 0, 0], [0, 0, 1.65]])  # inside the inner cutoff
    cells = [cubic, bulk('Al'), sheared, thin, cluster, within, Atoms('Al')]
    for index, atoms in enumerate(cells):
        atoms.rattle(0.1 if len(atoms) > 2 else 0.01, seed=index)
        atoms.symbols = rng.choice(elements, len(atoms))
    cubic.positions += [[30.0, -17.0, 0.3]]
    return cells


def by_pyace(basis: Any, atoms: Atoms, forces: bool = True) -> tuple[list[np.ndarray], np.ndarray]:
    """Projections and derivatives as python-ace computes them: (3 n_atoms, n_functions)."""
    from pyace import ACEBEvaluator, ACECalculator
    from pyace.atomicenvironment import aseatoms_to_atomicenvironment

    evaluator = ACEBEvaluator(basis)
    calculator = ACECalculator(evaluator)
    environment = aseatoms_to_atomicenvironment(atoms, basis.cutoffmax, basis.elements_to_index_map)
    calculator.compute(environment, compute_projections=True, compute_b_grad=forces)
    projections = [np.array(values).ravel() for values in calculator.projections[: len(atoms)]]
    if not forces:
        return projections, np.zeros(0)
    return projections, np.concatenate(np.array(calculator.forces_bfuncs)[: len(atoms)].transpose(0, 2, 1))


@pytest.mark.parametrize('elements', (['Al'], ['Al', 'Cu'], ['Al', 'Cu', 'Ni']))
def test_same_as_pyace(elements: list[str]) -> None:
    basis = make_basis(elements)
    design = DesignMatrix(basis)
    assert design.number_of_functions == sum(functions_per_element(basis).values())
    seen = 0.0
    for atoms in make_cells(elements):
        projections, forces = by_pyace(basis, atoms)
        rows = design.rows(atoms)
        scale = np.abs(forces).max(initial=0.0)
        seen = max(seen, scale)
        np.testing.assert_allclose(rows.forces, forces, rtol=1e-9, atol=1e-11 * scale + 1e-300)
        shifts = dict(zip(elements, np.cumsum([0, *functions_per_element(basis).values()]), strict=False))
        energy = np.zeros(design.number_of_functions)
        for symbol, found, expected in zip(atoms.symbols, rows.projections, projections, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())
            energy[shifts[symbol] : shifts[symbol] + len(expected)] += expected
        np.testing.assert_allclose(rows.energy, energy, rtol=1e-9, atol=1e-11 * np.abs(energy).max())
    assert seen > 1


def test_large_cell() -> None:
    """Where an atom sees few of all, the kernel sums line by line; also with an element that is far from some atoms."""
    basis = make_basis(['Al', 'Cu'], 12, cutoff=4.0)
    atoms = bulk('Al', cubic=True) * (2, 2, 8)
    atoms.rattle(0.1, seed=0)
    atoms.symbols[5:9] = 'Cu'
    starts, *_ = DesignMatrix(basis)._neighbours(atoms, np.zeros(len(atoms), dtype=int))
    assert 2 * starts[-1] < len(atoms) ** 2
    _, forces = by_pyace(basis, atoms)
    rows = DesignMatrix(basis).rows(atoms, stress=True)
    np.testing.assert_allclose(rows.forces, forces, rtol=1e-9, atol=1e-11 * np.abs(forces).max())
    # a crystal has the stress of its cell, in which everything is a neighbour of everything
    cell = make_cells(['Al', 'Cu'])[2]
    one, many = (DesignMatrix(basis).rows(part, stress=True) for part in (cell, cell * (4, 4, 4)))
    np.testing.assert_allclose(many.stress, one.stress, rtol=1e-9, atol=1e-11 * np.abs(one.stress).max())


@pytest.mark.parametrize(
    'bonds',
    (
        {'radbase': 'ChebExpCos', 'dcut': 0.3},
        {'radbase': 'ChebPow', 'radparameters': [2.0]},
        {'radbase': 'ChebLinear'},
        {'inner_cutoff_type': 'density'},
    ),
    ids=lambda bonds: next(iter(bonds.values())),
)
def test_radial_bases(bonds: dict[str, Any]) -> None:
    basis = make_basis(['Al', 'Cu'], 30, **bonds)
    atoms = make_cells(['Al', 'Cu'])[0]
    _, forces = by_pyace(basis, atoms)
    found = DesignMatrix(basis).rows(atoms).forces
    np.testing.assert_allclose(found, forces, rtol=1e-9, atol=1e-11 * np.abs(forces).max())


def test_radial_coefficients_and_cutoffs_of_pairs() -> None:
    """Radial functions that are mixtures, other ones for each l and pair, and a shorter cutoff of one pair."""
    pyace = import_pyace()
    configuration = make_basis(['Al', 'Cu'], 40).to_BBasisConfiguration()
    for block in configuration.funcspecs_blocks:
        if block.number_of_species == 2:
            block.rcutij = 4.0
        if block.number_of_species <= 2:
            # the two blocks of a pair must agree
            rng = np.random.default_rng(block.number_of_species + (block.block_name == 'Cu'))
            block.set_radial_coeffs(list(rng.normal(size=len(block.get_radial_coeffs()))))
    basis = pyace.ACEBBasisSet(configuration)
    assert not np.allclose(np.array(basis.radial_functions.cut), 5.0)
    atoms = make_cells(['Al', 'Cu'])[0]
    _, forces = by_pyace(basis, atoms)
    design = DesignMatrix(basis)
    assert design._splines.nodes.shape[2] > basis.nradbase
    np.testing.assert_allclose(design.rows(atoms).forces, forces, rtol=1e-9, atol=1e-11 * np.abs(forces).max())


def test_stress_is_derivative_by_strain() -> None:
    """Against differences of python-ace's own projections, which know nothing of the kernel."""
    basis = make_basis(['Al', 'Cu'], 40)
    design = DesignMatrix(basis)
    for atoms in make_cells(['Al', 'Cu'])[:4]:
        stress = design.rows(atoms, forces=False, stress=True).stress
        coefficients = np.random.default_rng(0).normal(size=design.number_of_functions)
        voigt = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
        expected = [by_strain(basis, atoms, i, j, coefficients) for i, j in voigt]
        np.testing.assert_allclose(stress @ coefficients, expected, rtol=2e-5, atol=2e-6 * np.abs(expected).max())


def by_strain(basis: Any, atoms: Atoms, i: int, j: int, coefficients: np.ndarray, step: float = 1e-4) -> float:
    """Stress (ASE's sign) of the linear model, by a central difference."""
    first = functions_per_element(basis)
    parts = dict(zip(first, np.split(coefficients, np.cumsum(list(first.values()))[:-1]), strict=True))
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[i, j] += sign * step / 2
        strain[j, i] += sign * step / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        projections, _ = by_pyace(basis, strained, forces=False)
        energies.append(sum(p @ parts[s] for s, p in zip(strained.symbols, projections, strict=True)))
    return (energies[0] - energies[1]) / (2 * step * atoms.get_volume())


def test_left_handed_cell() -> None:
    """python-ace refuses such cells ("Extreme shape of unit cell"); the same lattice has a right-handed one."""
    design = DesignMatrix(make_basis(['Al', 'Cu'], 30))
    right = make_cells(['Al', 'Cu'])[2]
    left = Atoms(right.numbers, right.positions, cell=right.cell.array[[1, 0, 2]], pbc=True)
    assert left.cell.handedness != right.cell.handedness
    one, other = design.rows(right, stress=True), design.rows(left, stress=True)
    for name in ('energy', 'forces', 'stress'):
        expected = getattr(one, name)
        np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


def test_only_what_is_asked_for() -> None:
    design = DesignMatrix(make_basis(['Al'], 20))
    atoms = make_cells(['Al'])[2]
    rows = design.rows(atoms, forces=False)
    assert rows.forces is None and rows.stress is None
    whole = design.rows(atoms, stress=True)
    assert whole.forces.shape == (3 * len(atoms), 20) and whole.stress.shape == (6, 20)
    np.testing.assert_array_equal(whole.energy, rows.energy)
    assert design.rows(make_cells(['Al'])[4], stress=True).stress is None, 'a cluster has no volume'


def test_processes_do_not_change_a_bit() -> None:
    design = DesignMatrix(make_basis(['Al', 'Cu'], 30))
    cells = make_cells(['Al', 'Cu'])
    for one, two in zip(design.all_rows(cells, processes=1), design.all_rows(cells, processes=2), strict=True):
        np.testing.assert_array_equal(one.energy, two.energy)
        np.testing.assert_array_equal(one.forces, two.forces)


@pytest.mark.parametrize(
    ('atoms', 'message'),
    (
        (Atoms('Al2', [[0, 0, 0], [0, 0, 3]], cell=[9, 9, 9], pbc=[True, True, False]), 'in some directions only'),
        (Atoms('AlAu', [[0, 0, 0], [0, 0, 3]]), 'has Au, the basis has Al, Cu only'),
        (Atoms('Al2', [[0, 0, 0], [0, 0, 5e-4]]), 'on top of each other'),
        (Atoms('Al2', [[0, 0, 0], [4, 0, 1e-5]], cell=[4, 4, 4], pbc=True), 'on top of each other'),
    ),
)
def test_bad_configurations(atoms: Atoms, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DesignMatrix(make_basis(['Al', 'Cu'], 10)).rows(atoms)


def test_compiled_once() -> None:
    """Nothing pays for numba before rows are computed, and a second process does not compile again."""
    DesignMatrix(make_basis(['Al'], 10))
    script = (
        'import sys\n'
        'import aiida_pyacemaker.atomistics.ace.rows\n'
        "assert 'numba' not in sys.modules\n"
        'from aiida_pyacemaker.atomistics.ace import kernel\n'
        'kernel.warm_up()\n'
        'assert sum(kernel.evaluate.stats.cache_misses.values()) == 0\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True)


def test_shapes_of_arrays_do_not_compile_again() -> None:
    """What `warm_up` compiles is what the rows of any basis use."""
    from aiida_pyacemaker.atomistics.ace import kernel

    for elements in (['Al'], ['Al', 'Cu']):
        DesignMatrix(make_basis(elements, 15)).rows(make_cells(elements)[0], stress=True)
    assert len(kernel.evaluate.signatures) == 1
