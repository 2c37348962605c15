"""A batch whose daemon is killed in the middle: afterwards every label is there, and none was computed twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

NUMBER = 30
TIME_LIMIT = 20 * 60

SETUP = """\
from aiida_pyacemaker.setup.codes import ensure_code, ensure_computer
from aiida_pyacemaker.setup.engines import find_pw
from aiida_pyacemaker.setup.pseudos import install_pseudo_dojo
install_pseudo_dojo(elements=('Al',))
ensure_code('pw', find_pw, ensure_computer()[0], exact=False)
"""
LAUNCH = f"""\
from aiida import orm
from aiida.engine import submit
from aiida.plugins import DataFactory, WorkflowFactory
from aiida_pyacemaker.setup.pseudos import PSEUDO_DOJO
from ase.build import bulk
cells = [bulk('Al', a=3.95 + 0.01 * index) for index in range({NUMBER})]
parameters = {{
    'pseudo_family': PSEUDO_DOJO, 'kpoints_distance': 0.8, 'ecutwfc': 12.0, 'ecutrho': 48.0, 'smearing': 'cold',
    'degauss': 0.05, 'max_concurrent': 4, 'max_failed_fraction': 0.1, 'max_wallclock_seconds': 600,
}}
print(submit(WorkflowFactory('pyacemaker.label').get_builder_from_protocol(
    orm.load_code('pw'), DataFactory('pyacemaker.configurations')(cells), parameters)).pk)
"""
DESCRIBE = """\
import json
from aiida import orm
batch = orm.load_node({pk})
pws = orm.QueryBuilder().append(orm.CalcJobNode).all(flat=True)
structures = [node.inputs.structure.uuid for node in pws]
print(json.dumps({{
    'terminated': batch.is_terminated, 'exit_status': batch.exit_status,
    'results': batch.outputs.results.get_dict() if 'results' in batch.outputs else None,
    'labels': len(batch.outputs.train) if 'train' in batch.outputs else 0,
    'jobs': len(batch.base.links.get_outgoing(link_label_filter='label_%').all()),
    'calculations': len(pws), 'structures': len(set(structures)),
    'done': sum(node.is_finished_ok for node in pws),
}}))
"""


class Machine:
    """A profile with a daemon of its own, and commands in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        environment = {key: value for key, value in os.environ.items() if not key.startswith('AIIDA_')}
        self.environment = {**environment, 'AIIDA_PATH': str(folder), 'OMP_NUM_THREADS': '1'}

    def python(self, script: str) -> str:
        """Run Python code with the profile loaded, and return the last line that it prints."""
        head = "from aiida_pyacemaker.setup.profile import *\nprofile, _ = ensure_profile('pyacemaker')\n"
        result = subprocess.run(
            [sys.executable, '-c', head + script], env=self.environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-5000:]
        return result.stdout.splitlines()[-1] if result.stdout else ''

    def describe(self, pk: int) -> dict:
        """Return what became of a batch."""
        return json.loads(self.python(DESCRIBE.format(pk=pk)))

    def wait(self, pk: int, until) -> dict:
        """Return the description of a batch as soon as a condition holds."""
        deadline = time.monotonic() + TIME_LIMIT
        while time.monotonic() < deadline:
            description = self.describe(pk)
            if until(description):
                return description
            time.sleep(2)
        raise TimeoutError(f'{description}')

    def kill_daemon(self) -> int:
        """Kill the daemon, its workers and its broker as a power cut does, and return how many processes it was."""
        victims = [process for process in psutil.process_iter(['cmdline', 'environ']) if self.is_daemon(process)]
        for process in victims:
            process.kill()
        psutil.wait_procs(victims, timeout=30)
        return len(victims)

    def is_daemon(self, process: psutil.Process) -> bool:
        """Return whether a process belongs to the daemon; the jobs do not, and go on."""
        # The daemon hands the path of its configuration folder down.
        mine = (process.info['environ'] or {}).get('AIIDA_PATH', '').startswith(str(self.folder))
        command = ' '.join(process.info['cmdline'] or [])
        return mine and ('verdi' in command or 'circus' in command)


@pytest.fixture
def machine(tmp_path):
    """Return a machine that is set up, with its daemon running; it is stopped in the end."""
    found = Machine(tmp_path)
    found.python(SETUP)
    found.python('ensure_daemon(profile)')
    yield found
    found.python('daemon_client(profile).stop_daemon(wait=True)')


@pytest.mark.slow
def test_killed_daemon(machine):
    """`kill -9` of the whole daemon in the middle of a batch of 30, twice; then it is started again."""
    pk = int(machine.python(LAUNCH))
    for part in (1, 2):
        found = machine.wait(pk, lambda found, part=part: found['done'] >= part * NUMBER // 3)
        assert not found['terminated']
        assert machine.kill_daemon() >= 3
        time.sleep(5)  # jobs end while nobody looks
        machine.python('ensure_daemon(profile)')
    ended = machine.wait(pk, lambda found: found['terminated'])
    print(json.dumps({**ended, 'results': {**ended['results'], 'jobs': '...'}}))
    assert ended['exit_status'] == 0
    assert ended['labels'] == ended['results']['number_labelled'] == NUMBER
    assert ended['jobs'] == ended['calculations'] == ended['structures'] == ended['done'] == NUMBER
