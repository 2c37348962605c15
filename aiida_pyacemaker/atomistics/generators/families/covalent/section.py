"""The section `structures.covalent` of a run file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ....core.parameters import Count, Positive, Section, parameter

Structure = Literal[
    'diamond', 'zincblende', '2H', '4H', '6H', 'graphite', 'graphene', 'layered', 'chain', 'beta_tin',
    'simple_hexagonal', 'bc8', 'simple_cubic', 'bcc', 'fcc', 'rocksalt', 'ground_state', 'amorphous',
]  # fmt: skip


class Amorphous(Section):
    """Amorphous cells."""

    number: Count = parameter('Amorphous cells of each element or compound.', default=2, ge=0)
    atoms: Count = parameter(
        'Atoms of an amorphous cell, rounded up to a multiple of eight.', default=64, ge=32, le=1000
    )
    method: Literal['network', 'melt_quench'] = parameter(
        '`network`: a random network by bond switching; `melt_quench`: a melt cooled with a Stillinger-Weber potential '
        'that is scaled to the bond length.',
        default='network',
    )
    density: list[Positive] | None = parameter(
        'Densities, used in turn; null: near that of the crystal, for carbon 3.1 and 2.4.', 'g/cm³', default=None
    )
    temperature: Positive = parameter('Temperature of the melt for `melt_quench`.', 'K', default=3000.0)


class Distortions(Section):
    """Distorted bonds and dihedral angles, for each crystal."""

    bond: Count = parameter('Cells in which one bond is stretched or compressed, for each crystal.', default=2, ge=0)
    stretch: Annotated[float, Field(gt=0, lt=0.3)] = parameter(
        'Largest change of the bond length, as a fraction.', default=0.12
    )
    dihedral: Count = parameter('Cells in which atoms turn about one bond, for each crystal.', default=2, ge=0)
    angle: Annotated[float, Field(gt=0, le=60)] = parameter('Largest turn about a bond.', 'degree', default=20.0)
    atoms: Count = parameter('Atoms of a distorted cell, at least.', default=16, ge=8)


class Interlayer(Section):
    """Scan of the distance between sheets."""

    number: Count = parameter('Distances of each stacking and stack, beside the ideal one.', default=3, ge=0)
    minimum: Annotated[float, Field(gt=0.6)] = parameter('Smallest distance, in units of the ideal one.', default=0.85)
    maximum: Annotated[float, Field(lt=3)] = parameter('Largest distance, in units of the ideal one.', default=1.5)


class Covalent(Section):
    """Networks of covalent bonds."""

    structures: list[Structure] | None = parameter(
        'Which structures; null: those that suit the elements. `2H`, `4H` and `6H` are hexagonal polytypes, `layered` '
        'is a stack of few sheets in vacuum, `chain` a straight wire.',
        default=None,
        min_length=1,
    )
    stackings: list[Annotated[str, Field(pattern="^([ABC]'?)+$")]] | None = parameter(
        'Stackings of graphite as letters; an apostrophe exchanges the elements of a compound in a sheet. null: AB, '
        "ABC and AA; for compounds AA', AB and AA.",
        default=None,
        min_length=1,
    )
    layers: list[Annotated[Count, Field(ge=2, le=10)]] = parameter('Sheets of `layered` structures.', default=[2, 3])
    vacuum: Annotated[float, Field(ge=5)] = parameter('Vacuum beside sheets and chains.', 'Å', default=12.0)
    bonds: dict[Annotated[str, Field(pattern='^[A-Z][a-z]?-[A-Z][a-z]?$')], Positive] = parameter(
        'Bond lengths of your own for atoms with four neighbours, such as `Si-Ge: 2.4`.', 'Å', default={}
    )
    amorphous: Amorphous = parameter('Amorphous cells.', default=Amorphous())
    distortions: Distortions = parameter('Distorted bonds and dihedral angles.', default=Distortions())
    interlayer: Interlayer = parameter('Scan of the distance between sheets.', default=Interlayer())
