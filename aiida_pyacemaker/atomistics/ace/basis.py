"""The ACE basis: which functions, on which radial functions, and where they end at short and at long distance.

Functions of one element are put in an order of growing complexity and a basis takes the first n. So a smaller basis is
a part of a larger one, and the rows of the larger one hold those of the smaller, see :func:`columns_within`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypedDict

import numpy as np

from ..core.errors import MissingEngineError


@dataclass(frozen=True)
class Radial:
    """Radial functions of python-ace: `kind` is SBessel, ChebExpCos, ChebPow or ChebLinear; `parameter` their
    lambda (SBessel has none); `smoothing` (Å) the width of the cosine cutoff that ChebExpCos ends with."""

    kind: str = 'SBessel'
    parameter: float = 5.25
    smoothing: float = 0.01


@dataclass(frozen=True)
class Order:
    """What makes a function complex: the degree is the sum over its factors of n + `angular` l + `factor`, n from 1.

    `lmax` bounds l by the number of factors (correlation order), one entry per order; there are no more orders.
    """

    factor: float = 1.0
    angular: float = 1.5
    lmax: tuple[int, ...] = (0, 4, 3, 2, 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'lmax', tuple(self.lmax))  # a list, if it comes from JSON


class RadialSettings(TypedDict, total=False):
    """A :class:`Radial` as JSON has it."""

    kind: str
    parameter: float
    smoothing: float


class OrderSettings(TypedDict, total=False):
    """An :class:`Order` as JSON has it."""

    factor: float
    angular: float
    lmax: list[int]


@dataclass(frozen=True, order=True)
class Function:
    """A function of the central element: `factors` (species, n, l) sorted as python-ace wants them, `couplings` the
    intermediate angular momenta; compared by degree first."""

    degree: float
    rank: int
    factors: tuple[tuple[int, int, int], ...]
    couplings: tuple[int, ...] = field(default=())

    def key(self, elements: list[str], central: str) -> tuple[Any, ...]:
        """What python-ace knows the function by."""
        species, ns, ls = zip(*self.factors, strict=True)
        return (central, *(elements[s] for s in species)), ns, ls, self.couplings


def import_pyace() -> Any:
    """Import python-ace late.

    :raises MissingEngineError: if it is missing, or a different package of the same import name is installed.
    """
    try:
        import pyace
    except ImportError as exception:
        raise MissingEngineError(
            f'python-ace cannot be imported ({exception}): pip install python-ace (the package "pyace" is another one)'
        ) from exception
    if not hasattr(pyace, 'ACEBBasisSet'):
        raise MissingEngineError('the installed "pyace" is not python-ace: pip uninstall pyace; pip install python-ace')
    return pyace


def build_basis(
    elements: list[str],
    cutoff: float,
    number_of_functions: int,
    inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
    mode: str = 'linear',
    radial: Radial | RadialSettings | None = None,
    order: Order | Mapping[str, Any] | None = None,
) -> Any:
    """Return a `pyace.ACEBBasisSet` with coefficients zero; its elements are in alphabetical order.

    :param cutoff: Å. :param number_of_functions: per element, at least one for every pair.
    :param inner_cutoffs: pair -> (r_in, delta_in) in Å, see `Baseline.inner_cutoffs`.
    :param mode: 'linear' has one density with a linear embedding; 'nonlinear' adds a second, square-root one.
    :raises ValueError: if there are more elements than functions, or python-ace has not so many functions.
    """
    pyace = import_pyace()
    elements = sorted(elements)
    radial = Radial(**radial) if isinstance(radial, dict) else radial or Radial()
    order = Order(**order) if isinstance(order, Mapping) else order or default_order(len(elements))
    if number_of_functions < len(elements):
        raise ValueError(
            f'number_of_functions is {number_of_functions}: {len(elements)} elements need at least as many per element'
        )
    functions = first_functions(len(elements), number_of_functions, order)
    settings = basis_configuration(elements, cutoff, inner_cutoffs, mode, radial)
    configuration = pyace.create_multispecies_basis_config(settings)
    _fill(configuration, elements, functions, settings['embeddings']['ALL']['ndensity'])
    return pyace.ACEBBasisSet(configuration)


def default_order(n_elements: int) -> Order:
    """Return the order that suits a number of elements: with more of them, functions of many bodies are so many more
    that they must wait (measured, see the explanation of the fit)."""
    return Order(factor=float(min(max(1, n_elements - 1), 4)))


def basis_configuration(
    elements: list[str],
    cutoff: float,
    inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
    mode: str,
    radial: Radial,
) -> dict[str, Any]:
    """Return the `potential` section of a pacemaker input, with one function per pair of elements."""
    embedding = {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1], 'ndensity': 1}
    if mode == 'nonlinear':
        embedding.update(fs_parameters=[1, 1, 1, 0.5], ndensity=2)
    bonds = {}
    for pair, (r_in, delta_in) in inner_cutoffs.items():
        bonds[''.join(sorted(pair))] = {
            'radbase': radial.kind,
            'radparameters': [radial.parameter],
            'rcut': cutoff,
            'dcut': radial.smoothing,
            'NameOfCutoffFunction': 'cos',
            'r_in': r_in,
            'delta_in': delta_in,
            'inner_cutoff_type': 'distance',
        }
    return {
        'deltaSplineBins': 0.001,
        'elements': elements,
        'embeddings': {'ALL': embedding},
        'bonds': bonds,
        'functions': {'ALL': {'nradmax_by_orders': [1], 'lmax_by_orders': [0]}},
    }


def first_functions(n_elements: int, number: int, order: Order) -> list[Function]:
    """Return the `number` simplest functions of an element among `n_elements`.

    The two-body function n = 1 of every pair comes first, because python-ace wants something of every pair. Then the
    order is by degree. All pairs and triples of elements share it, and functions of many different elements are many at
    every degree; with many elements a basis so holds high n and l for few factors and the simplest for more.

    :raises ValueError: if python-ace has not so many.
    """
    bound = order.factor + 1
    found: list[Function] = []
    while len(found) < number:
        bound += 1
        larger = list(_functions_to(n_elements, bound, order))
        if bound > 100:
            raise ValueError(f'number_of_functions is {number}: python-ace has only {len(larger)} of this kind')
        found = larger
    simple = {Function(order.factor + 1, 1, ((species, 1, 0),)) for species in range(n_elements)}
    return [*sorted(simple), *sorted(set(found) - simple)][:number]


def _functions_to(n_elements: int, bound: float, order: Order) -> Iterator[Function]:
    """All functions up to a degree."""
    known = _couplings(order.lmax)
    for rank, lmax in enumerate(order.lmax, start=1):
        largest = int(bound - rank * order.factor - (rank - 1))  # n of one factor if all others have n = 1
        single = [(species, n) for species in range(n_elements) for n in range(1, largest + 1)]
        for pairs in _multisets(single, rank, bound - rank * order.factor):
            for ls, couplings in known.get(_pattern(pairs), ()):
                degree = rank * order.factor + sum(n for _, n in pairs) + order.angular * sum(ls)
                if max(ls) <= lmax and degree <= bound:
                    factors = tuple((*pair, momentum) for pair, momentum in zip(pairs, ls, strict=True))
                    yield Function(degree, rank, factors, couplings)


def _multisets(single: list[tuple[int, int]], size: int, budget: float, start: int = 0) -> Iterator[tuple[Any, ...]]:
    """Sorted multisets of (species, n) with a sum of n within the budget."""
    if size == 0:
        yield ()
        return
    for index in range(start, len(single)):
        rest = budget - single[index][1]
        if rest >= size - 1:
            for others in _multisets(single, size - 1, rest, index):
                yield (single[index], *others)


def _pattern(pairs: tuple[Any, ...]) -> tuple[int, ...]:
    """Which of the (species, n) are equal: what python-ace's table of independent couplings is ordered by."""
    names = {pair: index for index, pair in enumerate(sorted(set(pairs)))}
    return tuple(names[pair] for pair in pairs)


@lru_cache(maxsize=4)
def _couplings(lmax: tuple[int, ...]) -> dict[tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """python-ace's table of linearly independent couplings: pattern of equal factors -> its (ls, couplings).

    It is read off the functions that python-ace makes for one element with as many n as there are factors.
    """
    settings = basis_configuration(['H'], 6.0, {('H', 'H'): (1.0, 0.5)}, 'linear', Radial())
    settings['functions']['ALL'] = {
        'nradmax_by_orders': list(range(1, len(lmax) + 1)),
        'lmax_by_orders': list(lmax),
    }
    table = defaultdict(list)
    for function in import_pyace().create_multispecies_basis_config(settings).funcspecs_blocks[0].funcspecs:
        if set(function.ns) == set(range(1, max(function.ns) + 1)):
            table[tuple(n - 1 for n in function.ns)].append((tuple(function.ls), tuple(function.LS)))
    return dict(table)


def _fill(configuration: Any, elements: list[str], functions: list[Function], n_densities: int) -> None:
    """Put the functions of every element into the blocks of a configuration, in place."""
    from pyace import BBasisFunctionSpecification, BBasisFunctionsSpecificationBlock
    from pyace.multispecies_basisextension import (
        initialize_block_crad,
        validate_bonds_nradmax_lmax_nradbase,
        validate_radial_shape_from_funcs,
    )

    blocks = {tuple(block.block_name.split()): block for block in configuration.funcspecs_blocks}
    members = defaultdict(list)
    for central in elements:
        for function in functions:
            names, ns, ls, couplings = function.key(elements, central)
            specification = BBasisFunctionSpecification(
                elements=names, ns=ns, ls=ls, LS=couplings, coeffs=[0.0] * n_densities
            )
            members[central, *sorted(set(names) - {central})].append(specification)
    for names, specifications in members.items():
        if names not in blocks:
            block = BBasisFunctionsSpecificationBlock()
            block.block_name, block.elements_vec = ' '.join(names), list(names)
            blocks[names] = block
        block = blocks[names]
        # python-ace crashes if the radial coefficients are not those of the shape
        block.radcoefficients = []
        validate_radial_shape_from_funcs(block, specifications)
        initialize_block_crad(block)
        block.funcspecs = specifications
    configuration.funcspecs_blocks = [blocks[names] for names in sorted(blocks, key=lambda names: (len(names), names))]
    validate_bonds_nradmax_lmax_nradbase(configuration)
    configuration.validate(raise_exception=True)


def functions_per_element(basis: Any) -> dict[str, int]:
    """Return element -> number of its functions."""
    return {
        element: len(one) + len(more)
        for element, one, more in zip(basis.elements_name, basis.basis_rank1, basis.basis, strict=True)
    }


def columns(basis: Any) -> list[Any]:
    """Return the functions of a basis as python-ace has them, in the order of its coefficients and of the rows."""
    return [function for one, more in zip(basis.basis_rank1, basis.basis, strict=True) for function in (*one, *more)]


def column_keys(basis: Any) -> list[tuple[Any, ...]]:
    """Return what tells the functions of a basis apart, in the order of its coefficients: element, neighbours, n, l and
    couplings."""
    names = basis.elements_name
    return [
        (names[f.mu0], tuple(names[mu] for mu in f.mus), tuple(f.ns), tuple(f.ls), tuple(f.LS)) for f in columns(basis)
    ]


def columns_within(keys: list[tuple[Any, ...]], elements: list[str], functions: list[Function]) -> np.ndarray:
    """Return which columns of a large basis make up a smaller one.

    :param keys: those of the large basis, see :func:`column_keys`.
    :param functions: those of every element in the smaller basis, see :func:`first_functions`.
    :raises ValueError: if the small basis is no part of the large one.
    """
    wanted = set()
    for central in elements:
        for function in functions:
            names, *rest = function.key(elements, central)
            wanted.add((central, names[1:], *rest))
    missing = wanted - set(keys)
    if missing:
        raise ValueError(f'the smaller basis has the function {missing.pop()}, which the larger has not')
    return np.array([place for place, key in enumerate(keys) if key in wanted], dtype=int)
