"""Tests of a round of simulations, on the real engine."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk, fcc111

from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.walker import Walker
from aiida_pyacemaker.reports.queries import get_children
from aiida_pyacemaker.testing.explorers import check_finished

ExploreWorkChain = WorkflowFactory('pyacemaker.explore')
ConfigurationsData = DataFactory('pyacemaker.configurations')

KEYS = {
    'walkers': 2, 'seeds': 1, 'atoms': 16, 'stages': [{'name': 'short', 'share': 0.4}, {'name': 'long', 'share': 1.0}],
    'temperature': [50.0, 300.0], 'pressure': 0.0, 'steps': 500, 'timestep': 1.0, 'gamma_every': 20,
    'gamma_select': 1e6, 'gamma_halt': 1e6, 'gamma_extreme': 1e6, 'thermo_every': 20, 'dump_every': 100,
    'max_volume_ratio': 1.6, 'max_temperature_ratio': 5.0,
}  # fmt: skip


@pytest.fixture
def explore(lammps_code, al_potential):
    """Return a function that runs a round and returns its outputs and its node."""
    crystal = bulk('Al', cubic=True).repeat((2, 2, 1))
    crystal.set_array('magnetic_moments', np.arange(16) / 16)

    def run(cells=(crystal,), restarts=None, seed=3, stage=0, indices=None, **keys):
        builder = ExploreWorkChain.get_builder_from_protocol(
            {'lammps': lammps_code},
            al_potential,
            ConfigurationsData(cells),
            Explore(**{**KEYS, **keys}).model_dump(mode='json'),
            stage=stage,
            seed=seed,
            walkers=indices,
            restarts=restarts,
        )
        return run_get_node(builder)

    return run


def test_halt_and_resume(explore):
    """Each walker follows its program; one that halts resumes as what it was, and the others are left alone."""
    programs = ['heat', 'deform']
    outputs, node = explore(programs=programs, gamma_halt=1.5, gamma_select=1.2, halt_after=1, temperature=[900, 2500])
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert [(walker['program'], walker['stage'], walker['structure']) for walker in results['walkers']] == [
        ('heat', 'short', 'Al16'), ('deform', 'short', 'Al16'),
    ]  # fmt: skip
    halted = [walker for walker in results['walkers'] if walker['reason'] == 'gamma']
    assert len(halted) == results['number_halted'] == len(outputs['halted']) > 0
    assert not results['completed'] and results['number_failed'] == results['number_stopped'] == 0
    children = get_children(node)
    for walker in results['walkers']:
        child = children[f'walker_{walker["index"]:02d}']
        assert child.base.extras.get('program') == walker['program'] and child.pk == walker['pk']
        parameters = WatchedDynamics.model_validate(child.inputs.parameters.get_dict())
        check_finished('lammps', Walker(walker['index'], 'short', walker['program'], 0, parameters), child)
    # the atoms carry on what they brought
    for name in ('halted', 'trajectory'):
        for frame in outputs[name].get_frames() if name in outputs else []:
            assert np.allclose(frame.arrays['magnetic_moments'], np.arange(16) / 16)

    index = halted[0]['index']
    restarts = {f'walker_{index:02d}': outputs['restarts'][f'walker_{index:02d}']}
    # a cell that must not grow at all ends in what counts as nonsense: a frame to look at, and none to be labelled
    again, later = explore(
        programs=programs, temperature=[900, 2500], restarts=restarts, indices=[index], max_volume_ratio=1.0001
    )
    assert later.is_finished_ok, later.exit_message
    (resumed,) = again['results']['walkers']
    assert (resumed['index'], resumed['start_step']) == (index, halted[0]['step'])
    assert (resumed['program'], resumed['reason']) == (halted[0]['program'], 'volume')
    assert (again['results']['number_stopped'], again['results']['number_halted']) == (1, 0)
    assert 'halted' not in again and len(again['violations']) == 1
    first, second = (get_children(n)[f'walker_{index:02d}'].inputs.parameters.get_dict() for n in (node, later))
    changed = {'gamma_halt', 'gamma_select', 'halt_after', 'max_volume_ratio'}
    assert {key for key in first if first[key] != second[key]} == changed


def test_stage_without_vacuum(explore):
    """What has vacuum is simulated without a barostat; a program that it cannot follow is refused at once."""
    slab = fcc111('Al', (2, 2, 3), vacuum=6.0, periodic=True)
    outputs, node = explore(cells=(slab,), walkers=1, stage=0)
    assert outputs['results']['completed'], outputs['results'].get_dict()
    assert outputs['results']['walkers'][0]['steps'] == 200
    assert get_children(node)['walker_00'].inputs.parameters['ensemble'] == 'nvt'
    for frame in outputs['trajectory'].get_frames():
        assert np.allclose(frame.cell.lengths(), slab.cell.lengths())
    _, refused = explore(cells=(slab,), programs=['compress'])
    assert refused.exit_status == 402 and 'compress needs a barostat' in refused.exit_message
    assert (
        not orm.QueryBuilder()
        .append(orm.WorkChainNode, filters={'id': refused.pk}, tag='w')
        .append(orm.CalcJobNode, with_incoming='w')
        .count()
    )
