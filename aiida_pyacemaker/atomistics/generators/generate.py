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
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.check import Checks, check_frames
from ..checks.duplicates import Duplicates
from ..checks.fingerprint import fingerprints, reduced_composition
from ..checks.overlap import closest_ratios
from ..core.errors import InputError
from ..core.sketch import SKETCH, sketching
from ..crystals.elements import check_elements, is_metal
from ..picking.pick import pick
from ..variants import CLUSTERS, OPERATIONS, NotApplicableError
from ..variants.clusters import isolated_atom
from ..variants.common import label
from ..variants.defects import hopping_cell
from ..variants.supercell import Supercell, enlarge, supercell
from .limits import Limits, affordable_cell
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
#: Lattices of an element among which a cheap one is looked for.
MIN_LATTICES = 8
#: Kind of rejection of what is there already.
DUPLICATE = 'duplicate'
#: Kind of rejection of what no operation can be applied to.
INAPPLICABLE = 'inapplicable'
#: Phases whose structures are of no use as a start, or take minutes to make; some families name the material before.
SLOW_PHASES = ('random', 'amorphous')
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
class InitialPlan:
    """What an initial set will be, before it is made.

    :param frames: a stand-in for each structure, of its elements and about its size; with info `phase`, `operation` and
        `split`.
    :param seconds: core-seconds of the label of each, as far as they are known; else empty.
    :param notes: what is other than asked for.
    :param parents: the ideal structures; those that take long to make are stand-ins, too.
    """

    frames: list[Atoms]
    seconds: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parents: list[Atoms] = field(default_factory=list)


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

    def without_sketches(self) -> Group:
        """Return a group of the parents that are no stand-ins."""
        return Group([parent for parent in self.parents if SKETCH not in parent.info])

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
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """Return the structures that a run file asks for.

    :param own: the user's own structures; they are part of the set as they are.
    :param cutoff: of the potential in Å, for `supercell.mode: wide`.
    :param limits: what bounds the set. Most structures and most time altogether count where `structures.number` is
        null: a set that would be larger is divided among the phases and operations as an explicit number is, and then
        thinned out where labels are costly. Free atoms and the user's own are always part of it. What one label costs
        bounds the cells in any case, unless they have to be wide.
    :param progress: called with (structures made, structures wanted).
    :returns: first a free atom of every element, then the user's own structures, then the variants. Each has in its
        info `family`, `phase`, `operation`, `parent`, `parameters`, `reason`, `seed` and `split`.
    :raises GenerationError: if the number asked for cannot be reached; the message says what stood in the way.
    :raises InputError: if a parameter is impossible; the key begins with `structures`.
    """
    check_elements(elements)
    with _keys_under('structures'):
        maker = _Maker(list(dict.fromkeys(elements)), structures, seed, cutoff, progress, limits)
        return maker.run(list(own))


def plan_set(
    elements: list[str],
    structures: Structures,
    seed: int,
    *,
    own: Sequence[Atoms] = (),
    cutoff: float | None = None,
    limits: Limits | None = None,
    try_out: bool = False,
) -> InitialPlan:
    """Return what :func:`generate` will make, in a second where that takes minutes.

    :param try_out: whether each operation is tried on an ideal structure of each phase.
    :raises GenerationError: if something cannot be made, as far as it is known without making all.
    :raises InputError: if a parameter is impossible; the key begins with `structures`.
    """
    check_elements(elements)
    with _keys_under('structures'), sketching():
        maker = _Maker(list(dict.fromkeys(elements)), structures, seed, cutoff, None, limits)
        return maker.plan_set(list(own), try_out)


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
    names = list(dict.fromkeys(elements))
    with sketching():
        maker = _Maker(names, structures, seed, None, None)
        parents = maker.make_parents(list(own))
    chosen = _choose_starts(parents, atoms, number, max_atoms)
    if any(SKETCH in parents[order].info for order in chosen):
        maker = _Maker(names, structures, seed, None, None)
        parents = maker.make_parents(list(own))
        chosen = _choose_starts(parents, atoms, number, max_atoms)
    cells = {order: supercell(parents[order], atoms) for order in chosen}
    for cell in cells.values():
        cell.info['operation'] = 'start'
    found = [hopping_cell(parents[order], atoms, maker.rng(f'hop {order}')) for order in chosen] if hop else []
    hopping = [cell for cell in found if cell is not None]
    refused = check_frames(hopping, maker.checks)
    return [*cells.values(), *(cell for cell, reason in zip(hopping, refused, strict=True) if reason is None)]


def _choose_starts(parents: list[Atoms], atoms: int, number: int, max_atoms: int | None) -> list[int]:
    """Return the indices of the ideal structures in which simulations start."""
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
        # what takes long to make has no advantage over a crystal, which a simulation melts soon enough
        last = str(phase[1]).endswith(SLOW_PHASES) or len(parent.info.get('vacuum_axes', [])) == 3
        ranked.append((last, seen[phase], -len(phase[2]), order))
        seen[phase] += 1
    return [order for *_, order in sorted(ranked)[:number]]


@contextmanager
def _keys_under(prefix: str) -> Iterator[None]:
    """Put the name of a section before the keys of errors about what is in it."""
    try:
        yield
    except InputError as exception:
        raise exception.under(prefix) from exception


class _Maker:
    """The state of one generation."""

    def __init__(self, elements, structures, seed, cutoff, progress, limits=None):
        limits = limits or Limits()
        if structures.supercell.mode == 'wide':
            limits = replace(limits, label_seconds=None)
        self.limits = limits.without_total() if structures.number is not None else limits
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
        #: what is left of the plan where labels are costly
        self.thinned: list[dict[str, int]] | None = None
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

    def run(self, own: list[Atoms]) -> Generation:
        """Make everything; see :func:`generate`."""
        fixed, clusters, rest = self.prepare(own)
        variants = self.make_variants(rest)
        self.result.frames = [*fixed, *variants, *clusters]
        for frame in self.result.frames:
            frame.info.setdefault('split', 'train')
            frame.info['seed'] = self.seed
        return self.result

    def plan_set(self, own: list[Atoms], try_out: bool) -> InitialPlan:
        """Plan everything; see :func:`plan_set`."""
        fixed, clusters, rest = self.prepare(own)
        frames = [*fixed, *clusters]
        numbers = self.plan(rest)
        for group, wanted in zip(self.groups, numbers, strict=True):
            turn = 0
            for name, number in wanted.items():
                for _ in range(number):
                    frames.append(self.stand_in(group.parents[turn % len(group.parents)], name))
                    turn += 1
        if try_out:
            self.fill(
                [
                    Slot(sketchless, name, 0, max(1, number))
                    for group, wanted in zip(self.groups, numbers, strict=True)
                    if (sketchless := group.without_sketches()).parents
                    for name, number in wanted.items()
                    if number
                ]
            )
        seconds = [self.limits.seconds(atoms) for atoms in frames] if self.limits.model is not None else []
        return InitialPlan(frames, seconds, list(self.result.notes), self.result.parents)

    def stand_in(self, parent: Atoms, name: str) -> Atoms:
        """Return the cell that an operation acts on."""
        cell, parameters = self.size(parent, name)
        atoms = supercell(cell, getattr(parameters, 'atoms', 1))
        atoms.info.update(operation=name, split='test' if name == 'test' else 'train')
        return atoms

    def size(self, parent: Atoms, name: str) -> tuple[Atoms, Any]:
        """Return the ideal structure and the parameters of an operation such that the label is affordable."""
        operation = OPERATIONS[name]
        parameters = getattr(self.structures, operation.section or name)
        wanted = getattr(parameters, 'atoms', 1)
        cell, atoms = affordable_cell(parent, wanted, operation.least, self.limits)
        return cell, parameters if atoms == wanted else parameters.model_copy(update={'atoms': atoms})

    def prepare(self, own: list[Atoms]) -> tuple[list[Atoms], list[Atoms], int | None]:
        """Make the ideal structures and what no operation makes.

        :returns: free atoms and the user's own structures, dimers and trimers, and how many variants there are to be;
            None for as many as the operations say.
        """
        own = self.check_own(own)
        self.result.parents = self.make_parents(own)
        if self.limits.total_seconds is not None:
            self.result.parents = self.without_costly(self.result.parents)
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
        if rest is None and self.limits.number is not None:
            rest = self.find_rest(self.limits.number - len(fixed) - len(clusters))
        if self.limits.total_seconds is not None:
            spent = sum(self.limits.seconds(atoms) for atoms in (*fixed, *clusters))
            self.thinned = self.thin_out(self.plan(rest), self.limits.total_seconds - spent)
        return fixed, clusters, rest

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
        if self.thinned is not None:
            return self.thinned
        weights = {name: getattr(self.structures, name).number for name in OPERATIONS}
        if total is None:
            # of ideal structures there cannot be more than there are
            return [{**weights, 'pristine': min(weights['pristine'], len(group.parents))} for group in self.groups]
        if not any(weights.values()):
            raise GenerationError('', 'every operation has number 0', 'give rattle or pristine a number')
        shares = _shares([math.sqrt(len(group.parents)) for group in self.groups], total)
        return _carried({name: weight for name, weight in weights.items() if weight}, shares)

    def without_costly(self, parents: list[Atoms]) -> list[Atoms]:
        """Leave out ideal structures whose labels would eat up the time, unless they are the user's.

        Each set of elements has a share of the time. An ideal structure is kept if two labels of it are affordable of
        that share, the most plausible one if one label is, and that of a compound with a nonmetal in any case: without
        its own crystal there is no compound. Of another set of elements of which none is left the cheapest is kept, or
        another crystal of them that is cheaper.
        """
        from .families.alloy import layered_alloy
        from .families.knowledge import propose_element

        systems: dict[frozenset[str], list[Atoms]] = {}
        for parent in parents:
            systems.setdefault(frozenset(parent.get_chemical_symbols()), []).append(parent)
        share = self.limits.total_seconds / len(systems)
        costs = {id(parent): self.cost(parent, 'pristine') for parent in parents}
        kept = {id(parent) for parent in parents if parent.info['family'] == 'user'}
        more = []
        for symbols, mine in systems.items():
            fitting = [parent for parent in mine if 2 * costs[id(parent)] <= share]
            is_compound = len(symbols) > 1 and not all(map(is_metal, symbols))
            if costs[id(mine[0])] <= share or is_compound:
                fitting.append(mine[0])
            kept.update(map(id, fitting))
            if fitting or kept & set(map(id, mine)):
                continue
            cheapest = min(mine, key=lambda parent: costs[id(parent)])
            others = propose_element(*symbols, MIN_LATTICES) if len(symbols) == 1 else []
            if len(symbols) > 1:
                others = [layered_alloy(sorted(symbols))]
            others = [atoms for atoms in others if self.cost(atoms, 'pristine') < costs[id(cheapest)]]
            accepted = self.accept(sorted(others, key=lambda atoms: self.cost(atoms, 'pristine')))[:1]
            more += accepted
            kept |= set() if accepted else {id(cheapest)}
        dropped = [parent for parent in parents if id(parent) not in kept]
        if dropped:
            self.result.notes.append(
                f'{len(dropped)} of {len(parents)} ideal structures are left out, since their labels would cost too '
                f'much: {_names(dropped)}'
            )
        return [*(parent for parent in parents if id(parent) in kept), *more]

    def cost(self, parent: Atoms, name: str) -> float:
        """Return the core-seconds of a label of a variant."""
        return self.limits.seconds(self.stand_in(parent, name))

    def thin_out(self, plans: list[dict[str, int]], room: float) -> list[dict[str, int]]:
        """Return the plan with fewer structures of what is costly, until all labels fit into the time, if they can.

        Phases and operations have time in proportion to the numbers asked for: one structure after the other is taken
        from those that have the most of it. Each phase keeps one for each of the sets of elements in it, and the set
        one that is held out.

        :param room: core-seconds.
        """
        asked, plans = plans, [dict(numbers) for numbers in plans]
        costs = [
            {
                name: float(np.mean([self.cost(parent, name) for parent in group.parents]))
                for name, number in numbers.items()
                if number
            }
            for group, numbers in zip(self.groups, plans, strict=True)
        ]
        least = [len({frozenset(parent.get_chemical_symbols()) for parent in group.parents}) for group in self.groups]
        pairs = list(zip(plans, costs, strict=True))
        total = sum(numbers[name] * cost for numbers, mine in pairs for name, cost in mine.items())
        wanted = sum(sum(numbers.values()) for numbers in plans)
        while total > room:
            held_out = sum(numbers.get('test', 0) for numbers in plans)
            candidates = [
                (numbers[name] * cost / asked[index][name], index, name)
                for index, (numbers, mine) in enumerate(pairs)
                if sum(numbers.values()) > least[index]
                for name, cost in mine.items()
                if numbers[name] and (name != 'test' or held_out > 1)
            ]
            if not candidates:
                break
            _, index, name = max(candidates)
            plans[index][name] -= 1
            total -= costs[index][name]
        left = sum(sum(numbers.values()) for numbers in plans)
        if left < wanted:
            self.result.notes.append(f'{left} of {wanted} variants are made: the limit of time allows no more')
        if total > room:
            self.result.notes.append(
                f'even the least set, one of each phase and of each set of elements in it, takes '
                f'{total / 3600:.2g} core-hours to label, where {max(room, 0) / 3600:.2g} are wanted'
            )
        return plans

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
        while (index := slot.group.take(slot.operation)) is not None:
            parent, parameters = self.size(slot.group.parents[index], slot.operation)
            try:
                return OPERATIONS[slot.operation].make(parent, parameters, rng, position, slot.total)
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
        verdicts = iter(self.check([atoms for atoms in frames if SKETCH not in atoms.info], self.known_parents))
        return [atoms for atoms in frames if SKETCH in atoms.info or next(verdicts) is None]

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


def _names(parents: list[Atoms]) -> str:
    """Return what a few of some ideal structures are called."""
    names = [f'{parent.info["phase"]} {parent.get_chemical_formula(empirical=True)}' for parent in parents[:3]]
    return ', '.join(names) + (', ...' if len(parents) > 3 else '')


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
