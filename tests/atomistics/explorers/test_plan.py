"""Tests of the plan of the walkers; the last one runs every program on the real engine."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.plan import (
    BULK,
    LADDER,
    STRAINS,
    number_of_steps,
    plan_walkers,
    starting_sizes,
    swap_pairs,
)
from aiida_pyacemaker.atomistics.explorers.walker import Walker
from aiida_pyacemaker.atomistics.generators.generate import starting_cells
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.lammps.outcome import read_outcome
from aiida_pyacemaker.atomistics.lammps.watch import STRUCTURE, write_script, write_structure
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

KEYS = {
    'walkers': 6, 'seeds': 1, 'atoms': 32,
    'stages': [{'name': 'short', 'share': 0.1, 'atoms': 16}, {'name': 'long', 'share': 1.0}],
    'temperature': [100.0, 900.0], 'pressure': [0.0, 1.0], 'steps': 10000, 'timestep': 1.0, 'gamma_every': 50,
    'gamma_select': 2.0, 'gamma_halt': 5.0, 'thermo_every': 100, 'dump_every': 500, 'max_volume_ratio': 1.6,
    'max_temperature_ratio': 5.0,
}  # fmt: skip
ALUMINIUM = bulk('Al', cubic=True).repeat((2, 2, 1))
SLAB = fcc111('Al', (2, 2, 3), vacuum=8.0, periodic=True)


def section(**keys) -> Explore:
    """The section `explore` of a run file."""
    return Explore(**{**KEYS, **keys})


def plan(cells: list[Atoms], elements: tuple[str, ...] = ('Al',), stage: int = 1, seed: int = 0, **keys) -> dict:
    """The walkers by program, as plain content."""
    return {
        walker.program: walker.to_dict() for walker in plan_walkers(section(**keys), cells, list(elements), stage, seed)
    }


@pytest.fixture(scope='module')
def cells() -> list[Atoms]:
    """An aluminium crystal, and the same with an atom on its way into a vacancy."""
    return starting_cells(['Al'], Structures(), 1, **starting_sizes(section(), 0, 200))


def test_programs_of_a_crystal(cells):
    """A crystal is heated first; each program has its own ramps, and hops start in the cell with the vacancy."""
    walkers = plan(cells)
    assert tuple(walkers) == BULK
    ramps = {name: (w['parameters']['temperature'], w['parameters']['pressure']) for name, w in walkers.items()}
    assert ramps == {
        'heat': ([100.0, 900.0], [0.0, 1.0]),
        'cool': ([1125.0, 100.0], [0.0, 1.0]),
        'melt': ([1125.0, 900.0], [0.0, 1.0]),
        'compress': ([500.0, 500.0], [0.0, 10.0]),
        'deform': ([500.0, 500.0], [0.0, 1.0]),
        'hop': ([500.0, 900.0], [0.0, 1.0]),
    }
    assert {w['parameters']['ensemble'] for w in walkers.values()} == {'npt'}
    assert [len(cells[walkers[name]['structure']]) for name in ('heat', 'hop', 'melt')] == [16, 15, 16]
    assert {name for name, w in walkers.items() if w['parameters']['deform']} == {'deform'}
    # 15 % in 10 ps
    assert walkers['deform']['parameters']['deform'] == {'kind': 'tension', 'axis': 'x', 'rate': pytest.approx(0.015)}
    assert walkers['heat']['parameters']['min_distances'] == {'Al-Al': pytest.approx(1.21)}
    assert walkers['heat']['parameters']['reference_volume_per_atom'] == pytest.approx(4.05**3 / 4)


def test_vacuum_is_not_compressed():
    """What has vacuum has no barostat and is only heated; bulk beside it takes what needs one."""
    assert {w['parameters']['ensemble'] for w in plan([SLAB]).values()} == {'nvt'}
    assert set(plan([SLAB])) == {'heat', 'cool', 'melt'}
    cells = [SLAB, ALUMINIUM]
    for seed in range(4):
        mixed = plan(cells, seed=seed)
        assert mixed['compress']['structure'] == mixed['deform']['structure'] == 1
        for walker in mixed.values():
            assert walker['parameters']['ensemble'] == ('nvt' if walker['structure'] == 0 else 'npt')
    assert {plan(cells, seed=seed)['heat']['structure'] for seed in range(2)} == {0, 1}
    fixed = plan([ALUMINIUM], ensemble='nvt')
    assert 'compress' not in fixed and {w['parameters']['ensemble'] for w in fixed.values()} == {'nvt'}


@pytest.mark.parametrize(
    ('cell', 'keys', 'message'),
    [
        (SLAB, {'programs': ['heat', 'compress']}, r'explore.programs: compress needs a barostat: a cell without vac'),
        (SLAB, {'programs': ['deform', 'hop']}, r'deform needs a cell without vacuum; hop needs a crystal of single'),
        (bulk('Cu'), {}, r'the starting cells hold Cu, which is not in system.elements'),
    ],
)
def test_impossible_programs(cell, keys, message):
    """A program that the user names and that fits no cell is refused with the reason."""
    with pytest.raises(ValueError, match=message):
        plan([cell], **keys)


def test_plan_depends_on_its_arguments_only(cells):
    """A walker that resumes gets the parameters it had, also through a node; another round has others."""
    walkers = plan_walkers(section(), cells, ['Al'], 1, 4242)
    again = Explore.model_validate(json.loads(json.dumps(section().model_dump(mode='json'))))
    assert walkers == plan_walkers(again, cells, ['Al'], 1, 4242)
    for walker in walkers:
        assert Walker.from_dict(json.loads(json.dumps(walker.to_dict())), WatchedDynamics) == walker
    seeds = [w.parameters.seed for s in range(5) for w in plan_walkers(section(), cells, ['Al'], 1, s)]
    assert len(set(seeds)) == len(seeds) == 30
    rounds = [plan(cells, seed=seed) for seed in range(len(STRAINS))]
    strains = {
        (w['deform']['parameters']['deform']['kind'], w['deform']['parameters']['deform']['axis']) for w in rounds
    }
    assert strains == set(STRAINS)
    assert len({w['compress']['parameters']['temperature'][0] for w in rounds}) == len(LADDER)


def test_reach():
    """An early stage goes part of the way, from the lower ends of the ranges."""
    stages = [{'name': 'part', 'share': 0.1, 'reach': 0.5}, {'name': 'all', 'share': 1.0}]
    part, whole = (plan([ALUMINIUM], stage=stage, stages=stages, pressure=0) for stage in (0, 1))
    assert part['heat']['parameters']['temperature'] == [100.0, 500.0]
    assert part['cool']['parameters']['temperature'] == [612.5, 100.0]
    assert part['melt']['parameters']['temperature'] == [612.5, 500.0]
    assert part['compress']['parameters']['pressure'] == [0.0, 5.0]
    strains = [w['deform']['parameters']['deform']['rate'] * w['deform']['parameters']['steps'] for w in (part, whole)]
    assert strains[0] == pytest.approx(0.5 * strains[1])


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ({'stages': [{'name': 'a', 'share': 1.0, 'reach': 0.5}]}, 'the last stage, a, reaches only 0.5 of the ranges'),
        ({'stages': [{'name': 'a', 'share': 0.5}, {'name': 'a', 'share': 1.0}]}, 'two of a, a have the same name'),
        ({'ensemble': 'nvt', 'programs': ['compress']}, 'compress needs a barostat, and ensemble is nvt'),
        ({'gamma_select': 6.0}, r'gamma_select: 6 is above gamma_halt \(5\).*lower gamma_select'),
        ({'gamma_extreme': 4.0}, r'gamma_halt: 5 is above gamma_extreme \(4\)'),
        ({'dump_every': 120}, r'dump_every: 120 is not a multiple of gamma_every \(50\)'),
        ({'gamma_every_dense': 7}, r'gamma_every: 50 is not a multiple of gamma_every_dense \(7\)'),
    ],
)
def test_wrong_sections(keys, message):
    """What contradicts itself is refused before anything runs."""
    with pytest.raises(ValueError, match=message):
        section(**keys)


def test_every_cell_meets_every_program():
    """Structures and programs are combined over the rounds, not always the same ones with each other."""
    phases = [
        bulk('Al', structure, a=a, cubic=True) for structure, a in (('fcc', 4.05), ('bcc', 3.2), ('diamond', 6.0))
    ]
    met = {
        (walker.program, walker.structure)
        for seed in range(3)
        for walker in plan_walkers(section(walkers=4, programs=['heat', 'cool', 'compress']), phases, ['Al'], 0, seed)
    }
    assert len(met) == 9
    strained = {
        (w.structure, w.parameters.temperature[0], w.parameters.deform.kind)
        for seed in range(27)
        for w in plan_walkers(section(walkers=1, programs=['deform']), phases, ['Al'], 0, seed)
    }
    assert len(strained) == 27
    once = plan_walkers(section(walkers=3, programs=['heat', 'cool', 'compress']), phases, ['Al'], 0, 7)
    assert sorted(walker.structure for walker in once) == [0, 1, 2]


def test_stages():
    """A stage has its share of the steps and its own cells, and a short simulation is looked at more often."""
    explore = section(steps=10000)
    assert [number_of_steps(explore, stage) for stage in (0, 1)] == [1000, 10000]
    assert number_of_steps(section(stages=[{'name': 'a', 'share': 0.0123}]), 0) == 150
    assert starting_sizes(explore, 0, 200) == {'atoms': 16, 'number': 6, 'max_atoms': 200, 'hop': True}
    assert starting_sizes(section(steps=10000, walkers=5), 1, 20) == {
        'atoms': 32,
        'number': 5,
        'max_atoms': None,
        'hop': False,
    }
    assert starting_sizes(section(programs=['hop']), 1, 200)['hop']
    # a program that no walker is left for needs no cells
    assert not starting_sizes(section(programs=['heat', 'hop'], walkers=1), 1, 200)['hop']
    assert set(plan([ALUMINIUM], programs=['heat', 'hop'], walkers=1)) == {'heat'}
    short, long = (plan([ALUMINIUM], stage=stage)['heat'] for stage in (0, 1))
    assert (short['stage'], long['stage']) == ('short', 'long')
    assert (short['parameters']['steps'], short['parameters']['dump_every']) == (1000, 50)
    assert (long['parameters']['steps'], long['parameters']['dump_every']) == (10000, 500)
    for walker in (short, long):
        assert all(walker['parameters'][key] % 50 == 0 for key in ('steps', 'dump_every', 'thermo_every'))


def salt(*symbols: str) -> Atoms:
    atoms = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    atoms.symbols = symbols
    return atoms


@pytest.mark.parametrize(
    ('cell', 'pairs'),
    [
        (ALUMINIUM, []),
        (bulk('CuZn', 'cesiumchloride', a=2.95), [['Cu', 'Zn']]),
        (salt(*['Na', 'Cl'] * 4), []),
        (salt(*['Na', 'Cl', 'K', 'Cl'] * 2), [['K', 'Na']]),
        (salt(*['Na', 'Cl', 'Na', 'Br'] * 2), [['Br', 'Cl']]),
        (salt(*['Mg', 'O', 'Mg', 'S'] * 2), [['O', 'S']]),
        # 2 Li+ beside one Mg2+: of the same sign, not of the same charge
        (salt('Li', 'F', 'Mg', 'F', 'Li', 'F', 'Li', 'O'), []),
        (salt(*['Fe', 'C'] * 4), []),
        (bulk('SiGe', 'zincblende', a=5.5), [['Ge', 'Si']]),
    ],
)
def test_swaps_keep_charges(cell, pairs):
    """Atoms change places in alloys, ions only with ions of the same charge."""
    assert swap_pairs(cell) == pairs


def test_swap_of_mixed_valence():
    """Elements with two oxidation states are left where they are."""
    cell = salt('Fe', 'O', 'Fe', 'O', 'Mn', 'O', 'Mn', 'O')
    cell.set_array('oxidation_states', np.array([2.0, -2, 3, -2, 2, -2, 1, -2]))
    assert swap_pairs(cell) == []
    cell.set_array('oxidation_states', np.array([2.0, -2, 2, -2, 2, -2, 2, -2]))
    assert swap_pairs(cell) == [['Fe', 'Mn']]


def test_swaps_of_a_walker():
    """Exchanges go with every walker that has something to exchange, at the temperature in the middle of its ramp."""
    alloy = bulk('CuZn', 'cesiumchloride', a=2.95).repeat(2)
    swap = {'every': 50, 'attempts': 2}
    with_swaps = plan([alloy], ('Cu', 'Zn'), swap=swap)
    assert with_swaps['heat']['parameters']['swap'] == {**swap, 'pairs': [['Cu', 'Zn']], 'temperature': 500.0}
    assert with_swaps['melt']['parameters']['swap']['temperature'] == 1012.5
    hot = plan([alloy], ('Cu', 'Zn'), swap={**swap, 'temperature': 2000.0})
    assert hot['cool']['parameters']['swap']['temperature'] == 2000.0
    assert plan([alloy], ('Cu', 'Zn'), swap=None)['heat']['parameters']['swap'] is None
    assert plan([ALUMINIUM], swap=swap)['heat']['parameters']['swap'] is None


def test_coupling_by_the_crystal():
    """What is cubic keeps its shape while it is heated, also a disordered alloy; other crystals relax their axes."""
    ordered = bulk('Cu', cubic=True, a=3.9).repeat(2)
    ordered.symbols[np.isclose(ordered.positions[:, 2] % 3.9, 0)] = 'Au'
    disordered = ordered.copy()
    disordered.symbols[:] = np.random.default_rng(1).permutation(ordered.get_chemical_symbols())
    cells = (bulk('Al').repeat(2), disordered, ordered, bulk('Mg').repeat((2, 2, 1)), bulk('In', 'bct', a=3.25, c=4.95))
    for cell, coupling in zip(cells, ('iso', 'iso', 'aniso', 'aniso', 'aniso'), strict=True):
        found = plan([cell], tuple(set(cell.get_chemical_symbols())))
        assert found['heat']['parameters']['coupling'] == coupling
        assert found['melt']['parameters']['coupling'] == found['cool']['parameters']['coupling'] == 'iso'
        assert found['compress']['parameters']['coupling'] == found['deform']['parameters']['coupling'] == 'aniso'


def test_ions_come_closer_than_atoms():
    """The limit of the overlap is that of the ions where they are smaller."""
    limits = plan([salt(*['Mg', 'O'] * 4)], ('Mg', 'O'))['heat']['parameters']['min_distances']
    assert set(limits) == {'Mg-Mg', 'Mg-O', 'O-O'}
    assert limits['Mg-O'] == pytest.approx(0.5 * 2.07) and limits['O-O'] == pytest.approx(0.5 * 1.32)


def test_programs_on_the_engine(cells, lmp, al_potential_directory, tmp_path):
    """Every program does in LAMMPS what it says: the cell shrinks, is stretched, gets hot, hops."""
    potential = AcePotential(al_potential_directory)
    # a potential of a few functions drives them: none of the watches but that of the overlap is to end them
    limits = {f'gamma_{name}': 1e9 for name in ('select', 'halt', 'extreme')}
    explore = section(steps=400, temperature=[50, 300], pressure=0, max_strain=0.06, **limits)
    found = {}
    for walker in plan_walkers(explore, cells, ['Al'], 1, 0):
        folder, parameters = tmp_path / walker.program, walker.parameters
        folder.mkdir()
        for name in ('potential.yaml', 'potential.asi'):
            (folder / name).symlink_to(al_potential_directory / name)
        start = cells[walker.structure]
        write_structure(str(folder / STRUCTURE), start, ['Al'], parameters)
        (folder / 'in').write_text(write_script(parameters, potential.metadata, resume=False))
        done = subprocess.run(
            [lmp[0], '-in', 'in', '-log', 'none'], cwd=folder, env=lmp[1], capture_output=True, text=True, check=True
        )
        outcome = read_outcome(folder, parameters, ['Al'], done.stdout)
        assert outcome.results['reason'] == 'completed', (walker.program, outcome.results)
        found[walker.program] = (start, outcome.trajectory[-1], outcome)

    def strain(program: str) -> np.ndarray:
        start, last, _ = found[program]
        return np.sort(last.cell.lengths() / start.cell.lengths() - 1)

    def temperature(program: str, part: slice) -> float:
        return found[program][2].thermo['watch_temperature'][part].mean()

    first, last = slice(None, 6), slice(-6, None)
    assert temperature('heat', last) > 1.5 * temperature('heat', first)
    assert temperature('melt', last) > 1.3 * temperature('cool', last)
    assert found['compress'][1].get_volume() < 0.97 * found['heat'][1].get_volume()
    assert strain('deform')[-1] == pytest.approx(0.06, abs=0.005)
    assert len(found['hop'][1]) == len(cells[0]) - 1
