"""The ACE basis: which functions, and where they end at short distance."""

from __future__ import annotations

from typing import Any

from ..errors import MissingEngineError

#: Radial functions and angular momenta by correlation order (2-body first); what pacemaker's authors use for metals.
NRADMAX, LMAX = [15, 6, 4, 3, 2], [0, 4, 3, 2, 1]


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


def basis_configuration(
    elements: list[str],
    cutoff: float,
    number_of_functions: int,
    inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
    mode: str = 'linear',
) -> dict[str, Any]:
    """Return the `potential` section of a pacemaker input.

    :param cutoff: Å. :param number_of_functions: per element.
    :param inner_cutoffs: pair -> (r_in, delta_in) in Å, see `Baseline.inner_cutoffs`.
    :param mode: 'linear' has one density with a linear embedding; 'nonlinear' adds a second, square-root one.
    """
    embedding = {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1], 'ndensity': 1}
    if mode == 'nonlinear':
        embedding.update(fs_parameters=[1, 1, 1, 0.5], ndensity=2)
    bonds = {}
    for pair, (r_in, delta_in) in inner_cutoffs.items():
        bonds[''.join(sorted(pair))] = {
            'radbase': 'SBessel',
            'radparameters': [5.25],
            'rcut': cutoff,
            'dcut': 0.01,
            'NameOfCutoffFunction': 'cos',
            'r_in': r_in,
            'delta_in': delta_in,
            'inner_cutoff_type': 'distance',
        }
    functions = {
        'number_of_functions_per_element': number_of_functions,
        'ALL': {'nradmax_by_orders': NRADMAX, 'lmax_by_orders': LMAX},
    }
    return {
        'deltaSplineBins': 0.001,
        'elements': sorted(elements),
        'embeddings': {'ALL': embedding},
        'bonds': bonds,
        'functions': functions,
    }


def build_basis(
    elements: list[str],
    cutoff: float,
    number_of_functions: int,
    inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
    mode: str = 'linear',
) -> Any:
    """Return a `pyace.ACEBBasisSet`; its elements are in alphabetical order."""
    pyace = import_pyace()
    configuration = basis_configuration(elements, cutoff, number_of_functions, inner_cutoffs, mode)
    return pyace.ACEBBasisSet(pyace.create_multispecies_basis_config(configuration))


def functions_per_element(basis: Any) -> dict[str, int]:
    """Return element -> number of its functions."""
    return {
        element: len(one) + len(more)
        for element, one, more in zip(basis.elements_name, basis.basis_rank1, basis.basis, strict=True)
    }
