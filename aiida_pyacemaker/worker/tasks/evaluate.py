"""Predict: `configurations.npz`, `potential/` -> `predictions.npz`; with labels also the errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...atomistics.core.configurations import save_configurations
from ...atomistics.core.frame import info, labels
from ...atomistics.fitting.posterior import add_uncertainty
from ...atomistics.fitting.predictions import predict
from ...atomistics.fitting.references import align_energies
from ...atomistics.metrics.errors import error_metrics, gamma_against_error, uncertainty_metrics
from ..files import CONFIGURATIONS, read_frames, read_potential


def run(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the errors of the labelled ones, and the largest gamma of all."""
    potential = read_potential(directory)
    # labels of other settings than those of the potential's energies come onto its scale
    frames = align_energies(read_frames(directory / CONFIGURATIONS), potential.metadata.get('energy_scales', []))
    potential.check_elements(frames)
    predictions = predict(potential, frames)
    add_uncertainty(potential, predictions)
    save_configurations(directory / 'predictions.npz', predictions)
    labelled = [k for k, atoms in enumerate(frames) if labels(atoms)]
    pair = ([frames[k] for k in labelled], [predictions[k] for k in labelled])
    return {
        'number_of_configurations': len(frames),
        'metrics': error_metrics(*pair) if labelled else None,
        'gamma_against_error': gamma_against_error(*pair) if labelled else None,
        'uncertainty': uncertainty_metrics(*pair) if labelled else None,
        'gamma_max': max(info(atoms)['gamma_max'] for atoms in predictions),
    }
