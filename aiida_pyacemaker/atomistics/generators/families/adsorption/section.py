"""The section `structures.adsorption` of a run file."""

from __future__ import annotations

from typing import Literal

from ....core.parameters import Count, Positive, Section, parameter

#: Å; the cell of the surface is repeated until it is at least as wide.
MIN_WIDTH = 4.5
#: Å; the cell of the surface is repeated until it is wider than the molecules are long by this.
MIN_SPACING = 3.0


class Adsorption(Section):
    """Molecules on the surface of a crystal."""

    slab: str | None = parameter(
        'Crystal of the surface: formula or file; null: the element that no molecule holds, or the only noble metal.',
        default=None,
    )
    molecules: list[str] | None = parameter(
        'What adsorbs: names (CO, water, CH3CH2OH) or files; null: the usual small molecule of the other elements.',
        default=None,
    )
    miller: list[list[int]] | None = parameter(
        'Planes of the surfaces, such as [[1, 1, 1], [1, 0, 0]]; null: the low-index plane that breaks fewest bonds.',
        default=None,
        min_length=1,
    )
    terminations: list[str] | None = parameter(
        'Formulas of the planes in which a slab may end (TiO2...); null: those without dipole that break few bonds.',
        default=None,
        min_length=1,
    )
    layers: Count = parameter('Planes of atoms of the slab, at least.', default=4, ge=1, le=60)
    repeats: list[Count] | None = parameter(
        'Cells of the surface along both axes; null: enough to leave molecules '
        f'{MIN_SPACING:g} Å of room, and {MIN_WIDTH:g} Å.',
        default=None,
        min_length=2,
        max_length=2,
    )
    symmetric: bool = parameter('Whether both sides of the slab carry the same molecules.', default=False)
    vacuum: float = parameter('Width of the vacuum, from atom to atom.', 'Å', default=12.0, ge=8, le=60)
    sites: list[Literal['top', 'bridge', 'hollow']] = parameter(
        'Kinds of sites.', default=['top', 'bridge', 'hollow'], min_length=1
    )
    orientations: list[str] | None = parameter(
        '`X-down` with an element X, `lying` or `random`; null: all that the molecule has.', default=None, min_length=1
    )
    heights: list[Positive] | None = parameter(
        'Heights of the lowest atom of the molecule over the highest of the slab; null: contact, and 0.35 and 0.9 Å '
        'more.',
        'Å',
        default=None,
        min_length=1,
    )
    coverages: list[Count] = parameter('Molecules per cell (and side).', default=[1, 2], min_length=1)
    solvent: str | None = parameter(
        'Molecule of a layer of liquid that covers every second structure: name or file.', default=None
    )
    solvent_density: Positive | None = parameter(
        'Density of the layer; null: that of the liquid, or 0.9 if it is not known.', 'g/cm³', default=None, le=20
    )
    solvent_thickness: Positive = parameter('Thickness of the layer.', 'Å', default=6.0, le=50)
    references: bool = parameter(
        'Whether the clean slab, each molecule on its own and the bulk crystal are added.', default=True
    )
