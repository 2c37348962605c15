"""Error bars of the predictions of a linear potential."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: File of the posterior in the directory of a potential.
POSTERIOR = 'posterior.npz'


@dataclass(frozen=True)
class ErrorModel:
    """Standard deviation of an error: `scale` * sqrt(sum of (`factors` * features)²) with features 1, u, size."""

    factors: np.ndarray
    scale: float

    def __call__(self, spread: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Return the standard deviation (n,) for the posterior's spread (n,) and the size of what is predicted (n,)."""
        return self.scale * np.sqrt(error_features(spread, size) @ self.factors**2)


@dataclass(frozen=True)
class Prediction:
    """`energy_std` (eV/atom) and `force_std` (n_atoms,) (eV/Å, of each component of an atom's force): the true values
    are expected within +-1.96 of them in 95 of 100 cases."""

    energy_std: float | None
    force_std: np.ndarray


@dataclass(frozen=True)
class Posterior:
    """Gaussian posterior of the coefficients (n,): covariance `factor` @ `factor`.T, and its calibration.

    `energy` is None where too few energies were there to calibrate it.
    `inflation` widens the posterior, for a committee, until its own spread covers the cross-validated errors of
    energies, forces and stresses, misfit included.
    """

    coefficients: np.ndarray
    factor: np.ndarray
    energy: ErrorModel | None
    forces: ErrorModel
    inflation: float

    def predict(self, energy: np.ndarray, forces: np.ndarray) -> Prediction:
        """Return how far off the prediction for a configuration may be.

        :param energy: its row of the energy (n,).
        :param forces: its rows of the forces (3 n_atoms, n).
        """
        force_std = self.forces(*force_features(forces, self.coefficients, self.factor))
        if self.energy is None:
            return Prediction(None, force_std)
        return Prediction(
            float(self.energy(*energy_features(energy, forces, self.coefficients, self.factor))[0]), force_std
        )

    def sample(self, size: int, seed: int = 0) -> np.ndarray:
        """Return coefficients (size, n) drawn from the widened posterior; the same for the same seed."""
        noise = np.random.default_rng(seed).standard_normal((size, self.factor.shape[1]))
        return self.coefficients + self.inflation * noise @ self.factor.T

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write `posterior.npz` into the directory of the potential."""
        models = {'energy': self.energy, 'forces': self.forces}
        arrays = {key: np.append(model.factors, model.scale) for key, model in models.items() if model is not None}
        with open(Path(directory, POSTERIOR), 'wb') as handle:
            own = {'coefficients': self.coefficients, 'factor': self.factor, 'inflation': np.array(self.inflation)}
            np.savez(handle, **own, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Posterior:
        """Read `posterior.npz` of the directory of a potential.

        :raises ValueError: if it is not such a file.
        """
        path = Path(directory, POSTERIOR)
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {key: np.asarray(data[key], dtype=float) for key in data.files}
            forces = ErrorModel(arrays['forces'][:3], float(arrays['forces'][3]))
            energy = ErrorModel(arrays['energy'][:3], float(arrays['energy'][3])) if 'energy' in arrays else None
            coefficients, factor = arrays['coefficients'], arrays['factor']
            inflation = float(arrays['inflation'])
        except (OSError, zipfile.BadZipFile, KeyError, IndexError, EOFError, ValueError, TypeError) as exception:
            raise ValueError(f'{path} is broken ({exception!r}): remove it, or fit the potential again') from exception
        if (
            factor.ndim != 2
            or coefficients.shape != factor.shape[:1]
            or not all(np.isfinite(array).all() for array in arrays.values())
        ):
            raise ValueError(f'{path} is broken (its arrays do not belong together): remove it, or fit again')
        return cls(coefficients, factor, energy, forces, inflation)


def energy_features(
    energy: np.ndarray, forces: np.ndarray, coefficients: np.ndarray, factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the posterior's spread of the energy (1,) in eV/atom, and the root mean square force (1,) in eV/Å.

    :param energy: row (n,). :param forces: rows (3 n_atoms, n).
    """
    n_atoms = len(forces) // 3
    spread = np.linalg.norm(energy @ factor) / n_atoms
    return np.array([spread]), np.array([np.sqrt(np.mean((forces @ coefficients) ** 2))])


def force_features(forces: np.ndarray, coefficients: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per atom the posterior's spread of a force component, and the size of the force (both in eV/Å).

    The spread is the root mean square over the three components, so that it does not depend on the orientation.

    :param forces: rows (3 n_atoms, n).
    """
    spread = np.sqrt(np.mean(np.sum((forces @ factor) ** 2, axis=1).reshape(-1, 3), axis=1))
    return spread, np.linalg.norm((forces @ coefficients).reshape(-1, 3), axis=1)


def error_features(spread: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the features (n, 3) of an :class:`ErrorModel`, each squared."""
    return np.column_stack([np.ones(len(spread)), spread**2, size**2])
