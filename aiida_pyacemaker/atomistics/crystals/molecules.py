"""Molecules by name or from a file, shared by all families that need one."""

from __future__ import annotations

import difflib
import os
from collections import deque
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build.molecule import extra, molecule
from ase.collections import g2
from ase.formula import Formula
from ase.io import read
from ase.neighborlist import natural_cutoffs, neighbor_list

from ..core.errors import InputError

#: Name in ASE's collection of molecules (G2 and a few more) -> what people call it; the first is used in labels.
COMMON_NAMES: dict[str, tuple[str, ...]] = {
    '2-butyne': ('2-butyne', 'dimethylacetylene'),
    'BDA': ('1,4-benzenediamine', 'p-phenylenediamine', 'benzenediamine'),
    'C2Cl4': ('tetrachloroethylene', 'perchloroethylene'),
    'C2F4': ('tetrafluoroethylene',),
    'C2H2': ('acetylene', 'ethyne'),
    'C2H4': ('ethylene', 'ethene'),
    'C2H6': ('ethane',),
    'C2H6CHOH': ('isopropanol', '2-propanol', 'propan-2-ol', 'isopropyl alcohol'),
    'C2H6NH': ('dimethylamine',),
    'C2H6SO': ('dimethyl sulfoxide', 'dmso'),
    'C3H4_C2v': ('cyclopropene',),
    'C3H4_C3v': ('propyne', 'methylacetylene'),
    'C3H4_D2d': ('allene', 'propadiene'),
    'C3H6_Cs': ('propylene', 'propene'),
    'C3H6_D3h': ('cyclopropane',),
    'C3H7Cl': ('propyl chloride', '1-chloropropane'),
    'C3H8': ('propane',),
    'C3H9N': ('trimethylamine',),
    'C4H4NH': ('pyrrole',),
    'C4H4O': ('furan',),
    'C4H4S': ('thiophene',),
    'C5H5N': ('pyridine',),
    'C5H8': ('spiropentane',),
    'C60': ('buckminsterfullerene', 'fullerene'),
    'C6H6': ('benzene',),
    'C7NH5': ('benzonitrile',),
    'CCl4': ('carbon tetrachloride', 'tetrachloromethane'),
    'CF4': ('carbon tetrafluoride', 'tetrafluoromethane'),
    'CH2NHCH2': ('aziridine',),
    'CH2OCH2': ('ethylene oxide', 'oxirane'),
    'CH2SCH2': ('thiirane', 'ethylene sulfide'),
    'CH3CH2Cl': ('ethyl chloride', 'chloroethane'),
    'CH3CH2NH2': ('ethylamine',),
    'CH3CH2OCH3': ('methyl ethyl ether', 'methoxyethane'),
    'CH3CH2OH': ('ethanol', 'ethyl alcohol', 'alcohol', 'C2H5OH'),
    'CH3CH2SH': ('ethanethiol', 'C2H5SH'),
    'CH3CHO': ('acetaldehyde', 'ethanal'),
    'CH3CN': ('acetonitrile',),
    'CH3COCH3': ('acetone', 'propanone'),
    'CH3COOH': ('acetic acid', 'ethanoic acid'),
    'CH3CONH2': ('acetamide',),
    'CH3Cl': ('methyl chloride', 'chloromethane'),
    'CH3NO2': ('nitromethane',),
    'CH3OCH3': ('dimethyl ether', 'methoxymethane'),
    'CH3OH': ('methanol', 'methyl alcohol'),
    'CH3SCH3': ('dimethyl sulfide',),
    'CH3SH': ('methanethiol',),
    'CH4': ('methane',),
    'CO': ('carbon monoxide',),
    'CO2': ('carbon dioxide',),
    'COF2': ('carbonyl fluoride',),
    'CS2': ('carbon disulfide',),
    'Cl2': ('chlorine',),
    'F2': ('fluorine',),
    'H2': ('hydrogen', 'dihydrogen'),
    'H2CCO': ('ketene',),
    'H2CO': ('formaldehyde', 'methanal'),
    'H2O': ('water',),
    'H2O2': ('hydrogen peroxide',),
    'H3CNH2': ('methylamine', 'CH3NH2'),
    'HCCl3': ('chloroform', 'trichloromethane', 'CHCl3'),
    'HCF3': ('fluoroform', 'trifluoromethane', 'CHF3'),
    'HCN': ('hydrogen cyanide',),
    'HCOOCH3': ('methyl formate',),
    'HCOOH': ('formic acid', 'methanoic acid'),
    'HCl': ('hydrogen chloride',),
    'HF': ('hydrogen fluoride',),
    'HOCl': ('hypochlorous acid', 'HClO'),
    'N2': ('nitrogen', 'dinitrogen'),
    'N2H4': ('hydrazine',),
    'N2O': ('nitrous oxide',),
    'NF3': ('nitrogen trifluoride',),
    'NH3': ('ammonia',),
    'NO': ('nitric oxide',),
    'NO2': ('nitrogen dioxide',),
    'O2': ('oxygen', 'dioxygen'),
    'O3': ('ozone',),
    'OCHCHO': ('glyoxal',),
    'OCS': ('carbonyl sulfide',),
    'PH3': ('phosphine',),
    'SH2': ('hydrogen sulfide', 'H2S'),
    'SO2': ('sulfur dioxide',),
    'Si2H6': ('disilane',),
    'SiH4': ('silane',),
    'bicyclobutane': ('bicyclobutane',),
    'biphenyl': ('biphenyl',),
    'butadiene': ('butadiene', '1,3-butadiene'),
    'cyclobutane': ('cyclobutane',),
    'cyclobutene': ('cyclobutene',),
    'isobutane': ('isobutane',),
    'isobutene': ('isobutene', 'isobutylene'),
    'trans-butane': ('butane', 'n-butane'),
}
_BY_COMMON_NAME = {name.lower(): key for key, names in COMMON_NAMES.items() for name in names}
#: Bond: closer than this times the sum of the covalent radii.
BOND = 1.25


def molecule_names() -> list[str]:
    """All names that `get_molecule` knows, sorted."""
    return sorted({*g2.names, *extra, *(name for names in COMMON_NAMES.values() for name in names)})


def get_molecule(name_or_path: str | os.PathLike) -> Atoms:
    """Return a molecule by its name or from a file.

    :param name_or_path: a name of ASE's collection (`CH3CH2OH`, `CO`, `C6H6`), a common English name in any case
        (`ethanol`), or the path of a file in any format ASE reads; the first structure counts. A molecule that is
        broken over the boundaries of a periodic file is joined again.
    :returns: not periodic and without cell, centre of mass at the origin; info has `name` (what people call it:
        `ethanol`) and `formula` (`CH3CH2OH`; for a file its Hill formula).
    :raises ValueError: if the name is unknown (naming the nearest) or the file is missing or of no use.
    """
    name = os.fspath(name_or_path).strip()
    key = name if name in g2.names or name in extra else _BY_COMMON_NAME.get(name.lower())
    if key is not None:
        atoms = molecule(key)
        label, formula = COMMON_NAMES.get(key, (key,))[0], _formula(key, atoms)
    else:
        atoms = _from_file(name)
        label, formula = Path(name).stem, atoms.get_chemical_formula()
    clean = Atoms(atoms.numbers, atoms.positions - atoms.get_center_of_mass())
    clean.info.update(name=label, formula=formula)
    return clean


def check_molecule(atoms: Atoms, elements: list[str], key: str) -> None:
    """Check that the molecule is made of elements of the run file.

    :param key: the key of the run file that asks for the molecule, for the message.
    :raises ValueError: naming `system.elements`.
    """
    missing = sorted(set(atoms.get_chemical_symbols()) - set(elements))
    if missing:
        raise InputError(
            key,
            f'{atoms.info["name"]} ({atoms.info["formula"]}) holds {", ".join(missing)}, which system.elements '
            f'({", ".join(elements)}) does not',
            f'add {", ".join(missing)} to system.elements or take another molecule',
        )


def bonded_pairs(atoms: Atoms) -> np.ndarray:
    """Bonds of a molecule by covalent radii, (m, 2), each pair once in ascending order."""
    first, second = neighbor_list('ij', atoms, natural_cutoffs(atoms, mult=BOND))
    pairs = np.array(sorted({(int(i), int(j)) for i, j in zip(first, second, strict=True) if i < j}), dtype=int)
    return pairs.reshape(-1, 2)


def _formula(key: str, atoms: Atoms) -> str:
    """ASE's name where that is a formula (it shows the groups), else the Hill formula."""
    formula = key.partition('_')[0]
    hill = atoms.get_chemical_formula()
    try:
        return formula if Formula(formula).format('hill') == hill else hill
    except ValueError:
        return hill


def _from_file(name: str) -> Atoms:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ValueError(_unknown(name))
    try:
        atoms = read(path, index=0)
    except Exception as exception:  # ASE's readers raise anything
        raise ValueError(f'molecule file {path} cannot be read: {exception!r}') from exception
    assert isinstance(atoms, Atoms)  # what one index gives
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all():
        raise ValueError(f'molecule file {path} has no atoms, or positions that are not finite numbers')
    return _joined(atoms) if atoms.pbc.any() else atoms


def _unknown(name: str) -> str:
    if os.sep in name or Path(name).suffix[1:].isalpha():
        return f'molecule {name!r} is a file that does not exist'
    known = molecule_names()
    lower = {other.lower(): other for other in reversed(known)}
    near = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    nearest = f'nearest are {", ".join(near)}' if near else f'known are for example {", ".join(_examples())}'
    return f'molecule {name!r} is unknown: {nearest}; or give the path of a file with its structure (such as .xyz)'


def _examples() -> list[str]:
    return [COMMON_NAMES[key][0] for key in ('H2O', 'CO', 'CO2', 'NH3', 'CH4', 'CH3OH', 'CH3CH2OH', 'C6H6')]


def _joined(atoms: Atoms) -> Atoms:
    """Join fragments that are bonded through the periodic boundaries."""
    first, second, vectors = neighbor_list('ijD', atoms, natural_cutoffs(atoms, mult=BOND))
    positions, seen = atoms.positions.copy(), {0}
    queue = deque([0])
    while queue:
        atom = queue.popleft()
        for other, vector in zip(second[first == atom].tolist(), vectors[first == atom], strict=True):
            if other not in seen:
                seen.add(other)
                positions[other] = positions[atom] + vector
                queue.append(other)
    if len(seen) < len(atoms):
        raise ValueError(
            f'a molecule file holds {len(atoms)} atoms of which only {len(seen)} are bonded to the first: '
            'give one molecule per file'
        )
    return Atoms(atoms.numbers, positions)
