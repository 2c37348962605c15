"""Tests of the main loop: one tiny, complete, real run, and the decisions on their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.common import AttributeDict
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory, WorkflowFactory

from aiida_pyacemaker.atomistics.loop.progress import Progress
from aiida_pyacemaker.workflows.active_learning.restart import get_restart_inputs
from aiida_pyacemaker.workflows.deploy import EXTRA_PRODUCTION

ActiveLearningWorkChain = WorkflowFactory('pyacemaker.active_learning')
ConfigurationsData = DataFactory('pyacemaker.configurations')


def test_tiny_loop(aiida_profile_clean, tiny_runfile):
    """A complete loop on real engines: it halts, labels, learns, resumes, and every potential knows its DFT."""
    builder = ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    outputs, node = run_get_node(builder)

    report = outputs['report'].get_dict()
    ends = {'converged': 0, 'budget_exhausted': 500, 'gate_failed': 502}
    assert node.exit_status == ends[report['state']], report

    # The result was judged, and is in production only if it passed.
    verdict = outputs['validation'].get_dict()
    assert report['validation']['verdict'] == verdict['verdict']
    passed = report['state'] == 'converged'
    assert (
        (EXTRA_PRODUCTION in outputs['potential'].base.extras.all)
        == passed
        == (report['validation']['deployed'] is not None)
    )
    assert verdict['verdict'] in outputs['validation_report'].get_content()

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

    # At the end everything was fitted at once, and that is the result if it won.
    production = report['iterations'][-1]['production']
    assert production['kept'] == ('exploring_potential' in outputs)
    assert production['kept'] == (report['production'] is not None)

    # A continued run starts from the last potential that explored, counts on, and asks for the very same simulations.
    exploring = outputs.get('exploring_potential', outputs['potential'])
    inputs = get_restart_inputs(node)
    assert inputs['potential'].uuid == exploring.uuid
    trained_on = exploring.creator.inputs.configurations
    assert sum(len(batch) for batch in inputs['dataset'].values()) == len(trained_on) <= len(outputs['dataset'])
    check_repetition(node)


def check_repetition(node):
    """Check that a run continued after any fit explores with the inputs of the former one, which the cache finds."""
    children = {link.link_label: link.node for link in node.base.links.get_outgoing(link_type=LinkType.CALL_WORK)}
    checked = 0
    for name, checkpoint in node.base.extras.get('checkpoints').items():
        explore = children.get(f'iteration_{int(name) + 1:02d}_explore')
        progress = Progress.continued(node.inputs.parameters.get_dict(), checkpoint)
        if explore is not None and progress.advance(0):
            former = explore.inputs.parameters.get_dict()
            present = {'seed': progress.seed, 'stage': progress.stage, 'walker_indices': progress.walkers_to_run()}
            assert {key: former[key] for key in present} == present
            checked += 1
    assert checked


@pytest.fixture
def loop(tiny_runfile, generate_workchain, al_potential, al_frames):
    """Return the loop in its first exploration, with a potential and data as if iteration 0 were done."""
    process = generate_workchain(
        ActiveLearningWorkChain, ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    )
    process.setup()
    process.ctx.potential = al_potential
    process.ctx.dataset = ConfigurationsData(al_frames).store()
    errors = {'energy': {'rmse': 0.05}, 'forces': {'rmse': 0.3}, 'n_atoms': 100}
    progress = process.progress
    progress.labelled(12, 4)
    progress.trained({'train': errors, 'test': errors, 'chosen': {'basis': {'number_of_functions': 20}}})
    progress.validated(errors)
    process.keep(progress)
    assert iterates(process)
    return process


def iterates(process):
    """Close the iteration, and return whether there is another one."""
    process.close_iteration()
    return process.should_iterate()


def ended(ok=True, **outputs):
    """Return what a WorkChain that has ended looks like to the loop."""
    node = {'is_finished_ok': ok, 'outputs': AttributeDict(outputs), 'pk': 1, 'process_label': 'AnyWorkChain'}
    return AttributeDict({**node, 'exit_message': 'it failed'})


def explored(*walkers, **outputs):
    """Return what a finished ExploreWorkChain looks like to the loop."""
    results = {
        'walkers': list(walkers),
        'number_halted': sum(walker['reason'] == 'gamma' for walker in walkers),
        'number_failed': 0,
        'failed': [],
        'gamma_max': 1.0,
    }
    return ended(results=orm.Dict(results), restarts={'walker_00': 'restart file'}, **outputs)


def walker(reason, step):
    """Return what became of a walker."""
    return {'index': 0, 'reason': reason, 'step': step, 'steps': 1000, 'gamma_max': 1.0}


def test_halted_walkers_resume(loop):
    """Only a walker that gamma halted resumes; one that boiled starts anew. People can follow it on the node."""
    loop.ctx.explore = explored(walker('gamma', 300), halted='frames')
    loop.inspect_explore()
    assert list(loop.ctx.restarts) == ['walker_00']
    assert loop.should_embed()
    assert loop.node.base.extras.get('progress')['history'][-1]['ended'] == {'gamma': 1}
    assert iterates(loop)
    assert loop.progress.resuming == [0]
    loop.ctx.explore = explored(walker('volume', 300))
    loop.inspect_explore()
    assert not loop.ctx.restarts
    assert not loop.should_embed()


def test_nothing_to_label(loop):
    """What halted may be known already: nothing is labelled, and the loop goes on."""
    loop.ctx.explore = explored(walker('gamma', 300), halted='frames')
    loop.inspect_explore()
    loop.ctx.embed = ended(results=orm.Dict({'number_of_configurations': 0}))
    assert loop.inspect_embed() is None
    assert not loop.should_label()
    assert not loop.should_train()
    assert iterates(loop)


def test_the_context_can_be_kept(loop):
    """A daemon that stops keeps the context as text, and another one goes on with it."""
    from aiida.orm.utils.serialize import deserialize_unsafe, serialize

    loop.ctx.explore = explored(walker('gamma', 300))
    loop.inspect_explore()
    kept = {key: value for key, value in loop.ctx.items() if key != 'explore'}
    again = deserialize_unsafe(serialize(kept))
    assert Progress.from_dict(again['parameters'], again['progress']) == loop.progress


def test_stalled_and_out_of_budget(loop):
    """Every end has an exit code of its own, which says what to change."""
    progress = loop.progress
    progress.state, progress.reason = 'stalled', 'raise `explore.gamma_halt`'
    loop.keep(progress)
    assert not loop.should_embed()
    assert not iterates(loop)
    exit_code = loop.results()
    assert exit_code.status == loop.exit_codes.ERROR_STALLED.status
    assert 'explore.gamma_halt' in exit_code.message
    progress.state = 'running'
    progress.iteration = loop.ctx.parameters['budget']['max_iterations']
    loop.keep(progress)
    assert not iterates(loop)
    assert loop.should_produce()
    exit_code = loop.results()
    assert exit_code.status == loop.exit_codes.ERROR_BUDGET_EXHAUSTED.status
    assert 'budget.max_iterations' in exit_code.message


def test_production_fit_that_fails(loop, al_potential):
    """The production fit and its trial can only make the result better: their failures don't end the loop."""
    loop.ctx.fit = ended(ok=False)
    assert loop.inspect_production() is None
    assert not loop.should_run_trial()
    good = {'energy': {'rmse': 0.01}, 'forces': {'rmse': 0.1}}
    results = {'train': good, 'test': good, 'chosen': {'basis': {'number_of_functions': 60}}}
    loop.ctx.fit = ended(results=orm.Dict(results), potential=al_potential)
    loop.inspect_production()
    assert loop.should_run_trial()
    loop.ctx.trial = ended(ok=False)
    loop.inspect_trial()
    assert loop.ctx.production is None
    loop.attach_outputs()
    assert 'exploring_potential' not in loop.outputs
    assert loop.outputs['report']['production'] is None


def judged(loop, verdict, potential, **outputs):
    """Return what a finished ValidateWorkChain looks like to the loop."""
    results = {'verdict': verdict, 'summary': f'{verdict}: a hole.', 'checks': [], 'requests': [], 'weights': {}}
    node = ended(results=orm.Dict(results).store(), content=orm.Dict({}).store(), **outputs)
    return AttributeDict({**node, 'inputs': AttributeDict({'potential': potential})})


@pytest.fixture
def at_the_gate(loop):
    """Return the loop when its result is to be judged."""
    loop.ctx.explore = explored(walker('completed', 1000))
    loop.inspect_explore()
    progress = loop.progress
    progress.labelled(1, 1)
    progress.production_failed('no production fit')
    loop.keep(progress)
    loop.ctx.new_test = False
    assert loop.should_validate()
    return loop


def test_the_gate_asks_and_the_loop_follows(at_the_gate, al_potential, al_frames):
    """What a failed judgement asks for is labelled in the next iteration, which simulates nothing."""
    requested = ConfigurationsData(al_frames[:2]).store()
    loop = at_the_gate
    assert [atoms.info['phase'] for atoms in loop.get_crystals().get_frames()]
    loop.ctx.validate = judged(loop, 'FAIL', al_potential, requested=requested)
    loop.inspect_validate()
    assert not loop.should_validate()
    assert iterates(loop)
    assert not loop.should_explore() and not loop.should_embed()
    assert loop.should_label() and loop.ctx.to_label.uuid == requested.uuid
    assert 'gate' in loop.node.base.extras.get('progress')['history'][-1]['why']


def test_the_gate_fails_for_good(at_the_gate, al_potential):
    """A result that fails and asks for nothing ends the loop with an exit code of its own, and everything it has."""
    loop = at_the_gate
    loop.ctx.validate = judged(loop, 'FAIL', al_potential)
    loop.inspect_validate()
    assert not iterates(loop)
    exit_code = loop.results()
    assert exit_code.status == loop.exit_codes.ERROR_GATE_FAILED.status == 502
    assert 'a hole' in exit_code.message
    assert loop.outputs['validation']['verdict'] == 'FAIL'
    assert loop.outputs['report']['validation'] == {
        'verdict': 'FAIL',
        'summary': 'FAIL: a hole.',
        'structures': 0,
        'deployed': None,
    }


def test_a_judgement_that_cannot_be_made(at_the_gate):
    """It ends the loop, unless that has ended for a reason of its own, which is then the one that is told."""
    loop = at_the_gate
    progress = loop.progress
    loop.ctx.validate = ended(ok=False)
    progress.state, progress.reason = 'budget_exhausted', '`budget.max_labels`'
    loop.keep(progress)
    assert loop.inspect_validate() is None
    assert loop.results().status == loop.exit_codes.ERROR_BUDGET_EXHAUSTED.status
    assert loop.outputs['report']['validation'] is None


def test_corrupt_potential(loop):
    """No simulation starts with a potential whose files are no longer what was stored."""
    assert loop.check_potential() is None
    node = loop.ctx.potential
    repository, key = node.backend.get_repository(), node.base.repository.get_object('potential.asi').key
    path = Path(repository._container._get_loose_path_from_hashkey(key))
    content = path.read_bytes()
    path.chmod(0o600)
    try:
        path.write_bytes(content[:-1])
        assert loop.check_potential().status == loop.exit_codes.ERROR_CORRUPT_POTENTIAL.status
    finally:
        path.write_bytes(content)
    assert 'potential.asi' in loop.outputs['report']['reason']


def test_overrides_reach_the_steps(loop, tiny_runfile, generate_workchain, monkeypatch):
    """What the user gives for a step replaces what the loop has built for it, and nothing else is filled in."""
    builder = ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    builder.explore.options = orm.Dict({'withmpi': True})
    builder.train.max_iterations = orm.Int(7)
    builder.train.job.metadata.options.max_wallclock_seconds = 4321
    process = generate_workchain(ActiveLearningWorkChain, builder)
    process.setup()
    process.ctx.update({key: loop.ctx[key] for key in ('potential', 'dataset', 'progress', 'entry')})
    submitted = {}

    def submit(builder):
        submitted[builder.process_class.__name__] = builder
        return builder

    monkeypatch.setattr(process, 'submit', submit)
    process.run_explore()
    process.run_train()
    explore, train = submitted['ExploreWorkChain'], submitted['TrainWorkChain']
    assert explore.options.get_dict() == {'withmpi': True}
    assert explore.potential.uuid == loop.ctx.potential.uuid
    assert train.max_iterations == 7
    options = train.job.metadata.options
    assert (options.max_wallclock_seconds, options.withmpi) == (4321, False)
    assert train.job.parameters['number_of_functions'] == 20
    assert 'on_unhandled_failure' not in train._inputs(prune=True)


def test_what_the_loop_decides_cannot_be_overridden(tiny_runfile):
    """Potential and data of a step are what the loop is about."""
    builder = ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    for namespace, name in (('explore', 'potential'), ('label', 'configurations'), ('validate', 'crystals')):
        with pytest.raises(AttributeError, match='Unknown builder parameter'):
            setattr(builder[namespace], name, orm.Dict())


def test_a_missing_code_is_named(tiny_runfile, generate_workchain):
    """The oracle says which code it runs."""
    builder = ActiveLearningWorkChain.get_builder_from_runfile(tiny_runfile())
    del builder.codes['pw']
    with pytest.raises(ValueError, match=r"codes: .*oracle 'qe' needs pw"):
        generate_workchain(ActiveLearningWorkChain, builder)


def test_exit_codes_are_sorted():
    """People read them in order."""
    own = [code.status for code in ActiveLearningWorkChain.exit_codes.values() if code.status >= 200]
    assert own == sorted(own)


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
