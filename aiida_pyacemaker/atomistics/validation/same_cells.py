"""A potential beside the oracle of its labels, such as DFT, in the same cells: vacancies, surfaces, faults, phonons.

The potential relaxes small cells, the oracle labels them as they are, and both labels are looked at by the same
functions. So like is compared with like: the same cell, the same places of the atoms, the same formula. Nothing is
relaxed by the oracle; the forces that it finds where the potential has none say how far it is from its own places.

The cells are as large as an allowance of core-hours permits: each property has a list of sizes. What does not fit
even in the smallest is left out, and said, with what it would cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict, cast

import numpy as np
from ase import Atoms

from ..core.cost import CostModel
from ..core.frame import labels
from ..core.parameters import Section, parameter
from ..core.plain import Json, plain
from ..labelling.teachers import describe as explain
from .evaluator import Description, Evaluator, Report
from .parameters import SAME_CELLS
from .property import Property, Result, load_properties
from .suite import attempt, crystals_of, reason_against

#: Family of the cells.
FAMILY = 'reference'


class SameCells(Section):
    """Which cells are made for the oracle of the labels."""

    properties: list[str] = parameter('Properties whose cells it shall label.', default=list(SAME_CELLS))
    core_hours: float | None = parameter('What their labels may cost, null: no matter.', ge=0, default=None)
    cost: dict[str, Any] = parameter(
        'What a label costs: the arguments of the model of the cost; empty: nothing worth counting.', default={}
    )


class Row(TypedDict):
    """A number of both: of the potential and of the oracle, None where it has none."""

    name: str
    label: str
    unit: str
    potential: float | None
    dft: float | None


class Forces(TypedDict):
    """How the forces (eV/Å) of a potential and of the oracle differ in the same cells.

    `rmse` is of the components, `max` the longest difference of two vectors, `rms_dft` and `max_dft` the same of the
    forces of the oracle alone, `components` the number of components.
    """

    rmse: float
    max: float
    rms_dft: float
    max_dft: float
    components: int


class Comparison(Result, total=False):
    """What is known of a property of a crystal in the same cells.

    `status` is ok, too_dear, failed or not_applicable, and `planned` until there are labels. `core_hours` is what the
    labels were expected to cost, None if that does not count; `atoms` the number of atoms of each cell.
    """

    parameters: Json
    core_hours: float | None
    atoms: list[int]
    potential: Json
    dft: Json
    rows: list[Row]
    forces: Forces


class Candidate(TypedDict):
    """Cells of one size, and the core-seconds that their labels are expected to cost."""

    parameters: Mapping[str, Any]
    frames: list[Atoms]
    seconds: float


#: Of a crystal what is known of each property, by its name.
Comparisons = dict[str, Comparison]


def make_cells(
    description: Description, content: Json, asked: SameCells, processes: int = 1, report: Report = print
) -> tuple[list[Atoms], list[Comparisons]]:
    """Return the cells for the oracle, with the labels of the potential, and what is known of each crystal.

    :param description: the potential, as :class:`.evaluator.Evaluator` takes it.
    :param content: what the suite says of the crystals: cells are made of those that have an equilibrium.
    :returns: info `crystal` is the index of the crystal, `operation` the property, `number` that of the cell among
        those of both, `kpoints_mesh` the k-points that are the same for all of them.
    """
    model = CostModel.from_dict(asked.cost) if asked.cost else None
    crystals = [
        atoms if found['equilibrium']['status'] == 'ok' else None
        for atoms, found in zip(crystals_of(content), content['crystals'], strict=True)
    ]
    known: list[Comparisons] = [{} for _ in crystals]
    open_keys: list[tuple[int, str]] = []
    for index, atoms in enumerate(crystals):
        for name in asked.properties:
            reason = reason_against(load_properties()[name](), atoms)
            if reason is None:
                open_keys.append((index, name))
            else:
                known[index][name] = cast(Comparison, reason)
    planned = {key: plan_candidates(cast(Atoms, crystals[key[0]]), key[1], model) for key in open_keys}
    made: list[Atoms] = []
    with Evaluator(description, processes) as evaluator:
        for (index, name), found in choose_sizes(planned, asked.core_hours).items():
            if 'frames' in found:
                found = relax_candidate(evaluator, cast(Atoms, crystals[index]), index, name, cast(Candidate, found))
                made += found.pop('frames', [])
            known[index][name] = found
            words = found['message'] or f'{len(found["atoms"])} cells of up to {max(found["atoms"])} atoms'
            report(f'{content["crystals"][index]["name"]}: {name} for the oracle: {words}')
    return made, plain(known)


def choose_sizes(
    planned: Mapping[tuple[int, str], list[Candidate] | Comparison], core_hours: float | None
) -> dict[tuple[int, str], Any]:
    """Return for each crystal and property the cells that the allowance permits, or why there are none.

    All get their smallest cells first, the cheapest before the others; what is left then makes cells larger, where
    that costs least, step by step.

    :param planned: what :func:`plan_candidates` returns.
    :param core_hours: what all may cost together, None: no matter.
    :returns: a :class:`Candidate`, or a :class:`Comparison` without cells.
    """
    keys = list(planned)
    chosen: dict[tuple[int, str], Any] = {key: found for key, found in planned.items() if isinstance(found, dict)}
    sizes = {key: found for key, found in planned.items() if isinstance(found, list)}
    left = np.inf if core_hours is None else 3600 * core_hours
    level: dict[tuple[int, str], int] = {}
    for key, candidates in sorted(sizes.items(), key=lambda item: item[1][-1]['seconds']):
        smallest = candidates[-1]
        if smallest['seconds'] > left:
            chosen[key] = too_dear(smallest, cast(float, core_hours), left / 3600)
            continue
        left -= smallest['seconds']
        level[key] = len(candidates) - 1
    while True:
        steps = [
            (sizes[key][number - 1]['seconds'] - sizes[key][number]['seconds'], keys.index(key))
            for key, number in level.items()
            if number
        ]
        cost, position = min(steps, default=(np.inf, 0))
        if not steps or cost > left:
            break
        left -= cost
        level[keys[position]] -= 1
    return chosen | {key: sizes[key][number] for key, number in level.items()}


def too_dear(smallest: Candidate, core_hours: float, left: float) -> Comparison:
    """Return that the smallest cells of a property cost more core-hours than are left of an allowance."""
    hours = smallest['seconds'] / 3600
    text = (
        f'not computed: its smallest cells would cost about {hours:.2g} core-hours, {left:.2g} are left of the '
        f'{core_hours:.2g} that `validate.reference_core_hours` allows'
    )
    atoms = [len(frame) for frame in smallest['frames']]
    return {'status': 'too_dear', 'message': text, 'core_hours': hours, 'atoms': atoms}


def plan_candidates(crystal: Atoms, name: str, model: CostModel | None) -> list[Candidate] | Comparison:
    """Return the cells of a property in all sizes, the best first, with what they cost; or why there are none."""
    candidates: list[Candidate] = []
    refused: Comparison = {}
    for parameters in load_properties()[name].same_cells:
        kind = make_kind(name, parameters)
        planned = cast(Json, attempt(lambda kind=kind: cast(Result, {'frames': kind.plan_cells(crystal)})))
        if planned['status'] != 'ok':
            refused = refused or cast(Comparison, planned)
            continue
        frames = planned['frames']
        candidate: Candidate = {'parameters': parameters, 'frames': frames, 'seconds': 0.0}
        if model is not None:
            meshes = kind.meshes_of_cells(frames, model.kpoints_distance)
            for frame, mesh in zip(frames, meshes, strict=True):
                frame.info['kpoints_mesh'] = list(mesh)
            candidate['seconds'] = sum(model.core_seconds(frame) for frame in frames)
        candidates.append(candidate)
        if model is None:
            break
    return candidates or refused


def relax_candidate(evaluator: Evaluator, crystal: Atoms, index: int, name: str, chosen: Candidate) -> Any:
    """Return a :class:`Comparison` with the `frames`, as the potential wants them, or with the reason why not."""
    kind = make_kind(name, chosen['parameters'])
    with evaluator.purpose(name):
        result = cast(Json, attempt(lambda: cast(Result, {'frames': kind.relax_cells(evaluator, crystal)})))
    seconds = chosen['seconds']
    known = {
        'parameters': dict(chosen['parameters']),
        'core_hours': seconds / 3600 if seconds else None,
        'atoms': [len(frame) for frame in chosen['frames']],
    }
    if result['status'] != 'ok':
        return {**known, **result}
    frames = result['frames']
    for number, (frame, start) in enumerate(zip(frames, chosen['frames'], strict=True)):
        frame.set_constraint()
        frame.info |= {'family': FAMILY, 'operation': name, 'crystal': index, 'number': number}
        if 'kpoints_mesh' in start.info:
            frame.info['kpoints_mesh'] = start.info['kpoints_mesh']
    return {'status': 'planned', 'message': '', **known, 'frames': frames}


def compare_cells(content: Json, known: list[Comparisons], cells: list[Atoms], labelled: list[Atoms]) -> list[Json]:
    """Return what both say of each crystal: of each property a :class:`Comparison`.

    :param content: what the suite says of the crystals.
    :param known: what :func:`make_cells` says of them.
    :param cells: the cells of it, with the labels of the potential.
    :param labelled: the same with the labels of the oracle, in any order; some may be missing.
    """
    crystals = crystals_of(content)
    compared = [
        {
            name: compare_one(crystals[index], index, name, entry, cells, labelled)
            if entry['status'] == 'planned'
            else entry
            for name, entry in entries.items()
        }
        for index, entries in enumerate(known)
    ]
    return plain(compared)


def compare_one(
    crystal: Atoms, index: int, name: str, entry: Comparison, cells: list[Atoms], labelled: list[Atoms]
) -> Comparison:
    """Return what both say of a property of a crystal."""
    ours, theirs = (
        {a.info['number']: a for a in frames if a.info['crystal'] == index and a.info['operation'] == name}
        for frames in (cells, labelled)
    )
    theirs = {number: atoms for number, atoms in theirs.items() if {'energy', 'forces'} <= labels(atoms).keys()}
    lacking = sorted(ours.keys() - theirs.keys())
    if lacking:
        text = f'{len(lacking)} of {len(ours)} cells have no label: see why their calculations failed'
        return {**entry, 'status': 'failed', 'message': text}
    pairs = [(ours[number], theirs[number].copy()) for number in sorted(ours)]
    for (own, other), number in zip(pairs, sorted(ours), strict=True):
        other.calc = theirs[number].calc
        other.info = {**own.info, 'unrelaxed_energy': float('nan')}
    kind = make_kind(name, entry['parameters'])
    found = {
        title: attempt(kind.analyse_cells, crystal, frames)
        for title, frames in (('potential', [own for own, _ in pairs]), ('dft', [other for _, other in pairs]))
    }
    for title, result in found.items():
        if result['status'] != 'ok':
            return {**entry, 'status': result['status'], 'message': f'{title}: {result["message"]}'}
    try:
        rows = list(make_rows(kind, found['potential'], found['dft']))
    except (ValueError, KeyError, TypeError) as exception:
        return {**entry, 'status': 'failed', 'message': explain(exception)}
    return {
        **entry,
        'status': 'ok',
        'potential': cast(Json, found['potential']),
        'dft': cast(Json, found['dft']),
        'rows': rows,
        'forces': compare_forces(pairs),
    }


def make_rows(kind: Property, ours: Result, theirs: Result) -> Iterator[Row]:
    """Yield the numbers of both, in the order of their places, and then what tells them apart."""
    first, second = kind.quantities(ours), kind.quantities(theirs)
    told = {name: kind.quantity(name) for name in [*first, *(name for name in second if name not in first)]}
    for name, quantity in sorted(told.items(), key=lambda item: item[1].place if item[1] else np.inf):
        if quantity is not None and (first.get(name) is not None or second.get(name) is not None):
            row: Row = {
                'name': name,
                'label': quantity.label,
                'unit': quantity.unit,
                'potential': first.get(name),
                'dft': second.get(name),
            }
            yield row
    for name, (value, quantity) in kind.deviations_of_cells(ours, theirs).items():
        yield {'name': name, 'label': quantity.label, 'unit': quantity.unit, 'potential': value, 'dft': None}


def compare_forces(pairs: Sequence[tuple[Atoms, Atoms]]) -> Forces:
    """Return how the forces of the second differ from those of the first, in all cells together."""
    ours, theirs = (np.vstack([labels(pair[k])['forces'] for pair in pairs]) for k in (0, 1))
    difference = theirs - ours
    return {
        'rmse': float(np.sqrt(np.mean(difference**2))),
        'max': float(np.linalg.norm(difference, axis=1).max()),
        'rms_dft': float(np.sqrt(np.mean(theirs**2))),
        'max_dft': float(np.linalg.norm(theirs, axis=1).max()),
        'components': int(difference.size),
    }


def make_kind(name: str, parameters: Mapping[str, Any]) -> Property:
    """Return a property with the parameters of its small cells."""
    kind = load_properties()[name]
    return kind(kind.Parameters(**parameters))
