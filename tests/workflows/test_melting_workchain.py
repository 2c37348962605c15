"""Tests of the search for a melting point by AiiDA, on the real engine with a small ACE potential."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.validation.properties.melting.search import Search
from aiida_pyacemaker.reports.queries import get_children

MeltingWorkChain = WorkflowFactory('pyacemaker.melting')
LammpsMeltingCalculation = CalculationFactory('pyacemaker.lammps_melting')
ConfigurationsData = DataFactory('pyacemaker.configurations')
SHORT = {'atoms': 100, 'temperature': 1300.0, 'steps': 2000, 'max_runs': 2, 'precision': 1e-6, 'seed': 5}


@pytest.fixture
def melt(lammps_code, al_potential):
    """Return a function that looks for a melting point."""

    def run(crystal=bulk('Al', a=4.0), code=lammps_code, **keys):
        builder = MeltingWorkChain.get_builder_from_protocol(
            code, al_potential, ConfigurationsData([crystal]), {**SHORT, **keys}, {'max_wallclock_seconds': 600}
        )
        return run_get_node(builder)

    return run


def test_search(melt):
    """One simulation after the other, the second from the restart file of the first, or with what it has taught."""
    outputs, node = melt()
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    # 2000 steps are no melting point, and that is told
    assert (results['status'], results['temperature']) == ('failed', None)
    assert results['message'].startswith('2 simulations were not enough: raise max_runs, atoms or steps')
    first, second = results['runs']
    assert first['program'] == 'coexist'
    assert first['outcome'] in ('coexists', 'molten', 'frozen')
    assert 0 < first['n_atoms'] < 200
    children = get_children(node)
    simulation = children['simulation_00']
    assert simulation.get_option('max_wallclock_seconds') == 600
    track = simulation.outputs.track
    assert track.get_array('temperature').shape == track.get_array('solid').shape == (first['steps'] // 500,)
    assert track.base.attributes.get('units')['temperature'] == 'K'
    following = children['simulation_01'].inputs
    assert second['program'] == following.parameters['program']
    if first['outcome'] == 'coexists':
        assert second['program'] == 'extend'
        assert following.restart.uuid == simulation.outputs.restart.uuid
        assert results['track']['times'] == pytest.approx(np.arange(1, len(results['track']['times']) + 1), rel=1e-3)
        assert len(results['track']['times']) == (first['steps'] + second['steps']) // 500
    else:
        assert second['program'] == 'coexist'
        assert 'restart' not in following


def test_not_applicable(melt):
    """A molecule does not melt; that is a result, and costs no simulation."""
    outputs, node = melt(crystal=Atoms('Al2', positions=[[0, 0, 0], [0, 0, 2.5]], cell=[12] * 3, pbc=True))
    assert node.is_finished_ok
    assert outputs['results']['status'] == 'not_applicable'
    assert not get_children(node)


def test_dying_simulation(melt, aiida_code_installed, fake_executable):
    """A simulation that dies is run once more, and then the search ends with its message."""
    script = fake_executable('lmp', 'echo "LAMMPS (22 Jul 2025)"\necho "ERROR: no disk"\nexit 1')
    code = aiida_code_installed(label='dying-lammps', filepath_executable=str(script))
    _, node = melt(code=code)
    assert node.exit_status == MeltingWorkChain.exit_codes.ERROR_SIMULATION_FAILED.status
    assert 'failed 2 times' in node.exit_message
    assert 'no disk' in node.exit_message
    assert [child.exit_status for child in get_children(node).values()] == [309, 309]


def test_bad_inputs(melt, lammps_code, al_potential):
    """Bad inputs are refused before anything runs."""
    with pytest.raises(ValueError, match=r'melting\.atoms: Input should be greater than or equal to 100'):
        melt(atoms=10)
    crystal = bulk('Cu')
    builder = LammpsMeltingCalculation.get_builder()
    builder.code, builder.potential = lammps_code, al_potential
    builder.crystal = ConfigurationsData([crystal])
    builder.parameters = orm.Dict(Search(SHORT, crystal).next())
    with pytest.raises(ValueError, match='`crystal` holds the element Cu, which the potential does not know'):
        run_get_node(builder)
    with pytest.raises(ValueError, match='programm: unknown key; did you mean `program`'):
        builder.parameters = orm.Dict({'programm': 'heat'})
    builder.crystal = ConfigurationsData([bulk('Al')])
    builder.parameters = orm.Dict({**Search(SHORT, crystal).next(), 'program': 'extend'})
    with pytest.raises(ValueError, match='give `restart` for the program extend'):
        run_get_node(builder)
