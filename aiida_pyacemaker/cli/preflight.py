"""Checks before a run is submitted: everything that would otherwise fail an hour later, on the compute machine.

Each check raises ``ValueError`` with a message that names the key of the run file (then it is an ``InputError``) or the
command that helps;
:func:`find_problems` runs them all and collects the messages.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiida import orm

from aiida_pyacemaker.atomistics.core.errors import InputError

from ..runfile import RunFile

if TYPE_CHECKING:
    from aiida_pyacemaker.workflows.active_learning.planning import RunPlan

#: Seconds that an engine may take to say its version; a login node under load needs some.
PROBE_TIMEOUT = 60


def find_problems(
    runfile: RunFile, probe_engines: bool = True, need_daemon: bool = True, told: dict[str, Any] | None = None
) -> list[str]:
    """Check everything that a run needs.

    :param probe_engines: whether to run each engine once on its computer.
    :param need_daemon: whether a daemon and a broker have to be there, as they have for a submission.
    :param told: takes what each check returns, by the name of its function.
    :returns: one message per problem; empty if the run can be submitted.
    """
    checks: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (check_structures, (runfile,)),
        (check_oracle, (runfile,)),
    ]
    problems = []
    try:
        checks += [(check_code, (name, label, probe_engines)) for name, label in runfile.needed_codes().items()]
    except ValueError as exception:
        problems.append(str(exception))
    if need_daemon:
        checks.append((check_daemon, ()))
    for check, arguments in checks:
        try:
            result = check(*arguments)
            if told is not None:
                told[check.__name__] = result
        except ValueError as exception:
            problems.append(str(exception))
    return problems


# Inputs ---------------------------------------------------------------------------------------------------------------


def check_structures(runfile: RunFile) -> RunPlan:
    """Plan the initial structures and the starting cells, from the user's own structures and the families.

    :raises ValueError: if a file or node is of no use, if the structures cannot be made, or if there are too many.
    """
    from aiida_pyacemaker.atomistics.embedding.box import least_atoms
    from aiida_pyacemaker.atomistics.generators.generate import starting_cells
    from aiida_pyacemaker.workflows.active_learning.planning import get_cost_model, get_own_structures, plan_run
    from aiida_pyacemaker.workflows.explorers import load_explorer

    try:
        model = get_cost_model(runfile)
    except ValueError:  # `check_oracle` says what is wrong
        model = None
    own = get_own_structures(runfile)
    plan = plan_run(runfile, own, model, try_out=True)
    atoms, max_atoms = plan.sizes.atoms, plan.sizes.max_atoms
    elements, explore = runfile.system.elements, runfile.explore.model_copy(update={'atoms': atoms})
    explorer = load_explorer(explore.explorer)
    # the largest cells are what may be too large
    stage = max(range(len(explore.stages)), key=lambda index: explore.stages[index].atoms or atoms)
    sizes = explorer.starting_sizes(explore, stage, max_atoms)
    cells = starting_cells(elements, runfile.structures, runfile.seed, own=own, **sizes)
    explorer.plan(explore, cells, elements, stage, seed=0)
    for cell in cells:
        least = least_atoms(cell.get_volume() / len(cell))
        if len(cell) > max_atoms < least:
            raise InputError(
                'embed.max_atoms',
                f'of simulations of {len(cell)} atoms ({cell.get_chemical_formula()}) cells of '
                f'{max_atoms} atoms are too small to be cut for DFT',
                f'raise it to {least} at least, or lower explore.atoms',
            )
    return plan


def check_oracle(runfile: RunFile) -> None:
    """Check that what the oracle needs is there: pseudopotentials, files, libraries of this Python.

    :raises ValueError: naming the key and the remedy.
    """
    from ..workflows.oracles import load_oracle

    load_oracle(runfile.label).check(runfile.system.elements)


# Engines --------------------------------------------------------------------------------------------------------------


def check_code(name: str, label: str, probe: bool = True) -> str | None:
    """Check that a code exists, that its computer can be used, and that its engine runs and can do what we need.

    :param name: key of the run file's section ``codes``.
    :param label: the code, ``label@computer``.
    :param probe: whether to run the engine.
    :returns: the version that the engine tells, if it was run.
    :raises ValueError: naming the key and the remedy.
    """
    from aiida.common.exceptions import AiidaException

    key = f'codes.{name}'
    code = load_code(key, label)
    computer = code.computer
    if not computer.is_user_configured(orm.User.collection.get_default()):
        transport = computer.transport_type
        raise InputError(
            key,
            f'the computer `{computer.label}` of `{label}` is not configured',
            f'run `verdi computer configure {transport} {computer.label}`',
        )
    if not probe or name not in PROBES:
        return None
    try:
        output = run_code(code, *PROBES[name][:2])
    except (AiidaException, OSError, EOFError) as exception:
        reason = f'{type(exception).__name__}: {exception}'.splitlines()[0]
        raise InputError(
            key,
            f'the computer `{computer.label}` of `{label}` cannot be reached ({reason})',
            f'run `verdi computer test {computer.label}`',
        ) from None
    try:
        return PROBES[name][2](output)
    except ValueError as exception:
        raise InputError(key, f'`{label}` {exception}') from None


def load_code(key: str, label: str) -> orm.AbstractCode:
    """Load a code.

    :raises ValueError: naming the key, the codes that there are, and the remedy.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    try:
        code = orm.load_code(label)
    except MultipleObjectsError:
        raise InputError(key, f'several codes are called `{label}`', 'write it as label@computer') from None
    except (NotExistent, ValueError):
        # not `orm.AbstractCode`: it has no node type of its own, and the query would match all data
        kinds = [orm.InstalledCode, orm.ContainerizedCode]
        codes = orm.QueryBuilder().append(kinds).all(flat=True)
        known = f' (there are {", ".join(sorted(code.full_label for code in codes))})' if codes else ''
        raise InputError(
            key,
            f'there is no code `{label}`{known}',
            'run `aiida-pyacemaker setup codes`, or name one of `verdi code list`',
        ) from None
    if code.computer is None:
        raise InputError(key, f'`{label}` is a portable code without a computer', 'give a code installed on one')
    return code


def run_code(code: orm.AbstractCode, arguments: list[str], stdin: str) -> str:
    """Run the engine of a code once on its computer, in a temporary folder, as a job script would start it.

    :returns: what it printed, both streams.
    """
    words = [*code.get_prepend_cmdline_params(), *code.get_executable_cmdline_params(arguments)]
    command = f'timeout {PROBE_TIMEOUT} {shlex.join(words)}'
    lines = [
        code.computer.get_prepend_text(),
        code.prepend_text,
        'folder=$(mktemp -d) && cd "$folder"',
        f'printf %s {shlex.quote(stdin)} | {command} 2>&1',
        'cd / && rm -rf "$folder"',
    ]
    with code.computer.get_transport() as transport:
        _, stdout, stderr = transport.exec_command_wait('\n'.join(line for line in lines if line))
    return f'{stdout}\n{stderr}'


def _last_lines(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return ' | '.join(lines[-2:]) or 'it printed nothing'


def read_pw(output: str) -> str:
    """Return the version in the banner of ``pw.x``."""
    match = re.search(r'Program PWSCF v\.?\s*(\S+)', output)
    if not match:
        raise ValueError(
            f'does not behave like the pw.x of Quantum ESPRESSO ({_last_lines(output)}); check its executable and '
            'prepend text with `verdi code show`'
        )
    return match.group(1)


def read_lammps(output: str) -> str:
    """Return the version of a LAMMPS that has ML-PACE."""
    match = re.search(r'LAMMPS \(([^)]*)\)', output)
    if not match:
        raise ValueError(
            f'does not behave like LAMMPS ({_last_lines(output)}); check its executable and prepend text with '
            '`verdi code show`'
        )
    if not re.search(r'(^|\s)pace/extrapolation(\s|$)', output):
        raise ValueError(
            f'(LAMMPS {match.group(1)}) lacks ML-PACE: it has no `pair_style pace/extrapolation`; run '
            '`aiida-pyacemaker setup engines` and `aiida-pyacemaker setup codes`, or name a code whose LAMMPS was '
            'built with ML-PACE'
        )
    return match.group(1)


def read_teacher(output: str) -> str:
    """Return the version of a worker; that of a teacher needs no python-ace."""
    match = re.search(r'pyacemaker-worker\s+(\S+)', output)
    if not match:
        raise ValueError(
            f'does not behave like pyacemaker-worker ({_last_lines(output)}); install aiida-pyacemaker on its computer '
            'and check its executable with `verdi code show`'
        )
    return match.group(1)


def read_worker(output: str) -> str:
    """Return the version of a worker whose Python has python-ace."""
    version = read_teacher(output)
    if not re.search(r'(python-ace|pyace)\W+\d', output):
        raise ValueError(
            'runs in a Python without python-ace, which fits the potentials; run '
            "`pip install 'aiida-pyacemaker[engines]'` in that Python (not `pip install pyace`, an unrelated package)"
        )
    return version


#: How to run each engine, and who reads what it says: arguments, standard input, reader. VASP says nothing without
#: input files and a licence, so that it is only looked up.
PROBES: dict[str, tuple[list[str], str, Callable[[str], str]]] = {
    'pw': ([], '', read_pw),
    'lammps': (['-log', 'none', '-nocite'], 'info styles pair\n', read_lammps),
    'worker': (['--version'], '', read_worker),
    'teacher': (['--version'], '', read_teacher),
}


# AiiDA ----------------------------------------------------------------------------------------------------------------


def check_daemon() -> None:
    """Check that the profile has a broker and that its daemon runs.

    :raises ValueError: naming the command that helps.
    """
    from aiida.engine.daemon.client import get_daemon_client
    from aiida.manage import get_manager

    from aiida_pyacemaker.setup.profile import count_listeners

    profile = get_manager().get_profile()
    name = profile.name if profile else ''
    if profile is None or profile.process_control_backend is None:
        raise ValueError(
            f'the profile `{name}` has no broker, so nothing can be submitted; run `aiida-pyacemaker setup profile`, '
            'or `verdi presto --use-zeromq`, for one that has'
        )
    if not get_daemon_client().is_daemon_running:
        raise ValueError(f'the daemon of the profile `{name}` is not running; run `verdi -p {name} daemon start`')
    if count_listeners(profile) == 0:
        raise ValueError(
            f'no worker of the daemon of the profile `{name}` listens to the broker, so nothing would start; run '
            f'`aiida-pyacemaker setup daemon --profile {name}`'
        )
