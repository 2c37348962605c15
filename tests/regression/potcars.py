"""Made-up potentials of VASP. No line of them is from VASP's own files, which are licensed; nothing runs with them."""

from __future__ import annotations

from pathlib import Path

from aiida.plugins import DataFactory
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


def upload(directory: Path, enmax: dict[str, float]) -> str:
    """Store a family of potentials, and return its label.

    :param enmax: recommended cutoff (eV) of each.
    """
    for symbol, cutoff in enmax.items():
        path = directory / symbol / 'POTCAR'
        path.parent.mkdir(parents=True)
        mass = atomic_masses[atomic_numbers[symbol.split('_')[0]]]
        path.write_text(POTCAR.format(symbol=symbol, valence=3.0, mass=mass, enmax=cutoff))
    DataFactory('vasp.potcar').upload_potcar_family(directory, 'regression', 'made up', stop_if_existing=False)
    return 'regression'
