"""All properties of all crystals with one potential: one batch of single points, then relaxations and simulations.

What there is to look at, :func:`.property.load_properties` says. What follows from single points is planned, evaluated
in one batch and analysed; what relaxes or simulates runs beside it. A property that fails fails alone: its `status` is
'failed' and its `message` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from ase import Atoms
from ase.calculators.calculator import Calculator

from ..core.errors import InputError
from ..core.frame import labels, set_labels
from ..core.parameters import Count, Section, parameter
from ..core.plain import Json, plain
from ..core.validation import read_section
from ..fitting.predictions import predict
from ..fitting.references import align_energies, least_squares
from ..labelling.teachers import describe as explain
from ..potential.potential import AcePotential
from ..variants import NotApplicableError
from .crystals import check_crystals, describe, equilibrate, unique_names
from .evaluator import Description, Evaluator, ProcessDiedError, Report
from .parameters import SUITE, PropertyName
from .property import Property, Result, load_properties
from .references import quantities

#: Threads that keep the processes busy: each waits for the results of one property of one crystal.
MAX_THREADS = 16

#: What is known of a structure that is given and stays so: where it is from, and whether it has to be stable.
GIVEN_INFO = ('family', 'must_be_stable')

#: A result of the suite, or what it knows of one crystal: plain, its keys are the names of the properties among others.
Content = Json


class Suite(Section):
    """What is looked at, and with how many processes."""

    properties: list[PropertyName] = parameter('What of the crystals is looked at.', default=list(SUITE))
    settings: dict[PropertyName, dict[str, Any]] = parameter('Keys of single properties, by property.', default={})
    processes: Count = parameter('How many work side by side.', default=2, ge=1)
    same_cells: dict[str, Any] = parameter(
        'Cells that are made for the oracle of the labels, too: see `SameCells`; empty: none.', default={}
    )


class Plan(Result, total=False):
    """The single points that a property needs."""

    frames: list[Atoms]


def read_suite(given: Content) -> Suite:
    """Return what is to be looked at.

    :raises InputError: naming the key that is wrong.
    """
    suite = read_section(Suite, given)
    make_properties(suite.properties, suite.settings)
    return suite


def run_suite(
    description: Description | Calculator,
    crystals: Sequence[Atoms],
    parameters: Suite | None = None,
    processes: int = 1,
    report: Report = print,
) -> Content:
    """Look at crystals with a potential.

    :param description: what :class:`Evaluator` takes.
    :param parameters: what is looked at; what the suite cannot find, such as `melting`, is left to others.
    :param processes: how many work side by side.
    :param report: is told the progress.
    :returns: `crystals`, a list with what :func:`describe` says, :data:`GIVEN_INFO` where given, `equilibrium` and each
        property; what is found once and not of each crystal, such as `pairs` (dimers of all elements), None where that
        is not asked for or found by others; `errors` (None), `seconds` (CPU time by property, and the wall time as
        `total`) and `potential` (see :func:`~.evaluator.identify`).
    :raises ValueError: if nothing can be looked at: no crystals, or other elements than those of the potential.
    """
    start = perf_counter()
    asked = parameters or Suite()
    with Evaluator(description, processes) as evaluator:
        check_crystals(crystals, evaluator.elements)
        properties = make_properties(asked.properties, asked.settings)
        frames, found = settle_crystals(evaluator, crystals, report)
        batch = evaluate_all(evaluator, frames, properties, report)
        system = find_of_system(evaluator, frames, properties, report)
        finish(evaluator, frames, properties, batch, found, report)
        seconds = {**evaluator.seconds, 'total': perf_counter() - start}
        report(f'done in {seconds["total"]:.0f} s on {processes} {"processes" if processes > 1 else "process"}')
        content = {'crystals': found, **system, 'errors': None, 'seconds': seconds}
        return plain({**content, 'potential': evaluator.metadata})


def measure(calculator: Calculator, atoms: Atoms, properties: Sequence[str] = ('elasticity',)) -> dict[str, float]:
    """Return the numbers of a crystal by name, see :func:`.references.quantities`: of what a committee is asked for.

    :raises ValueError: if there is no equilibrium, or a property fails.
    """
    content = run_suite(calculator, [atoms], Suite(properties=list(properties)), report=lambda line: None)
    crystal = content['crystals'][0]
    for name in ('equilibrium', *properties):
        if crystal[name]['status'] != 'ok':
            raise ValueError(f'{name}: {crystal[name]["message"]}')
    return quantities(crystal)


def crystals_of(content: Content) -> list[Atoms]:
    """Return the crystals of the results of :func:`run_suite`, relaxed where there was an equilibrium."""
    return [
        Atoms(
            crystal['numbers'], crystal['positions'], cell=crystal['cell'], pbc=True,
            info={'name': crystal['name'], 'dimension': crystal['dimension']},
        )
        for crystal in content['crystals']
    ]  # fmt: skip


def predict_data(description: Description, frames: list[Atoms], processes: int = 1) -> tuple[list[Atoms], list[Atoms]]:
    """Return labelled configurations on the energy scale of a potential, and the same predicted by it.

    An ACE potential knows its scale, and tells gamma. The energies of any other have a zero of their own: they are
    shifted by one number per element, by least squares.

    :raises ValueError: if the potential cannot evaluate them.
    """
    if not isinstance(description, dict):
        potential = AcePotential(Path(description))
        potential.check_elements(frames)
        aligned = align_energies(frames, potential.metadata.get('energy_scales', []))
        return aligned, predict(potential, aligned)
    with Evaluator(description, processes) as evaluator:
        predictions = evaluator.evaluate(frames)
    elements = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    zero = dict.fromkeys(elements, 0.0)
    level, own = least_squares(frames, zero, elements), least_squares(predictions, zero, elements)
    for atoms in predictions:
        found = labels(atoms)
        found['energy'] += sum(level[symbol] - own[symbol] for symbol in atoms.symbols)
        set_labels(atoms, **found)
    return frames, predictions


def make_properties(names: Sequence[str], settings: Mapping[str, Content]) -> dict[str, Property]:
    """Return the properties of the suite that are asked for, with their parameters.

    :raises InputError: naming the key that is wrong.
    """
    made = {}
    for name, kind in load_properties().items():
        if name in names and kind.in_suite:
            try:
                made[name] = kind(read_section(kind.Parameters, settings.get(name, {})))
            except InputError as exception:
                raise exception.under(f'settings.{name}') from None
    return made


def attempt(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return the result of a property with its `status` and `message`, whatever happens."""
    try:
        return {'status': 'ok', 'message': '', **function(*arguments)}
    except NotApplicableError as exception:
        return {'status': 'not_applicable', 'message': explain(exception)}
    except ProcessDiedError:  # another property that shares the processes may have killed it
        raise
    except Exception as exception:  # a property that fails fails alone
        return {'status': 'failed', 'message': explain(exception)}


def settle_crystals(
    evaluator: Evaluator, crystals: Sequence[Atoms], report: Report
) -> tuple[list[Atoms | None], list[Content]]:
    """Return the relaxed crystals, None where there is no equilibrium, and what is known of each.

    :raises ValueError: if the potential can evaluate none of them.
    """
    settled = equilibrate(evaluator, crystals)
    described: list[Content] = [{**describe(frame), 'name': frame.info['name']} for frame, _ in settled]
    frames: list[Atoms | None] = []
    for result, name, given, (frame, equilibrium) in zip(
        described, unique_names(described, crystals), crystals, settled, strict=True
    ):
        frame.info['name'] = name
        result |= {key: given.info[key] for key in GIVEN_INFO if key in given.info}
        result |= {'name': name, 'equilibrium': equilibrium}
        frames.append(frame if equilibrium['status'] == 'ok' else None)
        report(f'{name}: {summary_of(equilibrium)}')
    if all(frame.calc is None for frame, _ in settled):
        raise ValueError(settled[0][1]['message'])
    return frames, described


def summary_of(equilibrium: Content) -> str:
    """Return the equilibrium of a crystal in a few words."""
    if equilibrium['status'] != 'ok':
        return equilibrium['message']
    lengths = [equilibrium[key] for key in 'abc']
    sizes = '' if None in lengths else f'a, b, c = {", ".join(f"{length:.4f}" for length in lengths)} Å, '
    return f'{sizes}{equilibrium["energy"]:.4f} eV/atom'


def reason_against(kind: Property, frame: Atoms | None) -> Result | None:
    """Return the result of a property that cannot be looked at, None if it can be."""
    if frame is None:
        return {'status': 'failed', 'message': 'not looked at, for there is no equilibrium'}
    reason = kind.why_not(frame)
    return {'status': 'not_applicable', 'message': reason} if reason else None


def evaluate_all(
    evaluator: Evaluator, frames: Sequence[Atoms | None], properties: dict[str, Property], report: Report
) -> dict[tuple[int, str], list[Atoms] | Result]:
    """Return the labelled single points by crystal and property, or the result that stands in their place."""
    static = [name for name, kind in properties.items() if kind.has_single_points()]
    keys = [(index, name) for index in range(len(frames)) for name in static]
    batch: dict[tuple[int, str], Any] = {key: reason_against(properties[key[1]], frames[key[0]]) for key in keys}
    open_keys = [key for key in keys if batch[key] is None]
    with evaluator.purpose('planning'):
        planned = evaluator.map(plan, [(properties[name], frames[index]) for index, name in open_keys])
    batch |= dict(zip(open_keys, planned, strict=True))
    groups = {key: value for key, value in batch.items() if isinstance(value, list)}
    counts = {name: sum(len(group) for (_, own), group in groups.items() if own == name) for name in static}
    listed = ', '.join(f'{name} {number}' for name, number in counts.items() if number)
    if listed:
        report(f'{sum(counts.values())} single points ({listed})')
    return batch | evaluate_groups(evaluator, groups, report)


def plan(_: Calculator, kind: Property, crystal: Atoms) -> list[Atoms] | Result:
    """Return the single points that a property needs, or the result in their place."""
    planned = cast(Plan, attempt(lambda: Plan(frames=kind.plan(crystal))))
    if planned['status'] != 'ok':
        return planned
    for frame in planned['frames']:
        frame.info['property'] = kind.name
    return planned['frames']


def evaluate_groups(
    evaluator: Evaluator, groups: dict[Any, list[Atoms]], report: Report
) -> dict[Any, list[Atoms] | Result]:
    """Evaluate all in one batch; where that kills a process, group by group, so that only the guilty one fails."""
    try:
        labelled = iter(evaluator.try_evaluate([frame for group in groups.values() for frame in group], report))
    except ProcessDiedError as exception:
        if len(groups) == 1:
            return {key: {'status': 'failed', 'message': explain(exception)} for key in groups}
        parts = [evaluate_groups(evaluator, {key: group}, report) for key, group in groups.items()]
        return {key: value for part in parts for key, value in part.items()}
    return {key: whole([next(labelled) for _ in group]) for key, group in groups.items()}


def whole(labelled: list[Atoms | str]) -> list[Atoms] | Result:
    """Return labelled frames if all are, else the result that says what is wrong."""
    problems = [found for found in labelled if isinstance(found, str)]
    if not problems:
        return labelled
    count = f'{len(problems)} of {len(labelled)} configurations cannot be evaluated'
    return {'status': 'failed', 'message': f'{count}: {problems[0]}'}


def find_of_system(
    evaluator: Evaluator, frames: Sequence[Atoms | None], properties: dict[str, Property], report: Report
) -> dict[str, Result | None]:
    """Return what is found once and not of each crystal, by property; None if it is not asked for or not found here."""
    names = [name for name, kind in load_properties().items() if kind.system_title]
    crystals = [frame for frame in frames if frame is not None]
    elements = evaluator.elements or sorted({symbol for frame in crystals for symbol in frame.symbols})

    def find(kind: Property) -> Result:
        planned = kind.plan_system(crystals, elements)
        for frame in planned:
            frame.info['property'] = kind.name
        labelled = evaluate_groups(evaluator, {'system': planned}, report)['system']
        return labelled if isinstance(labelled, dict) else kind.analyse_system(labelled)

    return {
        name: (attempt(find, properties[name]) if crystals else reason_against(properties[name], None))
        if name in properties
        else None
        for name in names
    }


def finish(
    evaluator: Evaluator,
    frames: Sequence[Atoms | None],
    properties: dict[str, Property],
    batch: dict[tuple[int, str], list[Atoms] | Result],
    found: list[Content],
    report: Report,
) -> None:
    """Relax, simulate and analyse all crystals side by side, and put the results where they belong."""
    # the longest first, so that no process is idle at the end: simulations, then relaxations
    running = [name for name, kind in reversed(properties.items()) if not kind.has_single_points()]
    static = [name for name, kind in properties.items() if kind.has_single_points()]
    jobs = [(index, name) for name in (*running, *static) for index in range(len(frames))]
    again: list[tuple[int, str]] = []

    def work(job: tuple[int, str]) -> None:
        index, name = job
        began = perf_counter()
        try:
            with evaluator.purpose(name):
                result = find_one(evaluator, properties[name], frames[index], batch.get(job))
        except ProcessDiedError as exception:
            # all who share the processes are told so: one after the other they are found guilty or not
            if job not in again:
                again.append(job)
                return
            result = {'status': 'failed', 'message': explain(exception)}
        result['message'] = result['message'].removeprefix(f'{name}: ')
        found[index][name] = result
        message = f': {result["message"]}' if result['message'] else ''
        report(f'{found[index]["name"]}: {name} {result["status"]}{message} ({perf_counter() - began:.0f} s)')

    if evaluator.processes > 1:
        with ThreadPoolExecutor(MAX_THREADS) as threads:
            list(threads.map(work, jobs))
    for job in again if evaluator.processes > 1 else jobs:
        work(job)


def find_one(
    evaluator: Evaluator, kind: Property, frame: Atoms | None, labelled: list[Atoms] | Result | None
) -> Result:
    """Return one property of one crystal."""
    if isinstance(labelled, dict):
        return labelled
    if labelled is not None:
        return attempt(lambda: evaluator.map(analyse, [(kind, frame, labelled)])[0])
    return reason_against(kind, frame) or attempt(kind.run, evaluator, frame)


def analyse(_: Calculator, kind: Property, crystal: Atoms, labelled: list[Atoms]) -> Result:
    """Return what the single points say of a property; in a process of the evaluator, for it may take seconds."""
    return attempt(kind.analyse, crystal, labelled)
