"""What a configuration looks like, as numbers: SOAP, or the B-projections of a potential."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from ..ace.rows import DesignMatrix
from ..core.parameters import require
from ..potential.potential import ASI, AcePotential

#: Range of SOAP (Å): first and second neighbours in most materials.
CUTOFF = 5.0
#: Radial functions and angular momentum of SOAP: coarse, since frames are told apart and not fitted.
N_MAX = 6
L_MAX = 4
#: The same for more elements than two: the numbers stay as few (544 of four elements).
COARSE_N_MAX = 4
COARSE_L_MAX = 3
#: With more elements than this the densities of neighbours are compared element by element with the sum of all
#: (compression mu1nu1, J. P. Darby et al., npj Comput. Mater. 8, 166 (2022)): then SOAP grows with their number, not
#: with its square. But averaged over the atoms of a lattice it does not tell one order of the elements from another.
UNCOMPRESSED_ELEMENTS = 4


def soap_features(frames: Sequence[Atoms], cutoff: float = CUTOFF, average: str = 'outer') -> np.ndarray:
    """Smooth overlap of atomic positions, averaged over the atoms of each frame (n_frames, n_features).

    A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87, 184115 (2013). The numbers are divided by one number, so that
    their mean square distance from the mean is 1, and not column by column: all are of the same kind, and the smallest
    columns are noise.

    :param cutoff: Å.
    :param average: 'outer' averages the power spectra of the atoms, 'inner' the densities before (faster, less sharp).
    """
    dscribe = require('dscribe.descriptors', 'The descriptor soap')
    elements = sorted({str(symbol) for atoms in frames for symbol in set(atoms.symbols)})
    compression = {'mode': 'off' if len(elements) <= UNCOMPRESSED_ELEMENTS else 'mu1nu1', 'species_weighting': None}
    n_max, l_max = (N_MAX, L_MAX) if len(elements) <= 2 else (COARSE_N_MAX, COARSE_L_MAX)
    rows = [None] * len(frames)
    for periodic in (False, True):
        group = [index for index, atoms in enumerate(frames) if bool(atoms.pbc.any()) is periodic]
        if not group:
            continue
        soap = dscribe.SOAP(
            species=elements, r_cut=cutoff, n_max=n_max, l_max=l_max, periodic=periodic, average=average,
            compression=compression, dtype='float64',
        )  # fmt: skip
        for index in group:
            rows[index] = soap.create(frames[index])
    vectors = np.array(rows, dtype=float).reshape(len(frames), -1)
    size = np.sqrt(np.square(vectors - vectors.mean(axis=0)).sum(axis=1).mean()) if len(vectors) else 0.0
    return vectors / size if size > 0 else vectors


def ace_features(frames: Sequence[Atoms], potential: AcePotential) -> np.ndarray:
    """Mean and spread over the atoms of each element of the B-projections, in units of gamma (n_frames, n_features)."""
    potential.check_elements(list(frames))
    return features(Environments(potential).rows(list(frames)))


class Environments:
    """Frames as the active set sees them.

    The row of an atom with B-projections p is p @ inverse: its coefficients in the active set, whose largest absolute
    value is gamma. In these coordinates the information matrix of the active set is the unit matrix.
    """

    def __init__(self, potential: AcePotential):
        self._design = DesignMatrix(potential.basis)
        with np.load(potential.directory / ASI, allow_pickle=False) as data:
            self._inverse = {element: data[element] for element in data.files}
        self.sizes = {element: len(inverse) for element, inverse in self._inverse.items()}

    def rows(self, frames: list[Atoms]) -> list[dict[str, np.ndarray]]:
        """Per frame: element -> (n_atoms of it, n_functions) coefficients."""
        coefficients = []
        for atoms, row in zip(frames, self._design.all_rows(frames, forces=False), strict=True):
            symbols = atoms.get_chemical_symbols()
            coefficients.append(
                {
                    element: np.array(
                        [p for p, symbol in zip(row.projections, symbols, strict=True) if symbol == element]
                    )
                    @ self._inverse[element]
                    for element in sorted(set(symbols))
                }
            )
        return coefficients


def features(rows: list[dict[str, np.ndarray]]) -> np.ndarray:
    """One vector per frame: mean and spread of the coefficients over its atoms of each element (n_frames, n)."""
    elements = sorted({element for row in rows for element in row})
    sizes = {element: next(row[element].shape[1] for row in rows if element in row) for element in elements}
    vectors = []
    for row in rows:
        parts = []
        for element in elements:
            coefficients = row.get(element, np.zeros((1, sizes[element])))
            parts += [coefficients.mean(axis=0), coefficients.std(axis=0)]
        vectors.append(np.concatenate(parts))
    return np.array(vectors)
