"""Files of VASP for tests without its binary: made-up potentials, and outputs in the format of VASP 6.

No line of them is from VASP's own files, which are licensed; the numbers are arbitrary.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

POTCAR = """  PAW_PBE {symbol} 01Jan2000
   {valence:.1f}
 parameters from PSCTR are:
   VRHFIN ={symbol}: made up
   LEXCH  = PE
   EATOM  =    50.0000 eV,    3.6750 Ry

   TITEL  = PAW_PBE {symbol} 01Jan2000
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =    1.500    partial core radius
   POMASS =   {mass:.3f}; ZVAL   =    {valence:.3f}    mass and valenz
   RCORE  =    1.900    outmost cutoff radius
   RWIGS  =    2.650; RWIGS  =    1.402    wigner-seitz radius (au A)
   ENMAX  =  {enmax:.3f}; ENMIN  =  180.000 eV
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
   EAUG   =  400.000
   RMAX   =    1.950    core radius for proj-oper
   RAUG   =    1.300    factor for augmentation sphere
   RDEP   =    1.950    radius for radial grids
 END of PSCTR-controll parameters
 no numbers follow: nothing can be computed with this file
 End of Dataset
"""

OUTCAR = """ vasp.6.4.2 20Jul23 complex
   ENCUT  =  {encut:.1f} eV   EDIFF  = 0.1E-05   stopping-criterion for ELM
   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps
   NSW    =      0    number of steps for IOM
   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG
   k-points           NKPTS =      4   k-points in BZ     NKDIM =      4   number of bands    NBANDS=     12
{iterations}
 number of electron      12.0000000 magnetization       {total:.7f}
{magnetization}
 General timing and accounting informations for this job:
 ========================================================

                  Total CPU time used (sec):       14.100
                            User time (sec):       13.900
                          System time (sec):        0.200
                         Elapsed time (sec):        7.200

                   Maximum memory used (kb):       50000.
                   Average memory used (kb):          N/A
"""


def write_potentials(directory: Path, enmax: dict[str, float]) -> Path:
    """Write a family of made-up potentials, and return its folder.

    :param enmax: recommended cutoff (eV) of each element.
    """
    for symbol, cutoff in enmax.items():
        path = directory / symbol / 'POTCAR'
        path.parent.mkdir(parents=True)
        mass = atomic_masses[atomic_numbers[symbol.split('_')[0]]]
        path.write_text(POTCAR.format(symbol=symbol, valence=3.0, mass=mass, enmax=cutoff))
    return directory


def write_outputs(
    directory: Path,
    atoms: Atoms,
    energy: float,
    forces: np.ndarray,
    stress: np.ndarray,
    moments: list[float] | None = None,
    steps: int = 3,
) -> None:
    """Write the outputs of a static calculation that has ended after ``steps`` electronic steps of at most 60.

    :param energy: free energy (eV); the others are a little above.
    :param stress: (3, 3), kbar, positive when compressed, as VASP has it.
    :param moments: Bohr magnetons of the atoms.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / 'vasprun.xml').write_text(vasprun(atoms, energy, forces, stress))
    iterations = '\n'.join(f'----- Iteration      1({step:4d})  -----' for step in range(1, steps + 1))
    outcar = OUTCAR.format(
        encut=300, iterations=iterations, total=sum(moments or [0.0]), magnetization=magnetization(moments)
    )
    (directory / 'OUTCAR').write_text(outcar)
    (directory / 'stdout.txt').write_text(
        ' running    1 mpi-ranks, on    1 nodes\n vasp.6.4.2 20Jul23 (build Nov 2023) complex\n'
        f'RMM:   {steps}    {energy:.8E}   -0.1E-07   -0.1E-08   100   0.1E-03\n'
        f'   1 F= {energy:.8E} E0= {energy + 0.01:.8E}  d E =-.1E-01\n'
    )
    lines = ['made up', '1.0', *(' '.join(f'{value:.10f}' for value in row) for row in atoms.cell.array)]
    lines += [' '.join(atoms.get_chemical_symbols()), ' '.join('1' for _ in atoms), 'Direct']
    lines += [' '.join(f'{value:.10f}' for value in row) for row in atoms.get_scaled_positions()]
    (directory / 'CONTCAR').write_text('\n'.join(lines) + '\n')


def vasprun(atoms: Atoms, energy: float, forces: np.ndarray, stress: np.ndarray) -> str:
    """Return vasprun.xml of a static calculation."""
    symbols = atoms.get_chemical_symbols()
    rows = ''.join(f'<rc><c>{symbol:2}</c><c>   1</c></rc>\n' for symbol in symbols)
    energies = (
        f'<energy>\n<i name="e_fr_energy"> {energy:.8f} </i>\n<i name="e_wo_entrp"> {energy + 0.02:.8f} </i>\n'
        f'<i name="e_0_energy"> {energy + 0.01:.8f} </i>\n</energy>\n'
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        '<generator>\n<i name="program" type="string">vasp </i>\n<i name="version" type="string">6.4.2  </i>\n'
        '</generator>\n<incar>\n<i type="int" name="ISMEAR">     1</i>\n</incar>\n'
        '<kpoints>\n<generation param="Gamma">\n<v type="int" name="divisions"> 1 1 1 </v>\n</generation>\n'
        f'{varray("kpointlist", np.zeros((1, 3)))}{varray("weights", np.ones((1, 1)))}</kpoints>\n'
        '<parameters>\n<separator name="electronic">\n<i type="int" name="NELM">    60</i>\n'
        '</separator>\n</parameters>\n'
        f'<atominfo>\n<atoms> {len(atoms)} </atoms>\n<types> 1 </types>\n<array name="atoms">\n'
        '<dimension dim="1">ion</dimension>\n<field type="string">element</field>\n<field type="int">atomtype</field>\n'
        f'<set>\n{rows}</set>\n</array>\n</atominfo>\n'
        f'{structure(atoms, "initialpos")}'
        f'<calculation>\n<scstep>\n{energies}</scstep>\n{structure(atoms)}{varray("forces", forces)}'
        f'{varray("stress", stress)}{energies}</calculation>\n'
        f'{structure(atoms, "finalpos")}</modeling>\n'
    )


def structure(atoms: Atoms, name: str = '') -> str:
    """Return a structure as vasprun.xml has it."""
    attribute = f' name="{name}"' if name else ''
    return (
        f'<structure{attribute}>\n<crystal>\n'
        f'{varray("basis", atoms.cell.array)}<i name="volume"> {atoms.get_volume():.8f} </i>\n'
        f'{varray("rec_basis", atoms.cell.reciprocal().array)}</crystal>\n'
        f'{varray("positions", atoms.get_scaled_positions())}</structure>\n'
    )


def varray(name: str, rows: np.ndarray) -> str:
    """Return an array as vasprun.xml has it."""
    lines = ''.join('<v> ' + ' '.join(f'{value:.8f}' for value in row) + ' </v>\n' for row in np.asarray(rows))
    return f'<varray name="{name}" >\n{lines}</varray>\n'


def magnetization(moments: list[float] | None) -> str:
    """Return the table of moments as OUTCAR has it."""
    if moments is None:
        return ''
    lines = ['', ' magnetization (x)', '', '# of ion       s       p       d       tot', '-' * 42]
    lines += [f'{index:5d}        0.000   0.000  {value:6.3f}  {value:6.3f}' for index, value in enumerate(moments, 1)]
    lines += ['-' * 50, f'tot          0.000   0.000  {sum(moments):6.3f}  {sum(moments):6.3f}', '']
    return '\n'.join(lines)
