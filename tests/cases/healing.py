"""Ways to make the real pw.x fail, and what heals each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bcc100, bulk, fcc100

#: Kills the first pw.x of a folder with SIGKILL once it is in its second iteration: real, and always at the same place.
KILL = """if [ ! -e {marker} ]; then
  {touch}
  ( until grep -q 'iteration #  2' aiida.out 2>/dev/null; do sleep 0.05; done
    kill -KILL $(ps -o pid= -o comm= --ppid $$ | awk '$2 == "pw.x" {{print $1}}') ) &
fi"""


@dataclass
class Failure:
    """A way to make pw.x fail.

    :param expected: the rungs that heal it, or the label of the exit code that ends it.
    :param atoms: the cell.
    :param kpoints: the mesh.
    :param system, electrons, control: what its namelists have beside the common settings.
    :param healthy: keys of `electrons`, `system` and `control` as they should be; None where nothing could be healthy.
    :param options: of the job; `{scratch}` stands for a folder.
    :param pseudos: by kind, where it is not that of the element: a function of the profile's own.
    :param parallelization: command line flags.
    """

    expected: list[str] | str
    atoms: Atoms
    kpoints: tuple[int, int, int] = (2, 2, 2)
    cutoff: float = 12.0
    system: dict[str, Any] = field(default_factory=dict)
    electrons: dict[str, Any] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)
    healthy: dict[str, Any] | None = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    pseudos: Callable[[dict], dict] = lambda pseudos: {}
    parallelization: dict[str, int] = field(default_factory=dict)


def aluminium() -> Atoms:
    """Four atoms, shaken."""
    atoms = bulk('Al', a=4.05, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def too_close() -> Atoms:
    """Two atoms 0.2 Å apart: pw.x "converges" them."""
    return Atoms('Al2', positions=[[0, 0, 0], [0.2, 0, 0]], cell=[4, 4, 4], pbc=True)


def foreign(pseudos: dict) -> dict:
    """The pseudopotential of silicon for aluminium."""
    return {'Al': pseudos['Si']}


def truncated(pseudos: dict) -> dict:
    """A file that ends in the middle: its header is well."""
    from io import BytesIO

    from aiida_pseudo.data.pseudo.upf import UpfData

    content = pseudos['Al'].get_content()
    return {'Al': UpfData(BytesIO(content[: len(content) // 4].encode()), filename='Al.upf').store()}


IRON = {'nspin': 2, 'starting_magnetization': {'Fe': 0.4}, 'degauss': 0.005}
SLAB = fcc100('Al', (1, 1, 6), a=4.05, vacuum=8)
IRON_SLAB = bcc100('Fe', (1, 1, 2), a=2.87, vacuum=4)
#: A free iron atom without spin: electrons that hop between levels of nearly the same energy.
IRON_ATOM = Atoms('Fe', cell=[5, 5.2, 5.5], pbc=True)

FAILURES = {
    'too few SCF steps': Failure(['steps'], aluminium(), electrons={'electron_maxstep': 3}, healthy={}),
    'an input that takes an SCF that is not converged': Failure(
        ['steps'], aluminium(), electrons={'electron_maxstep': 3, 'scf_must_converge': False}
    ),
    'slab, charge sloshing (simple mixing, beta 0.7)': Failure(
        ['steps'],
        SLAB,
        kpoints=(2, 2, 1),
        cutoff=10.0,
        electrons={'mixing_ndim': 1, 'electron_maxstep': 30},
        healthy={'mixing_ndim': 8, 'electron_maxstep': 100},
    ),
    'magnetic metal, bad mixing (iron film, simple mixing)': Failure(
        ['steps', 'mixing'],
        IRON_SLAB,
        kpoints=(1, 1, 1),
        cutoff=16.0,
        system=IRON,
        electrons={'mixing_ndim': 1, 'mixing_beta': 1.5, 'electron_maxstep': 30},
        healthy={'mixing_ndim': 8, 'mixing_beta': 0.7, 'electron_maxstep': 100},
    ),
    'levels that cross (iron atom, smearing too narrow)': Failure(
        ['steps', 'mixing', 'diagonalization', 'smearing', 'nominal_smearing'],
        IRON_ATOM,
        kpoints=(1, 1, 1),
        cutoff=18.0,
        system={'degauss': 3e-4, 'nbnd': 18},
        electrons={'electron_maxstep': 60},
        healthy={'degauss': 0.02},
    ),
    'levels that cross (iron atom, smearing much too narrow)': Failure(
        ['steps', 'mixing', 'diagonalization', 'smearing', 'nominal_smearing'],
        IRON_ATOM,
        kpoints=(1, 1, 1),
        cutoff=18.0,
        system={'degauss': 1.5e-4, 'nbnd': 18},
        electrons={'electron_maxstep': 60},
        healthy={'degauss': 0.02},
    ),
    'diagonalisation gives up (david)': Failure(
        ['diagonalization'],
        bulk('Al', a=4.05),
        cutoff=5.0,
        system={'nbnd': 9},
        electrons={'diagonalization': 'david'},
        healthy={'diagonalization': 'cg'},
    ),
    'fewer bands than electrons need': Failure(['bands'], aluminium(), system={'nbnd': 4}, healthy={'nbnd': 12}),
    'highest band occupied': Failure(['bands'], aluminium(), system={'nbnd': 7}, healthy={'nbnd': 12}),
    'wall time over': Failure(['wall_time'], SLAB, (2, 2, 1), control={'max_seconds': 2}, healthy={'max_seconds': 600}),
    'wall time over before the first iteration': Failure(
        'ERROR_WALLTIME_WITHOUT_PROGRESS', aluminium(), control={'max_seconds': 0.01}, healthy={'max_seconds': 600}
    ),
    'killed (SIGKILL)': Failure(
        ['killed'],
        aluminium(),
        options={'prepend_text': KILL.format(marker='{scratch}/killed', touch='touch {scratch}/killed')},
    ),
    'killed each time': Failure(
        'ERROR_KILLED_TWICE', aluminium(), options={'prepend_text': KILL.format(marker='{scratch}/no', touch=':')}
    ),
    'more pools than processes': Failure(['memory'], aluminium(), parallelization={'npool': 2}),
    'out of memory (limit of 200 MB)': Failure(
        'ERROR_OUT_OF_MEMORY',
        Atoms('Al', cell=[16, 16, 16], pbc=True),
        (1, 1, 1),
        30.0,
        options={'prepend_text': 'ulimit -v 200000'},
        healthy=None,
    ),
    'atoms 0.2 Å apart': Failure('ERROR_ABSURD_GEOMETRY', too_close(), healthy=None),
    'pseudopotential of another element': Failure('ERROR_WRONG_PSEUDOPOTENTIAL', aluminium(), pseudos=foreign),
    'pseudopotential cut off in the middle': Failure('ERROR_WRONG_PSEUDOPOTENTIAL', aluminium(), pseudos=truncated),
    'metal with fixed occupations': Failure(
        'ERROR_PW_STOPPED',
        bulk('Al', a=4.05),
        system={'occupations': 'fixed', 'smearing': None, 'degauss': None},
        healthy=None,
    ),
    'a threshold below the precision of numbers': Failure(
        'ERROR_LADDER_EXHAUSTED', bulk('Al', a=4.05), electrons={'conv_thr': 1e-40}, healthy={'conv_thr': 1e-8}
    ),
}


def get_builder(failure: Failure, code, pseudos: dict, scratch: Path, healthy: bool = False):
    """Return the builder of a work chain that fails, or of the same calculation with healthy settings.

    :param pseudos: by element.
    :param scratch: an empty folder.
    """
    from aiida import orm

    from aiida_pyacemaker.workflows.pw_base import PyacemakerPwBaseWorkChain

    changes = failure.healthy or {} if healthy else {}
    parameters = {
        'CONTROL': {'calculation': 'scf', 'tprnfor': True, 'tstress': True, **failure.control},
        'SYSTEM': {
            'ecutwfc': failure.cutoff,
            'ecutrho': 4 * failure.cutoff,
            'occupations': 'smearing',
            'smearing': 'cold',
            'degauss': 0.02,
            **failure.system,
        },
        'ELECTRONS': {'conv_thr': 1e-8, 'mixing_beta': 0.7, **failure.electrons},
    }
    if healthy:
        parameters['ELECTRONS'] |= {'electron_maxstep': 100, 'scf_must_converge': True}
    for namelist, given in zip(parameters, (failure.control, failure.system, failure.electrons), strict=True):
        parameters[namelist] |= {key: value for key, value in changes.items() if key in given}
        parameters[namelist] = {key: value for key, value in parameters[namelist].items() if value is not None}

    builder = PyacemakerPwBaseWorkChain.get_builder()
    atoms = failure.atoms.copy()
    atoms.set_tags(0)  # ASE numbers the layers of slabs
    structure = orm.StructureData(ase=atoms)
    builder.pw.code, builder.pw.structure = code, structure
    builder.pw.pseudos = {kind: pseudos[kind] for kind in structure.get_kind_names()}
    builder.pw.parameters = orm.Dict(parameters)
    builder.kpoints = orm.KpointsData()
    builder.kpoints.set_kpoints_mesh(failure.kpoints)
    builder.pw.metadata.options = {'resources': {'num_machines': 1}, 'withmpi': False, 'max_wallclock_seconds': 600}
    if not healthy:
        builder.pw.pseudos = {**builder.pw.pseudos, **failure.pseudos(pseudos)}
        options = {key: value.replace('{scratch}', str(scratch)) for key, value in failure.options.items()}
        builder.pw.metadata.options = {**builder.pw.metadata.options, **options}
        if failure.parallelization:
            builder.pw.parallelization = orm.Dict(failure.parallelization)
    return builder


def get_rungs(node) -> list[str]:
    """Return the rungs that healed a work chain, in order."""
    return [rung['rung'] for rung in node.outputs.healing['rungs']] if 'healing' in node.outputs else []


def get_outcome(node) -> list[str] | str:
    """Return the rungs that healed a work chain, each once, or the label of its exit code."""
    if node.is_finished_ok:
        return list(dict.fromkeys(get_rungs(node)))
    codes = node.process_class.exit_codes
    return next(label for label, code in codes.items() if code.status == node.exit_status)
