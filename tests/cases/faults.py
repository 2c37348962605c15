"""Loops and what they are struck by: what is killed, corrupted or full, and where."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import Any

#: Exit status of a loop that converged, used its budget up, or stalled.
GOOD_ENDS = (0, 500, 501)
ALWAYS = 99


@dataclass(frozen=True)
class Strike:
    """One blow.

    :param point: where, for people.
    :param task: the task whose job is struck: lammps, train, select, evaluate, label.
    :param do: shell commands, run in the folder of the job before its engine starts.
    :param before: how many jobs of the task are left alone before.
    :param which: shell condition that chooses the job.
    :param times: how many jobs are struck.
    :param then: what happens once the strike has touched `now`: `worker` or `all` of the daemon is killed, or the
        newest potential in AiiDA's repository is cut off (`repository`).
    """

    point: str
    task: str
    do: str
    before: int = 0
    which: str = 'true'
    times: int = 1
    then: str | None = None


def kill(point: str, task: str, when: str, **kwargs: Any) -> Strike:
    """Kill the engine of a job as soon as a condition holds there."""
    return Strike(point, task, f"when {quote(when)} 'kill -9 $(engines) && touch $struck/done'", **kwargs)


def kill_in_script(point: str, edit: str, **kwargs: Any) -> Strike:
    """Kill LAMMPS at a place of its script: it runs too fast to be watched."""
    return Strike(point, 'lammps', f'in_script {quote(edit)}', **kwargs)


def kill_daemon(point: str, task: str, when: str, then: str = 'worker', **kwargs: Any) -> Strike:
    """Kill the daemon as soon as a condition holds in the folder of a job."""
    return Strike(point, task, f"when {quote(when)} 'touch $struck/now'", then=then, **kwargs)


def spoil(point: str, task: str, do: str, **kwargs: Any) -> Strike:
    """Do something in the folder of a job before its engine starts."""
    return Strike(point, task, f'{do}; touch $struck/done', **kwargs)


def has(text: str, filename: str) -> str:
    """Return the condition that a text is in a file."""
    return f'grep -qs {quote(text)} {filename}'


STARTED = '[ -n "$(engines)" ]'
ENDED = '[ -s result.json ] || [ -s final.restart ]'
RESUMED = 'grep -q read_restart input.in'
WRITING = '[ -e potential_out/potential.yaml ]'
CUT_FUNCTION = 'lines=$(head -n -2 potential.yaml); echo "$lines" > potential.yaml'
OTHER_DIGIT = "sed -i -E '0,/c: \\[-?[0-9]/s/(c: \\[-?)[0-9]/\\19/' potential.yaml"


@dataclass(frozen=True)
class Scenario:
    """A loop and what it is struck by.

    :param ends: exit status with which it may end.
    :param heal: whether it is continued with `--restart-from` in the end, without strikes.
    """

    strikes: tuple[Strike, ...]
    ends: tuple[int, ...] = GOOD_ENDS
    heal: bool = False
    iterations: int = 4
    #: Size (MB) of the file system on which the jobs run, if it is to be a small one.
    disk: int | None = None


SCENARIOS = {
    'healthy': Scenario(()),
    'kill-lammps': Scenario(
        (
            kill('as it starts', 'lammps', STARTED),
            kill_in_script('in its first steps', r's|^run .*|& every 100 "shell bash strike.sh"|'),
            kill_in_script('resumed: box read', r's|^pair_style|shell bash strike.sh\n&|', before=4, which=RESUMED),
            kill_in_script(
                'resumed: a while on', r's|^run .*|& every 300 "shell bash strike.sh"|', before=4, which=RESUMED
            ),
            kill_in_script('restart file written, last frame not', r's|^write_dump|shell bash strike.sh\n&|', before=8),
        )
    ),
    'kill-worker': Scenario(
        (
            kill('as it starts', 'train', STARTED),
            kill('data read, a second time', 'train', has('configurations, ', 'worker.out'), before=1),
            kill('rows computed, the next generation', 'train', has('rows of', 'worker.out'), before=3),
            kill('solved, a second time', 'train', has('energy_weight', 'worker.out'), before=4),
            kill('writing the potential', 'train', WRITING, before=6),
            kill('as it starts', 'label', STARTED),
            kill('labels written', 'label', '[ -e labelled.npz ]', before=3),
            kill('as it starts', 'select', STARTED),
            kill('as it starts', 'evaluate', STARTED),
        ),
        iterations=2,
    ),
    'kill-daemon': Scenario(
        (
            kill_daemon('labels run', 'label', STARTED),
            kill_daemon('a fit has just ended', 'train', ENDED),
            kill_daemon('simulations run', 'lammps', STARTED),
            kill_daemon('simulations have just ended', 'lammps', ENDED, before=2),
            kill_daemon('a selection runs', 'select', STARTED),
            kill_daemon('all of it, a fit runs', 'train', STARTED, then='all', before=1),
            kill_daemon('all of it, simulations run', 'lammps', STARTED, then='all', before=4),
        )
    ),
    'lammps-always': Scenario((kill('every one', 'lammps', STARTED, times=ALWAYS),), (403,), heal=True, iterations=1),
    'fit-always': Scenario((kill('every one', 'train', STARTED, times=ALWAYS),), (402,), heal=True, iterations=1),
    'label-always': Scenario((kill('every one', 'label', STARTED, times=ALWAYS),), (401,), heal=True, iterations=1),
    'corrupt-job': Scenario(
        (
            spoil('basis cut off', 'lammps', 'truncate -s -800 potential.yaml'),
            spoil('basis cut off at the end of a function', 'lammps', CUT_FUNCTION),
            spoil('active set cut off', 'lammps', 'truncate -s -1000 potential.asi', before=4),
            spoil('active set empty', 'lammps', ': > potential.asi', before=4),
            spoil('one digit of a coefficient is another', 'lammps', OTHER_DIGIT, before=8),
            spoil('selection: basis cut off', 'select', 'truncate -s -200 potential/potential.yaml'),
            spoil('errors: active set cut off', 'evaluate', 'truncate -s -1000 potential/potential.asi'),
            spoil(
                'fit: active set of the former cut off', 'train', 'truncate -s -1000 potential/potential.asi', before=1
            ),
        )
    ),
    'corrupt-repository': Scenario(
        (kill_daemon('the newest potential cut off', 'lammps', STARTED, then='repository', before=2),),
        (211, 402, 403, 404, 405),
        heal=True,
        iterations=2,
    ),
    'disk-full': Scenario(
        (
            spoil('LAMMPS: from the start', 'lammps', 'full 0'),
            spoil('LAMMPS: room for the first dumps', 'lammps', 'full 12', before=4),
            spoil('LAMMPS: room for all but the end', 'lammps', 'full 32', before=8),
            spoil('fit: from the start', 'train', 'full 0'),
            spoil('fit: room for rows, not for the potential', 'train', 'full 40', before=2),
            spoil('labels: from the start', 'label', 'full 0'),
            spoil('selection: from the start', 'select', 'full 0'),
        ),
        disk=32,
    ),
    'disk-full-lammps': Scenario((spoil('every one', 'lammps', 'full 0', times=ALWAYS),), (403,), True, 1, 32),
    'disk-full-fit': Scenario((spoil('every one', 'train', 'full 0', times=ALWAYS),), (402,), True, 1, 32),
    'disk-full-label': Scenario((spoil('every one', 'label', 'full 0', times=ALWAYS),), (401,), True, 1, 32),
}
