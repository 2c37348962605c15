"""Tests of the verdict: what is found of a crystal is judged by the criteria of the protocol."""

from __future__ import annotations

import copy

import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.validation.choose import choose_crystals
from aiida_pyacemaker.atomistics.validation.gate import AT_LEAST, judge
from aiida_pyacemaker.atomistics.validation.parameters import Gate
from aiida_pyacemaker.runfile import protocol_defaults, resolve_runfile

PARAMETERS = resolve_runfile({'system': {'elements': ['Al']}}).to_dict()['validate']
PAIR = {'distances': [1.4, 2.0, 2.8], 'energies': [20.0, 5.0, 0.0], 'shortest': 1.4, 'monotone': True, 'hole': None}
HOLE = {**PAIR, 'monotone': False, 'hole': {'distance': 2.2, 'energy': 1.0, 'bottom': 1.8, 'depth': 3.0}}
#: What the suite returns of a crystal of which nothing is wrong.
CRYSTAL = {
    'name': 'Al fcc',
    'numbers': [13] * 4,
    'equilibrium': {'status': 'ok', 'energy': -3.5},
    'eos': {
        'status': 'ok',
        'volumes': [12.0, 14.0, 16.0, 18.0],
        'kinks': [],
        'smooth': True,
        'monotone': True,
        'birch_murnaghan': {'v0': 16.0, 'b0': 80.0},
    },
    'elasticity': {
        'status': 'ok',
        'born': {'stable': True, 'min_eigenvalue': 50.0, 'violated': []},
        'shear': {'hill': 27.0},
        'soft_strain': [1.0, -1.0, 0.0, 0.0, 0.0, 0.0],
    },
    'phonons': {'status': 'ok', 'stable': True, 'imaginary': [], 'min_frequency': -0.01},
    'pairs': {'status': 'ok', 'pairs': {'Al-Al': PAIR}, 'compression': {'hole': None, 'volumes': [8.0, 16.0]}},
    'vacancy': {'status': 'ok', 'sites': [{'element': 'Al', 'energy': 0.6}]},
    'surfaces': {'status': 'ok', 'surfaces': [{'miller': [1, 1, 1], 'energy': 0.9}]},
    'stacking_fault': {'status': 'ok', 'intrinsic': 130.0},
    'stability': {
        'status': 'ok',
        'runs': [{'ensemble': 'nve', 'temperature': 300.0, 'completed': True, 'drift': 1e-4, 'reason': ''}],
    },
}
ERRORS = {'energy': {'rmse': 0.001}, 'forces': {'rmse': 0.03}, 'stress': {'rmse': 0.0003}}


def content(**sections) -> dict:
    """Return what the suite returns of one crystal, some sections of which have other values."""
    crystal = copy.deepcopy(CRYSTAL)
    for name, values in sections.items():
        crystal[name] = {**crystal[name], **values}
    dimers = {'status': 'ok', 'pairs': {'Al-Al': PAIR}}
    return {'crystals': [crystal], 'errors': ERRORS, 'pairs': dimers, 'melting': None}


def failed(verdict: dict) -> list[str]:
    return [check['name'] for check in verdict['checks'] if check['result'] == 'fail']


def test_nothing_is_wrong():
    verdict = judge(content(), None, PARAMETERS)
    assert verdict['verdict'] == 'PASS', verdict['summary']
    assert not verdict['requests'] and not verdict['weights']
    assert all(check['reason'] for check in verdict['checks'])
    assert {check['name'] for check in verdict['checks']} >= set(Gate.model_fields) - {
        'volume_dft',
        'bulk_modulus_dft',
        'shear_modulus_dft',
        'melting',
    }


MODE = {'q': [0.5, 0.5, 0.0], 'numbers': [13], 'positions': [[0, 0, 0]], 'cell': [[1]], 'displacements': [[0, 0, 1]]}
RUN = {'ensemble': 'nvt', 'temperature': 1800.0, 'completed': False, 'drift': None, 'reason': 'collapse'}
ELASTIC = {'born': {'stable': False, 'min_eigenvalue': -3.0, 'violated': ["C' > 0"]}}


@pytest.mark.parametrize(
    'sections, name, request_',
    [
        ({'eos': {'kinks': [14.0]}}, 'eos_kinks', {'kind': 'volume', 'volume': [10.0, 18.0]}),
        ({'elasticity': ELASTIC}, 'born', {'kind': 'strain', 'strain': CRYSTAL['elasticity']['soft_strain']}),
        ({'phonons': {'stable': False, 'imaginary': [MODE]}}, 'imaginary_modes', {'kind': 'mode', **MODE}),
        ({'pairs': {'pairs': {'Al-Al': HOLE}}}, 'pair_barrier', {'kind': 'pair', 'elements': ['Al', 'Al']}),
        (
            {'pairs': {'compression': {'hole': {'volume': 10.0, 'bottom': 8.0, 'energy': 0.4, 'pressure': 19.0}}}},
            'compression_barrier',
            {'kind': 'volume', 'volume': [6.4, 12.0]},
        ),
        ({'vacancy': {'sites': [{'element': 'Al', 'energy': -0.2}]}}, 'vacancy', {'kind': 'vacancy'}),
        (
            {'surfaces': {'surfaces': [{'miller': [1, 0, 0], 'energy': -0.1}]}},
            'surface',
            {'kind': 'surface', 'miller': [1, 0, 0]},
        ),
        ({'stability': {'runs': [RUN]}}, 'broken_runs', {'kind': 'temperature', 'temperature': 1800.0}),
        ({'phonons': {'status': 'failed', 'message': 'out of memory'}}, 'phonons', {'kind': 'rattle'}),
    ],
)
def test_a_fault_fails_and_asks_for_its_cure(sections, name, request_):
    """Each fault fails the potential by its own name, and asks for structures that would cure it."""
    verdict = judge(content(**sections), None, PARAMETERS)
    assert verdict['verdict'] == 'FAIL'
    assert failed(verdict) == [name]
    (asked,) = verdict['requests']
    assert asked['crystal'] == 0 and asked['reason']
    assert {key: asked[key] for key in request_} == request_


def test_two_atoms_alone():
    """A hole of a dimer only counts where its rim is low, and as much as it is deep."""
    found = content()
    found['pairs']['pairs'] = {'Al-Al': HOLE}
    verdict = judge(found, None, PARAMETERS)
    assert failed(verdict) == ['dimer_hole']
    assert verdict['requests'][0]['kind'] == 'dimer'
    hole = found['pairs']['pairs']['Al-Al']['hole'] = {**HOLE['hole'], 'depth': 0.3}
    assert judge(found, None, PARAMETERS)['verdict'] == 'CONDITIONAL'
    hole['energy'] = 30.0
    assert judge(found, None, PARAMETERS)['verdict'] == 'PASS'


def test_a_little_off_is_conditional():
    """What is beyond its limit only warns, and says what the next fit should weigh more."""
    found = content()
    found['errors'] = {**ERRORS, 'stress': {'rmse': 0.002}}
    verdict = judge(found, None, PARAMETERS)
    assert verdict['verdict'] == 'CONDITIONAL'
    assert verdict['weights'] == {'stress': 2.0}
    assert not verdict['requests']
    assert '0.32 GPa' in verdict['summary']


def test_errors():
    found = content()
    found['errors'] = {**ERRORS, 'forces': {'rmse': 0.4}}
    verdict = judge(found, None, PARAMETERS)
    assert failed(verdict) == ['force_rmse'] and verdict['requests'][0]['kind'] == 'rattle'
    # whoever relaxes the limit of the loop relaxes the criterion
    assert judge(found, None, {**PARAMETERS, 'force_rmse': 0.5})['verdict'] == 'PASS'


def test_only_the_ground_state_has_to_be_stable():
    """Another phase may be unstable; of the phase that is lowest in energy, and of the user's own, it is a fault."""
    unstable = {'phonons': {'stable': False, 'imaginary': [MODE]}, 'elasticity': ELASTIC}
    found = content(**unstable)
    found['crystals'][0] |= {'name': 'Al bcc', 'equilibrium': {'status': 'ok', 'energy': -3.4}}
    found['crystals'].append(copy.deepcopy(CRYSTAL))
    verdict = judge(found, None, PARAMETERS)
    assert verdict['verdict'] == 'PASS'
    (told,) = [check for check in verdict['checks'] if check['result'] == 'not_applicable']
    assert told['crystal'] == 'Al bcc' and 'need not be' in told['message']
    found['crystals'][0]['must_be_stable'] = True
    assert set(failed(judge(found, None, PARAMETERS))) == {'imaginary_modes', 'born'}


def test_a_mode_that_is_unstable_in_truth():
    """If the labels say the same, it is no fault."""
    found = content(phonons={'stable': False, 'imaginary': [MODE]})
    found['crystals'][0]['confirmed_unstable'] = True
    verdict = judge(found, None, PARAMETERS)
    assert verdict['verdict'] == 'PASS'
    assert 'the labels themselves' in str(verdict['checks'])


def test_against_dft():
    """The potential has to say what its own DFT says."""
    near = {'eos': {'birch_murnaghan': {'v0': 16.1, 'b0': 82.0}}, 'elasticity': {'shear': {'hill': 26.0}}}
    far = {'eos': {'birch_murnaghan': {'v0': 16.1, 'b0': 120.0}}, 'elasticity': {'shear': {'hill': None}}}
    assert judge(content(), {'dft': [near]}, PARAMETERS)['verdict'] == 'PASS'
    verdict = judge(content(), {'dft': [far]}, PARAMETERS)
    assert failed(verdict) == ['bulk_modulus_dft']
    assert judge(content(), {'dft': [None]}, PARAMETERS)['verdict'] == 'PASS'


def test_melting_against_experiment():
    found = content()
    found['melting'] = {'status': 'ok', 'temperature': 900.0, 'uncertainty': 20.0}
    references = {'experiment': [{'melting_temperature': {'value': 933.5, 'unit': 'K', 'source': 'CRC'}}]}
    assert judge(found, references, PARAMETERS)['verdict'] == 'PASS'
    lost = judge({**found, 'melting': {'status': 'failed', 'message': 'killed'}}, references, PARAMETERS)
    assert lost['verdict'] == 'CONDITIONAL' and 'killed' in lost['summary'] and not lost['requests']
    found['melting']['temperature'] = 700.0
    assert judge(found, references, PARAMETERS)['verdict'] == 'CONDITIONAL'


def test_not_applicable_and_nothing_at_all():
    found = content(phonons={'status': 'not_applicable', 'message': 'a molecule has no phonons'})
    verdict = judge(found, None, PARAMETERS)
    assert verdict['verdict'] == 'PASS'
    assert 'a molecule has no phonons' in [check['message'] for check in verdict['checks']]
    assert judge({'crystals': []}, None, PARAMETERS)['verdict'] == 'FAIL'


def test_nan_fails():
    found = content(eos={'birch_murnaghan': {'v0': float('nan'), 'b0': 80.0}})
    verdict = judge(found, {'dft': [{'eos': {'birch_murnaghan': {'v0': 16.0, 'b0': 80.0}}}]}, PARAMETERS)
    assert failed(verdict) == ['volume_dft']


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_every_criterion_has_its_reason(protocol):
    """`fail` is never stricter than `limit`, and every criterion says why it is there."""
    section = protocol_defaults(protocol)['validate']
    for name, criterion in section['gate'].items():
        limit, fail = criterion.get('limit', section.get(name)), criterion.get('fail')
        assert len(criterion['reason']) > 10
        if limit is not None and fail is not None:
            assert fail <= limit if name in AT_LEAST else fail >= limit


def test_crystals_to_judge():
    """The user's own come first, then the lowest of each composition; disordered ones and trajectories never."""
    from ase.calculators.singlepoint import SinglePointCalculator

    def frame(atoms, energy, **info):
        atoms.calc = SinglePointCalculator(atoms, energy=energy * len(atoms), forces=atoms.positions * 0)
        atoms.info.update({'family': 'alloy', 'operation': 'pristine', **info})
        return atoms

    rattled = bulk('Al', cubic=True)
    rattled.rattle(0.1, seed=1)
    frames = [
        frame(bulk('Al', 'bcc', a=3.2, cubic=True), -3.4, phase='bcc'),
        frame(bulk('Al', cubic=True), -3.4, phase='fcc', operation='eos'),
        frame(bulk('Al', a=4.0, cubic=True), -3.5, phase='fcc', operation='eos'),
        frame(bulk('Al', a=4.0, cubic=True), -9.0, phase='fcc', operation='rattle'),
        frame(bulk('Al', cubic=True), -9.0, phase='random'),
        frame(bulk('AlNi', 'cesiumchloride', a=2.9), -4.0, phase='B2'),
        frame(rattled, -9.0, phase='user', family='user', operation='as given'),
    ]
    found = choose_crystals(frames, 4)
    assert [atoms.info['phase'] for atoms in found] == ['B2', 'fcc', 'bcc']
    assert [atoms.info['must_be_stable'] for atoms in found] == [True, True, False]
    assert found[1].cell.lengths() == pytest.approx([4.0] * 3) and found[1].calc is None
    own = frame(bulk('Al', 'hcp', a=2.86), -3.3, phase='user', family='user', operation='as given')
    assert [atoms.info['phase'] for atoms in choose_crystals([*frames, own], 2)] == ['user', 'B2']
