"""The templates in setup_profiles/: AiiDA accepts every one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiida import orm
from aiida.cmdline.commands.cmd_verdi import verdi
from click.testing import CliRunner

FOLDER = Path(__file__).parents[2] / 'setup_profiles'
COMPUTERS = {'localhost': 'localhost', 'slurm': 'cluster'}


def run(*arguments: str) -> None:
    """Run verdi in this process, on the profile of the tests."""
    from aiida.cmdline.groups.verdi import LazyVerdiObjAttributeDict
    from aiida.manage.configuration import get_config, get_profile

    obj = LazyVerdiObjAttributeDict(None, {'config': get_config(), 'profile': get_profile()})
    result = CliRunner().invoke(verdi, ['-p', get_profile().name, *arguments], obj=obj)
    assert result.exit_code == 0, result.output


def setup_computer(name: str) -> orm.Computer:
    """Create and configure a computer from its template, by the commands that stand in it."""
    run('computer', 'setup', '-n', '--config', str(FOLDER / f'computer-{name}.yaml'))
    if name == 'localhost':
        run('computer', 'configure', 'core.local', '-n', '--safe-interval', '0', 'localhost')
    else:
        configuration = str(FOLDER / f'computer-{name}-configure.yaml')
        run('computer', 'configure', 'core.ssh_async', '-n', '--config', configuration, COMPUTERS[name])
    return orm.load_computer(COMPUTERS[name])


@pytest.mark.parametrize('name', list(COMPUTERS))
def test_computer_and_codes(aiida_profile_clean, name):
    """Computers and codes are made as they say, under the labels that a run file expects."""
    computer = setup_computer(name)
    assert computer.is_configured
    assert computer.scheduler_type == {'localhost': 'core.direct', 'slurm': 'core.slurm'}[name]
    for code, label, plugin in (
        ('pw', 'pw', 'quantumespresso.pw'),
        ('lammps', 'lammps', 'pyacemaker.lammps_pace'),
        ('worker', 'pyacemaker-worker', 'pyacemaker.pace_train'),
    ):
        run('code', 'create', 'core.code.installed', '-n', '--config', str(FOLDER / f'code-{code}-{name}.yaml'))
        created = orm.load_code(f'{label}@{computer.label}')
        assert created.default_calc_job_plugin == plugin
        assert Path(created.filepath_executable).is_absolute()


def verdi_profile_setup(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run `verdi profile setup` as a user with an empty AIIDA_PATH."""
    return subprocess.run(
        [str(Path(sys.prefix) / 'bin' / 'verdi'), 'profile', 'setup', *arguments],
        env={**os.environ, 'AIIDA_PATH': str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_profile_sqlite(tmp_path):
    """The profile without services is made."""
    result = verdi_profile_setup(
        tmp_path, 'core.sqlite_dos', '-n', '--config', str(FOLDER / 'profile-sqlite-zeromq.yaml')
    )
    assert result.returncode == 0, result.stderr
    assert 'Created new profile `pyacemaker`' in result.stdout + result.stderr


def test_profile_postgresql(tmp_path):
    """The profile with services is accepted up to the connection: its server is only there on the user's machine."""
    template = yaml.safe_load((FOLDER / 'profile-postgresql-rabbitmq.yaml').read_text())
    template |= {'database_port': 1, 'repository_uri': (tmp_path / 'repository').as_uri()}
    (tmp_path / 'profile.yaml').write_text(yaml.safe_dump(template))
    result = verdi_profile_setup(tmp_path, 'core.psql_dos', '-n', '--config', str(tmp_path / 'profile.yaml'))
    assert result.returncode == 1
    assert 'Connection refused' in result.stderr + result.stdout


def test_every_template_is_tested():
    """A new template needs a test."""
    known = {f'computer-{name}.yaml' for name in COMPUTERS} | {'computer-slurm-configure.yaml'}
    known |= {f'code-{code}-{name}.yaml' for code in ('pw', 'lammps', 'worker') for name in COMPUTERS}
    known |= {'profile-sqlite-zeromq.yaml', 'profile-postgresql-rabbitmq.yaml'}
    assert {path.name for path in FOLDER.glob('*.yaml')} == known
