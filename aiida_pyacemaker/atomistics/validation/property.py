"""The socket of the validation: what a property of a crystal has to bring, so that it is computed, judged and shown.

Everything about a property is in one place, the module or folder that its entry point (group `pyacemaker.properties`)
names. The suite, the gate, the report, the requests and the sections of the run file go through
:func:`load_properties` and know none of them by name.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

from pydantic import Field

from ..core.errors import InputError
from ..core.parameters import Section, parameter
from ..core.plain import Json
from ..core.plugins import PROPERTIES, load_plugins

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from ..labelling.kpoints import Mesh
    from .evaluator import Evaluator

#: What a crystal is that is not endless in three directions.
NOT_BULK = {2: 'a layer', 1: 'a wire', 0: 'a molecule'}
#: Position of a property that states none: after all properties of the package.
LAST_PLACE = 1000


class Result(TypedDict, total=False):
    """What was found of a property, plain enough for JSON; each property adds its own keys.

    `status` is ok, not_applicable or failed; `message` says why, or what else the reader should know.
    """

    status: str
    message: str


#: A figure, as the dictionary that plotly.js draws.
Figure = Json
#: A request: `kind`, and what :attr:`Property.cures` takes to make structures of this kind.
Request = Json
#: What makes structures: called with the crystal, the request and a random generator.
Cure = Callable[['Atoms', Request, 'np.random.Generator'], list['Atoms']]


class Criterion(Section):
    """One criterion of the gate; which side of a limit is the good one, its description says."""

    limit: float | None = parameter('Beyond it the verdict is CONDITIONAL; null: never.', default=None)
    fail: float | None = parameter(
        'Beyond it the verdict is FAIL, but nowhere where `limit` is still met; null: never.', default=None
    )
    reason: str = parameter('Why this limit, for those who read the report.', min_length=1)


def criterion(
    description: str,
    unit: str = '',
    title: str = '',
    at_least: bool = False,
    weight: Literal['energy', 'stress'] | None = None,
    **constraints: Any,
) -> Any:
    """A field of a section of criteria.

    :param description: begins with `At most:` or `At least:`, as `at_least` says.
    :param title: what the report calls the check, where its name does not tell.
    :param at_least: whether the value should be large; else it should be small.
    :param weight: which labels the next fit weighs more if the limit is missed, but not so far that it fails.
    :param constraints: `default`, a :class:`Criterion`; without one every protocol has to give the limits.
    """
    told = {'unit': unit, 'at_least': at_least, 'weight': weight}
    extra = {key: value for key, value in told.items() if value}
    return Field(description=description, title=title or None, json_schema_extra=extra, **constraints)


@dataclass(frozen=True)
class Finding:
    """A value that is held against a criterion.

    :param criterion: a field of :attr:`Property.Criteria`.
    :param value: None: nothing to object, whatever the limits.
    :param message: what was found, in a few words, for a value beyond its limits.
    :param requests: structures that would cure it if it fails.
    """

    criterion: str
    value: float | None
    message: str = ''
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True)
class Case:
    """What else is known where a property is judged.

    :param must_be_stable: whether the crystal is one that has to be stable: the user's own, or the lowest in energy.
    :param confirmed_unstable: whether the labels themselves say that the crystal is unstable.
    :param criteria: the limits of all criteria, by name.
    :param experiment: measured numbers of the crystal, by name.
    """

    must_be_stable: bool
    confirmed_unstable: bool
    criteria: Mapping[str, Mapping[str, Any]]
    experiment: Mapping[str, float]


@dataclass(frozen=True)
class Quantity:
    """A number that potentials are compared by: what people call it, its unit, and where its row stands."""

    label: str
    unit: str = ''
    place: float = LAST_PLACE


@dataclass(frozen=True)
class Chapter:
    """What the report shows of a property.

    :param html: escaped text and tables, see :func:`.rendering.render`.
    :param figures: each with its caption; None is left out.
    :param below: text and tables that follow the figures.
    """

    html: str
    figures: tuple[tuple[Figure | None, str], ...] = ()
    below: str = ''


class Property(ABC):
    """A property of crystals: how it is found, judged, cured and shown.

    A property that follows from single points has `plan` and `analyse`, so that DFT can go the same way; one that
    relaxes or simulates has `run`. Both are called for each crystal at its equilibrium, with info `name` and
    `dimension`. An object holds its `parameters`; it must be possible to pickle it. The module is imported whenever a
    run file is read, so it imports slow libraries inside of the methods. Errors that a method raises are the result of
    this property of this crystal: :class:`~..variants.NotApplicableError` where it has no meaning, any other where it
    fails.
    """

    #: Name of the entry point and key of the results.
    name: ClassVar[str]
    #: Title in the report; the second one, of what is found once and not of each crystal: empty if there is no such.
    title: ClassVar[str]
    system_title: ClassVar[str] = ''
    #: Where it stands among the others.
    place: ClassVar[int] = LAST_PLACE
    #: Its parameters; each has a default.
    Parameters: ClassVar[type[Section]]
    #: Its criteria, each field made by :func:`criterion`.
    Criteria: ClassVar[type[Section]]
    #: What the report cites for it.
    citations: ClassVar[tuple[str, ...]] = ()
    #: In how many directions matter has to be endless, and what is said of a crystal of which that is not so.
    dimensions: ClassVar[tuple[int, ...]] = (3, 2, 1, 0)
    needs: ClassVar[str] = ''
    #: Numbers by name, see :meth:`quantities`.
    labels: ClassVar[Mapping[str, Quantity]] = {}
    #: Whether it tells if a crystal is stable: such properties are judged after the others.
    concerns_stability: ClassVar[bool] = False
    #: Kind of the structures that help where it could not be found at all; and whether that is a failure.
    remedy: ClassVar[str | None] = None
    failure: ClassVar[Literal['fail', 'warn']] = 'fail'
    #: Parameters that stand for the defaults where the oracle of the labels finds it, too, by `plan` and `analyse`;
    #: None: it does not. And which part of the distance between k-points that takes.
    reference: ClassVar[Mapping[str, Any] | None] = None
    reference_kpoints: ClassVar[float] = 1.0
    #: Parameters of small cells, the best first and the cheapest last, that the oracle of the labels may be asked for
    #: where the potential has put the atoms, see :mod:`.same_cells`; empty: it is not asked.
    same_cells: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    #: Whether the suite finds it; what needs a program of its own is found by a WorkChain.
    in_suite: ClassVar[bool] = True
    #: Whether its parameters are keys of a run file, `validate.<name>`.
    in_run_file: ClassVar[bool] = True

    def __init__(self, parameters: Section | None = None):
        self.parameters: Any = parameters or self.Parameters()

    # Compute ----------------------------------------------------------------------------------------------------------

    def why_not(self, crystal: Atoms) -> str:
        """Return why it is not defined for a crystal, empty if it is."""
        dimension = crystal.info['dimension']
        return '' if dimension in self.dimensions else f'{crystal.info["name"]} is {NOT_BULK[dimension]}, {self.needs}'

    def plan(self, crystal: Atoms) -> list[Atoms]:
        """Return the configurations whose labels give it."""
        raise NotImplementedError

    def analyse(self, crystal: Atoms, labelled: list[Atoms]) -> Result:
        """Return what the labels say: plain numbers, text, lists and dictionaries.

        :param labelled: the configurations of :meth:`plan`, in their order.
        """
        raise NotImplementedError

    def run(self, evaluator: Evaluator, crystal: Atoms) -> Result:
        """Return the same by relaxations and simulations."""
        raise NotImplementedError

    def plan_system(self, crystals: Sequence[Atoms], elements: Sequence[str]) -> list[Atoms]:
        """Return the configurations for what is found once, not of each crystal; needs a `system_title`."""
        raise NotImplementedError

    def analyse_system(self, labelled: list[Atoms]) -> Result:
        """Return what the labels of :meth:`plan_system` say."""
        raise NotImplementedError

    # The same cells by the potential and by the oracle ----------------------------------------------------------------

    def plan_cells(self, crystal: Atoms) -> list[Atoms]:
        """Return the cells that both label, before anything relaxes: their sizes tell what they cost."""
        return self.plan(crystal)

    def relax_cells(self, evaluator: Evaluator, crystal: Atoms) -> list[Atoms]:
        """Return the cells of :meth:`plan_cells` where the potential wants the atoms, with its labels."""
        return evaluator.evaluate(self.plan_cells(crystal))

    def analyse_cells(self, crystal: Atoms, labelled: list[Atoms]) -> Result:
        """Return what the labels of one of both say of the cells of :meth:`relax_cells`.

        The info `unrelaxed_energy` is not a number in what the oracle has labelled.
        """
        return self.analyse(crystal, labelled)

    def meshes_of_cells(self, cells: list[Atoms], distance: float) -> list[Mesh]:
        """Return the k-points of the cells: those of the first, for differences of energies are taken.

        :param distance: largest distance of k-points in 1/Å.
        """
        from ..labelling.kpoints import kpoints_mesh

        return [kpoints_mesh(cells[0], distance)] * len(cells)

    def deviations_of_cells(self, ours: Any, theirs: Any) -> Mapping[str, tuple[float, Quantity]]:
        """Return what tells the results of both apart besides :meth:`quantities`: a value, and what it is."""
        return {}

    @classmethod
    def has_single_points(cls) -> bool:
        """Return whether it follows from single points."""
        return cls.plan is not Property.plan

    # Judge ------------------------------------------------------------------------------------------------------------

    @abstractmethod
    def findings(self, result: Any, case: Case) -> Iterator[Finding]:
        """Yield what is to be held against the criteria, of a result whose status is ok."""

    def findings_of_system(self, result: Any, case: Case) -> Iterator[Finding]:
        """Yield the same of what was found once."""
        return self.findings(result, case)

    def findings_against_dft(self, result: Any, reference: Any) -> Iterator[Finding]:
        """Yield how far a result is from that of DFT."""
        yield from ()

    def is_stable(self, result: Any) -> bool:
        """Return whether a result says nothing against the stability of the crystal."""
        return True

    def cures(self) -> Mapping[str, Cure]:
        """Return the kinds of structures that it may request, and what makes them."""
        return {}

    # Show -------------------------------------------------------------------------------------------------------------

    @abstractmethod
    def chapter(self, result: Any, others: Mapping[str, Any]) -> Chapter:
        """Return what the report shows of a result whose status is ok.

        :param others: the same of DFT and other potentials, by their titles.
        """

    def chapter_of_system(self, result: Any) -> Chapter:
        """Return the same of what was found once, whatever its status is."""
        return self.chapter(result, {})

    def quantities(self, result: Any) -> Mapping[str, float | None]:
        """Return the numbers that potentials are compared by, of a result whose status is ok."""
        return {}

    def quantity(self, name: str) -> Quantity | None:
        """Return what a number of :meth:`quantities`, or the same from an experiment, is; None if it is another's."""
        return self.labels.get(name)


@functools.cache
def load_properties() -> dict[str, type[Property]]:
    """Return the properties by name, in their order: ours first, then those of other packages.

    :raises InputError: if one cannot be imported or is not called what its entry point is called, or two of them share
        a criterion.
    """
    kinds: dict[str, type[Property]] = load_plugins(PROPERTIES)
    owners: dict[str, str] = {}
    for name, kind in kinds.items():
        if kind.name != name:
            raise InputError(PROPERTIES, f'the property {name!r} calls itself {kind.name!r}', 'give it one name')
        for key in kind.Criteria.model_fields:
            if owners.setdefault(key, name) != name:
                raise InputError(
                    PROPERTIES, f'{owners[key]!r} and {name!r} both have a criterion {key!r}', 'rename one'
                )
    return dict(sorted(kinds.items(), key=lambda item: (item[1].place, item[0])))


def judge_value(value: float | None, criterion: Mapping[str, Any], at_least: bool) -> Literal['pass', 'warn', 'fail']:
    """Return how a value meets a criterion; one that is not finite fails."""
    if value is None:
        return 'pass'

    def is_beyond(limit: float | None) -> bool:
        return limit is not None and not (value >= limit if at_least else value <= limit)

    # whoever relaxes `limit` alone relaxes `fail`, too
    if is_beyond(criterion.get('fail')) and (criterion.get('limit') is None or is_beyond(criterion['limit'])):
        return 'fail'
    return 'warn' if is_beyond(criterion.get('limit')) else 'pass'


def deviation(criterion: str, what: str, ours: float | None, theirs: float | None, remedy: str) -> Iterator[Finding]:
    """Yield how far a number is from that of DFT, in per cent, if both are known.

    :param remedy: kind of the structures that cure it.
    """
    if ours is not None and theirs:
        text = f'the {what} is {ours:.4g}, that of DFT {theirs:.4g}'
        yield Finding(criterion, 100 * abs(ours / theirs - 1), text, ({'kind': remedy},))
