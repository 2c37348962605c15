"""`python -m aiida_pyacemaker.atomistics.fitting.tensorpot DIRECTORY`: the optimisation behind :mod:`.nonlinear`.

A program of its own, because TensorFlow must not live in a process that forks others. It reads `problem.npz`,
`start.yaml` (and `parent.yaml`, where there is one) and `options.json`, and writes `checkpoint.npz` and `interim.yaml`
as it goes, `refined.yaml` and last of all `result.json`. The energy, with its derivatives by the coefficients, is that
of tensorpotential (A. Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022)); the loss is ours, since that of
tensorpotential knows no stress, and the optimiser is scipy's L-BFGS.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..core.files import save_arrays, write_atomically

#: Numbers (atoms x functions) in one batch: 0.5 to 1 GB.
BATCH = 100_000
#: Iterations between two validations, which are checkpoints too.
INTERVAL = 10
#: The refinement ends after this many validations in a row without a gain.
MAX_VALIDATIONS_WITHOUT_GAIN = 8
#: Iterations with all data at the end, as a part of those that were best on the validation set.
FINAL_SHARE = 0.2
#: How strongly changes of the radial functions are held back, in units of what changes the training data by one
#: standard deviation.
RADIAL_PRIOR = 1e-2
KEYS = ('energy', 'forces', 'stress')
#: Parts of the problem: fitted; validated on, and fitted at the very end; fitted, but no data (core).
FIT = 0
VALIDATE = 1
CORE = 2


class Loss:
    """Half the sum of the squared weighted residuals of energies per atom, forces and stresses, and its gradient."""

    def __init__(self, basis: Any, batches: dict[int, list[dict[str, np.ndarray]]]):
        """:param batches: by part, see :func:`read_batches`."""
        import tensorflow as tf
        from tensorpotential.compat.pace.potentials.ace import ACE

        self.tf = tf
        self.ace = ACE(basis.to_BBasisConfiguration())
        self.batches = {
            part: [{name: tf.constant(values) for name, values in batch.items()} for batch in group]
            for part, group in batches.items()
        }
        first = next(batch for group in batches.values() for batch in group)
        signature = [{name: tf.TensorSpec([None, *values.shape[1:]], values.dtype) for name, values in first.items()}]
        self._gradient = tf.function(self._compute_gradient, input_signature=signature)
        self._predict = tf.function(self._compute_predictions, input_signature=signature)

    def _compute_predictions(self, batch: dict[str, Any]) -> Any:
        """Energies (frames,), forces (atoms, 3) and stresses (frames, 6)."""
        tf = self.tf
        vectors, first, second, numbers = (batch[name] for name in ('vectors', 'first', 'second', 'numbers'))
        frame_of_atom, n_frames = batch['frame_of_atom'], tf.shape(batch['n_atoms'])[0]
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            atomic = self.ace.compute_atomic_energy(
                vectors, first, tf.gather(numbers, first), tf.gather(numbers, second), second
            )[:, 0]
            # atoms after the last one that has a neighbour are not there
            energy = tf.math.unsorted_segment_sum(atomic, frame_of_atom[: tf.shape(atomic)[0]], n_frames)
            total = tf.reduce_sum(energy)
        slope = tf.convert_to_tensor(tape.gradient(total, vectors))
        size = tf.shape(numbers)[0]
        forces = tf.math.unsorted_segment_sum(slope, first, size) - tf.math.unsorted_segment_sum(slope, second, size)
        products = vectors[:, :, None] * slope[:, None, :]
        virial = tf.math.unsorted_segment_sum(products, tf.gather(frame_of_atom, first), n_frames)
        voigt = [virial[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        return energy, forces, tf.stack(voigt, axis=1) / batch['volume'][:, None]

    def _compute_gradient(self, batch: dict[str, Any]) -> Any:
        tf = self.tf
        with tf.GradientTape() as tape:
            predicted = self._compute_predictions(batch)
            loss = sum(0.5 * tf.reduce_sum(residual**2) for residual in weighted(batch, predicted))
        return loss, tf.convert_to_tensor(tape.gradient(loss, self.ace.fit_coefs))

    def __call__(self, coefficients: np.ndarray, parts: tuple[int, ...]) -> tuple[float, np.ndarray]:
        self.ace.set_coefs(coefficients)
        loss, gradient = 0.0, np.zeros(len(coefficients))
        for batch in (batch for part in parts for batch in self.batches[part]):
            one, slope = self._gradient(batch)
            loss += float(one)
            gradient += slope.numpy()
        return loss, gradient

    def errors(self, coefficients: np.ndarray, part: int) -> dict[str, float]:
        """Root mean square errors of what counts: eV/atom, eV/Å, eV/Å³; those without data are missing."""
        self.ace.set_coefs(coefficients)
        found: dict[str, list[np.ndarray]] = {key: [] for key in KEYS}
        for batch in self.batches[part]:
            for key, residual in zip(KEYS, weighted(batch, self._predict(batch)), strict=True):
                weights = batch[f'w_{key}'].numpy()
                used = weights > 0
                shape = (-1,) + (1,) * (len(residual.shape) - 1)
                found[key].append((residual.numpy()[used] / weights[used].reshape(shape)).ravel())
        joined = {key: np.concatenate(parts) for key, parts in found.items()}
        return {key: float(np.sqrt(np.mean(values**2))) for key, values in joined.items() if values.size}

    def curvature(self, coefficients: np.ndarray, seed: int) -> np.ndarray:
        """Estimate the diagonal of the Gauss-Newton matrix: the mean square of J^T z for random signs z.

        M. F. Hutchinson, Commun. Stat. 18, 1059 (1989). With targets such that the residuals are z, that is the
        gradient of the loss; every batch is an estimate of its own.
        """
        tf, random = self.tf, np.random.default_rng(seed)
        self.ace.set_coefs(coefficients)
        diagonal = np.zeros(len(coefficients))
        for batch in self.batches[FIT]:
            faked = dict(batch)
            for key, predicted in zip(KEYS, self._predict(batch), strict=True):
                weights = batch[f'w_{key}'].numpy()
                unit = np.where(weights > 0, 1 / np.where(weights > 0, weights, 1), 0)
                if key == 'energy':
                    unit = unit * batch['n_atoms'].numpy()
                signs = random.choice([-1.0, 1.0], size=predicted.shape)
                shape = (-1,) + (1,) * (len(predicted.shape) - 1)
                faked[key] = tf.constant(predicted.numpy() + signs * unit.reshape(shape))
            diagonal += self._gradient(faked)[1].numpy() ** 2
        return diagonal


def weighted(batch: dict[str, Any], predicted: Any) -> Any:
    """Residuals times weights; the energy is per atom."""
    energy, forces, stress = predicted
    return (
        (energy - batch['energy']) / batch['n_atoms'] * batch['w_energy'],
        (forces - batch['forces']) * batch['w_forces'][:, None],
        (stress - batch['stress']) * batch['w_stress'][:, None],
    )


class Coordinates:
    """Coefficients as x = start + T y, such that the loss is about |y|²/2 near its minimum.

    T of the coefficients of each density is the square root of the posterior covariance of the linear fit: what the
    linear fit knows about its Hessian would cost L-BFGS thousands of iterations to learn. Radial coefficients have a
    scale of their own, from the estimated curvature.
    """

    def __init__(self, start: np.ndarray, n_radial: int, factor: np.ndarray, curvature: np.ndarray):
        self.start, self.n_radial, self.factor = start, n_radial, factor
        self.densities = (len(start) - n_radial) // len(factor)
        radial = curvature[:n_radial]
        # what no datum depends on stays as it is
        floor = 1e-4 * radial.max(initial=0.0)
        self.scale = np.where(radial > 0, 1 / np.sqrt(np.maximum(np.maximum(radial, floor), 1e-300)), 0.0)

    def to_coefficients(self, y: np.ndarray) -> np.ndarray:
        x = self.start.copy()
        x[: self.n_radial] += self.scale * y[: self.n_radial]
        for density in range(self.densities):
            x[self.n_radial + density :: self.densities] += self.factor @ y[self.block(density)]
        return x

    def from_coefficients(self, x: np.ndarray) -> np.ndarray:
        """Return the y of coefficients that :meth:`to_coefficients` gave."""
        change = x - self.start
        scale = np.where(self.scale > 0, self.scale, 1.0)
        y = np.zeros(len(x))
        y[: self.n_radial] = np.where(self.scale > 0, change[: self.n_radial] / scale, 0.0)
        for density in range(self.densities):
            part = change[self.n_radial + density :: self.densities]
            y[self.block(density)] = np.linalg.lstsq(self.factor, part, rcond=None)[0]
        return y

    def pull(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient by y from that by the coefficients."""
        y = np.zeros(len(gradient))
        y[: self.n_radial] = self.scale * gradient[: self.n_radial]
        for density in range(self.densities):
            y[self.block(density)] = self.factor.T @ gradient[self.n_radial + density :: self.densities]
        return y

    def block(self, density: int) -> slice:
        """Where the y of a density are."""
        size = len(self.factor)
        return slice(self.n_radial + density * size, self.n_radial + (density + 1) * size)


class Refiner:
    """L-BFGS from the start to the best coefficients on the validation set, and some last iterations with all data."""

    def __init__(self, directory: Path):
        from pyace import ACEBBasisSet

        self.directory = directory
        self.options = json.loads((directory / 'options.json').read_text())
        with np.load(directory / 'problem.npz', allow_pickle=False) as data:
            problem = {name: data[name] for name in data.files}
        self.basis = ACEBBasisSet(str(directory / 'start.yaml'))
        n_radial = len(self.basis.crad_coeffs)
        size = max(1, BATCH // len(problem['factor']))
        self.loss = Loss(self.basis, {part: read_batches(problem, part, size) for part in (FIT, VALIDATE, CORE)})
        start = self._start(n_radial)
        self.at_start = self.loss.errors(start, VALIDATE)
        curvature = self.loss.curvature(start, self.options['seed'])
        self.coordinates = Coordinates(start, n_radial, problem['factor'], curvature)
        self.ridge = np.repeat(problem['ridge'], self.coordinates.densities)
        self.state = {'phase': 0, 'iteration': 0, 'best_iteration': 0, 'evaluations': 0, 'seconds': 0.0}
        self.best, self.best_score, self.x = start, np.inf, start
        self.parent = os.getppid()
        self._read_checkpoint()
        # the limit is one of optimisation: how long TensorFlow needs to begin depends on the machine
        self.clock = perf_counter()

    def run(self) -> None:
        """Refine, and write `refined.yaml` and `result.json`."""
        if self.state['phase'] == 0:
            if self.state['iteration'] == 0:
                self._compensate()
            stopped = self._minimise((FIT, CORE), self.options['max_iterations'], self._validate)
            self.state.update(phase=1, validation=self.loss.errors(self.best, VALIDATE), stopped=stopped)
            self.state['last'] = max(INTERVAL, round(FINAL_SHARE * self.state['best_iteration']))
            self.x = self.best
            self._write_checkpoint()
        if self.state['best_iteration'] > 0:
            self._minimise((FIT, VALIDATE, CORE), self.state['last'], self._save)
        self._write_basis('refined.yaml', self.x)
        result = {**self.state, 'start': self.at_start, 'seconds': self._seconds(), 'digest': self.options['digest']}
        result['all_data'] = self.loss.errors(self.x, VALIDATE)
        result['devices'] = [device.name for device in self.loss.tf.config.list_physical_devices()]
        with write_atomically(self.directory / 'result.json') as part:
            part.write_text(json.dumps(result, indent=2))

    def _start(self, n_radial: int) -> np.ndarray:
        """Coefficients of `start.yaml`, or of a parent of the same functions that fits the data better."""
        from pyace import ACEBBasisSet

        starts = [np.array(self.basis.all_coeffs)]
        if (self.directory / 'parent.yaml').is_file():
            parent = np.array(ACEBBasisSet(str(self.directory / 'parent.yaml')).all_coeffs)
            if len(parent) == len(starts[0]):
                starts.append(parent)
        losses = [self.loss(start, (FIT, CORE))[0] for start in starts] if len(starts) > 1 else [0.0]
        return starts[int(np.argmin(losses))]

    def _compensate(self) -> None:
        """Let the first density, which is linear, take back what the second one adds: two Newton steps."""
        y, block = np.zeros(len(self.x)), self.coordinates.block(0)
        value, gradient = self._objective(y, (FIT, CORE))
        for _ in range(2):
            step = y.copy()
            step[block] -= gradient[block]
            lower, gradient = self._objective(step, (FIT, CORE))
            if not lower < value:
                break
            y, value = step, lower
        self.x = self.coordinates.to_coefficients(y)

    def _objective(self, y: np.ndarray, parts: tuple[int, ...]) -> tuple[float, np.ndarray]:
        """Loss plus prior: the ridge of the linear fit for each density, and the radial functions as they were."""
        x = self.coordinates.to_coefficients(y)
        loss, gradient = self.loss(x, parts)
        self.state['evaluations'] += 1
        n_radial = self.coordinates.n_radial
        loss += 0.5 * float(self.ridge @ x[n_radial:] ** 2)
        gradient[n_radial:] += self.ridge * x[n_radial:]
        gradient = self.coordinates.pull(gradient)
        loss += 0.5 * RADIAL_PRIOR * float(y[:n_radial] @ y[:n_radial])
        gradient[:n_radial] += RADIAL_PRIOR * y[:n_radial]
        return loss, gradient

    def _minimise(self, parts: tuple[int, ...], iterations: int, checked: Any) -> str:
        """Go on from `self.x` until so many iterations are done, or `checked` says why to stop."""
        from scipy.optimize import minimize

        why, done = 'converged', [self.state['iteration'] if self.state['phase'] == 0 else self.state.get('done', 0)]

        def callback(y: np.ndarray) -> None:
            nonlocal why
            done[0] += 1
            if os.getppid() != self.parent:
                raise SystemExit('the process that asked for the refinement is gone')
            self.x = self.coordinates.to_coefficients(y)
            why = checked(done[0])
            if done[0] >= iterations:
                why = 'all iterations done'
            if why:
                raise StopIteration

        if done[0] >= iterations:
            return 'all iterations done'
        options = {'maxcor': 100, 'maxiter': iterations, 'maxfun': 20 * iterations, 'ftol': 1e-12, 'gtol': 1e-8}
        start = self.coordinates.from_coefficients(self.x)
        minimize(self._objective, start, args=(parts,), jac=True, method='L-BFGS-B', callback=callback, options=options)
        return why or 'converged'

    def _validate(self, iteration: int) -> str:
        """Validate now and then; return why to stop, or nothing."""
        self.state['iteration'] = iteration
        late = self._seconds() > self.options['max_seconds']
        if iteration % INTERVAL and not late:
            return ''
        errors = self.loss.errors(self.x, VALIDATE)
        if score(errors) < self.best_score:
            self.best, self.best_score = self.x, score(errors)
            self.state['best_iteration'] = iteration
            self._write_basis('interim.yaml', self.x)
        self._write_checkpoint()
        print(f'iteration {iteration}, {self._seconds():.0f} s: {describe(errors)}', flush=True)
        if late:
            return 'out of time'
        return (
            'no gain any more'
            if iteration - self.state['best_iteration'] >= MAX_VALIDATIONS_WITHOUT_GAIN * INTERVAL
            else ''
        )

    def _save(self, done: int) -> str:
        self.state['done'] = done
        if done % INTERVAL == 0:
            self._write_checkpoint()
        return 'out of time' if self._seconds() > (1 + FINAL_SHARE) * self.options['max_seconds'] else ''

    def _seconds(self) -> float:
        """Wall time, that of the killed runs before included."""
        return self.state['seconds'] + perf_counter() - self.clock

    def _write_basis(self, name: str, x: np.ndarray) -> None:
        self.basis.all_coeffs = x
        with write_atomically(self.directory / name) as part:
            self.basis.save(str(part))

    def _write_checkpoint(self) -> None:
        state = json.dumps({**self.state, 'seconds': self._seconds(), 'digest': self.options['digest']})
        arrays: dict[str, Any] = {
            'x': self.x,
            'best': self.best,
            'best_score': self.best_score,
            'state': np.array(state),
        }
        save_arrays(self.directory / 'checkpoint.npz', arrays)

    def _read_checkpoint(self) -> None:
        """Go on where a former run of the very same problem was killed; the memory of L-BFGS starts empty."""
        path = self.directory / 'checkpoint.npz'
        if not path.is_file():
            return
        with np.load(path, allow_pickle=False) as data:
            state = json.loads(str(data['state']))
            if state.pop('digest') != self.options['digest']:
                return
            self.x, self.best, self.best_score = data['x'], data['best'], float(data['best_score'])
        self.state = state
        print(f'goes on from iteration {state["iteration"]}', flush=True)


def score(errors: dict[str, float]) -> float:
    """What is compared: log(energy) + log(forces) + 1/2 log(stress), so that no unit and no weight decides."""
    exponents = {'energy': 1.0, 'forces': 1.0, 'stress': 0.5}
    return sum(exponents[key] * float(np.log(max(error, 1e-12))) for key, error in errors.items())


def describe(errors: dict[str, float]) -> str:
    """Errors for people."""
    units = {'energy': 'meV/atom', 'forces': 'meV/Å', 'stress': 'meV/Å³'}
    return ', '.join(f'{key} {1000 * error:.3g} {units[key]}' for key, error in errors.items())


def read_batches(problem: dict[str, np.ndarray], part: int, size: int) -> list[dict[str, np.ndarray]]:
    """Return the frames of a part in groups of about `size` atoms (one frame at least)."""
    atom_start = np.concatenate([[0], np.cumsum(problem['n_atoms'])])
    pair_start = np.concatenate([[0], np.cumsum(problem['n_pairs'])])
    batches, group, found = [], [], 0
    for frame in np.flatnonzero(problem['part'] == part):
        if group and found + problem['n_atoms'][frame] > size:
            batches.append(group)
            group, found = [], 0
        group.append(int(frame))
        found += problem['n_atoms'][frame]
    return [_batch(problem, frames, atom_start, pair_start) for frames in [*batches, group] if frames]


def _batch(
    problem: dict[str, np.ndarray], frames: list[int], atom_start: np.ndarray, pair_start: np.ndarray
) -> dict[str, np.ndarray]:
    atoms = np.concatenate([np.arange(atom_start[k], atom_start[k + 1]) for k in frames])
    pairs = np.concatenate([np.arange(pair_start[k], pair_start[k + 1]) for k in frames])
    sizes = problem['n_atoms'][frames]
    shift = np.repeat(np.concatenate([[0], np.cumsum(sizes)[:-1]]), problem['n_pairs'][frames])
    batch = {name: problem[name][frames] for name in ('energy', 'stress', 'volume', 'w_energy', 'w_stress')}
    batch.update({name: problem[name][atoms] for name in ('forces', 'w_forces')})
    return {
        **batch,
        'n_atoms': sizes.astype(float),
        'frame_of_atom': np.repeat(np.arange(len(frames)), sizes).astype(np.int32),
        'numbers': problem['numbers'][atoms].astype(np.int32),
        'vectors': problem['vectors'][pairs],
        'first': (problem['first'][pairs] + shift).astype(np.int32),
        'second': (problem['second'][pairs] + shift).astype(np.int32),
    }


def main(directory: Path) -> None:
    """Refine what lies in a directory."""
    import tensorflow as tf

    options = json.loads((directory / 'options.json').read_text())
    tf.config.threading.set_intra_op_parallelism_threads(int(options['processes']))
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(int(options['seed']))
    for device in tf.config.list_physical_devices('GPU'):
        tf.config.experimental.set_memory_growth(device, True)
    Refiner(directory).run()


if __name__ == '__main__':
    main(Path(sys.argv[1]))
