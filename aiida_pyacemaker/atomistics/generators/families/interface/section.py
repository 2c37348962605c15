"""The section `structures.interface` of a run file."""

from __future__ import annotations

from typing import Literal

from ....core.parameters import Count, Positive, Section, parameter


class Interface(Section):
    """Coherent interfaces of two materials."""

    film: str | None = parameter(
        'Upper material, which is strained to fit: formula or file; null: the first of two elements.', default=None
    )
    substrate: str | None = parameter(
        'Lower material: formula or file; null: the second of two elements, or what the film leaves.', default=None
    )
    film_miller: list[list[int]] | None = parameter(
        'Planes of the film that may touch the substrate; null: its most stable low-index planes.', default=None
    )
    substrate_miller: list[list[int]] | None = parameter(
        'Planes of the substrate that may touch the film; null: its most stable low-index planes.', default=None
    )
    film_terminations: list[str] | None = parameter(
        'Formulas of the planes in which a film may end (TiO2...); null: those without dipole that break few bonds.',
        default=None,
        min_length=1,
    )
    substrate_terminations: list[str] | None = parameter(
        'Formulas of the planes in which a substrate may end; null: those without dipole that break few bonds.',
        default=None,
        min_length=1,
    )
    film_layers: Count = parameter('Planes of atoms of the film, at least.', default=4, ge=1, le=60)
    substrate_layers: Count = parameter('Planes of atoms of the substrate, at least.', default=4, ge=1, le=60)
    film_thickness: Positive | None = parameter('Least thickness of the film.', 'Å', default=None, le=60)
    substrate_thickness: Positive | None = parameter('Least thickness of the substrate.', 'Å', default=None, le=60)
    max_strain: Positive = parameter('Largest principal strain of the film in the plane.', default=0.05, le=0.3)
    max_area: Positive = parameter('Largest area of the common cell.', 'Å²', default=120.0, le=1000)
    max_atoms: Count = parameter('Largest number of atoms.', default=120, ge=2)
    matches: Count = parameter('Matches of each pair of planes that are used, the best ones first.', default=3, ge=1)
    gap: list[Positive] | None = parameter(
        'Distances between the outermost planes of both materials; null: where the atoms touch, and 0.5 Å more.',
        'Å',
        default=None,
        min_length=1,
    )
    shifts: Count = parameter(
        'Positions of the film over the substrate: the first where they come nearest, the others moved at random.',
        default=6,
        ge=1,
    )
    stacking: Literal['both', 'periodic', 'vacuum'] = parameter(
        'periodic: a bilayer without vacuum and with two interfaces; vacuum: one interface and two free surfaces.',
        default='both',
    )
    vacuum: float = parameter('Width of the vacuum.', 'Å', default=12.0, ge=8, le=60)
    references: bool = parameter('Whether the two bulk crystals are added.', default=True)
