"""The section `structures.molecular` of a run file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ....core.parameters import Count, Positive, Section, parameter


class Torsions(Section):
    """Turns about the bonds that can turn."""

    number: Count = parameter('Structures of each molecule, at most.', default=40, ge=0)
    points: Count = parameter('Angles of the grid, for each bond.', default=12, ge=2)


class NormalModes(Section):
    """Random displacements along the vibrations, as at a temperature."""

    number: Count = parameter('Structures of each molecule.', default=80, ge=0)
    temperatures: list[Positive] = parameter(
        'Temperatures, used in turn.', 'K', default=[300.0, 600.0, 1000.0, 1500.0], min_length=1
    )


class Bonds(Section):
    """Stretched and compressed bonds."""

    number: Count = parameter('Structures of each molecule.', default=24, ge=0)
    minimum: Annotated[float, Field(gt=0.6, lt=1)] = parameter('Shortest, in units of the length.', default=0.88)
    maximum: Annotated[float, Field(gt=1, lt=3)] = parameter('Longest, in units of the length.', default=1.35)


class Clusters(Section):
    """Pairs and triples of molecules in vacuum."""

    number: Count = parameter('Structures of each combination of molecules.', default=60, ge=0)
    sizes: list[Annotated[Count, Field(ge=2, le=8)]] = parameter(
        'Molecules in a cluster, used in turn.', default=[2, 2, 2, 3], min_length=1
    )
    closest: Annotated[float, Field(gt=0.5)] = parameter(
        'Shortest contact, in units of the sum of the van der Waals radii.', default=0.70
    )
    farthest: Annotated[float, Field(lt=4)] = parameter(
        'Longest contact, in units of the sum of the van der Waals radii.', default=1.40
    )


class Liquids(Section):
    """Boxes of molecules at random."""

    number: Count = parameter('Structures of each molecule, and of the mixture of all.', default=24, ge=0)
    molecules: list[Annotated[Count, Field(ge=2, le=500)]] = parameter(
        'Molecules in a box, used in turn.', default=[4, 6], min_length=1
    )
    density: Positive | None = parameter('null: estimated from the volumes of the atoms.', 'g/cm³', default=None)


class Crystals(Section):
    """Molecular crystals of random symmetry."""

    number: Count = parameter('Structures of each molecule.', default=8, ge=0)
    max_molecules: Count = parameter('Molecules in a cell, at most.', default=4, ge=1)


class Molecular(Section):
    """Molecules, their clusters, liquids and crystals."""

    molecules: list[str] | None = parameter(
        'Names (`ethanol`, `H2O`, `CH3CH2OH`) or files of molecules; null: up to three that the elements allow.',
        default=None,
        min_length=1,
    )
    vacuum: Annotated[float, Field(ge=5)] = parameter('Vacuum around molecules and clusters.', 'Å', default=10.0)
    torsions: Torsions = parameter('Turns about bonds.', default=Torsions())
    normal_modes: NormalModes = parameter('Vibrations at given temperatures.', default=NormalModes())
    bonds: Bonds = parameter('Stretched and compressed bonds.', default=Bonds())
    clusters: Clusters = parameter('Pairs and triples of molecules.', default=Clusters())
    liquids: Liquids = parameter('Boxes of molecules.', default=Liquids())
    crystals: Crystals = parameter('Molecular crystals.', default=Crystals())
