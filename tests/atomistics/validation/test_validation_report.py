"""The page for people: what it says, that it needs nothing else, and that nothing in it can harm."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from plotly.graph_objects import Figure

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.metrics.errors import error_arrays, error_metrics
from aiida_pyacemaker.atomistics.validation.properties.eos import figures as figures_of_eos
from aiida_pyacemaker.atomistics.validation.properties.pairs import figures as figures_of_pairs
from aiida_pyacemaker.atomistics.validation.properties.phonons import figures as figures_of_phonons
from aiida_pyacemaker.atomistics.validation.references import find_experiment
from aiida_pyacemaker.atomistics.validation.rendering import measure, number, percent
from aiida_pyacemaker.atomistics.validation.report import write_report
from aiida_pyacemaker.atomistics.validation.suite import Suite, run_suite

HOSTILE = '</script><script>alert(1)</script>'
CHECKS = [
    {'name': 'born', 'crystal': 'Cu fcc', 'value': 20.0, 'unit': 'GPa', 'limit': 1.0, 'fail': 0.0, 'at_least': True,
     'result': 'pass', 'reason': 'it would fall apart', 'message': ''},
    {'name': 'imaginary_modes', 'crystal': 'Cu fcc', 'value': 1, 'unit': '', 'limit': 0, 'fail': 0, 'at_least': False,
     'result': 'fail', 'reason': 'it is a minimum', 'message': HOSTILE},
    {'name': 'stacking_fault', 'crystal': None, 'value': None, 'unit': 'mJ/m²', 'limit': None, 'fail': None,
     'result': 'not_applicable', 'reason': '', 'message': 'neither fcc nor hcp'},
]  # fmt: skip
VERDICT = {
    'verdict': 'FAIL',
    'summary': 'FAIL, not to be trusted: Cu fcc: dynamically unstable.',
    'checks': CHECKS,
    'requests': [{'kind': 'mode', 'crystal': 0, 'reason': 'dynamically unstable'}],
    'weights': {'energy': 2.0},
}
PHONONS = {
    'status': 'ok', 'message': 'imaginary phonons, down to -1.00 THz', 'stable': False, 'min_frequency': -1.0,
    'max_frequency': 7.0, 'tolerance': 0.1, 'supercell': [[2, 0, 0], [0, 2, 0], [0, 0, 2]], 'n_displacements': 1,
    'imaginary': [{'q': [0.5, 0, 0], 'frequency': -1.0}],
    'paths': [
        {'labels': ['Γ', 'X'], 'distances': [0.0, 0.5, 1.0], 'frequencies': [[0, 0, 0], [2, 2, 3], [3, 3, -1]]},
        {'labels': ['X', 'U'], 'distances': [1.0, 1.2], 'frequencies': [[3, 3, -1], [3, 3, 4]]},
        {'labels': ['K', 'Γ'], 'distances': [1.2, 2.0], 'frequencies': [[3, 3, 4], [0, 0, 0]]},
    ],
    'dos': {'frequencies': [0.0, 3.0, 7.0], 'density': [0.0, 1.0, 0.0]},
    'thermal': {'temperatures': [0, 300], 'entropy': [0.0, 3.0], 'heat_capacity': [0.0, 2.9], 'free_energy': [0, 0]},
}  # fmt: skip
STABILITY = {
    'runs': [
        {'ensemble': 'nve', 'temperature': 300.0, 'n_atoms': 32, 'steps': 100, 'timestep': 1.0, 'drift': 1e-3,
         'mean_temperature': 290.0, 'completed': True, 'reason': 'completed', 'message': '', 'shortest': 2.2,
         'energies': [-3.0, -2.9], 'times': [0.0, 0.1]},
        {'ensemble': 'nvt', 'temperature': 2000.0, 'n_atoms': 32, 'steps': 10, 'timestep': 1.0, 'drift': None,
         'mean_temperature': None, 'completed': False, 'reason': 'collapse', 'message': 'atoms came to 0.4 Å',
         'shortest': 0.4, 'energies': [], 'times': []},
    ]
}  # fmt: skip
MELTING = {
    'method': 'coexistence', 'temperature': 1320.0, 'uncertainty': 12.0, 'n_atoms': 1000,
    'runs': [{'program': 'hold', 'temperature': 1300.0, 'solid': 0.5, 'note': None, 'list': [1]}],
    'track': {'times': [0.0, 1.0], 'temperatures': [1300.0, 1320.0], 'solid': [0.5, 0.45]},
}  # fmt: skip


@pytest.fixture(scope='module')
def content() -> dict:
    """What the suite says of copper, what takes long put in by hand, and the errors of rattled cells."""
    suite = Suite(properties=['eos', 'elasticity', 'pairs', 'vacancy', 'surfaces', 'stacking_fault'])
    found = run_suite({'calculator': 'emt'}, [bulk('Cu')], suite, report=lambda line: None)
    found['crystals'][0] |= {'phonons': PHONONS, 'stability': STABILITY}
    failed = {name: {'status': 'failed', 'message': f'no {name}'} for name in ('eos', 'phonons', 'equilibrium')}
    flat = {'status': 'not_applicable', 'message': 'it is flat'}
    other = {'name': HOSTILE, 'formula': 'Cu', 'space_group': 'P1 (1)', 'n_atoms': 1, 'numbers': [29], **failed}
    found['crystals'].append({**other, 'elasticity': flat})
    return {**found, 'melting': MELTING, 'seconds': {'eos': 1.5}}


@pytest.fixture(scope='module')
def pairs() -> tuple[list, list]:
    frames, predictions = [], []
    rng = np.random.default_rng(0)
    for index in range(8):
        atoms = bulk('Cu', cubic=True)
        atoms.info['family'] = HOSTILE if index % 2 else 'rattled'
        predicted = atoms.copy()
        for target, scale in ((atoms, 0.0), (predicted, 0.1)):
            forces, noise = np.random.default_rng(index).normal(size=(4, 3)), rng.normal(size=(4, 3))
            set_labels(target, -12.0 + 0.1 * index + scale, forces + scale * noise, np.full(6, 0.01 * index + scale))
        predicted.set_array('gamma', np.array([0.1, 0.5, 2.0, np.inf if index else 0.1]))
        frames.append(atoms)
        predictions.append(predicted)
    return frames, predictions


@pytest.fixture(scope='module')
def page(content, pairs, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('report') / 'validation_report.html'
    dft = [{'eos': content['crystals'][0]['eos'], 'elasticity': {'status': 'failed', 'message': 'no'}}, None]
    references = {'dft': dft, 'experiment': [find_experiment(crystal) for crystal in content['crystals']]}
    measured = {**content, 'errors': error_metrics(*pairs)}
    provenance = {'Run': {'node': HOSTILE, 'list': list(range(20))}, 'Settings': ['one line'], 'cite': ['aiida', 'qe']}
    write_report(measured, VERDICT, references, error_arrays(*pairs), provenance, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return path.read_text(encoding='utf-8')


def strip(page: str) -> str:
    """Return the page without plotly."""
    return re.sub(r'<script>.*?</script>', '', page, flags=re.DOTALL)


def get_figures(page: str) -> list[dict]:
    return json.loads(re.search(r'<script id="figures" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_verdict_first(page):
    """One word, one sentence, then the checks, the worst first."""
    text = strip(page)
    places = [text.index(words) for words in (
        '<strong>FAIL</strong>', 'not to be trusted: Cu fcc: dynamically unstable. Not deployed.',
        'unstable vibrations', 'elastic stability', 'neither fcc nor hcp', '<b>mode</b>: dynamically unstable',
        '<h2>Cu fcc</h2>', '<h2>Errors', '1320 ± 12 K', '<h2>How to cite',
    )]  # fmt: skip
    assert places == sorted(places)
    assert '≥ 1 GPa; fails below 0 GPa' in text


def test_numbers(page, content):
    """Those of the potential, DFT and experiment, in the units of people."""
    text = strip(page)
    crystal = content['crystals'][0]
    for value in (crystal['elasticity']['constants']['C11'], crystal['equilibrium']['a'], 168.4, 1.28):
        assert f'>{number(value)}' in text
    assert 'Overton' in text and 'Murr' not in text  # the sources of what is shown, and of nothing else
    for words in ('Failed: no eos', 'Not applicable: it is flat', 'Failed: no phonons', 'atoms came to 0.4 Å'):
        assert words in text
    assert 'by a factor of' in text and 'imaginary phonons, down to -1.00 THz' in text


def test_needs_nothing_else(page):
    """No style, script, picture or font comes from anywhere else."""
    assert not re.findall(r'(?:src|href)\s*=\s*["\']?(?:https?:)?//', strip(page))
    assert not re.findall(r'@import|url\((?!["\']?data:)', strip(page))
    assert "content=\"default-src 'none'; script-src 'unsafe-inline'" in page  # nor may it be asked for
    assert '<meta name="viewport"' in page and '@media print' in page and 'prefers-color-scheme: dark' in page


def test_nothing_harms(page):
    """Names from outside end no element, in the text and in the data of the figures."""
    assert HOSTILE not in page and 'alert(1)' in strip(page)
    assert re.findall(r'<script[^>]*>', strip(page)) == ['<script id="figures" type="application/json">']


def test_figures(page):
    """Every figure has its place, and is one that plotly knows."""
    drawn = get_figures(page)
    assert len(drawn) == page.count('class="plot"') == 13
    assert 'NaN' not in json.dumps(drawn) and 'Infinity' not in json.dumps(drawn)
    for figure in drawn:
        checked = Figure(json.loads(re.sub(r'"@\w+"', '"red"', json.dumps(figure))))
        assert all(len(trace.x) == len(trace.y) > 0 for trace in checked.data)


def test_ticks_of_the_path():
    """Stretches that meet share a tick; where the path jumps it has two names."""
    axis = figures_of_phonons.phonons(PHONONS)['layout']['xaxis']
    assert axis['ticktext'] == ['Γ', 'X', 'U|K', 'Γ']
    assert axis['tickvals'] == pytest.approx([0, 1, 1.2, 2.0])


def test_birch_murnaghan():
    """The pressure is the slope of the energy, the bulk modulus that of the pressure, the slope of that B0'."""
    volumes = np.linspace(12, 20, 4001)
    energies, pressures = figures_of_eos.birch_murnaghan({'v0': 16.0, 'b0': 100.0, 'b0_prime': 5.0}, volumes)
    slope = np.gradient(energies, volumes) / units.GPa
    np.testing.assert_allclose(-slope[1:-1], pressures[1:-1], atol=1e-3)
    modulus = -volumes * np.gradient(pressures, volumes)
    assert modulus[2000] == pytest.approx(100.0, rel=1e-5) and energies[2000] == 0
    assert np.gradient(modulus, pressures)[2000] == pytest.approx(5.0, rel=1e-3)


def test_a_hole_is_seen():
    """However shallow beside the repulsion, and however deep: its rim is marked and the range shows it."""
    distances = [1.0, 1.5, 1.7, 2.0, 2.5]
    for depth, bottom in ((0.2, 0.8), (500.0, -499.0)):
        pair = {'distances': distances, 'energies': [900.0, bottom, 1.0, 0.9, 0.0], 'hole': {'distance': 1.7}}
        pair['hole']['depth'] = depth
        drawn = figures_of_pairs.pairs({'Cu-Cu': pair})
        assert (drawn['data'][1]['x'], drawn['data'][1]['y']) == ([1.7], [1.0])
        low, high = drawn['layout']['yaxis']['range']
        assert low < 0 and high > 1.0 and high - low < 25
    squeezed = {'scales': [0.5, 0.6, 0.8, 1.0], 'energies': [99.0, 1.0, 5.0, 0.0], 'hole': {'scale': 0.8, 'depth': 4.0}}
    drawn = figures_of_pairs.compression(squeezed)
    assert drawn['data'][1]['y'] == [5.0] and drawn['layout']['yaxis']['range'][1] < 10


def test_little_to_show(tmp_path):
    """Nothing was judged, nothing was found: the page still says so."""
    write_report({'crystals': []}, None, None, None, None, tmp_path / 'empty.html')
    text = strip((tmp_path / 'empty.html').read_text(encoding='utf-8'))
    assert '<strong>NOT JUDGED</strong>' in text and '<h2>Checks' not in text and 'class="plot"' not in text


def test_nothing_half_written(tmp_path):
    """What cannot be drawn leaves no file, and an earlier one as it was."""
    path = tmp_path / 'report.html'
    path.write_text('earlier')
    with pytest.raises(KeyError):
        write_report({'crystals': [{'numbers': []}]}, None, None, None, None, path)
    assert [file.name for file in tmp_path.iterdir()] == ['report.html'] and path.read_text() == 'earlier'


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, '–'), (True, 'yes'), (3, '3'), (-0.0, '0'), (1234.567, '1235'), (0.00012345, '1.234e−04'),
        (-12.3456, '−12.35'), (float('nan'), 'not finite'), (4.05, '4.05'), (99999.6, '100000'), ('word', 'word'),
    ],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_measure():
    assert measure(0.0031, 'eV/atom') == '3.1 meV/atom' and measure(2.5, 'eV/atom') == '2.5 eV/atom'
    assert measure(None, 'GPa') == '–' and measure(1.5, '') == '1.5'
    assert percent(-0.0123) == '−1.2\u00a0%' and percent(-1e-5) == '+0.0\u00a0%' and percent(None) == ''
