"""Killed in mid-run: the loop heals or ends in a defined state, and finished DFT is never computed again."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest
from cases.faults import SCENARIOS

RUNFILE = """\
system: {{elements: [Al]}}
protocol: fast
seed: {seed}
structures:
  eos: {{number: 3}}
  strain: {{number: 1}}
  shear: {{number: 1}}
  rattle: {{number: 8, amplitude: [0.05, 0.15], atoms: 4}}
  vacancy: {{number: 0}}
  squeeze: {{number: 0}}
  test: {{number: 2}}
label: {{kpoints_distance: 0.6}}
train: {{cutoff: 5.0, number_of_functions: 20}}
explore: {{walkers: 2, atoms: 8, steps: 20000, temperature: [100, 300], gamma_halt: 10.0}}
validate: {{energy_rmse: 0.1, force_rmse: 0.5, test_per_round: 1, train_per_round: 1, properties: []}}
budget: {{max_iterations: 4}}
"""
DEFINED_STATES = ('converged', 'budget_exhausted', 'stalled', 'gate_failed')
TIME_LIMIT = 15 * 60

DESCRIBE = """\
import json
from aiida import orm
run = orm.load_node({pk})
pws = orm.QueryBuilder().append(orm.CalcJobNode, filters={{
    'attributes.process_label': 'PwCalculation', 'attributes.exit_status': 0, 'id': {{'>': {pk}}}}}).all(flat=True)
computed = [node.base.caching.get_hash() for node in pws if not node.base.caching.is_created_from_cache]
print(json.dumps({{
    'terminated': run.is_terminated,
    'state': run.outputs.report['state'] if 'report' in run.outputs else None,
    'exit_status': run.exit_status,
    'dft': len(pws), 'computed': len(computed), 'distinct': len(set(computed)),
    'dft_of_all_runs': orm.QueryBuilder().append(orm.CalcJobNode, filters={{
        'attributes.process_label': 'PwCalculation', 'attributes.exit_status': 0}}).count(),
}}))
"""


@pytest.fixture(scope='module')
def machine(newcomer):
    """Return the newcomer's machine with everything set up."""
    newcomer.run('bash', 'setup_profiles/quickstart.sh', '--setup-only')
    return newcomer


def launch(machine, seed, *options) -> int:
    """Submit a small loop and return its PK."""
    path = machine.clone.parent / f'seed_{seed}.yaml'
    path.write_text(RUNFILE.format(seed=seed))
    output = machine.run('aiida-pyacemaker', 'launch', str(path), *options).stdout
    return int(output.split('ActiveLearningWorkChain<')[1].split('>')[0])


def describe(machine, pk: int) -> dict:
    """Return what became of a run."""
    return json.loads(machine.python(DESCRIBE.format(pk=pk)).splitlines()[-1])


def wait(machine, pk: int, until) -> dict:
    """Return the description of a run as soon as a condition holds."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        description = describe(machine, pk)
        if until(description):
            return description
        time.sleep(5)
    raise TimeoutError(f'{description}')


def find(machine, command: str) -> psutil.Process:
    """Wait for a process of the machine that has this in its command line, and return it."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        for process in psutil.process_iter(['cmdline', 'environ']):
            environment = process.info['environ'] or {}
            found = ' '.join(process.info['cmdline'] or [])
            # The daemon hands the path of its configuration folder down.
            if environment.get('AIIDA_PATH', '').startswith(machine.environment['AIIDA_PATH']) and command in found:
                return process
        time.sleep(0.2)
    raise TimeoutError(f'no process {command}')


@pytest.mark.slow
@pytest.mark.parametrize(('seed', 'command'), [(1, 'daemon worker'), (2, 'lmp -in input.in'), (3, 'pw.x -in aiida.in')])
def test_killed_process(machine, seed, command):
    """`kill -9` of the daemon's worker, of LAMMPS, of pw.x."""
    pk = launch(machine, seed)
    wait(machine, pk, lambda found: found['dft'] >= 3)  # in the middle of a batch of labels
    os.kill(find(machine, command).pid, signal.SIGKILL)
    ended = wait(machine, pk, lambda found: found['terminated'])
    print(json.dumps(ended))
    assert ended['state'] in DEFINED_STATES
    assert ended['computed'] == ended['distinct']


@pytest.mark.slow
def test_restart_from_killed_loop(machine):
    """A loop killed in mid-run continues from its last potential, and finds its finished DFT."""
    pk = launch(machine, 4)
    find(machine, 'lmp -in input.in')  # so there is a potential
    machine.run('verdi', '-p', 'pyacemaker', 'process', 'kill', str(pk))
    before = wait(machine, pk, lambda found: found['terminated'])
    continued = launch(machine, 4, '--restart-from', str(pk))
    ended = wait(machine, continued, lambda found: found['terminated'])
    print(json.dumps(before), json.dumps(ended))
    assert ended['state'] in DEFINED_STATES
    assert ended['computed'] < before['dft'], 'the initial batch was computed again'


@pytest.mark.slow
@pytest.mark.parametrize('scenario', SCENARIOS)
def test_scenario(machine, scenario):
    """Loops with a teacher, struck at every step: each heals or ends in its state; no label is lost or made twice."""
    folder = machine.clone.parent / 'faults'
    script = machine.clone / 'tests' / 'benchmarks' / 'bench_faults.py'
    result = machine.run('python', str(script), str(folder), scenario, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
