"""Training: data in, a directory with a potential out."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms

from ..baselines import Baseline, baseline_from_data
from ..checks.overlap import shortest_distances
from ..configurations import check_labelled, energy_counts, forces_count, labels, set_labels
from ..labelling.settings import check_consistent
from ..potential import ASI, YACE, YAML, AcePotential
from ..validation.errors import error_metrics, is_isolated_atom
from .active_set import ActiveSet, active_set, save_active_sets
from .basis import build_basis, functions_per_element
from .equations import NormalEquations, frame_weights
from .nonlinear import fit_nonlinear
from .references import align_energies, energy_scales, reference_energies
from .rows import DesignMatrix, FrameRows

DEFAULTS: dict[str, Any] = {
    'cutoff': 6.0,
    'number_of_functions': 150,
    'mode': 'linear',
    'energy_weight': 100.0,
    'ridge': 1e-9,
    'baseline': 'zbl',
    'core_weight': 0.1,
    'seed': 0,
    'generation': 0,
    'processes': 2,
    'max_iterations': 500,
    'mix_settings': False,
}
#: Above this median gamma on held-out rattled cells the active set is called degenerate.
DEGENERATE_GAMMA = 10.0


def train(
    frames: list[Atoms],
    parameters: dict[str, Any],
    out_dir: str | os.PathLike,
    parent: AcePotential | None = None,
    test: list[Atoms] | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Fit a potential and write it to a directory.

    Reference energies come from frames of family 'isolated_atom', else from the parent, else from least squares over
    the compositions. Labels of weight zero may be anything. Labels of different settings are refused; if they are asked
    for, their energies are moved onto one scale, see :func:`~.references.energy_scales`.

    The baseline is the parent's if all data lie where its ACE acts fully, else its ranges are made anew from the data.

    :param parameters: elements and any of `DEFAULTS`: cutoff (Å), number_of_functions (per element), mode ('linear' or
        'nonlinear'), energy_weight (of an energy-per-atom row relative to a force row), ridge, baseline ('zbl' or
        'lj'), core_weight (of the rows that keep ACE quiet below the data, see `add_core_rows`), seed, generation,
        processes, max_iterations (of the nonlinear fit), mix_settings (whether labels of different settings may meet).
    :param test: labelled frames that are never trained on.
    :returns: `train` and `test` metrics, `cold_start` (gamma on the test frames), `unsupported_functions`,
        `timings` (s) and more numbers about the fit; JSON-able.
    :raises ValueError: if the data or the parameters cannot be used; the message says why.
    """
    clock = _Clock()
    values = check_parameters(parameters)
    elements, test = values['elements'], test or []
    check_data(frames, test, elements, values['mix_settings'])
    scales = energy_scales(frames, elements)
    frames, test = align_energies(frames, scales), align_energies(test, scales)
    condensed = get_condensed(frames)
    references, reference_kind = reference_energies(frames, elements, parent, scales[0]['settings'])
    baseline, baseline_kept = choose_baseline(values['baseline'], elements, condensed, parent)
    report(f'{len(condensed)} configurations, {sum(map(len, condensed))} atoms, baseline {values["baseline"]}')
    targets = [subtract(atoms, references, baseline) for atoms in condensed]

    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    fit: dict[str, Any] = {}
    if values['mode'] == 'linear':
        basis = build_basis(elements, values['cutoff'], values['number_of_functions'], baseline.inner_cutoffs())
        design = DesignMatrix(basis)
        rows = design.all_rows(condensed, processes=values['processes'])
        clock.lap('design_matrix')
        report(f'design matrix of {design.number_of_functions} functions: {clock.timings["design_matrix"]:.1f} s')
        coefficients, fit = solve_linear(design, rows, condensed, targets, baseline, values)
        basis.basis_coeffs = coefficients
    else:
        same = parent is not None and baseline_kept and _same_basis(parent.metadata['parameters'], values)
        basis = fit_nonlinear(
            condensed, targets, values, baseline.inner_cutoffs(), out.with_name(f'{out.name}_pacemaker'),
            parent_yaml=parent.directory / YAML if same else None, report=report,
        )  # fmt: skip
        rows = DesignMatrix(basis).all_rows(condensed, forces=False, processes=values['processes'])
    clock.lap('fit')
    sets = choose_active_sets(condensed, rows, basis)
    clock.lap('active_set')
    unsupported = sum(entry.unsupported for entry in sets.values())
    report(f'active set: {unsupported} unsupported functions, {clock.timings["active_set"]:.1f} s')

    basis.save(str(out / YAML))
    basis.to_ACECTildeBasisSet().save_yaml(str(out / YACE))
    save_active_sets(out / ASI, sets)
    metadata = {
        'elements': elements,
        'cutoff': values['cutoff'],
        'number_of_functions': sum(functions_per_element(basis).values()),
        'baseline': baseline.to_dict(),
        'baseline_kept': baseline_kept,
        'reference_energies': references,
        'reference_kind': reference_kind,
        'settings': scales[0]['settings'],
        'energy_scales': scales,
        'generation': int(values['generation']),
        'parameters': values,
        'seed': values['seed'],
        'versions': versions(),
        'fit': {},
    }
    AcePotential.write_metadata(out, metadata)
    potential = AcePotential(out)
    predictions = predict(potential, condensed)
    results = {
        'train': error_metrics(condensed, predictions),
        'test': None,
        'cold_start': None,
        'unsupported_functions': unsupported,
        'active_set_condition': max(entry.condition for entry in sets.values()),
        'train_gamma_max': _largest_gamma(condensed, predictions),
        'baseline_kept': baseline_kept,
        'reference_kind': reference_kind,
        'reference_energies': references,
        'energy_scales': scales,
        'number_of_functions': metadata['number_of_functions'],
        'generation': metadata['generation'],
        'n_atoms_by_element': _count(condensed),
        **fit,
    }
    if test:
        predicted = predict(potential, test)
        results['test'] = error_metrics(test, predicted)
        results['cold_start'] = cold_start(predicted)
    clock.lap('evaluate')
    metadata['fit'] = {key: results[key] for key in ('train', 'test', 'cold_start', 'unsupported_functions')}
    AcePotential.write_metadata(out, metadata)
    results['timings'] = {**clock.timings, 'total': clock.total()}
    for name in ('train', 'test'):
        if results[name]:
            report(f'{name}: {summary(results[name])}')
    return results


def check_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with defaults filled in.

    :raises ValueError: naming the parameter that is unknown or out of range.
    """
    unknown = sorted(set(parameters) - set(DEFAULTS) - {'elements'})
    if unknown:
        raise ValueError(f'unknown training parameter {unknown[0]!r}: known are elements, {", ".join(DEFAULTS)}')
    values = {**DEFAULTS, **parameters}
    if not values.get('elements'):
        raise ValueError('training parameter elements is missing: give the list of elements of the potential')
    values['elements'] = sorted(set(values['elements']))
    for name in ('cutoff', 'number_of_functions', 'energy_weight', 'processes', 'max_iterations'):
        if not values[name] > 0:
            raise ValueError(f'training parameter {name} is {values[name]}: it must be positive')
    if not isinstance(values['mix_settings'], bool):
        raise ValueError(f'training parameter mix_settings is {values["mix_settings"]!r}: it must be true or false')
    for name in ('ridge', 'core_weight'):
        if not values[name] >= 0:
            raise ValueError(f'training parameter {name} is {values[name]}: it must not be negative')
    if values['mode'] not in ('linear', 'nonlinear'):
        raise ValueError(f'training parameter mode is {values["mode"]!r}: choose linear or nonlinear')
    return values


def check_data(frames: list[Atoms], test: list[Atoms], elements: list[str], mix_settings: bool) -> None:
    """Refuse data that no fit can use.

    :raises ValueError: if there is nothing to fit, a label that counts is missing or NaN, an element is not in
        `elements`, or labels are of different settings.
    """
    for name, group in (('training', frames), ('test', test)):
        try:
            check_labelled(group)
        except ValueError as exception:
            raise ValueError(f'{name} data: {exception}') from exception
        for index, atoms in enumerate(group):
            unknown = sorted(set(atoms.get_chemical_symbols()) - set(elements))
            if unknown:
                raise ValueError(
                    f'{name} data: configuration {index} ({atoms.get_chemical_formula()}) has {unknown[0]}, which is '
                    f'not in elements ({", ".join(elements)}): add it there, or remove the configuration'
                )
            if atoms.pbc.any() and not atoms.pbc.all():
                raise ValueError(
                    f'{name} data: configuration {index} ({atoms.get_chemical_formula()}) is periodic in some '
                    'directions only, which python-ace does not know: make it fully periodic, with vacuum'
                )
    if not get_condensed(frames):
        raise ValueError('training data: there is no configuration with more than a free atom')
    if not mix_settings:
        # the numbers in the message go on from the training data to the test data
        check_consistent([*frames, *test])


def get_condensed(frames: list[Atoms]) -> list[Atoms]:
    """Return the frames to fit: all but the free atoms and those of which nothing counts."""
    return [
        atoms for atoms in frames if not is_isolated_atom(atoms) and (energy_counts(atoms) or forces_count(atoms).any())
    ]


def choose_baseline(
    kind: str, elements: list[str], condensed: list[Atoms], parent: AcePotential | None
) -> tuple[Baseline, bool]:
    """Return the baseline, and whether it is the parent's unchanged."""
    if parent is not None and parent.baseline.kind == kind and set(elements) <= set(parent.baseline.elements):
        if parent.baseline.covers(shortest_distances(condensed)):
            return parent.baseline, True
    return baseline_from_data(kind, elements, condensed), False


def subtract(atoms: Atoms, references: dict[str, float], baseline: Baseline) -> tuple[float, np.ndarray]:
    """Return energy (eV) and forces (eV/Å) that ACE has to give: labels less free atoms and baseline.

    What does not count is zero, whatever the label is: nobody after this sees it.
    """
    found, counting = labels(atoms), forces_count(atoms)
    energy, forces, _ = baseline.evaluate(atoms)
    forces = np.where(counting[:, None], np.asarray(found['forces'], dtype=float) - forces, 0.0)
    if not energy_counts(atoms):
        return 0.0, forces
    return float(found['energy']) - sum(references[symbol] for symbol in atoms.get_chemical_symbols()) - energy, forces


def solve_linear(
    design: DesignMatrix,
    rows: list[FrameRows],
    frames: list[Atoms],
    targets: list[tuple[float, np.ndarray]],
    baseline: Baseline,
    parameters: dict[str, Any],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the coefficients of the linear fit, and numbers about it."""
    equations = NormalEquations(design.number_of_functions)
    for atoms, row, (energy, forces) in zip(frames, rows, targets, strict=True):
        w_energy, w_forces = frame_weights(atoms, parameters['energy_weight'])
        equations.add(row.energy[None, :] / len(atoms), np.array([energy / len(atoms)]), w_energy)
        equations.add(row.forces, forces.ravel(), w_forces)
    add_core_rows(equations, design, baseline, parameters['core_weight'])
    coefficients, condition = equations.solve(parameters['ridge'])
    return coefficients, {'condition': condition}


def add_core_rows(equations: NormalEquations, design: DesignMatrix, baseline: Baseline, weight: float) -> None:
    """Ask ACE not to act on a pair of atoms closer than the data ever show.

    Between the shortest distance in the data and the distance where ACE ends, nothing but extrapolation fixes ACE, and
    it may outweigh the repulsion of the baseline. The energy and force of ACE on dimers in that range are driven to
    zero with a small weight: a prior, not data, and no part of the active set.
    """
    if weight == 0:
        return
    for pair, (r_in, delta_in) in baseline.inner_cutoffs().items():
        for distance in np.linspace(r_in - delta_in, baseline.pairs[pair]['shortest'], 13)[1:]:
            dimer = Atoms(list(pair), [[0, 0, 0], [0, 0, distance]], cell=[50.0] * 3, pbc=False)
            row = design.rows(dimer)
            equations.add(row.energy[None, :] / 2, np.zeros(1), weight)
            equations.add(row.forces, np.zeros(6), weight)


def choose_active_sets(frames: list[Atoms], rows: list[FrameRows], basis: Any) -> dict[str, ActiveSet]:
    """Active set of every element from all training environments whose forces count."""
    by_element: dict[str, list[np.ndarray]] = {element: [] for element in basis.elements_name}
    for atoms, row in zip(frames, rows, strict=True):
        counting = forces_count(atoms)
        for symbol, projection, counts in zip(atoms.get_chemical_symbols(), row.projections, counting, strict=True):
            if counts:
                by_element[symbol].append(projection)
    sizes = functions_per_element(basis)
    return {element: active_set(np.array(found).reshape(-1, sizes[element])) for element, found in by_element.items()}


def predict(potential: AcePotential, frames: list[Atoms]) -> list[Atoms]:
    """Return copies of the frames with predicted labels, gamma per atom and `gamma_max` (over atoms without a mask)."""
    calculator = potential.calculator()
    predictions = []
    for atoms in frames:
        predicted = atoms.copy()
        calculator.calculate(predicted)
        results = calculator.results
        predicted.set_array('gamma', results['gamma'].copy())
        counting = forces_count(atoms)
        predicted.info['gamma_max'] = float(results['gamma'][counting if counting.any() else slice(None)].max())
        set_labels(predicted, results['energy'], results['forces'], results.get('stress'))
        predictions.append(predicted)
    return predictions


def cold_start(predictions: list[Atoms]) -> dict[str, Any] | None:
    """Gamma on unseen frames: a set of too few low-symmetry cells shows here, before any simulation."""
    largest = [atoms.info['gamma_max'] for atoms in predictions if not is_isolated_atom(atoms)]
    if not largest:
        return None
    median = float(np.median(largest))
    return {
        'median_gamma': median,
        'max_gamma': float(max(largest)),
        'degenerate': median > DEGENERATE_GAMMA,
        'n_frames': len(largest),
    }


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ('aiida-pyacemaker', 'python-ace', 'numpy', 'ase')
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'unknown'
    return found


def summary(metrics: dict[str, Any]) -> str:
    """One line about metrics, for people."""
    energy, forces = metrics['energy'], metrics['forces']
    parts = [f'{metrics["n_frames"]} configurations']
    if energy:
        parts.append(f'energy rmse {1000 * energy["rmse"]:.2f} meV/atom')
    if forces:
        parts.append(f'force rmse {1000 * forces["rmse"]:.1f} meV/Å')
    return ', '.join(parts)


def _largest_gamma(frames: list[Atoms], predictions: list[Atoms]) -> float:
    """Largest gamma over the training environments that may enter the active set."""
    largest = 0.0
    for atoms, predicted in zip(frames, predictions, strict=True):
        gamma = predicted.arrays['gamma'][forces_count(atoms)]
        largest = max(largest, float(gamma.max(initial=0.0)))
    return largest


def _same_basis(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(old.get(key) == new[key] for key in ('elements', 'cutoff', 'number_of_functions', 'mode'))


def _count(frames: list[Atoms]) -> dict[str, int]:
    symbols = [symbol for atoms in frames for symbol in atoms.get_chemical_symbols()]
    return {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}


class _Clock:
    """Wall times of the steps."""

    def __init__(self) -> None:
        self.start = self.last = perf_counter()
        self.timings: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.timings[name] = now - self.last
        self.last = now

    def total(self) -> float:
        return perf_counter() - self.start
