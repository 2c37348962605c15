"""The basis: its order, that smaller ones are parts of larger ones, many elements."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.basis import (
    Order,
    Radial,
    build_basis,
    column_keys,
    columns_within,
    default_order,
    first_functions,
    functions_per_element,
)
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix


def inner(elements: list[str]) -> dict[tuple[str, str], tuple[float, float]]:
    return dict.fromkeys(combinations_with_replacement(elements, 2), (1.6, 0.5))


def test_order_starts_with_what_is_simple():
    functions = first_functions(1, 200, Order())
    degrees = [function.degree for function in functions]
    assert degrees == sorted(degrees)
    assert functions[0].factors == ((0, 1, 0),)
    assert len({(f.factors, f.couplings) for f in functions}) == 200
    ranks = Counter(f.rank for f in functions)
    assert set(ranks) == {1, 2, 3, 4, 5}
    # angular momenta of a factor couple to a scalar: for two factors they are equal
    assert all(f.factors[0][2] == f.factors[1][2] for f in functions if f.rank == 2)


def test_functions_are_those_of_python_ace():
    """All functions that python-ace makes up to a degree, and no others."""
    import pyace

    order = Order(factor=1.0, angular=1.0, lmax=(0, 4, 3, 2, 1))
    settings = {
        'deltaSplineBins': 0.001,
        'elements': ['Al', 'Cu'],
        'embeddings': {'ALL': {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1], 'ndensity': 1}},
        'bonds': {'ALL': {'radbase': 'SBessel', 'radparameters': [5.25], 'rcut': 5.0, 'dcut': 0.01}},
        'functions': {'ALL': {'nradmax_by_orders': [6, 5, 4, 3, 2], 'lmax_by_orders': list(order.lmax)}},
    }
    theirs = set()
    for block in pyace.create_multispecies_basis_config(settings).funcspecs_blocks:
        for f in block.funcspecs:
            if len(f.ns) + sum(f.ns) + sum(f.ls) <= 7:
                theirs.add((tuple(f.elements), tuple(f.ns), tuple(f.ls), tuple(f.LS)))
    number = len(theirs) // 2
    ours = {f.key(['Al', 'Cu'], central) for f in first_functions(2, number, order) for central in ('Al', 'Cu')}
    assert ours == theirs


@pytest.mark.parametrize('elements', [['Cu'], ['Al', 'Cu', 'Ni']])
def test_rows_of_a_smaller_basis_are_columns_of_a_larger(elements):
    small, large = (build_basis(elements, 5.0, number, inner(elements)) for number in (20, 70))
    functions = first_functions(len(elements), 20, default_order(len(elements)))
    columns = columns_within(column_keys(large), elements, functions)
    atoms = bulk('Cu', cubic=True).repeat((2, 1, 1))
    atoms.symbols = (elements * 8)[:8]
    atoms.rattle(0.1, seed=1)
    few, many = (DesignMatrix(basis).rows(atoms, stress=True) for basis in (small, large))
    for name in ('energy', 'forces', 'stress'):
        np.testing.assert_allclose(getattr(many, name)[..., columns], getattr(few, name), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match='larger has not'):
        columns_within(column_keys(small), elements, first_functions(len(elements), 70, default_order(len(elements))))


def test_five_elements_share_the_functions():
    elements = ['Al', 'Co', 'Cu', 'Fe', 'Ni']
    basis = build_basis(elements, 5.0, 100, inner(elements))
    assert functions_per_element(basis) == dict.fromkeys(elements, 100)
    keys = column_keys(basis)
    assert len(set(keys)) == 500
    # every element sees the same: its functions with the elements renamed are those of the others
    shapes = {
        central: Counter((ns, ls, couplings, len(set(neighbours))) for c, neighbours, ns, ls, couplings in keys
                         if c == central)
        for central in elements
    }  # fmt: skip
    assert all(shape == shapes['Al'] for shape in shapes.values())
    pairs = {(c, neighbours[0]) for c, neighbours, *_ in keys if len(neighbours) == 1}
    assert len(pairs) == 25


def test_radial_functions_as_asked():
    kinds = {
        kind: build_basis(['Si'], 5.0, 20, inner(['Si']), radial=Radial(kind, 2.0)) for kind in ('ChebPow', 'SBessel')
    }
    rows = [DesignMatrix(basis).rows(bulk('Si')).energy for basis in kinds.values()]
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    again = build_basis(['Si'], 5.0, 20, inner(['Si']), radial={'kind': 'ChebPow', 'parameter': 2.0, 'smoothing': 0.01})
    np.testing.assert_array_equal(DesignMatrix(again).rows(bulk('Si')).energy, rows[0])


def test_two_densities_have_the_same_functions():
    linear, nonlinear = (build_basis(['Al'], 5.0, 30, inner(['Al']), mode) for mode in ('linear', 'nonlinear'))
    assert column_keys(linear) == column_keys(nonlinear)
    assert len(nonlinear.basis_coeffs) == 2 * len(linear.basis_coeffs)


def test_too_many_functions_or_too_few():
    with pytest.raises(ValueError, match='number_of_functions is 2: 3 elements need at least as many'):
        build_basis(['Al', 'Cu', 'Ni'], 5.0, 2, inner(['Al', 'Cu', 'Ni']))
    with pytest.raises(ValueError, match='python-ace has only'):
        first_functions(1, 10_000, Order(lmax=(0,)))
