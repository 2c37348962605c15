"""From elements to a set of structures: ideal structures, their variants, checks, and a choice among them.

Families propose ideal structures (`parents`), operations make variants of them, checks refuse what is not physical, and
what is refused is replaced until the number asked for is there.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.check import Checks, check_frames
from ..checks.duplicates import Duplicates
from ..checks.fingerprint import fingerprints, reduced_composition
from ..checks.overlap import closest_ratios
from ..core.errors import InputError
from ..crystals.elements import check_elements
from ..picking.pick import pick
from ..variants import CLUSTERS, OPERATIONS, NotApplicableError
from ..variants.clusters import isolated_atom
from ..variants.common import label
from ..variants.defects import hopping_cell
from ..variants.supercell import Supercell, enlarge, supercell
from .plan import FAMILIES, Structures

#: Structures that are made before they are checked together.
BATCH = 1024
#: Attempts without a single success after which the rest is given up.
MAX_ATTEMPTS_WITHOUT_SUCCESS = 10_000
#: Failures after which a structure is made by another operation.
FAILURES_BEFORE_CHANGE = 10
#: Wide cells are this much wider than they have to be, so that strained ones are wide enough, too.
WIDTH_MARGIN = 1.1
#: Largest difference of the fingerprints of crystals that are the same up to a shear of 2 % (rocksalt and zincblende:
#: 0.9, bcc and fcc: 0.14).
SAME_CRYSTAL = 0.02
#: Kind of rejection of what is there already.
DUPLICATE = 'duplicate'
#: Kind of rejection of what no operation can be applied to.
INAPPLICABLE = 'inapplicable'
#: Refused structures that are kept to find what would have passed.
MAX_REMEMBERED_REFUSALS = 500


class GenerationError(InputError):
    """The structures asked for cannot be made, although each of the keys is right."""


@dataclass
class Generation:
    """What was generated, and what was refused on the way."""

    frames: list[Atoms]
    parents: list[Atoms]
    #: (family, kind of rejection) -> how many
    rejected: Counter = field(default_factory=Counter)
    #: (family, kind of rejection) -> the message of one of them
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    #: operation -> why it cannot act on one of the ideal structures
    inapplicable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def table(self) -> list[dict[str, Any]]:
        """Return one row per family: parents, structures, those of each operation, and what was refused and why."""
        rows = []
        for name in dict.fromkeys(atoms.info['family'] for atoms in [*self.frames, *self.parents]):
            mine = [atoms for atoms in self.frames if atoms.info['family'] == name]
            rows.append(
                {
                    'family': name,
                    'parents': sum(atoms.info['family'] == name for atoms in self.parents),
                    'structures': len(mine),
                    'operations': dict(Counter(atoms.info.get('operation', '') for atoms in mine)),
                    'rejected': {kind: n for (family, kind), n in sorted(self.rejected.items()) if family == name},
                }
            )
        return rows


@dataclass
class Slot:
    """A structure to be made: by which operation, its index among so many of that operation, and failures."""

    group: Group
    operation: str
    index: int
    total: int
    failures: int = 0
    #: kind of the last rejection
    refused: str | None = None


@dataclass
class Group:
    """Parents that share one set of variants."""

    parents: list[Atoms]
    #: (operation, index of parent) that are senseless or fail again and again
    dead: set[tuple[str, int]] = field(default_factory=set)
    next: int = 0

    def take(self, operation: str) -> int | None:
        """Return the index of the next parent; None if the operation can act on none of them."""
        for _ in range(len(self.parents)):
            index = self.next % len(self.parents)
            self.next += 1
            if (operation, index) not in self.dead:
                return index
        return None


def generate(
    elements: list[str],
    structures: Structures,
    seed: int,
    *,
    own: Sequence[Atoms] = (),
    cutoff: float | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """Return the structures that a run file asks for.

    :param own: the user's own structures; they are part of the set as they are.
    :param cutoff: of the potential in Å, for `supercell.mode: wide`.
    :param limit: most structures altogether where `structures.number` is null: a set that would be larger is divided
        among the phases and operations as an explicit number is. Free atoms and the user's own are always part of it.
    :param progress: called with (structures made, structures wanted).
    :returns: first a free atom of every element, then the user's own structures, then the variants. Each has in its
        info `family`, `phase`, `operation`, `parent`, `parameters`, `reason`, `seed` and `split`.
    :raises GenerationError: if the number asked for cannot be reached; the message says what stood in the way.
    :raises InputError: if a parameter is impossible; the key begins with `structures`.
    """
    check_elements(elements)
    with _keys_under('structures'):
        maker = _Maker(list(dict.fromkeys(elements)), structures, seed, cutoff, progress)
        return maker.run(list(own), limit)


def starting_cells(
    elements: list[str],
    structures: Structures,
    seed: int,
    atoms: int,
    number: int,
    own: Sequence[Atoms] = (),
    max_atoms: int | None = None,
    hop: bool = False,
) -> list[Atoms]:
    """Return ideal structures with at least `atoms` atoms (molecules in a box apart), in which simulations can start.

    Those of most elements come first, and each phase comes once before any comes twice; random crystals, which may not
    survive their first steps, and single molecules come only where there is nothing else.

    :param number: structures at most.
    :param max_atoms: atoms of a cell at most: what can go to DFT whole when a simulation halts.
    :param hop: whether each crystal comes once more, at the end, with an atom on its way into a vacancy, unless other
        atoms stand in that way.
    :returns: cells whose info `operation` is `start`, or `hop` for those with a vacancy.
    :raises ValueError: if all structures are too large.
    """
    check_elements(elements)
    with _keys_under('structures'):
        return _starting_cells(elements, structures, seed, atoms, number, own, max_atoms, hop)


def _starting_cells(
    elements: list[str],
    structures: Structures,
    seed: int,
    atoms: int,
    number: int,
    own: Sequence[Atoms],
    max_atoms: int | None,
    hop: bool,
) -> list[Atoms]:
    maker = _Maker(list(dict.fromkeys(elements)), structures, seed, None, None)
    parents = maker.make_parents(list(own))
    cells = [supercell(parent, atoms) for parent in parents]
    small = [index for index, cell in enumerate(cells) if max_atoms is None or len(cell) <= max_atoms]
    if not small:
        raise InputError(
            '',
            f'the smallest cell in which a simulation could start has {min(map(len, cells))} atoms, more than '
            f'embed.max_atoms ({max_atoms})',
            'raise that, or name a family with smaller cells',
        )
    seen: Counter = Counter()
    ranked = []
    for order in small:
        parent = parents[order]
        phase = (parent.info['family'], parent.info['phase'], frozenset(parent.get_chemical_symbols()))
        last = phase[1] == 'random' or len(parent.info.get('vacuum_axes', [])) == 3
        ranked.append((last, seen[phase], -len(phase[2]), order))
        seen[phase] += 1
    chosen = [order for *_, order in sorted(ranked)[:number]]
    for order in chosen:
        cells[order].info['operation'] = 'start'
    found = [hopping_cell(parents[order], atoms, maker.rng(f'hop {order}')) for order in chosen] if hop else []
    hopping = [cell for cell in found if cell is not None]
    refused = check_frames(hopping, maker.checks)
    return [
        *(cells[order] for order in chosen),
        *(cell for cell, reason in zip(hopping, refused, strict=True) if reason is None),
    ]


@contextmanager
def _keys_under(prefix: str) -> Iterator[None]:
    """Put the name of a section before the keys of errors about what is in it."""
    try:
        yield
    except InputError as exception:
        raise exception.under(prefix) from exception


class _Maker:
    """The state of one generation."""

    def __init__(self, elements, structures, seed, cutoff, progress):
        self.elements, self.structures, self.seed, self.cutoff = elements, structures, seed, cutoff
        self.progress = progress or (lambda done, wanted: None)
        self.checks, self.supercell = self.read_sizes()
        element = structures.interstitial.element
        if structures.interstitial.number and element is not None and element not in elements:
            raise InputError(
                'interstitial.element',
                f'{element} is not in system.elements ({", ".join(elements)})',
                'add it there, or take null',
            )
        self.result = Generation([], [])
        self.known_parents, self.known = Duplicates(), Duplicates()
        self.groups: list[Group] = []
        self.variants: list[tuple[int, Atoms]] = []
        #: operation -> how many of its structures another operation made
        self.replaced: Counter = Counter()
        #: the last that were refused for overlap
        self.overlapping: deque[Atoms] = deque(maxlen=MAX_REMEMBERED_REFUSALS)

    def read_sizes(self) -> tuple[Checks, Supercell]:
        """Return the checks and the size of cells; of wide cells the width is checked."""
        checks, size = self.structures.checks, self.structures.supercell
        if size.mode != 'wide':
            return checks, size
        if size.width is None and self.cutoff is None:
            raise InputError('supercell.width', 'give the width, or the cutoff of the potential')
        width = size.width or 2 * self.cutoff
        return (
            checks.model_copy(update={'min_width': max(width, checks.min_width or 0.0)}),
            size.model_copy(update={'width': WIDTH_MARGIN * width}),
        )

    def rng(self, purpose: str) -> np.random.Generator:
        """Return a generator of its own for every purpose, so that one family does not change another."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def run(self, own: list[Atoms], limit: int | None = None) -> Generation:
        """Make everything; see :func:`generate`."""
        own = self.check_own(own)
        self.result.parents = self.make_parents(own)
        atoms = [isolated_atom(element) for element in sorted(self.elements)]
        for atom in atoms:
            atom.info.update(operation='free atom', reason='reference of the energies', parameters={})
        clusters = [
            atoms
            for name, cluster in CLUSTERS.items()
            for atoms in cluster.make(self.elements, getattr(self.structures, name), self.rng(name))
        ]
        fixed = [*atoms, *own]
        wanted = self.structures.number
        if wanted is not None and wanted <= len(fixed) + len(clusters):
            raise GenerationError(
                'number',
                f'{wanted} leaves no room beside the {len(atoms)} free atoms, {len(own)} structures of your own '
                f'and {len(clusters)} dimers and trimers',
                f'give at least {len(fixed) + len(clusters) + 1}, or fewer of these',
            )
        self.known.add(own)
        self.groups = self.make_groups()
        rest = None if wanted is None else wanted - len(fixed) - len(clusters)
        if rest is None and limit is not None:
            rest = self.find_rest(limit - len(fixed) - len(clusters))
        variants = self.make_variants(rest)
        self.result.frames = [*fixed, *variants, *clusters]
        for frame in self.result.frames:
            frame.info.setdefault('split', 'train')
            frame.info['seed'] = self.seed
        return self.result

    def check_own(self, own: list[Atoms]) -> list[Atoms]:
        """:raises ValueError: if a structure of the user is not physical."""
        own = [atoms.copy() for atoms in own]
        rejections = check_frames(own, self.structures.checks, elements=self.elements)
        for index, (atoms, rejection) in enumerate(zip(own, rejections, strict=True)):
            atoms.info.setdefault('family', 'user')
            atoms.info.setdefault('phase', 'user')
            atoms.info['operation'] = 'as given'
            if rejection is not None and rejection.kind not in ('vacuum', 'width'):
                name = atoms.info.get('reason', f'structure {index} of your own')
                raise InputError('', f'{name}: {rejection.message}')
        return own

    # Parents ----------------------------------------------------------------------------------------------------------

    def make_parents(self, own: list[Atoms]) -> list[Atoms]:
        """Return the ideal structures of all families, without those that are not physical."""
        parents = list(own) if self.structures.vary else []
        number = self.structures.number_of_parents()
        for name, parameters in self.structures.families(self.elements).items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always', UserWarning)
                with _keys_under(name):
                    found = FAMILIES[name].parents(self.elements, parameters, number, self.rng(name))
            # only the warnings of the family's package and of this one, not those of the libraries below
            packages = {'aiida_pyacemaker', type(FAMILIES[name]).__module__.partition('.')[0]}
            told = [str(item.message) for item in caught if any(package in item.filename for package in packages)]
            self.result.notes += list(dict.fromkeys(told))
            kept = self.accept(found)
            if not kept:
                raise GenerationError(
                    name,
                    f'none of its {len(found)} ideal structures is left. {self.explain()}',
                )
            parents += self.without_known_orders(kept, own) if self.structures.vary else kept
        if not parents:
            raise GenerationError(
                '',
                'no family is named and there is no structure of your own',
                'name one of them',
            )
        if self.structures.subsystems and self.structures.automatic:
            parents += self.missing_subsystems(parents)
        return parents

    def without_known_orders(self, parents: list[Atoms], own: list[Atoms]) -> list[Atoms]:
        """Return the ideal structures without crystals whose magnetic order is known from a structure of the user's.

        A family knows no order: its variants would start ferromagnetic, and the same crystal would have two energies.
        """
        ordered = [atoms for atoms in own if 'magnetic_moments' in atoms.arrays]
        if not ordered or not parents:
            return parents
        known = [(reduced_composition(atoms), scaled) for atoms, scaled in zip(ordered, _scaled(ordered), strict=True)]
        kept = []
        for parent, scaled in zip(parents, _scaled(parents), strict=True):
            composition = reduced_composition(parent)
            if any(composition == other and np.abs(scaled - its).max() < SAME_CRYSTAL for other, its in known):
                self.result.notes.append(
                    f'{label(parent)} of the family {parent.info["family"]} is left out: a structure of your own is '
                    'the same crystal, whose magnetic moments are known'
                )
            else:
                kept.append(parent)
        return kept

    def missing_subsystems(self, parents: list[Atoms]) -> list[Atoms]:
        """Return a structure for each element and pair of elements that no parent covers."""
        from .families.knowledge import propose

        covered = {frozenset(parent.get_chemical_symbols()) for parent in parents}
        found = []
        for size in (1, 2):
            for names in combinations(self.elements, size):
                if frozenset(names) in covered or size >= len(self.elements) > 1:
                    continue
                name = '-'.join(names)
                proposed = propose(list(names), 1, self.rng(f'subsystem {name}'))
                kept = self.accept(proposed)
                if not kept:
                    self.result.notes.append(f'no structure was found for the subsystem {name}')
                for atoms in kept:
                    atoms.info['subsystem'] = name
                    atoms.info['reason'] = f'covers the subsystem {name}: {atoms.info.get("reason", "")}'
                found += kept
        return found

    # Variants ---------------------------------------------------------------------------------------------------------

    def make_variants(self, wanted: int | None) -> list[Atoms]:
        """Return variants of the parents, `wanted` of them or as many as the operations say."""
        selecting = self.structures.selection.method != 'none'
        total = wanted if wanted is None or not selecting else wanted * self.structures.selection.oversampling
        slots = [
            Slot(group, name, index, number)
            for group, numbers in zip(self.groups, self.plan(total), strict=True)
            for name, number in numbers.items()
            for index in range(number)
        ]
        self.fill(slots)
        made = [atoms for _, atoms in sorted(self.variants, key=lambda pair: pair[0])]
        if wanted is not None and len(made) > wanted:
            made = self.select(made, wanted)
        return made

    def make_groups(self) -> list[Group]:
        """Return the parents by phase; those of the subsystems are one group, so are the user's."""
        phases: dict[Any, list[Atoms]] = {}
        for parent in self.result.parents:
            key = (parent.info['family'], parent.info['phase'])
            if 'subsystem' in parent.info:
                key = 'subsystem'
            elif parent.info['family'] == 'user':
                key = 'user'
            phases.setdefault(key, []).append(enlarge(parent, self.supercell, self.cutoff))
        return [Group(parents) for parents in phases.values()]

    def plan(self, total: int | None) -> list[dict[str, int]]:
        """Return for each group how many structures each operation makes.

        Of a total a group gets a share in proportion to the square root of the number of its parents: random crystals
        are many, the ground state is one. Fractions of an operation are carried over to the next group.
        """
        weights = {name: getattr(self.structures, name).number for name in OPERATIONS}
        if total is None:
            # of ideal structures there cannot be more than there are
            return [{**weights, 'pristine': min(weights['pristine'], len(group.parents))} for group in self.groups]
        if not any(weights.values()):
            raise GenerationError('', 'every operation has number 0', 'give rattle or pristine a number')
        shares = _shares([math.sqrt(len(group.parents)) for group in self.groups], total)
        return _carried({name: weight for name, weight in weights.items() if weight}, shares)

    def find_rest(self, room: int) -> int | None:
        """Return how many variants there are to be in the room that a limit leaves; None if all fit into it.

        One is asked of each phase at least.
        """
        wanted = sum(sum(numbers.values()) for numbers in self.plan(None))
        if wanted <= room:
            return None
        least = max(room, len(self.groups))
        self.result.notes.append(f'{least} of {wanted} variants are made: the limit of the initial set allows no more')
        return least

    def fill(self, slots: list[Slot]) -> None:
        """Make a structure for each slot; what is refused is replaced by another, from other parents if need be."""
        rng = self.rng('variants')
        pending = list(enumerate(slots))
        wanted, fruitless = len(slots), 0
        while pending:
            batch, pending = pending[:BATCH], pending[BATCH:]
            made = [(order, slot, self.attempt(slot, rng)) for order, slot in batch]
            frames = [atoms for *_, atoms in made if atoms is not None]
            verdicts = iter(self.check(frames, self.known))
            kept = 0
            for order, slot, atoms in made:
                slot.refused = next(verdicts) if atoms is not None else INAPPLICABLE
                if slot.refused is None:
                    self.variants.append((order, atoms))
                    kept += 1
                elif slot.failures < self.structures.checks.max_attempts:
                    pending.append((order, slot))
            fruitless = 0 if kept else fruitless + len(batch)
            self.progress(len(self.variants), wanted)
            if fruitless >= MAX_ATTEMPTS_WITHOUT_SUCCESS:
                break
        if self.replaced:
            names = ', '.join(f'{name} {number}' for name, number in sorted(self.replaced.items()))
            self.result.notes.append(
                f'some operations cannot act on some structures, or have nothing new to offer ({names} times); others '
                f'stood in for them{": " if self.result.inapplicable else ""}'
                + '; '.join(list(self.result.inapplicable.values())[:3])
            )
        missing = wanted - len(self.variants)
        exhausted = all(slot.refused in (None, DUPLICATE, INAPPLICABLE) for slot in slots)
        if missing and self.structures.number is None and exhausted:
            self.result.notes.append(f'{missing} variants were not made: there was nothing new to make')
        elif missing:
            raise GenerationError(
                '',
                f'only {len(self.variants)} of {wanted} variants could be made. {self.explain()}',
            )

    def attempt(self, slot: Slot, rng: np.random.Generator) -> Atoms | None:
        """Return a variant, unchecked; None if there is nothing the operation can act on."""
        # another operation steps in where one has nothing new to offer, another phase where it breaks all structures
        if slot.failures and slot.failures % FAILURES_BEFORE_CHANGE == 0:
            if slot.refused == DUPLICATE:
                self.reassign(slot, rng)
            else:
                slot.group = self.groups[rng.integers(len(self.groups))]
        # the first attempt is the place in the grid, the others are drawn at random
        position = slot.index + slot.failures * slot.total
        slot.failures += 1
        operation = OPERATIONS[slot.operation]
        parameters = getattr(self.structures, operation.section or slot.operation)
        while (index := slot.group.take(slot.operation)) is not None:
            try:
                return operation.make(slot.group.parents[index], parameters, rng, position, slot.total)
            except NotApplicableError as exception:
                slot.group.dead.add((slot.operation, index))
                self.result.inapplicable.setdefault(slot.operation, str(exception))
        self.reassign(slot, rng)
        return None

    def reassign(self, slot: Slot, rng: np.random.Generator) -> None:
        """Give a slot another operation of the plan, drawn in proportion to their numbers."""
        numbers = {
            name: getattr(self.structures, name).number
            for name in OPERATIONS
            if name != slot.operation
            and any((name, index) not in slot.group.dead for index in range(len(slot.group.parents)))
        }
        total = sum(numbers.values())
        if total:
            self.replaced[slot.operation] += 1
            slot.operation = str(rng.choice(list(numbers), p=[number / total for number in numbers.values()]))

    def select(self, frames: list[Atoms], wanted: int) -> list[Atoms]:
        """Return the held-out frames in their share, and the best of the others."""
        test = [atoms for atoms in frames if atoms.info.get('split') == 'test']
        rest = [atoms for atoms in frames if atoms.info.get('split') != 'test']
        n_test = min(len(test), round(wanted * len(test) / len(frames)))
        chosen = pick(rest, wanted - n_test, self.structures.selection, self.rng('selection'))
        return [*(rest[index] for index in sorted(chosen)), *test[:n_test]]

    # Checks -----------------------------------------------------------------------------------------------------------

    def check(self, frames: list[Atoms], known: Duplicates) -> list[str | None]:
        """Return the kind of rejection of each frame, None for what is physical and new; rejections are counted."""
        # ideal structures are small; only their variants have to be wide
        checks = self.structures.checks if known is self.known_parents else self.checks
        rejections = check_frames(frames, checks, elements=self.elements)
        good = [index for index, rejection in enumerate(rejections) if rejection is None]
        new = np.ones(len(good), dtype=bool)
        if self.structures.checks.duplicates:
            new = known.add([frames[index] for index in good])
        verdicts = [None if rejection is None else rejection.kind for rejection in rejections]
        for index, is_new in zip(good, new, strict=True):
            if not is_new:
                verdicts[index] = DUPLICATE
                self.count(frames[index], DUPLICATE, 'it is there already')
        for atoms, rejection in zip(frames, rejections, strict=True):
            if rejection is not None:
                self.count(atoms, rejection.kind, rejection.message)
            if rejection is not None and rejection.kind == 'overlap':
                self.overlapping.append(atoms)
        return verdicts

    def count(self, atoms: Atoms, kind: str, message: str) -> None:
        key = (atoms.info.get('family', 'unknown'), kind)
        self.result.rejected[key] += 1
        self.result.examples.setdefault(key, message)

    def accept(self, frames: list[Atoms]) -> list[Atoms]:
        """Return the ideal structures that are physical and new."""
        verdicts = self.check(frames, self.known_parents)
        return [atoms for atoms, refused in zip(frames, verdicts, strict=True) if refused is None]

    def explain(self) -> str:
        """Say why structures were refused, most frequent first."""
        parts = []
        for (family, kind), number in self.result.rejected.most_common(3):
            parts.append(f'{number} of {family} refused for {kind} (such as: {self.result.examples[family, kind]})')
        parts += list(self.result.inapplicable.values())[:2]
        reasons = '; '.join(parts) or 'no operation can act on them'
        remedy = 'Lower the amplitudes or structures.checks, or name other operations or families'
        limit = self.structures.checks.overlap
        if self.overlapping:
            best = float(closest_ratios(list(self.overlapping)).max())
            remedy = (
                f'The best of these has a ratio of {best:.3f}: lower structures.checks.overlap ({limit:g}) to '
                f'{math.floor(100 * best) / 100:g} or less, or lower the amplitudes'
            )
        return f'{reasons}. {remedy}'


def _scaled(frames: list[Atoms]) -> np.ndarray:
    """Return the fingerprints of frames apart from their volume."""
    return fingerprints(frames)[:, 1:]


def _carried(weights: dict[str, int], shares: list[int]) -> list[dict[str, int]]:
    """Divide each share in proportion to the weights; what is owed to a name is carried over to the next share."""
    whole = sum(weights.values())
    # half a structure ahead for all: the first group has them, too; ideal ones come first
    owed = {name: 1.0 if name == 'pristine' else 0.5 for name in weights}
    plans = []
    for share in shares:
        owed = {name: owed[name] + share * weight / whole for name, weight in weights.items()}
        numbers = dict.fromkeys(weights, 0)
        for _ in range(share):
            numbers[max(weights, key=lambda name: owed[name] - numbers[name])] += 1
        owed = {name: owed[name] - numbers[name] for name in weights}
        plans.append(numbers)
    return plans


def _shares(weights: list[float], total: int) -> list[int]:
    """Divide `total` in proportion to the weights, by largest remainders; what is left over goes to the first."""
    whole = sum(weights)
    exact = [total * weight / whole for weight in weights]
    shares = [math.floor(value) for value in exact]
    order = sorted(range(len(weights)), key=lambda index: (shares[index] - exact[index], index))
    for index in order[: total - sum(shares)]:
        shares[index] += 1
    return shares
