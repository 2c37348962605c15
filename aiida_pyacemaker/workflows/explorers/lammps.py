"""The explorer `lammps`: molecular dynamics with Monte Carlo exchanges in LAMMPS, under a watch on gamma."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_pyacemaker.atomistics.core.plugins import CodePort
from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.walker import Walker, WalkerResult

from .base import Explorer, Live

if TYPE_CHECKING:
    import numpy as np
    from aiida import orm
    from aiida.engine import ProcessBuilder
    from ase import Atoms

#: Arrays of the output `thermo` that hold a series, the best first: every check of the watch, or else the log.
SERIES = (
    ('step', 'temperature', (('watch_step', 'watch_temperature'), ('step', 'temperature'))),
    ('watch_step', 'gamma', (('watch_step', 'watch_gamma_max'),)),
)


class LammpsExplorer(Explorer):
    """Molecular dynamics in LAMMPS with ML-PACE, one ``LammpsPaceCalculation`` for each walker."""

    WalkerParameters = WatchedDynamics
    codes = {'lammps': CodePort('LAMMPS with ML-PACE, for the exploration.', plugin='pyacemaker.lammps_pace')}
    process_type = 'aiida.calculations:pyacemaker.lammps_pace'
    live_file = 'watch.dat'

    def plan(
        self, explore: Explore, cells: list[Atoms], elements: list[str], stage: int, seed: int
    ) -> list[Walker[WatchedDynamics]]:
        """Return what each walker of a round does, see :mod:`~aiida_pyacemaker.atomistics.explorers.plan`."""
        from aiida_pyacemaker.atomistics.explorers.plan import plan_walkers

        return plan_walkers(explore, cells, elements, stage, seed)

    def get_builder(
        self,
        walker: Walker,
        codes: dict[str, orm.AbstractCode],
        potential: orm.Data,
        options: dict[str, Any],
        *,
        structure: orm.StructureData | None = None,
        restart: orm.Data | None = None,
    ) -> ProcessBuilder:
        """Return the builder of a simulation."""
        from aiida import orm
        from aiida.plugins import CalculationFactory

        builder = CalculationFactory('pyacemaker.lammps_pace').get_builder()
        builder.code = codes['lammps']
        builder.potential = potential
        builder.parameters = orm.Dict(walker.parameters.model_dump(mode='json'))
        builder.metadata.options = options
        if restart is not None:
            builder.restart = restart
        else:
            builder.structure = structure
        return builder

    def get_result(self, walker: Walker, node: orm.CalcJobNode) -> WalkerResult:
        """Return what became of a simulation."""
        what = {'index': walker.index, 'stage': walker.stage, 'program': walker.program}
        return WalkerResult.from_dict({**node.outputs.results.get_dict(), **what})

    def read_series(self, node: orm.CalcJobNode) -> dict[str, np.ndarray]:
        """Return temperature and gamma along a simulation."""
        if 'thermo' not in node.outputs:
            return {}
        arrays = {name: node.outputs.thermo.get_array(name) for name in node.outputs.thermo.get_arraynames()}
        series = {}
        for step, key, sources in SERIES:
            for steps, name in sources:
                if steps in arrays and name in arrays:
                    series[step], series[key] = arrays[steps], arrays[name]
                    break
        return series

    def read_live(self, path: Path) -> Live | None:
        """Return where a simulation is, by the last check of its watch."""
        from aiida_pyacemaker.atomistics.lammps.outcome import read_checks
        from aiida_pyacemaker.atomistics.lammps.watch import WATCHED

        checks = read_checks(path)
        if not len(checks):
            return None
        last = dict(zip(('step', *WATCHED), checks[-1], strict=True))
        return Live(
            first_step=int(checks[0, 0]),
            step=int(last['step']),
            temperature=last['temperature'],
            gamma=last['gamma_max'],
        )
