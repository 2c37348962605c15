"""What every explorer has to pass, see :class:`aiida_pyacemaker.workflows.explorers.Explorer`.

In the tests of a plug-in::

    def test_explorer():
        check_explorer('my_explorer')

    def test_builder(my_code, my_potential):
        check_builder('my_explorer', {'my_code': my_code}, my_potential)

    def test_finished(walker, node):        # of a process that has run, in AiiDA's test profile
        check_finished('my_explorer', walker, node)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.plugins import EXPLORERS, CodePort, find_plugins, load_plugin
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.walker import EndReason, FrameKind, Walker, WalkerResult
from aiida_pyacemaker.runfile.sections import Explore as RunExplore
from aiida_pyacemaker.workflows.explorers import Explorer, load_explorer, process_types

if TYPE_CHECKING:
    from aiida import orm

#: A section `explore` that is small.
EXPLORE = {
    'walkers': 3, 'seeds': 1, 'atoms': 16, 'stages': [{'name': 'short', 'share': 0.5}, {'name': 'long', 'share': 1.0}],
    'temperature': [50.0, 300.0], 'pressure': 0.0, 'steps': 1000,
}  # fmt: skip
#: What may stand in a frame that an explorer hands on.
FRAME_INFO = ('role', 'parent', 'step', 'gamma_max', 'ended')


def cells_of_aluminium() -> list[Atoms]:
    """Return two starting cells."""
    return [bulk('Al', cubic=True).repeat((2, 2, 1)), bulk('Al', 'bcc', a=3.2, cubic=True).repeat(2)]


def check_explorer(
    name: str,
    explore: Mapping[str, Any] | None = None,
    cells: list[Atoms] | None = None,
    elements: tuple[str, ...] = (),
) -> None:
    """Check that an explorer keeps the contract, as far as that can be said without running it.

    :param name: of its entry point.
    :param explore: keys of the section `explore` that it needs beside :data:`EXPLORE`.
    :param cells: starting cells of which it can plan walkers; None: two of aluminium.
    :param elements: those of the potential; empty: those of the cells.
    :raises AssertionError: saying what is wrong.
    """
    explorer = load_plugin(EXPLORERS, name, 'explore.explorer')
    assert isinstance(explorer, type) and issubclass(explorer, Explorer), f'{name} is no subclass of Explorer'
    assert explorer.__doc__, f'{name} has no docstring'
    _check_class(name, explorer)
    _check_import(name)
    section = Explore.model_validate({**EXPLORE, **(explore or {}), 'explorer': name})
    cells = cells_of_aluminium() if cells is None else cells
    _check_plan(explorer(), section, cells, list(elements) or sorted({s for cell in cells for s in cell.symbols}))


def check_builder(
    name: str,
    codes: dict[str, orm.AbstractCode],
    potential: orm.Data,
    explore: Mapping[str, Any] | None = None,
    cells: list[Atoms] | None = None,
) -> None:
    """Check that the first walker of a plan makes a process whose inputs are complete and valid.

    :param codes: by the keys of `Explorer.codes`. :param potential: that knows the elements of the cells.
    """
    from aiida import orm

    explorer = load_explorer(name)
    section = Explore.model_validate({**EXPLORE, **(explore or {}), 'explorer': name})
    cells = cells_of_aluminium() if cells is None else cells
    walker = explorer.plan(section, cells, potential.elements, 0, 7)[0]
    options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}
    structure = orm.StructureData(ase=cells[walker.structure])
    builder = explorer.get_builder(walker, codes, potential, options, structure=structure)
    process_class = builder.process_class
    assert process_class.build_process_type() == explorer.process_type, f'{name} runs another process than it says'
    problem = process_class.spec().inputs.validate(builder._inputs(prune=True))
    assert problem is None, f'{name}: {problem}'
    for kind in FrameKind:
        assert kind.value in process_class.spec().outputs or type(explorer).get_frames is not Explorer.get_frames, (
            f'{name}: the process has no output {kind.value}; add it, or override get_frames'
        )


def check_finished(name: str, walker: Walker, node: orm.CalcJobNode) -> None:
    """Check what an explorer says of a process that finished well.

    :param walker: what the process was to do.
    """
    explorer = load_explorer(name)
    result = explorer.get_result(walker, node)
    assert isinstance(result, WalkerResult) and isinstance(result.reason, EndReason)
    assert (result.index, result.stage, result.program) == (walker.index, walker.stage, walker.program)
    assert WalkerResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result, 'the result is not plain'
    assert result.diagnosis, 'nobody is told how it ended'
    frames = explorer.get_frames(node)
    for kind, configurations in frames.items():
        for atoms in configurations.get_frames():
            missing = [key for key in FRAME_INFO if key not in atoms.info]
            assert not missing, f'{kind.value}: the frames lack the info {", ".join(missing)}'
            assert atoms.info['role'] == kind.value and EndReason(atoms.info['ended']) is result.reason
            assert atoms.info['parent'] == node.uuid and 'gamma' in atoms.arrays
    halted = result.reason is EndReason.GAMMA
    assert (FrameKind.HALTED in frames) == halted, 'what gamma halted leaves a halted frame, and nothing else does'
    assert not halted or explorer.get_restart(node) is not None, 'what gamma halted cannot resume'


def _check_class(name: str, explorer: type[Explorer]) -> None:
    assert explorer.codes, f'{name} names no code'
    for key, port in explorer.codes.items():
        assert isinstance(port, CodePort) and port.help, f'{name}: codes.{key} is no CodePort with a help'
    assert explorer.process_type.startswith('aiida.calculations:'), f'{name}: process_type is no CalcJob'
    assert explorer.process_type in process_types(), f'{name}: reports do not find its process'
    walkers = explorer.WalkerParameters
    assert issubclass(walkers, Section), f'{name}: WalkerParameters is no Section'
    missing = {'seed', 'steps', 'timestep'} - set(walkers.model_fields)
    assert not missing, f'{name}: WalkerParameters lacks {", ".join(sorted(missing))}'
    if explorer.Parameters is not None:
        assert issubclass(explorer.Parameters, Section), f'{name}: Parameters is no Section'
        assert name in RunExplore.model_fields, f'{name}: there is no section explore.{name}'
        for key, field in explorer.Parameters.model_fields.items():
            assert field.description, f'{name}: explore.{name}.{key} has no description'


def _check_import(name: str) -> None:
    """A run file is read without AiiDA."""
    module = find_plugins(EXPLORERS)[name].module
    code = f'import sys, {module}; sys.exit("aiida" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{name}: the module {module} imports AiiDA; import it inside methods {done.stderr}'


def _check_plan(explorer: Explorer, explore: Explore, cells: list[Atoms], elements: list[str]) -> None:
    for stage, entry in enumerate(explore.stages):
        sizes = explorer.starting_sizes(explore, stage, 200)
        assert sizes['number'] >= 1 and sizes['atoms'] >= 1
        plan = explorer.plan(explore, cells, elements, stage, 7)
        assert plan == explorer.plan(explore, cells, elements, stage, 7), 'the same arguments give another plan'
        assert plan != explorer.plan(explore, cells, elements, stage, 8), 'another seed gives the same plan'
        assert [walker.index for walker in plan] == list(range(explore.walkers)), 'walkers are counted from 0'
        for walker in plan:
            assert walker.stage == entry.name and 0 <= walker.structure < len(cells)
            again = Walker.from_dict(json.loads(json.dumps(walker.to_dict())), explorer.WalkerParameters)
            assert again == walker, 'a walker does not survive JSON'
            assert explorer.describe(walker)
            other = explorer.try_again(walker, 2)
            assert other != walker, 'the second attempt has the same random numbers'
            assert (other.index, other.program, other.structure) == (walker.index, walker.program, walker.structure)
        seeds = [walker.parameters.seed for walker in plan]
        assert len(set(seeds)) == len(seeds), 'two walkers have the same random numbers'
