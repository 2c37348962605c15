"""A battery of cells whose kind is known, each also in a skewed, shifted and rotated cell of the same crystal."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import (
    add_adsorbate,
    bcc110,
    bulk,
    diamond100,
    fcc111,
    graphene,
    make_supercell,
    molecule,
    mx2,
    nanotube,
    surface,
)
from ase.cluster import Icosahedron
from ase.lattice.hexagonal import Graphite
from ase.spacegroup import crystal
from scipy.spatial.transform import Rotation

from aiida_pyacemaker.atomistics.checks.batch import batches
from aiida_pyacemaker.atomistics.checks.endless import surely_bulk
from aiida_pyacemaker.atomistics.checks.vacuum import detect_vacuum, vacuum_axes

COPPER = bulk('Cu', cubic=True)


def rattled(atoms: Atoms, width: float) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(width, seed=3)
    return atoms


def expanded(atoms: Atoms, factor: float = 1.3) -> Atoms:
    """The frame at `factor` times its volume."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
    return atoms


def padded(atoms: Atoms, axes: list[int], gap: float) -> Atoms:
    """The crystal cut along axes: `gap` Å from nucleus to nucleus along the vectors perpendicular to the faces."""
    atoms = atoms.copy()
    atoms.center(vacuum=gap / 2, axis=axes)
    atoms.pbc = True
    return atoms


def tilted(index: tuple[int, int, int], gap: float, layers: int = 4) -> Atoms:
    """A slab of copper of a plane (hkl), in a cell whose three vectors all cross the vacuum."""
    slab = padded(surface(COPPER, index, layers), [2], gap)
    return make_supercell(slab, [[1, 0, 1], [0, 1, 1], [0, 0, 1]])


def sheared(gap: float) -> Atoms:
    """A slab whose third vector leans by 45 degrees, as builders of surfaces with `periodic=True` make them."""
    slab = padded(fcc111('Al', (2, 2, 4), orthogonal=True), [2], gap)
    cell = slab.cell.array.copy()
    cell[2, :2] += cell[2, 2]
    slab.set_cell(cell)
    return slab


def graphite(spacing: float) -> Atoms:
    return Graphite('C', latticeconstant={'a': 2.461, 'c': 2 * spacing}, size=(2, 2, 1), pbc=True)


def carved(atoms: Atoms, radius: float, axes: list[int]) -> Atoms:
    """The crystal without the atoms around its centre, or around a line through it: distances in the given axes."""
    centre = atoms.cell.array.sum(axis=0) / 2
    return atoms[np.linalg.norm((atoms.positions - centre)[:, axes], axis=1) > radius]


def without(atoms: Atoms, *indices: int) -> Atoms:
    atoms = atoms.copy()
    del atoms[list(indices)]
    return atoms


def shifted(atoms: Atoms, by: tuple[float, float, float]) -> Atoms:
    """The same crystal, moved by scaled coordinates and wrapped: matter straddles the borders of the cell."""
    atoms = atoms.copy()
    atoms.positions += np.array(by) @ atoms.cell.array
    atoms.wrap()
    return atoms


def wire(axis: int, gap: float) -> Atoms:
    """A wire of copper along an axis, about 6 Å thick."""
    repeat = [2, 2, 2]
    repeat[axis] = 1
    return padded(COPPER.repeat(repeat), [k for k in range(3) if k != axis], gap)


def turned(atoms: Atoms, order: list[int]) -> Atoms:
    """The frame with its cell vectors and its axes in space permuted."""
    cell = atoms.cell.array[np.ix_(order, order)]
    return Atoms(atoms.numbers, atoms.positions[:, order], cell=cell, pbc=True)


def tube() -> Atoms:
    atoms = nanotube(6, 0, length=1)
    return padded(atoms, [0, 1], 8.0)


def glass() -> Atoms:
    """Silicon with its atoms far from their sites (a rattle of 0.35 Å)."""
    return rattled(bulk('Si', cubic=True).repeat(2), 0.35)


def dry_ice() -> Atoms:
    """Molecular crystal of CO2 (Pa-3)."""
    return crystal('CO', [(0, 0, 0), (0.1185, 0.1185, 0.1185)], spacegroup=205, cellpar=[5.624] * 3 + [90] * 3)


def ice() -> Atoms:
    """Proton-ordered cubic ice: water on a diamond lattice, its hydrogens towards two of the four neighbours."""
    sites = bulk('Si', a=6.36, cubic=True)
    atoms = Atoms(cell=sites.cell, pbc=True)
    for index, site in enumerate(sites):
        vectors = sites.get_distances(index, range(8), mic=True, vector=True)
        near = vectors[np.abs(np.linalg.norm(vectors, axis=1) - 2.75) < 0.1]
        ends = near[np.argsort(near[:, 2])[-2:]]
        atoms += Atoms('OH2', [site.position, *(site.position + 0.97 * end / np.linalg.norm(end) for end in ends)])
    return atoms


def sodalite() -> Atoms:
    """All-silica sodalite (Im-3m): cages of 6 Å behind windows of 2.5 Å."""
    basis = [(0.25, 0.5, 0.0), (0.3525, 0.3525, 0.0)]
    return crystal('SiO', basis, spacegroup=229, cellpar=[8.83] * 3 + [90] * 3)


def rutile() -> Atoms:
    cellpar = [4.594, 4.594, 2.959, 90, 90, 90]
    return crystal(['Ti', 'O'], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=cellpar)


def perovskite() -> Atoms:
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms('SrTiO3', scaled_positions=sites, cell=[3.905] * 3, pbc=True)


def adsorbed() -> Atoms:
    slab = fcc111('Pt', (2, 2, 4))
    add_adsorbate(slab, molecule('CO'), 1.9, 'ontop')
    return padded(slab, [2], 12.0)


def membrane() -> Atoms:
    """A slab with a hole through it: sheets still."""
    return padded(carved(COPPER.repeat((6, 6, 2)), 5.5, [0, 1]), [2], 10.0)


def gas() -> Atoms:
    """Argon atoms 7 Å apart."""
    return bulk('Ar', 'sc', a=7.0).repeat(2)


BULK: dict[str, Callable[[], Atoms]] = {
    'fcc primitive': lambda: bulk('Cu'),
    'fcc cubic': lambda: COPPER,
    'fcc 32 atoms rattled': lambda: rattled(COPPER.repeat(2), 0.15),
    'bcc caesium': lambda: bulk('Cs'),
    'bcc caesium expanded': lambda: expanded(bulk('Cs', cubic=True)),
    'bcc iron': lambda: bulk('Fe', cubic=True).repeat((3, 1, 1)),
    'sc polonium': lambda: bulk('Po'),
    'hcp magnesium': lambda: bulk('Mg'),
    'hcp zinc, long c axis': lambda: bulk('Zn', orthorhombic=True),
    'diamond': lambda: bulk('C'),
    'silicon': lambda: bulk('Si', cubic=True),
    'silicon expanded by 30 %': lambda: expanded(bulk('Si', cubic=True)),
    'grey tin expanded by 30 %': lambda: expanded(bulk('Sn', 'diamond', a=6.49)),
    'copper expanded by 30 %, rattled': lambda: rattled(expanded(COPPER.repeat(2)), 0.1),
    'rock salt expanded by 30 %': lambda: expanded(bulk('NaCl', 'rocksalt', a=5.64)),
    'caesium chloride': lambda: bulk('CsCl', 'cesiumchloride', a=4.12),
    'fluorite': lambda: bulk('CaF2', 'fluorite', a=5.46),
    'wurtzite': lambda: bulk('ZnO', 'wurtzite', a=3.25, c=5.2),
    'rutile': rutile,
    'perovskite': perovskite,
    'glass': glass,
    'solid argon': lambda: bulk('Ar'),
    'dry ice': dry_ice,
    'cubic ice': ice,
    'graphite': lambda: graphite(3.35),
    'graphite stretched to 3.7 Å': lambda: graphite(3.7),
    'bulk MoS2': lambda: padded(mx2('MoS2', a=3.16, thickness=3.17, size=(2, 2, 1)), [2], 2.98),
    'monovacancy': lambda: without(COPPER.repeat(2), 5),
    'vacancy in potassium': lambda: without(bulk('K', cubic=True).repeat(3), 20),
    'divacancy in silicon': lambda: without(bulk('Si', cubic=True).repeat(2), 0, 1),
    'sodalite': sodalite,
    'long thin cell': lambda: COPPER.repeat((1, 1, 12)),
    'gap of 4 Å in copper': lambda: padded(COPPER.repeat((1, 1, 4)), [2], 4.0),
}
SLABS: dict[str, tuple[Callable[[], Atoms], float | None]] = {
    'Cu along c': (lambda: padded(COPPER.repeat((1, 1, 3)), [2], 10.0), 10.0),
    'Cu along a': (lambda: padded(COPPER.repeat((3, 1, 1)), [0], 10.0), 10.0),
    'Cu along b': (lambda: padded(COPPER.repeat((1, 3, 1)), [1], 10.0), 10.0),
    'thin vacuum of 6 Å': (lambda: padded(COPPER.repeat((2, 2, 3)), [2], 6.0), 6.0),
    'thin vacuum of 6 Å, 20 layers, rattled': (
        lambda: rattled(padded(COPPER.repeat((2, 2, 10)), [2], 6.0), 0.05),
        None,
    ),
    'thin vacuum of 7 Å on bcc': (lambda: padded(bcc110('W', (2, 2, 4)), [2], 7.0), 7.0),
    'silicon (100)': (lambda: padded(diamond100('Si', (2, 2, 6)), [2], 8.0), 8.0),
    'straddling the border': (lambda: shifted(padded(COPPER.repeat((1, 1, 3)), [2], 10.0), (0.1, 0.2, 0.55)), 10.0),
    'tilted (111)': (lambda: tilted((1, 1, 1), 10.0), 10.0),
    'tilted (210), thin': (lambda: tilted((2, 1, 0), 7.0), 7.0),
    'tilted (311)': (lambda: tilted((3, 1, 1), 8.0), 8.0),
    'leaning third vector': (lambda: sheared(10.0), 10.0),
    'rock salt (001)': (lambda: padded(bulk('MgO', 'rocksalt', a=4.21, cubic=True).repeat((1, 1, 2)), [2], 9.0), 9.0),
    'graphene': (lambda: padded(graphene(size=(3, 3, 1)), [2], 10.0), 10.0),
    'two layers of graphite': (lambda: padded(graphite(3.35), [2], 12.0), 12.0),
    'monolayer of MoS2': (lambda: padded(mx2('MoS2', size=(2, 2, 1)), [2], 10.0), 10.0),
    'CO on Pt(111)': (adsorbed, 12.0),
    'slab with a hole through it': (membrane, 10.0),
}
OTHERS: dict[str, tuple[str, Callable[[], Atoms]]] = {
    'wire along a': ('wire', lambda: wire(0, 8.0)),
    'wire along b': ('wire', lambda: wire(1, 8.0)),
    'wire along c': ('wire', lambda: wire(2, 8.0)),
    'wire in thin vacuum': ('wire', lambda: wire(2, 6.5)),
    'wire at the corner of the cell': ('wire', lambda: shifted(wire(2, 8.0), (0.5, 0.5, 0.3))),
    'nanotube along c': ('wire', tube),
    'nanotube along a': ('wire', lambda: turned(tube(), [2, 0, 1])),
    'nanotube along b': ('wire', lambda: turned(tube(), [1, 2, 0])),
    'icosahedron': ('cluster', lambda: padded(Icosahedron('Cu', 3), [0, 1, 2], 8.0)),
    'icosahedron at the corner': ('cluster', lambda: shifted(padded(Icosahedron('Cu', 3), [0, 1, 2], 8.0), (0.5,) * 3)),
    'water in a box': ('cluster', lambda: molecule('H2O', vacuum=4.0, pbc=True)),
    'ethanol in a box': ('cluster', lambda: molecule('CH3CH2OH', vacuum=4.0, pbc=True)),
    'free atom': ('cluster', lambda: Atoms('Cu', cell=[10] * 3, pbc=True)),
    'gas': ('cluster', gas),
    'large void': ('porous', lambda: carved(COPPER.repeat(5), 6.5, [0, 1, 2])),
    'nanopore along c': ('porous', lambda: carved(COPPER.repeat((6, 6, 1)), 6.5, [0, 1])),
    'nanopore along a': ('porous', lambda: carved(COPPER.repeat((1, 6, 6)), 6.5, [1, 2])),
    'nanopore at the corner': (
        'porous',
        lambda: shifted(carved(COPPER.repeat((6, 6, 1)), 6.5, [0, 1]), (0.5, 0.5, 0)),
    ),
    'void in silicon, rattled': (
        'porous',
        lambda: rattled(carved(bulk('Si', cubic=True).repeat(4), 7.0, [0, 1, 2]), 0.1),
    ),
}
BATTERY = {
    **{name: ('bulk', make) for name, make in BULK.items()},
    **{name: ('slab', make) for name, (make, _) in SLABS.items()},
    **OTHERS,
}


def disguised(atoms: Atoms, seed: int) -> Atoms:
    """The same crystal in another, skewed cell, moved and rotated, its atoms in another order."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(3, dtype=int)
    for _ in range(3):
        row, other = rng.permutation(3)[:2]
        matrix[row] += rng.choice([-1, 1]) * matrix[other]
    other = Atoms(atoms.numbers, atoms.positions, cell=matrix @ atoms.cell.array, pbc=True)
    other.set_cell(other.cell.array @ Rotation.random(random_state=seed).as_matrix(), scale_atoms=True)
    other.positions += rng.normal(0, 5, 3)
    other.wrap()
    return other[rng.permutation(len(other))]


def test_battery_is_large_and_holds_every_kind():
    assert len(BATTERY) >= 40
    assert {kind for kind, _ in BATTERY.values()} == {'bulk', 'slab', 'wire', 'cluster', 'porous'}


@pytest.mark.parametrize('name', BATTERY)
def test_battery(name: str):
    kind, make = BATTERY[name]
    assert detect_vacuum(make()).kind == kind


@pytest.mark.parametrize('name', BATTERY)
def test_battery_in_disguise(name: str):
    kind, make = BATTERY[name]
    atoms = make()
    atoms.pbc = True
    plain, other = detect_vacuum(atoms), detect_vacuum(disguised(atoms, 1))
    assert other.kind == detect_vacuum(disguised(atoms, 2)).kind == kind
    # for holes found by a search on a grid up to the fineness of the search
    assert other.gap == pytest.approx(plain.gap, abs=1e-6 if kind == 'slab' else 0.3)
    assert other.fraction == pytest.approx(plain.fraction, abs=0.03)
    assert len(other.directions) == len(plain.directions)


@pytest.mark.parametrize('name', BATTERY)
def test_quick_look_never_calls_vacuum_bulk(name: str):
    kind, make = BATTERY[name]
    atoms = make()
    atoms.pbc = True
    frames = [copy for copy in (atoms, disguised(atoms, 1), disguised(atoms, 2)) if len(copy) <= 200]
    for batch in batches(frames):
        if kind != 'bulk':
            assert not surely_bulk(batch).any()


def test_quick_look_settles_common_bulk():
    frames = [rattled(COPPER.repeat(2), 0.1), rattled(bulk('Si', cubic=True).repeat((2, 2, 1)), 0.1)]
    assert [surely_bulk(batch).tolist() for batch in batches(frames)] == [[True, True]]


@pytest.mark.parametrize('name', SLABS)
def test_thickness_and_normal_of_slabs(name: str):
    make, gap = SLABS[name]
    atoms = make()
    vacuum = detect_vacuum(atoms)
    assert vacuum.gap == pytest.approx(gap, abs=1e-6) if gap else 5.5 < vacuum.gap < 6.0
    # in the plane of the slab, matter repeats along the lattice vectors that are reported
    assert vacuum.periodic.shape == (2, 3)
    assert np.abs(vacuum.periodic @ atoms.cell.array @ vacuum.directions[0]).max() < 1e-9
    assert np.linalg.norm(vacuum.directions[0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ('axes', 'repeat'), [([2], (1, 1, 3)), ([0], (3, 1, 1)), ([0, 1], (2, 2, 1)), ([0, 1, 2], (2, 2, 2))]
)
def test_axes_of_vacuum(axes: list[int], repeat: tuple[int, int, int]):
    assert vacuum_axes(padded(COPPER.repeat(repeat), axes, 9.0)) == axes


def test_axes_of_bulk_of_a_tilted_slab_and_of_pores():
    assert vacuum_axes(COPPER) == []
    assert vacuum_axes(tilted((1, 1, 1), 10.0)) == [0, 1, 2]
    assert vacuum_axes(OTHERS['nanopore along c'][1]()) == [0, 1, 2]


def test_direction_of_pores():
    pore = detect_vacuum(OTHERS['nanopore along a'][1]())
    assert np.allclose(np.abs(pore.directions), [[1, 0, 0]])
    assert pore.periodic.tolist() == [[1, 0, 0]]
    closed = detect_vacuum(OTHERS['large void'][1]())
    assert closed.directions.shape == (0, 3)


def test_free_fraction_of_a_slab():
    """Between the planes half a gap and a radius away from the outer layers everything is free, and nothing else."""
    slab = padded(COPPER.repeat((2, 2, 4)), [2], 14.0)
    free = 14.0 - 2 * (1.32 + 2.75 / 2)
    assert detect_vacuum(slab).fraction == pytest.approx(free / slab.cell[2, 2], abs=0.03)


@pytest.mark.parametrize(('gap', 'kind'), [(5.2, 'bulk'), (5.6, 'slab')])
def test_border_of_thin_vacuum(gap: float, kind: str):
    """Atoms on top of each other across the vacuum: 2 x 1.32 + 2.75 = 5.39 Å."""
    slab = padded(bulk('Cu', 'sc', a=2.4).repeat((2, 2, 4)), [2], gap)
    assert detect_vacuum(slab).kind == kind
    assert detect_vacuum(slab, gap=4.0).kind == 'bulk'
    assert detect_vacuum(slab, gap=2.0).kind == 'slab'


@pytest.mark.parametrize(('radius', 'kind'), [(3.8, 'bulk'), (4.2, 'porous'), (6.5, 'porous')])
def test_border_of_voids(radius: float, kind: str):
    """Diameters of empty spheres, less two radii, on both sides of 8 Å."""
    frame = carved(COPPER.repeat(5), radius, [0, 1, 2])
    centre = frame.cell.array.sum(axis=0) / 2
    empty = np.linalg.norm(frame.positions - centre, axis=1).min()
    vacuum = detect_vacuum(frame)
    assert vacuum.kind == kind and (2 * (empty - 1.32) > 8) == (kind == 'porous')
    assert detect_vacuum(frame, void=5.0).kind == 'porous'
    if kind == 'porous':
        assert 2 * empty - 0.1 < vacuum.gap < 2 * empty + 1


@pytest.mark.parametrize('pbc', [False, [True, True, False], [True, False, False]])
def test_frames_that_are_not_periodic(pbc: bool | list[bool]):
    atoms = COPPER.repeat((2, 2, 2))
    atoms.pbc = pbc
    vacuum = detect_vacuum(atoms)
    assert vacuum.kind == {0: 'cluster', 1: 'wire', 2: 'slab'}[int(np.sum(atoms.pbc))]
    assert vacuum.axes == tuple(np.flatnonzero(~atoms.pbc)) and vacuum.gap == np.inf
    assert detect_vacuum(molecule('H2O')).kind == 'cluster'


def test_truth_value_and_bad_frames():
    assert not detect_vacuum(COPPER) and detect_vacuum(molecule('H2O'))
    with pytest.raises(ValueError, match='finite'):
        detect_vacuum(Atoms(cell=[5] * 3, pbc=True))
    with pytest.raises(ValueError, match='finite'):
        detect_vacuum(Atoms('H', [[np.nan, 0, 0]], cell=[5] * 3, pbc=True))


@pytest.mark.parametrize('kind', ['bulk', 'slab', 'porous'])
def test_ten_thousand_atoms_within_a_second_of_one_core(kind: str):
    atoms = rattled(COPPER.repeat((14, 14, 13)), 0.1)
    if kind == 'slab':
        atoms = padded(atoms, [2], 15.0)
    elif kind == 'porous':
        atoms = carved(atoms, 8.0, [0, 1])
    start = time.process_time()
    assert detect_vacuum(atoms).kind == kind
    assert time.process_time() - start < 1.0
