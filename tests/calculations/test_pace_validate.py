"""The CalcJob that looks at crystals, on the real worker."""

from __future__ import annotations

import pytest
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_pyacemaker.calculations.pace_validate import PaceValidateCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


@pytest.fixture
def get_builder(worker_code, al_potential):
    """Return a factory of builders of a small validation."""

    def factory(frames, parameters):
        builder = PaceValidateCalculation.get_builder()
        builder.code = worker_code
        builder.potential = al_potential
        builder.configurations = ConfigurationsData(frames)
        builder.parameters = parameters
        return builder

    return factory


def test_validate(get_builder):
    """Results by crystal, and the crystals relaxed."""
    crystals = [bulk('Al', a=4.1, cubic=True), bulk('Al', 'bcc', a=3.2)]
    crystals[0].info = {'family': 'alloy', 'must_be_stable': True}
    results, node = run_get_node(get_builder(crystals, {'properties': ['eos', 'elasticity', 'pairs'], 'processes': 2}))
    assert node.is_finished_ok, node.exit_message
    found = results['results'].get_dict()
    fcc, bcc = found['crystals']
    assert fcc['name'] == 'Al fcc' and fcc['must_be_stable'] and bcc['name'] == 'Al bcc'
    assert fcc['elasticity']['status'] == 'ok' and fcc['elasticity']['bulk']['voigt'] > 10
    assert found['potential']['elements'] == ['Al'] and found['pairs']['pairs']['Al-Al']
    relaxed = results['crystals'].get_frames()
    assert relaxed[0].cell.lengths()[0] == pytest.approx(fcc['equilibrium']['a'])
    assert 'Al fcc' in results['retrieved'].base.repository.get_object_content('worker.out')


@pytest.mark.parametrize(
    'frames, parameters, message',
    [
        ([bulk('Cu')], {}, 'holds the element Cu'),
        ([bulk('Al')], {'properties': ['colour']}, 'properties.0'),
        ([bulk('Al')], {'settings': {'phonons': {'atoms': 8}}}, 'settings.phonons.atoms'),
    ],
)
def test_bad_input(get_builder, frames, parameters, message):
    with pytest.raises(ValueError, match=message):
        run_get_node(get_builder(frames, parameters))
