"""What the tasks of the worker read from their directory, and how they tell their progress."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from ..atomistics.core.checksums import check_checksums
from ..atomistics.core.configurations import load_configurations
from ..atomistics.potential.potential import AcePotential

CONFIGURATIONS = 'configurations.npz'
POTENTIAL = 'potential'


def read_frames(path: Path) -> list[Atoms]:
    """:raises ValueError: if the file is missing, broken or empty."""
    if not path.is_file():
        raise ValueError(f'there is no {path.name}')
    frames = load_configurations(path)
    if not frames:
        raise ValueError(f'{path.name} has no configurations in it')
    return frames


def read_potential(directory: Path) -> AcePotential:
    """:raises ValueError: if `potential/` is missing or broken."""
    check_checksums(directory / POTENTIAL)
    return AcePotential(directory / POTENTIAL)


def say(message: str) -> None:
    """Show progress at once, also where stdout is a file."""
    print(message, flush=True)
