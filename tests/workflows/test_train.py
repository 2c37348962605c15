"""The WorkChain of one fit, on the real engine."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.workflows.train import TrainWorkChain, get_parent_folder

PARAMETERS = {'elements': ['Al'], 'cutoff': 5.0, 'number_of_functions': 20, 'processes': 2}

#: Kills the worker (and only it, as the system does that runs out of memory) when some rows are there, but once only.
KILL_ONCE = """
[ -e "{flag}" ] && exec "{worker}" "$@"
touch "{flag}"
"{worker}" "$@" &
until [ "$(find rows -name '*.rows' | wc -l)" -ge 3 ]; do sleep 0.02; done
kill -9 $!
"""


@pytest.fixture
def many(aiida_profile, al_frames):
    """Return labelled configurations, so many that a kill comes in the middle of their rows."""
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    frames = []
    for index in range(60):
        atoms = al_frames[index % 12].repeat((2, 2, 1))
        atoms.rattle(0.05, seed=index)
        atoms.info.update(al_frames[0].info)
        atoms.calc = EMT()
        labels = {'energy': atoms.get_potential_energy(), 'forces': atoms.get_forces(), 'stress': atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return ConfigurationsData(frames)


def test_killed(worker_code, aiida_code_installed, fake_executable, tmp_path, many):
    """A fit that was killed in the middle goes on from the rows that it has left; so does the next generation."""
    script = KILL_ONCE.format(flag=tmp_path / 'was here', worker=worker_code.filepath_executable)
    code = aiida_code_installed(label='killed', filepath_executable=str(fake_executable('worker', script)))
    outputs, node = run_get_node(TrainWorkChain.get_builder_from_protocol(code, many, PARAMETERS))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    first, second = (job for job in node.called if isinstance(job, orm.CalcJobNode))
    assert (first.exit_status, second.exit_status) == (302, 0)
    assert second.inputs.parent_folder.uuid == first.outputs.remote_folder.uuid
    rows = outputs['results']['rows']
    assert rows['linked'] >= 3
    assert rows['linked'] + rows['computed'] == 60

    builder = TrainWorkChain.get_builder_from_protocol(code, many, PARAMETERS, potential=outputs['potential'])
    assert builder.job.parent_folder.uuid == second.outputs.remote_folder.uuid


def test_killed_each_time(aiida_code_installed, fake_executable, al_frames):
    """A fit that is killed each time is given up, and the exit message is that of the last job."""
    code = aiida_code_installed(label='doomed', filepath_executable=str(fake_executable('worker', 'kill -9 $$')))
    frames = ConfigurationsData([atoms for atoms in al_frames if len(atoms) > 1])
    _, node = run_get_node(TrainWorkChain.get_builder_from_protocol(code, frames, PARAMETERS))
    jobs = [job for job in node.called if isinstance(job, orm.CalcJobNode)]
    assert [job.exit_status for job in jobs] == [302, 302, 302]
    assert node.exit_status == TrainWorkChain.exit_codes.ERROR_JOB_KEPT_FAILING.status
    assert f'run 3 times and failed each time, the last time: PaceTrainCalculation<{jobs[-1].pk}>' in node.exit_message
    assert 'it was killed' in node.exit_message


def test_no_parent_folder(al_potential, worker_code):
    """A potential that was not fitted here has no folder to go on from."""
    assert get_parent_folder(al_potential, worker_code) is None


def test_refused(worker_code, al_frames):
    """What the worker refuses is not tried twice, and its reason is the WorkChain's."""
    free = ConfigurationsData([atoms for atoms in al_frames if len(atoms) == 1])
    _, node = run_get_node(TrainWorkChain.get_builder_from_protocol(worker_code, free, PARAMETERS))
    assert node.exit_status == TrainWorkChain.exit_codes.ERROR_JOB_REFUSED.status, node.exit_message
    assert 'no configuration with more than a free atom' in node.exit_message
    assert len(node.called) == 1
