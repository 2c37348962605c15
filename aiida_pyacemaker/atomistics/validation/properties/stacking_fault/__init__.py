"""Stacking faults of close-packed elements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Finding, Property, Quantity, Result, criterion
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms

    from ...evaluator import Evaluator


class StackingFault(Section):
    """How stacking faults are computed."""

    layers: Count = parameter('Close-packed planes of the slab; the fault is in its middle.', default=12, ge=4)
    vacuum: Positive = parameter('Vacuum between slabs.', unit='Å', default=12.0)
    path: bool = parameter('Whether the way to the fault is looked at, too, for its barrier.', default=True)


class StackingFaultCriteria(Section):
    """The criterion of the stacking fault."""

    stacking_fault: Criterion = criterion(
        'At least: energy of the intrinsic stacking fault of a close-packed crystal of lowest energy.',
        unit='mJ/m²',
        at_least=True,
        weight='energy',
    )


class StackingFaultResult(Result, total=False):
    """What is found, see :func:`.compute.analyse`; energies in mJ/m²."""

    kind: str
    plane: str
    intrinsic: float
    unstable: float | None
    n_atoms: int
    path: dict[str, list[float]]


class StackingFaultProperty(Property):
    """Energies of stacking faults, relaxed."""

    name = 'stacking_fault'
    title = 'Stacking fault'
    place = 70
    Parameters = StackingFault
    Criteria = StackingFaultCriteria
    dimensions = (3,)
    needs = 'which has no stacked planes'
    labels = {
        'stacking_fault': Quantity('intrinsic stacking fault', 'mJ/m²', 160),
        'stacking_fault_unstable': Quantity('unstable stacking fault', 'mJ/m²', 170),
    }
    concerns_stability = True
    remedy = 'rattle'
    in_run_file = False
    same_cells = (
        {'layers': 8, 'vacuum': 10.0},
        {'layers': 8, 'vacuum': 10.0, 'path': False},
        {'layers': 6, 'vacuum': 8.0, 'path': False},
    )

    def run(self, evaluator: Evaluator, crystal: Atoms) -> StackingFaultResult:
        """Relax slabs of which one half has slipped over the other."""
        from .compute import run

        return run(crystal, evaluator, self.parameters)

    def plan_cells(self, crystal: Atoms) -> list[Atoms]:
        """Return a slab, and the same slipped."""
        from .compute import plan

        return plan(crystal, self.parameters)

    def relax_cells(self, evaluator: Evaluator, crystal: Atoms) -> list[Atoms]:
        """Return the same, relaxed along the normal."""
        from .compute import relax

        return relax(crystal, evaluator, self.parameters)

    def analyse_cells(self, crystal: Atoms, labelled: list[Atoms]) -> StackingFaultResult:
        """Return the energies of the faults."""
        from .compute import analyse

        return analyse(crystal, labelled, self.parameters)

    def findings(self, result: StackingFaultResult, case: Case) -> Iterator[Finding]:
        """Yield the energy of the intrinsic fault of a crystal that has to be stable."""
        if case.must_be_stable:
            text = f'the intrinsic stacking fault costs {result["intrinsic"]:.0f} mJ/m²'
            yield Finding('stacking_fault', result['intrinsic'], text, ({'kind': 'rattle'},))

    def chapter(self, result: StackingFaultResult, others: Mapping[str, StackingFaultResult]) -> Chapter:
        """Return the energies in a sentence."""
        return Chapter(render(__file__, found=result))

    def quantities(self, result: StackingFaultResult) -> Mapping[str, float | None]:
        """Return the energies of the stable and the unstable fault."""
        return {'stacking_fault': result.get('intrinsic'), 'stacking_fault_unstable': result.get('unstable')}
