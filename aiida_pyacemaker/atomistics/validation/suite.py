"""All properties of all crystals with one potential: one batch of single points, then relaxations and simulations.

Each property has a module of its name with a section `Parameters`. What follows from single points has `plan` (which
ones) and `analyse` (what they say), so that other methods such as DFT go through the same code; what relaxes or
simulates has `run`. A property that fails costs itself: its `status` is 'failed' and its `message` says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import ValidationError

from ..core.configurations import labels, set_labels
from ..core.parameters import Count, Section, parameter
from ..core.plain import plain
from ..fitting.predictions import predict
from ..fitting.references import align_energies, least_squares
from ..labelling.teachers import describe as explain
from ..potential.potential import AcePotential
from ..variants import NotApplicableError
from .crystals import check_crystals, describe, equilibrate, unique_names, why_not
from .evaluator import Description, Evaluator, ProcessDiedError, Report
from .parameters import PROPERTIES, Property
from .references import quantities

#: What needs no simulation program besides the potential.
SUITE = tuple(name for name in PROPERTIES if name != 'melting')
STATIC = ('eos', 'elasticity', 'phonons', 'pairs')
#: The longest first, so that no process is idle at the end.
RUNS = ('stability', 'vacancy', 'surfaces', 'stacking_fault')
#: Threads that keep the processes busy: each waits for the results of one property of one crystal.
THREADS = 16

#: What is known of a structure that is given and stays so: where it is from, and whether it has to be stable.
KEPT = ('family', 'must_be_stable')

Result = dict[str, Any]


class Suite(Section):
    """What is looked at, and with how many processes."""

    properties: list[Property] = parameter('What of the crystals is looked at.', default=list(SUITE))
    settings: dict[Property, dict[str, Any]] = parameter('Keys of single properties, by property.', default={})
    processes: Count = parameter('How many work side by side.', default=2, ge=1)


def read_suite(given: dict[str, Any]) -> Suite:
    """Return what is to be looked at.

    :raises ValueError: naming the key that is wrong.
    """
    suite = read_section(Suite, given)
    read_sections(suite.properties, suite.settings)
    return suite


def read_section(kind: type[Section], given: dict[str, Any], where: str = '') -> Any:
    """:raises ValueError: naming the key that is wrong."""
    try:
        return kind.model_validate(given)
    except ValidationError as exception:
        error = exception.errors()[0]
        key = '.'.join(map(str, error['loc']))
        raise ValueError(f'`{where}{key}`: {error["msg"].removeprefix("Value error, ")}') from None


def run_suite(
    description: Description | Calculator,
    crystals: Sequence[Atoms],
    parameters: Any = None,
    processes: int = 1,
    report: Report = print,
) -> Result:
    """Look at crystals with a potential.

    :param description: what :class:`Evaluator` takes.
    :param parameters: with `properties`, and `settings` where there are any, as :class:`Suite` has; `melting` is left
        to others.
    :param processes: how many work side by side.
    :param report: is told the progress.
    :returns: `crystals`, a list with what :func:`describe` says, :data:`KEPT` where given, `equilibrium` and each
        property; `pairs` (dimers of all elements; None if they are not asked for), `melting` (None), `errors`
        (None), `seconds` (CPU time by property, and the wall time as `total`) and `potential` (see :func:`identify`).
    :raises ValueError: if nothing can be looked at: no crystals, or other elements than those of the potential.
    """
    start = perf_counter()
    asked = parameters or Suite()
    with Evaluator(description, processes) as evaluator:
        check_crystals(crystals, evaluator.elements)
        sections = read_sections(asked.properties, getattr(asked, 'settings', {}))
        frames, found = settle_crystals(evaluator, crystals, report)
        batch = evaluate_all(evaluator, frames, sections, report)
        dimers = look_at_dimers(evaluator, frames, sections, report)
        finish(evaluator, frames, sections, batch, found, report)
        seconds = {**evaluator.seconds, 'total': perf_counter() - start}
        report(f'done in {seconds["total"]:.0f} s on {processes} {"processes" if processes > 1 else "process"}')
        content = {'crystals': found, 'pairs': dimers, 'melting': None, 'errors': None, 'seconds': seconds}
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


def crystals_of(content: Result) -> list[Atoms]:
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


def read_sections(properties: Sequence[str], settings: dict[str, dict[str, Any]]) -> dict[str, Section]:
    """Return the parameters of each property of the suite that is asked for.

    :raises ValueError: naming the key that is wrong.
    """
    return {
        name: read_section(module_of(name).Parameters, settings.get(name, {}), f'settings.{name}.')
        for name in SUITE
        if name in properties
    }


def module_of(name: str) -> Any:
    """Return the module of a property."""
    return importlib.import_module(f'.{name}', __package__)


def attempt(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return the result of a property with its `status` and `message`, whatever happens."""
    try:
        return {'status': 'ok', 'message': '', **function(*arguments)}
    except NotApplicableError as exception:
        return {'status': 'not_applicable', 'message': explain(exception)}
    except ProcessDiedError:  # perhaps not by this one
        raise
    except Exception as exception:  # a property that fails costs itself
        return {'status': 'failed', 'message': explain(exception)}


def settle_crystals(
    evaluator: Evaluator, crystals: Sequence[Atoms], report: Report
) -> tuple[list[Atoms | None], list[Result]]:
    """Return the relaxed crystals, None where there is no equilibrium, and what is known of each.

    :raises ValueError: if the potential can evaluate none of them.
    """
    settled = equilibrate(evaluator, crystals)
    described = [describe(frame) | {'name': frame.info['name']} for frame, _ in settled]
    frames: list[Atoms | None] = []
    for result, name, given, (frame, equilibrium) in zip(
        described, unique_names(described, crystals), crystals, settled, strict=True
    ):
        frame.info['name'] = name
        result |= {key: given.info[key] for key in KEPT if key in given.info}
        result |= {'name': name, 'equilibrium': equilibrium}
        frames.append(frame if equilibrium['status'] == 'ok' else None)
        report(f'{name}: {summary_of(equilibrium)}')
    if all(frame.calc is None for frame, _ in settled):
        raise ValueError(settled[0][1]['message'])
    return frames, described


def summary_of(equilibrium: Result) -> str:
    """Return the equilibrium of a crystal in a few words."""
    if equilibrium['status'] != 'ok':
        return equilibrium['message']
    lengths = [equilibrium[key] for key in 'abc']
    sizes = '' if None in lengths else f'a, b, c = {", ".join(f"{length:.4f}" for length in lengths)} Å, '
    return f'{sizes}{equilibrium["energy"]:.4f} eV/atom'


def reason_against(name: str, frame: Atoms | None) -> Result | None:
    """Return the result of a property that cannot be looked at, None if it can be."""
    if frame is None:
        return {'status': 'failed', 'message': 'not looked at, for there is no equilibrium'}
    reason = why_not(name, frame)
    return {'status': 'not_applicable', 'message': reason} if reason else None


def evaluate_all(
    evaluator: Evaluator, frames: Sequence[Atoms | None], sections: dict[str, Section], report: Report
) -> dict[tuple[int, str], list[Atoms] | Result]:
    """Return the labelled single points by crystal and property, or the result that stands in their place."""
    keys = [(index, name) for index in range(len(frames)) for name in STATIC if name in sections]
    batch: dict[tuple[int, str], Any] = {key: reason_against(key[1], frames[key[0]]) for key in keys}
    open_keys = [key for key in keys if batch[key] is None]
    with evaluator.purpose('planning'):
        planned = evaluator.map(plan, [(name, frames[index], sections[name]) for index, name in open_keys])
    batch |= dict(zip(open_keys, planned, strict=True))
    groups = {key: value for key, value in batch.items() if isinstance(value, list)}
    counts = {name: sum(len(group) for (_, own), group in groups.items() if own == name) for name in STATIC}
    listed = ', '.join(f'{name} {number}' for name, number in counts.items() if number)
    if listed:
        report(f'{sum(counts.values())} single points ({listed})')
    return batch | evaluate_groups(evaluator, groups, report)


def plan(_: Calculator, name: str, crystal: Atoms, section: Section) -> list[Atoms] | Result:
    """Return the single points that a property needs, or the result in their place."""
    planned = attempt(lambda: {'frames': module_of(name).plan(crystal, section)})
    if planned['status'] != 'ok':
        return planned
    for frame in planned['frames']:
        frame.info['property'] = name
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


def look_at_dimers(
    evaluator: Evaluator, frames: Sequence[Atoms | None], sections: dict[str, Section], report: Report
) -> Result | None:
    """Return what two atoms alone do, of every pair of elements; None if that is not asked for."""
    crystals = [frame for frame in frames if frame is not None]
    if 'pairs' not in sections:
        return None
    if not crystals:
        return reason_against('pairs', None)
    elements = evaluator.elements or sorted({symbol for frame in crystals for symbol in frame.symbols})
    pairs, section = module_of('pairs'), sections['pairs']

    def look() -> Result:
        planned = pairs.plan_dimers(crystals, elements, section)
        for frame in planned:
            frame.info['property'] = 'pairs'
        labelled = evaluate_groups(evaluator, {'dimers': planned}, report)['dimers']
        return labelled if isinstance(labelled, dict) else pairs.analyse_dimers(labelled, section)

    return attempt(look)


def finish(
    evaluator: Evaluator,
    frames: Sequence[Atoms | None],
    sections: dict[str, Section],
    batch: dict[tuple[int, str], list[Atoms] | Result],
    found: list[Result],
    report: Report,
) -> None:
    """Relax, simulate and analyse all crystals side by side, and put the results where they belong."""
    jobs = [(index, name) for name in (*RUNS, *STATIC) if name in sections for index in range(len(frames))]
    again: list[tuple[int, str]] = []

    def work(job: tuple[int, str]) -> None:
        index, name = job
        began = perf_counter()
        try:
            with evaluator.purpose(name):
                result = look_at(evaluator, name, frames[index], sections[name], batch.get(job))
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
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(work, jobs))
    for job in again if evaluator.processes > 1 else jobs:
        work(job)


def look_at(
    evaluator: Evaluator, name: str, frame: Atoms | None, section: Section, labelled: list[Atoms] | Result | None
) -> Result:
    """Return one property of one crystal."""
    if isinstance(labelled, dict):
        return labelled
    if labelled is not None:
        return attempt(lambda: evaluator.map(analyse, [(name, frame, labelled, section)])[0])
    against = reason_against(name, frame)
    return against or attempt(lambda: module_of(name).run(frame, evaluator, section))


def analyse(_: Calculator, name: str, crystal: Atoms, labelled: list[Atoms], section: Section) -> Result:
    """Return what the single points say of a property; in a process of the evaluator, for it may take seconds."""
    return attempt(module_of(name).analyse, crystal, labelled, section)
