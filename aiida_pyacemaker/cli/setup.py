"""`aiida-pyacemaker setup`: engines, profile, computer, codes, pseudopotentials, daemon; each re-runnable."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from .utils import DEFAULT_PROFILE, attempt

STEPS = ('engines', 'profile', 'computer', 'codes', 'pseudos', 'daemon')


@dataclass
class Options:
    """What the user asked for, and the engines found on the way."""

    profile: str
    lmp: str | None
    pw: str | None
    pseudo_dir: str | None
    teacher_python: str | None
    yes: bool
    engines: dict = field(default_factory=dict)

    def agree(self, question: str) -> bool:
        """Ask before something is done to the system; without a terminal and without `--yes` the answer is no."""
        if self.yes:
            return True
        if sys.stdin.isatty():
            return click.confirm(f'{"":<17} {question}', default=True)
        tell(f'{question} No: nobody to ask (use `--yes`)')
        return False


def say(name: str, status: str, detail: str = '') -> None:
    """Print the line of a step."""
    colour = {'found': 'green', 'already there': 'green'}.get(status, 'cyan')
    click.echo(f'{name:<17} {click.style(f"{status:<14}", fg=colour)} {detail}'.rstrip())


def tell(text: str) -> None:
    """Print what a step is doing."""
    click.secho(f'{"":<17} {text}', dim=True)


def setup_engines(options: Options) -> None:
    """Find the engines, install those that are missing."""
    from aiida_pyacemaker.setup import checks, engines, install

    working = checks.working_codes(options.profile)
    for key, name, ensure, path in (
        ('pw', 'pw.x', install.ensure_pw, options.pw),
        ('lammps', 'lmp', install.ensure_lammps, options.lmp),
    ):
        if path is None and key in working:
            say(name, 'found', f'{working[key]} (code `{key}`)')
            continue
        engine, new = ensure(path, tell, options.agree)
        options.engines[key] = engine
        say(name, 'installed' if new else 'found', f'{engine.name} {engine.version}, {engine.executable}')
    say('python-ace', 'found', f'{engines.find_python_ace()} (imports as pyace)')
    engines.compile_kernel()
    worker = engines.find_worker()
    options.engines['pyacemaker-worker'] = worker
    say('worker', 'found', f'{worker.version}, {worker.executable}')


def setup_profile(options: Options) -> None:
    """Create the AiiDA profile: SQLite and ZeroMQ."""
    from aiida_pyacemaker.setup.profile import ensure_profile

    profile, new = ensure_profile(options.profile)
    broker = profile.process_control_backend or 'no broker'
    detail = f'{profile.name} ({profile.storage_backend}, {broker})'
    say('profile', 'created' if new else 'already there', detail)


def setup_computer(options: Options) -> None:
    """Create the computer `localhost`."""
    load(options)
    from aiida_pyacemaker.setup.codes import ensure_computer

    computer, new = ensure_computer()
    say('computer', 'created' if new else 'already there', computer.label)


def setup_codes(options: Options) -> None:
    """Create the codes on `localhost`."""
    load(options)
    from aiida_pyacemaker.setup import codes, engines

    computer, _ = codes.ensure_computer()
    finders = {
        'pw': lambda: engines.find_pw(options.pw),
        'lammps': lambda: engines.find_lammps(options.lmp),
        'pyacemaker-worker': engines.find_worker,
    }
    # an engine that the user named replaces the one set up before; the worker is always that of this environment
    exact = {'pw': options.pw is not None, 'lammps': options.lmp is not None, 'pyacemaker-worker': True}
    if options.teacher_python is not None:
        finders['pyacemaker-teacher'] = lambda: engines.find_worker(options.teacher_python)
        exact['pyacemaker-teacher'] = True
    for label, finder in finders.items():
        found = options.engines.get(label)
        find = finder if found is None else lambda engine=found: engine
        code, status = codes.ensure_code(label, find, computer, exact=exact[label])
        say('code', status, f'{code.full_label}  {code.filepath_executable}')


def setup_pseudos(options: Options) -> None:
    """Install a pseudopotential family."""
    load(options)
    from aiida_pyacemaker.setup.pseudos import ensure_pseudos

    label, status = ensure_pseudos(options.profile, options.pseudo_dir, tell)
    say('pseudopotentials', status, label)


def setup_daemon(options: Options) -> None:
    """Start the daemon."""
    from aiida_pyacemaker.setup.profile import ensure_daemon

    profile = load(options)
    status, _, reason = ensure_daemon(profile).partition(': ')
    say('daemon', status, reason or f'of the profile {profile.name}')


def load(options: Options):
    """Load the profile."""
    from aiida.manage.configuration import get_profile

    from .utils import load_profile

    load_profile(options.profile)
    return get_profile()


@click.command('setup')
@click.argument('steps', nargs=-1, type=click.Choice(['all', *STEPS]), metavar='[STEP]...')
@click.option(
    '-p', '--profile', metavar='NAME', default=DEFAULT_PROFILE, show_default=True, help='AiiDA profile to set up.'
)
@click.option('--lmp', metavar='PATH', help='The `lmp` to use: LAMMPS built with ML-PACE.')
@click.option('--pw', metavar='PATH', help='The `pw.x` of Quantum ESPRESSO to use.')
@click.option(
    '--pseudo-dir',
    metavar='DIR',
    type=click.Path(exists=True, file_okay=False),
    help='Folder with your own pseudopotentials (one UPF file per element) and their cutoffs in a JSON file: '
    '{"Al": {"cutoff_wfc": 30, "cutoff_rho": 240}}, in Ry.',
)
@click.option(
    '--teacher-python',
    metavar='PATH',
    help='Python of another environment, with aiida-pyacemaker and a universal potential (SevenNet, CHGNet, MACE): '
    'makes the code `pyacemaker-teacher`, for `codes.teacher` of a run file.',
)
@click.option('-y', '--yes', is_flag=True, help='Do not ask before installing with the package manager of the system.')
def cmd_setup(steps: tuple[str, ...], **options) -> None:
    """Set up this machine: engines, AiiDA profile, computer, codes, pseudopotentials, daemon.

    STEP is one or several of engines, profile, computer, codes, pseudos, daemon; without one, or with all, all of them.
    What is there already is left alone, so the command can be run again at any time.
    """
    functions: dict[str, Callable[[Options], None]] = {
        'engines': setup_engines,
        'profile': setup_profile,
        'computer': setup_computer,
        'codes': setup_codes,
        'pseudos': setup_pseudos,
        'daemon': setup_daemon,
    }
    wanted = set(STEPS) if not steps or 'all' in steps else set(steps)
    shared = Options(**options)
    for step in STEPS:
        if step in wanted:
            with attempt(f'setup {step}'):
                functions[step](shared)
