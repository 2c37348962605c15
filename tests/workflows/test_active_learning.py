"""Tests of the main loop: one tiny, complete, real run, and the decisions on their own."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory, WorkflowFactory

from aiida_pyacemaker.workflows.active_learning import get_restart_inputs

ActiveLearningWorkChain = WorkflowFactory('pyacemaker.active_learning')
ConfigurationsData = DataFactory('pyacemaker.configurations')


def test_tiny_loop(aiida_profile_clean, tiny_runfile):
    """A complete loop on real engines: it halts, labels, learns, resumes, and every potential knows its DFT."""
    builder = ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    outputs, node = run_get_node(builder)

    report = outputs['report'].get_dict()
    assert report['state'] in ('converged', 'budget_exhausted'), report
    assert node.exit_status == (0 if report['state'] == 'converged' else 500)

    # It halted, learned from that, and resumed from the restart file with the new generation.
    assert any(entry.get('number_halted') for entry in report['iterations'])
    resumed = (
        orm.QueryBuilder()
        .append(CalculationFactory('pyacemaker.lammps_pace'), tag='resumed', project='*')
        .append(orm.SinglefileData, with_outgoing='resumed', edge_filters={'label': 'restart'}, tag='restart')
        .append(CalculationFactory('pyacemaker.lammps_pace'), with_outgoing='restart', project='*')
    )
    assert resumed.count() > 0
    for later, earlier in resumed.all():
        assert later.inputs.potential.generation > earlier.inputs.potential.generation
        assert later.outputs.results['start_step'] == earlier.outputs.results['step']

    # Every potential reaches the calculations that trained it in one query, whose depth does not grow.
    query = orm.QueryBuilder().append(DataFactory('pyacemaker.potential'), tag='potential', project='*')
    query.append(CalculationFactory('pyacemaker.pace_train'), with_outgoing='potential', tag='fit')
    edge = {'edge_filters': {'label': 'configurations'}}
    query.append(ConfigurationsData, with_outgoing='fit', tag='dataset', **edge)
    query.append(orm.CalcFunctionNode, with_outgoing='dataset', tag='merge')
    query.append(ConfigurationsData, with_outgoing='merge', tag='batch')
    query.append(orm.CalcFunctionNode, with_outgoing='batch', tag='collect')
    query.append(orm.Dict, with_outgoing='collect', tag='output')
    query.append(CalculationFactory('quantumespresso.pw'), with_outgoing='output', project='uuid')
    found = {}
    for potential, calculation in query.distinct().all():
        found.setdefault(potential.uuid, set()).add(calculation)
    potentials = orm.QueryBuilder().append(DataFactory('pyacemaker.potential')).all(flat=True)
    assert len(potentials) > 1
    for potential in potentials:
        trained_on = potential.creator.inputs.configurations.get_frames()
        assert {frame.info['calculation'] for frame in trained_on} == found[potential.uuid]

    # What it was measured on was never trained on.
    test = {frame.info['calculation'] for frame in outputs['test_set'].get_frames()}
    assert test.isdisjoint(frame.info['calculation'] for frame in outputs['dataset'].get_frames())

    # A continued run starts from the last potential and counts on.
    inputs = get_restart_inputs(node)
    assert inputs['potential'].uuid == outputs['potential'].uuid
    assert sum(len(batch) for batch in inputs['dataset'].values()) == len(outputs['dataset'])


@pytest.fixture
def loop(tiny_runfile, generate_workchain, al_potential):
    """Return the loop right after its set-up, with a potential and data as if iteration 0 were done."""
    process = generate_workchain(
        ActiveLearningWorkChain, ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    )
    process.setup()
    process.ctx.potential = al_potential
    return process


def explored(*walkers, completed=False):
    """Return what a finished ExploreWorkChain looks like to the loop."""
    results = {
        'walkers': list(walkers),
        'number_halted': sum(walker['reason'] != 'completed' for walker in walkers),
        'number_failed': 0,
        'gamma_max': 1.0,
        'completed': completed,
    }
    outputs = AttributeDict({'results': orm.Dict(results), 'restarts': {'walker_00': 'restart file'}})
    return AttributeDict({'is_finished_ok': True, 'outputs': outputs})


def walker(reason, step):
    """Return what became of a walker."""
    return {'index': 0, 'reason': reason, 'step': step, 'steps': 1000, 'gamma_max': 1.0}


def test_halted_walkers_resume(loop):
    """Only a walker that gamma halted resumes; one that boiled starts anew."""
    loop.ctx.explore = explored(walker('gamma', 300))
    loop.inspect_explore()
    assert list(loop.ctx.restarts) == ['walker_00']
    loop.ctx.explore = explored(walker('volume', 300))
    loop.inspect_explore()
    assert not loop.ctx.restarts


def test_stalled_walker(loop):
    """A walker that halts again and again at the same place ends the loop, with a remedy."""
    for _ in range(loop.defaults.halts_without_advance + 1):
        assert loop.ctx.state == 'running'
        loop.ctx.explore = explored(walker('gamma', 300))
        loop.inspect_explore()
    assert loop.ctx.state == 'stalled'
    assert 'explore.gamma_halt' in loop.ctx.reason
    assert not loop.should_embed()
    assert not loop.should_iterate()
    assert loop.results().status == loop.exit_codes.ERROR_STALLED.status


def test_advancing_walker_is_not_stalled(loop):
    """Halts on the way are what the loop is for."""
    for step in range(0, 1000, 50):
        loop.ctx.explore = explored(walker('gamma', step))
        loop.inspect_explore()
    assert loop.ctx.state == 'running'


@pytest.mark.parametrize(
    ('fresh', 'passed', 'labels_train', 'state'),
    [
        (True, True, 0, 'converged'),
        (True, False, 2, 'running'),  # the errors miss the criteria
        (True, True, 2, 'running'),  # the potential is newer than the round that passed
        (False, True, 0, 'running'),  # the round was only the end of resumed simulations
    ],
)
def test_convergence(loop, fresh, passed, labels_train, state):
    """Converged is: a whole round from the start without a halt, with a potential whose errors meet the criteria."""
    loop.ctx.round_is_fresh = fresh
    loop.ctx.explore = explored(walker('completed', 1000), completed=True)
    loop.inspect_explore()
    loop.ctx.passed = passed
    loop.ctx.entry['labels_train'] = labels_train
    loop.inspect_iteration()
    assert loop.ctx.state == state


def test_budget(loop):
    """The budget ends the loop in a state of its own, and says which number to raise."""
    loop.ctx.iteration = loop.ctx.parameters['budget']['max_iterations']
    assert not loop.should_iterate()
    exit_code = loop.results()
    assert exit_code.status == loop.exit_codes.ERROR_BUDGET_EXHAUSTED.status
    assert 'budget.max_iterations' in exit_code.message


def test_restart_from_another_process(aiida_profile):
    """Only a run of the loop can be continued."""
    node = orm.WorkChainNode().store()
    with pytest.raises(ValueError, match='not an ActiveLearningWorkChain'):
        get_restart_inputs(node)


def test_bad_element_in_own_structures(tiny_runfile, tmp_path):
    """A structure with an element that is not in `system.elements` is refused by name."""
    from ase.build import bulk

    path = tmp_path / 'copper.xyz'
    bulk('Cu').write(path)
    with pytest.raises(ValueError, match='Cu'):
        ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile(structures={'files': [str(path)]}))
