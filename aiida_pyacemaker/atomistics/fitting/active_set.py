"""The linear active set, from which gamma is computed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

#: Weight of the unit rows, relative to the largest value of each B-function in the training data. See `active_set`.
#: Measured on aluminium (EMT, 150 functions, 11 small symmetric cells and n rattled cells of 32 atoms; the median over
#: 12 unseen rattled cells of the largest gamma), for the values 1e-3, 1e-4, 1e-6 and none:
#: n = 4: 9.4, 13, 55, singular; n = 8: 2.0, 1.9, 4.4, 3.7; n = 16: 1.0, 1.2, 1.3, 1.1; n = 32: 0.9, 0.9, 0.7, 0.9.
#: Condition numbers: 3e5, 2e6, 2e8, and 3e9 or infinite. So 1e-4 leaves a sound set as it is, keeps ten digits in the
#: inverse, and a degenerate set (n = 0 to 2) shows gammas of 1e3 and more.
REGULARISATION = 1e-4
#: A function whose largest value is this small a part of the largest of all is zero by symmetry, up to rounding: such
#: values are below 1e-28 in perfect crystals, genuine ones above 1e-5.
ZERO = 1e-12
#: MaxVol ends when no training environment has a gamma above this.
TOLERANCE = 1.001


@dataclass
class ActiveSet:
    """`inverse` (n, n): gamma of an environment with B-projections p is max |p @ inverse|. `rows`: the indices of the
    chosen training environments; `unsupported`: how many functions only a unit row supports; `condition`: condition
    number of the scaled set."""

    inverse: np.ndarray
    rows: np.ndarray
    unsupported: int
    condition: float


def active_set(projections: np.ndarray, regularisation: float = REGULARISATION) -> ActiveSet:
    """Choose the rows of largest volume (MaxVol) among the training environments of one element.

    A set of few or symmetric cells spans only part of the space of B-functions. Its matrix is then singular up to
    rounding, and gamma is noise. So the candidates are completed by unit rows, `regularisation` times the largest value
    each function takes in the data; MaxVol takes one only where no environment gives more volume. Gamma in an
    unsupported direction is then the deviation in units of `regularisation`, large but defined.

    E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017); Y. Lysogorskiy et al., Phys. Rev. Mater. 7,
    043801 (2023).

    :param projections: (n_environments, n_functions); may be empty.
    """
    from pyace.maxvol import maxvol

    n_environments, n_functions = projections.shape
    scale = np.abs(projections).max(axis=0) if n_environments else np.zeros(n_functions)
    # A function that is zero in all data: any value of it is new. Its scale is that of the weakest function seen.
    seen = scale > ZERO * max(scale.max(), np.finfo(float).tiny)
    scale[~seen] = scale[seen].min() if seen.any() else 1.0
    candidates = np.vstack([projections / scale, regularisation * np.eye(n_functions)])
    chosen, _ = maxvol(np.ascontiguousarray(candidates), tol=TOLERANCE, max_iters=20 * n_functions + 1000)
    chosen = np.sort(np.asarray(chosen, dtype=int))
    matrix = candidates[chosen]
    # gamma = max |p S^-1 M^-1| with S the scales
    inverse = np.linalg.inv(matrix) / scale[:, None]
    return ActiveSet(
        inverse=inverse,
        rows=chosen[chosen < n_environments],
        unsupported=int(np.sum(chosen >= n_environments)),
        condition=float(np.linalg.cond(matrix)),
    )


def save_active_sets(target: str | os.PathLike, sets: dict[str, ActiveSet]) -> None:
    """Write an `.asi` file: the inverse active sets by element, as python-ace and LAMMPS read them."""
    with open(target, 'wb') as handle:
        np.savez(handle, **{element: np.ascontiguousarray(entry.inverse) for element, entry in sets.items()})
