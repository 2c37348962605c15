"""Tests of `PyacemakerPwBaseWorkChain`: real failures of pw.x, and every handler on nodes of calculations."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState, run_get_node
from ase.build import bulk
from cases.healing import FAILURES, get_builder, get_outcome

from aiida_pyacemaker.workflows.pw_base import CODES, MAX_ITERATIONS, PyacemakerPwBaseWorkChain

ENDED = '     Program PWSCF v.6.7MaX starts\n{iterations}{verdict}\n     JOB DONE.\n'
ACHIEVED = '     convergence has been achieved in   2 iterations'
MISSED = '     convergence NOT achieved after   2 iterations: stopping'


def stdout(*accuracies: float, verdict: str = ACHIEVED, more: str = '') -> str:
    """Return the lines of an output of pw.x that count."""
    lines = (
        f'     iteration # {k}\n     estimated scf accuracy    < {value:.1E} Ry\n{more}'
        for k, value in enumerate(accuracies, start=1)
    )
    return ENDED.format(iterations=''.join(lines), verdict=verdict)


def stopped(routine: str, message: str) -> str:
    """Return an output of a pw.x that stopped by itself."""
    rule = ' ' + 78 * '%'
    return f'{rule}\n     Error in routine {routine} (1):\n     {message}\n{rule}\n'


@pytest.fixture
def pseudos(pseudo_family):
    """Return the pseudopotentials by element."""
    family = orm.load_group(pseudo_family)
    return {element: family.get_pseudo(element) for element in ('Al', 'Fe', 'Si')}


@pytest.fixture
def chain(pw_code, pseudos, tmp_path, generate_workchain):
    """Return a factory of work chains that have not run anything yet."""

    def factory(failure: str = 'too few SCF steps', **namelists):
        builder = get_builder(FAILURES[failure], pw_code, pseudos, tmp_path, healthy=True)
        parameters = builder.pw.parameters.get_dict()
        for namelist, values in namelists.items():
            parameters[namelist] |= values
        builder.pw.parameters = orm.Dict(parameters)
        process = generate_workchain(PyacemakerPwBaseWorkChain, builder)
        process.setup()
        process.ctx.children = []
        return process

    return factory


@pytest.fixture
def end(pw_code):
    """Return a function that lets the next calculation of a work chain end somehow, and asks the handlers."""

    def function(process, exit_code=0, output='', stderr='', bands=None):
        process.prepare_process()
        node = orm.CalcJobNode(computer=pw_code.computer, process_type='aiida.calculations:quantumespresso.pw')
        for name in ('output_filename', 'scheduler_stderr'):
            node.set_option(name, {'output_filename': 'aiida.out'}.get(name, '_scheduler-stderr.txt'))
        parameters = orm.Dict(process.ctx.inputs.parameters).store()
        node.base.links.add_incoming(parameters, LinkType.INPUT_CALC, 'parameters')
        node.store()
        retrieved = orm.FolderData()
        for name, content in (('aiida.out', output), ('_scheduler-stderr.txt', stderr)):
            retrieved.base.repository.put_object_from_filelike(io.BytesIO(content.encode()), name)
        outputs = {
            'retrieved': retrieved,
            'remote_folder': orm.RemoteData(remote_path='/nowhere', computer=pw_code.computer),
            'output_parameters': orm.Dict({'number_of_bands': 10}),
        }
        if bands is not None:
            outputs['output_band'] = make_bands(bands)
        for label, output_node in outputs.items():
            output_node.base.links.add_incoming(node, LinkType.CREATE, label)
            output_node.store()
        node.set_exit_status(getattr(exit_code, 'status', exit_code))
        node.set_exit_message(getattr(exit_code, 'message', None))
        node.set_process_state(ProcessState.FINISHED)
        process.ctx.children = [*process.ctx.children, node]
        process.ctx.iteration += 1
        return process.inspect_process()

    return function


def make_bands(occupations: list[float]) -> orm.BandsData:
    """Return the bands of one k-point."""
    bands = orm.BandsData()
    bands.set_kpoints([[0.0, 0.0, 0.0]])
    bands.set_bands([[float(k) for k in range(len(occupations))]], occupations=[occupations])
    return bands


def rungs(process) -> list[str]:
    """Return the rungs that were taken."""
    return [rung['rung'] for rung in process.ctx.rungs]


def label(exit_code) -> str:
    """Return the label of an exit code of the work chain."""
    codes = PyacemakerPwBaseWorkChain.exit_codes
    return next(name for name, code in codes.items() if code.status == exit_code.status)


# Real failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name',
    [
        'an input that takes an SCF that is not converged',
        'diagonalisation gives up (david)',
        'wall time over before the first iteration',
        'killed (SIGKILL)',
        'out of memory (limit of 200 MB)',
        'atoms 0.2 Å apart',
        'pseudopotential of another element',
        'pseudopotential cut off in the middle',
    ],
)
def test_real_failures(name, pw_code, pseudos, tmp_path):
    """The real pw.x fails, is healed by the rung that is for it or ends in the exit code that says why."""
    failure = FAILURES[name]
    outputs, node = run_get_node(get_builder(failure, pw_code, pseudos, tmp_path))

    assert get_outcome(node) == failure.expected, node.exit_message
    if node.is_finished_ok:
        assert outputs['output_parameters']['convergence_info']['scf_conv']['convergence_achieved'] is True
        assert (outputs['healing']['flags'], outputs['healing']['weight']) == ([], 1.0)
        assert orm.load_node(outputs['healing']['rungs'][0]['calculation']).process_class.__name__ == 'PwCalculation'
        assert node.base.extras.get('disk_bytes') > 1e4


def test_healthy(pw_code, pseudos, tmp_path):
    """Nothing is healed where nothing fails, and folders are cleaned after their size was noted."""
    builder = get_builder(FAILURES['diagonalisation gives up (david)'], pw_code, pseudos, tmp_path, healthy=True)
    builder.clean_workdir = orm.Bool(True)
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok and 'healing' not in outputs
    assert outputs['remote_folder'].is_empty
    assert node.base.extras.get('disk_bytes') > 1e4


# Every handler --------------------------------------------------------------------------------------------------------


def test_ladder_in_order(chain, end):
    """Each rung once and in order, mixing down; then back; the widened label is kept, flagged."""
    process = chain()
    missed = stdout(1.0, 0.9, verdict=MISSED)
    expected = ['steps', 'mixing', 'mixing', 'diagonalization', 'smearing', 'smearing']
    betas = [0.7, 0.3, 0.1, 0.1, 0.7, 0.7]
    for number, beta in enumerate(betas, start=1):
        assert end(process, CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED, missed).status == 0
        assert rungs(process) == expected[:number]
        assert process.ctx.inputs.parameters['ELECTRONS']['mixing_beta'] == beta
    assert process.ctx.inputs.parameters['ELECTRONS']['mixing_mode'] == 'local-TF'
    assert process.ctx.inputs.parameters['ELECTRONS']['electron_maxstep'] == 200
    assert process.ctx.inputs.parameters['SYSTEM']['degauss'] == pytest.approx(0.08)
    assert 'parent_folder' not in process.ctx.inputs  # a density that does not converge is no start

    assert end(process, 0, stdout(1e-3, 1e-9)).status == 0
    widened = process.ctx.children[-1]
    assert rungs(process)[-1] == 'nominal_smearing'
    assert process.ctx.inputs.parameters['SYSTEM']['degauss'] == 0.02
    assert process.ctx.inputs.parent_folder == widened.outputs.remote_folder

    assert end(process, CODES.ERROR_SCHEDULER_NODE_FAILURE).status == 0
    assert not process.should_run_process()
    process.results()
    assert process.outputs['output_parameters'].creator == widened
    healing = process.outputs['healing'].get_dict()
    assert healing['flags'] == ['smearing raised to 0.08 Ry']
    assert (healing['weight'], healing['nominal']) == (0.25, {'degauss': 0.02})
    assert len(healing['rungs']) == 7


def test_back_to_nominal(chain, end):
    """A label that comes back to the nominal smearing is as good as any."""
    process = chain()
    for _ in range(5):
        end(process, CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED, stdout(1.0, 0.9, verdict=MISSED))
    end(process, 0, stdout(1e-9))
    assert end(process, 0, stdout(1e-9)) is None
    process.results()
    healing = process.outputs['healing'].get_dict()
    assert (healing['flags'], healing['weight'], healing['nominal']) == ([], 1.0, {})
    assert process.outputs['output_parameters'].creator == process.ctx.children[-1]


def test_ladder_exhausted(chain, end):
    """Nothing helps: no label, and the message tells how far it got."""
    process = chain()
    missed = stdout(1.0, 0.9, verdict=MISSED)
    results = [end(process, CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED, missed) for _ in range(7)]
    assert label(results[-1]) == 'ERROR_LADDER_EXHAUSTED'
    assert '0.9 Ry' in results[-1].message
    assert all(result.status == 0 for result in results[:-1])


@pytest.mark.parametrize(
    ('exit_code', 'output'),
    [
        (0, stdout(1e-3, 1e-9, verdict=MISSED)),
        (0, stdout(1e-3, 1e-7)),
        (0, ''),
        (CODES.WARNING_ELECTRONIC_CONVERGENCE_NOT_REACHED, stdout(1e-3, verdict=MISSED)),
    ],
)
def test_never_a_label_without_convergence(chain, end, exit_code, output):
    """Not even where the exit status is zero, or a warning that the stock handlers take for an end."""
    process = chain(ELECTRONS={'scf_must_converge': False})
    assert end(process, exit_code, output).status == 0
    assert process.should_run_process()
    assert rungs(process) == ['steps']
    assert 'scf_must_converge' not in process.ctx.inputs.parameters['ELECTRONS']


def test_more_steps_from_the_density(chain, end):
    """What has come near its end is continued."""
    process = chain()
    end(process, CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED, stdout(1.0, 0.01, verdict=MISSED))
    assert process.ctx.inputs.parameters['ELECTRONS']['startingpot'] == 'file'


def test_diagonalizations(chain, end):
    """One after the other, each once, then the end."""
    process = chain()
    names = []
    result = end(process, CODES.ERROR_S_MATRIX_NOT_POSITIVE_DEFINITE, stdout(1.0))
    while result.status == 0:
        names.append(process.ctx.inputs.parameters['ELECTRONS']['diagonalization'])
        result = end(process, CODES.ERROR_EIGENVECTOR_CONVERGENCE, stdout(1.0))
    assert names == ['cg', 'ppcg', 'paro']
    assert label(result) == 'ERROR_LADDER_EXHAUSTED'


@pytest.mark.parametrize('exit_code', [0, CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED])
def test_highest_band_occupied(chain, end, exit_code):
    """More bands come before the ladder; from the density only if it is converged; not without end."""
    process = chain()
    output = stdout(1e-9) if exit_code == 0 else stdout(1.0, verdict=MISSED)
    for _ in range(3):
        end(process, exit_code, output, bands=[2.0, 2.0, 0.5])
    assert rungs(process) == ['bands'] * 3
    assert process.ctx.inputs.parameters['SYSTEM']['nbnd'] == 14  # the node says 10
    assert ('parent_folder' in process.ctx.inputs) == (exit_code == 0)
    result = end(process, exit_code, output, bands=[2.0, 2.0, 0.5])
    assert rungs(process)[3:] == ([] if exit_code == 0 else ['steps'])
    assert result.status == (550 if exit_code == 0 else 0)


KILLED = (CODES.ERROR_SCHEDULER_NODE_FAILURE, CODES.ERROR_OUTPUT_STDOUT_INCOMPLETE, CODES.ERROR_OUTPUT_FILES)


@pytest.mark.parametrize(('first', 'second'), [*pairwise(KILLED), (KILLED[0], KILLED[0])])
def test_killed_twice(chain, end, first, second):
    """Once more, and only once; and what was killed must not be found in the cache."""
    process = chain()
    assert end(process, first, stdout(1.0, verdict='')).status == 0
    assert rungs(process) == ['killed']
    assert not process.ctx.children[0].base.caching.is_valid_cache
    assert label(end(process, second)) == 'ERROR_KILLED_TWICE'


def test_full_disk_counts_as_killed(chain, end):
    """A file system may be well again later."""
    process = chain()
    message = stopped('davcio', 'error while writing from file "./out/aiida.wfc1"')
    assert end(process, CODES.ERROR_OUTPUT_XML_MISSING, message).status == 0
    result = end(process, CODES.ERROR_OUTPUT_XML_MISSING, message)
    assert label(result) == 'ERROR_KILLED_TWICE' and 'davcio' in result.message


def test_wall_time(chain, end):
    """Continued as long as there is progress."""
    process = chain()
    assert end(process, CODES.ERROR_OUT_OF_WALLTIME, stdout(1.0, 0.1, verdict='')).status == 0
    assert process.ctx.inputs.parameters['CONTROL']['restart_mode'] == 'restart'
    assert rungs(process) == ['wall_time']
    assert label(end(process, CODES.ERROR_OUT_OF_WALLTIME, '')) == 'ERROR_WALLTIME_WITHOUT_PROGRESS'


@pytest.mark.parametrize('exit_code', [CODES.ERROR_OUT_OF_WALLTIME_INTERRUPTED, CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME])
def test_interrupted(chain, end, exit_code):
    """Where the scheduler was faster, pw.x gets to know an earlier end, once."""
    process = chain()
    assert end(process, exit_code, stdout(1.0, verdict='')).status == 0
    assert rungs(process) == ['clean_end']
    assert process.ctx.inputs.parameters['CONTROL']['max_seconds'] == pytest.approx(0.8 * 0.95 * 600)
    assert label(end(process, exit_code)) == 'ERROR_WALLTIME_WITHOUT_PROGRESS'


@pytest.mark.parametrize(
    ('exit_code', 'stderr'),
    [(CODES.ERROR_SCHEDULER_OUT_OF_MEMORY, ''), (CODES.ERROR_OUTPUT_STDOUT_INCOMPLETE, 'oom-kill event(s)')],
)
def test_memory(chain, end, exit_code, stderr):
    """One pool instead of four, and then the exit code."""
    process = chain()
    process.ctx.inputs.parallelization = orm.Dict({'npool': 4, 'ndiag': 1})
    assert end(process, exit_code, stderr=stderr).status == 0
    assert process.ctx.inputs.parallelization.get_dict() == {'npool': 1, 'ndiag': 1}
    assert label(end(process, exit_code, stderr=stderr)) == 'ERROR_OUT_OF_MEMORY'


@pytest.mark.parametrize(
    ('exit_code', 'output', 'expected'),
    [
        (CODES.ERROR_OUTPUT_FILES, stopped('readpp', 'file Al.upf not readable'), 'ERROR_WRONG_PSEUDOPOTENTIAL'),
        (0, stdout(1e-9, more=' negative rho (up, down):  1.0E-00 0.0E+00\n'), 'ERROR_WRONG_PSEUDOPOTENTIAL'),
        (CODES.ERROR_OUTPUT_FILES, stopped('check_atoms', 'atoms #  1 and #  2 overlap!'), 'ERROR_ABSURD_GEOMETRY'),
        (CODES.ERROR_OUTPUT_FILES, stopped('set_occupations', 'smearing colder unknown'), 'ERROR_PW_STOPPED'),
        (CODES.ERROR_NPOOLS_TOO_HIGH, stdout(), 'ERROR_PW_STOPPED'),
        (CODES.ERROR_OUTPUT_FILES, stopped('mp_start_pools', 'invalid number of pools'), 'ERROR_PW_STOPPED'),
        (CODES.ERROR_CHARGE_IS_WRONG, stopped('electrons', 'charge is wrong: smearing is needed'), 'ERROR_PW_STOPPED'),
        (CODES.ERROR_UNEXPECTED_PARSER_EXCEPTION, stopped('iosys', 'bad line'), 'ERROR_PW_STOPPED'),
    ],
)
def test_ends(chain, end, exit_code, output, expected):
    """What cannot be healed ends at once, in an exit code of its own whose message says why."""
    result = end(chain(), exit_code, output)
    assert label(result) == expected
    assert '{' not in result.message


def test_too_few_bands_twice(chain, end):
    """More bands are tried once."""
    process = chain()
    assert end(process, CODES.ERROR_OUTPUT_FILES, stopped('setup', 'too few bands')).status == 0
    assert process.ctx.inputs.parameters['SYSTEM']['nbnd'] == 12  # 12 electrons: 6 pairs, a quarter more, and 4
    assert label(end(process, CODES.ERROR_OUTPUT_FILES, stopped('setup', 'too few bands'))) == 'ERROR_PW_STOPPED'


def test_unknown_failures_are_left_to_the_base(chain, end):
    """What says nothing that we know is for `on_unhandled_failure`."""
    assert label(end(chain(), CODES.ERROR_OUTPUT_XML_FORMAT)) == 'ERROR_UNHANDLED_FAILURE'


def test_relaxations_keep_their_handlers(chain, end):
    """The ladder is for one geometry; wall time of a relaxation is continued by the stock handler."""
    process = chain(CONTROL={'calculation': 'relax'})
    assert end(process, CODES.ERROR_OUT_OF_WALLTIME).status == 0
    assert rungs(process) == []
    assert process.ctx.inputs.parameters['CONTROL']['restart_mode'] == 'restart'


def test_builder_from_protocol(pw_code, pseudo_family):
    """As that of the base class, with iterations enough for the whole ladder unless asked otherwise."""
    structure = orm.StructureData(ase=bulk('Al'))
    overrides = {'pseudo_family': pseudo_family}
    builder = PyacemakerPwBaseWorkChain.get_builder_from_protocol(pw_code, structure, 'fast', overrides=overrides)
    assert builder.process_class is PyacemakerPwBaseWorkChain
    assert builder.max_iterations == MAX_ITERATIONS
    builder = PyacemakerPwBaseWorkChain.get_builder_from_protocol(
        pw_code, structure, overrides={**overrides, 'max_iterations': 3}
    )
    assert builder.max_iterations == 3
