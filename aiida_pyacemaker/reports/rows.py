"""What is told of a run, typed: each class is a row of a table or a part of the screen; JSON only where it is written.

Times of simulations are in ps, other times in seconds, energies in eV/atom, forces in eV/Å, temperatures in K. What is
not known (yet) is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from aiida_pyacemaker.atomistics.explorers.walker import EndReason
from aiida_pyacemaker.workflows.reuse_children import TERMINATED

#: Content of an output or of the notes of the loop, as JSON has it.
Json = dict[str, Any]
#: The end of a simulation that has none yet.
RUNNING = 'running'


# Processes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunningProcess:
    """A process that runs, and what runs below it.

    :param label: of the link from the process that called it.
    :param name: label of the process itself.
    :param state: of the scheduler's job if there is one, else of the process, or `paused`.
    :param message: why it is paused.
    :param seconds: since its start.
    """

    pk: int
    label: str
    name: str
    kind: str
    state: str
    message: str | None
    seconds: float
    children: list[RunningProcess]


@dataclass(frozen=True)
class LabelJob:
    """A job that labels one or more configurations of a batch.

    :param index: of its first configuration.
    :param work: its expected cost, in no unit.
    """

    index: int
    pk: int
    state: str
    exit_status: int | None
    ctime: datetime
    configurations: int
    work: float
    core_hours: float
    healed: bool

    @property
    def has_ended(self) -> bool:
        """Whether it no longer runs."""
        return self.state in TERMINATED


@dataclass(frozen=True)
class LabelCounts:
    """How many configurations are labelled, whatever number of jobs it takes; of two tiers by the expensive one.

    :param left: running or waiting.
    :param per_hour: of the batch that runs.
    :param teacher: labels that were taken from the teacher; None if there is one tier.
    :param budget: most labels that the run may make.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    suspect: int = 0
    healed: int = 0
    running: int = 0
    left: int = 0
    core_hours: float = 0.0
    per_hour: float | None = None
    seconds_left: float | None = None
    teacher: int | None = None
    budget: int | None = None

    @classmethod
    def total_of(cls, parts: Iterable[LabelCounts]) -> LabelCounts:
        """Return the sum; what is known of no part is not known."""
        parts = [cls(), *parts]
        sums = {}
        for entry in fields(cls):
            known = [value for part in parts if (value := getattr(part, entry.name)) is not None]
            sums[entry.name] = sum(known) if known else None
        return cls(**sums)


# Simulations ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulation:
    """A simulation: one job.

    :param step_label: label of the call of the exploration.
    :param process_type: of the job, by which its explorer is known.
    :param state: of the process.
    :param message: exit message.
    :param results: the output of that name, empty while there is none.
    :param parameters: the input of that name, complete.
    :param restart: PK of the restart file that it resumed from.
    :param restart_left: PK of the one that it left.
    """

    iteration: int
    step_label: str
    walker: int
    pk: int
    process_type: str
    state: str
    exit_status: int | None
    message: str | None
    stage: str | None
    program: str | None
    results: Json
    parameters: Json
    restart: int | None
    restart_left: int | None

    @property
    def end(self) -> str:
        """How it ended: a reason as its results give it, `running`, or `died`."""
        if self.results:
            return self.results['reason']
        return EndReason.DIED.value if self.state in TERMINATED else RUNNING


@dataclass(frozen=True)
class Halt:
    """A halt on the way of a trajectory; `pk` is that of the simulation."""

    iteration: int
    pk: int
    step: int
    time: float
    reason: str
    gamma: float | None
    diagnosis: str | None


@dataclass(frozen=True)
class Trajectory:
    """What physics calls one trajectory: a chain of simulations, each resuming where the one before it halted.

    :param number: counted from 1 for each walker.
    :param steps: asked for; `step` is what was reached, and `time` what was simulated.
    :param end: how it ended: a reason, `running`, or `died`.
    """

    walker: int
    number: int
    stage: str | None
    program: str | None
    iterations: list[int]
    steps: int
    step: int
    time: float
    halts: list[Halt]
    end: str
    simulations: list[Simulation]

    def to_json(self) -> Json:
        """Return it as plain content, with the PKs of the simulations in place of all that is known of them."""
        return {**asdict(self), 'simulations': [simulation.pk for simulation in self.simulations]}


@dataclass(frozen=True)
class Live:
    """Where a running simulation is, read from the record of the watch."""

    step: int
    temperature: float | None
    gamma: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class WalkerRow(Trajectory):
    """The newest trajectory of a walker, and its last simulation: how that ended, or where it is."""

    pk: int
    state: str
    message: str | None
    gamma_max: float | None
    diagnosis: str | None
    live: Live | None

    def to_json(self) -> Json:
        """Return it as plain content."""
        return {**super().to_json(), 'live': asdict(self.live) if self.live else {}}


@dataclass(frozen=True)
class WalkerEnd:
    """How the simulation of a walker ended in an iteration."""

    walker: int
    stage: str | None
    program: str | None
    end: str
    step: int | None
    steps: int
    gamma_max: float | None
    diagnosis: str | None


# The run --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Where on its way through the stages a run is; see `explore.stages` and `explore.seeds` of the run file."""

    stage: str
    stage_number: int
    stages: int
    round: int
    clean_rounds: int
    seeds: int


@dataclass(frozen=True)
class Verdict:
    """What the gate has said last.

    :param failed: names of the checks that failed; `warned` of those that would be better otherwise.
    :param weights: what the next fit is to weigh more, and by which factor.
    :param potential: PK; `report` is that of the report, None if it could not be written.
    :param requested: how many structures would cure what failed.
    :param deployed: name of the version.
    """

    verdict: str
    summary: str
    weights: dict[str, float]
    failed: list[str]
    warned: list[str]
    iteration: int
    potential: int
    report: int | None
    requested: int
    deployed: str | None


@dataclass(frozen=True)
class IterationRow:
    """What an iteration did and learned.

    :param why: what it does, and why, as the loop says it.
    :param surprise: errors on the new labels of the potential that met them, see
        :func:`~aiida_pyacemaker.atomistics.metrics.errors.surprise`.
    :param production: what became of the production fit, as the loop says it.
    :param potential: PK of what was fitted.
    :param force_coverage: share of the force errors inside the 95 % band that the potential gives.
    :param passed: whether the errors on the held-out set meet the criteria.
    """

    iteration: int
    stage: str | None = None
    round: int | None = None
    why: str | None = None
    surprise: Json | None = None
    number_of_functions: int | None = None
    production: Json | None = None
    generation: int | None = None
    potential: int | None = None
    number_halted: int | None = None
    gamma_max: float | None = None
    labels_failed: int | None = None
    labels_suspect: int | None = None
    core_hours: float | None = None
    labels_train: int | None = None
    labels_test: int | None = None
    atoms_labelled: int | None = None
    train_energy_rmse: float | None = None
    train_force_rmse: float | None = None
    energy_rmse: float | None = None
    force_rmse: float | None = None
    stress_rmse: float | None = None
    force_coverage: float | None = None
    passed: bool | None = None
    seconds: float = 0.0
    ends: list[WalkerEnd] = field(default_factory=list)

    @property
    def labels(self) -> int | None:
        """Configurations that joined the training and the held-out set."""
        return None if self.labels_train is None else self.labels_train + (self.labels_test or 0)

    @property
    def surprise_force_rmse(self) -> float | None:
        """Error of the forces on what was labelled, of the potential that had not learned it."""
        return ((self.surprise or {}).get('forces') or {}).get('rmse')

    @property
    def rank_correlation(self) -> float | None:
        """How well gamma had known that error."""
        return (self.surprise or {}).get('rank_correlation')

    @property
    def keeps_production(self) -> bool:
        """Whether the production fit is the better potential."""
        return bool(self.production and self.production.get('kept'))


@dataclass(frozen=True)
class RunStatus:
    """The state of a run.

    :param state: the run's own word if it has ended by itself, else the state of the process.
    :param waits: what it waits for, in its own words.
    :param running: what runs now.
    :param criteria: the section `validate` of the run file.
    :param label_noise: settings of the labels and their noise, where they were measured.
    :param verdict: the newest one.
    :param calibration: force errors where gamma halted and where not, once the run has ended.
    :param generations: one row per iteration.
    :param walkers: of each walker the newest trajectory.
    :param potential: PK of the newest.
    :param time: seconds of the whole run (`total`), and of each kind of step.
    """

    pk: int
    uuid: str
    elements: list[str]
    protocol: str | None
    state: str
    process_state: str | None
    paused: bool
    exit_status: int | None
    exit_message: str | None
    exception: str | None
    iteration: int
    max_iterations: int | None
    stage: Stage | None
    waits: str | None
    running: list[RunningProcess]
    dft: LabelCounts
    criteria: Json
    label_noise: Json | None
    verdict: Verdict | None
    calibration: Json | None
    generations: list[IterationRow]
    trajectories: list[Trajectory]
    walkers: list[WalkerRow]
    potential: int | None
    time: dict[str, float]

    def to_json(self) -> Json:
        """Return everything as plain content; the verdict is called `validation`, as the output of the run is."""
        content = {**asdict(self), 'validation': asdict(self.verdict) if self.verdict else None}
        del content['verdict']
        for name in ('trajectories', 'walkers'):
            content[name] = [row.to_json() for row in getattr(self, name)]
        return content


# Lineage --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataRow:
    """A potential or configurations; what the one or the other has not is None, and left out of the JSON."""

    pk: int
    uuid: str
    type: str
    generation: int | None = None
    elements: list[str] | None = None
    number_of_functions: int | None = None
    number_of_configurations: int | None = None
    families: dict[str, int] | None = None
    formulas: list[str] | dict[str, int] | None = None

    def to_json(self) -> Json:
        """Return what is known of it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class ProcessRow:
    """A process that made data; `called_as` are the labels of the calls that led to it, joined."""

    pk: int
    uuid: str
    kind: str
    exit_status: int | None
    called_as: str


@dataclass(frozen=True)
class LabellingRow(ProcessRow):
    """A calculation that labelled: `formula` and `energy` (eV) of DFT, number of `configurations` of a teacher."""

    energy: float | None
    formula: str | None
    configurations: int | None


@dataclass(frozen=True)
class SimulationRow(ProcessRow):
    """A simulation that proposed configurations; `potential` is the PK of what drove it."""

    reason: str | None
    step: int | None
    gamma_max: float | None
    potential: int | None


@dataclass(frozen=True)
class Lineage:
    """Where a potential or configurations come from: those `potentials` before it, what labelled, what simulated."""

    node: DataRow
    created_by: ProcessRow | None
    potentials: list[DataRow]
    dft: list[LabellingRow]
    simulations: list[SimulationRow]

    def to_json(self) -> Json:
        """Return everything as plain content."""
        potentials = [potential.to_json() for potential in self.potentials]
        return {**asdict(self), 'node': self.node.to_json(), 'potentials': potentials}
