"""The OPTIMADE client against a server on this machine: real client, real HTTP."""

from __future__ import annotations

import json
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.crystals.optimade import query_structures
from aiida_pyacemaker.atomistics.crystals.prototypes import build_prototype
from aiida_pyacemaker.atomistics.generators.families.knowledge import Knowledge, KnowledgeFamily


def entry(identifier, atoms, **changes):
    """A structure as a database serves it."""
    counts = dict(sorted(atoms.symbols.formula.count().items()))
    size = np.gcd.reduce(list(counts.values()))
    reduced = ''.join(name + (str(n // size) if n // size > 1 else '') for name, n in counts.items())
    shares = sorted((n // size for n in counts.values()), reverse=True)
    anonymous = ''.join(letter + (str(n) if n > 1 else '') for letter, n in zip('ABC', shares, strict=False))
    attributes = {
        'immutable_id': None,
        'last_modified': '2024-01-01T00:00:00Z',
        'elements': list(counts),
        'nelements': len(counts),
        'elements_ratios': [n / len(atoms) for n in counts.values()],
        'chemical_formula_descriptive': reduced,
        'chemical_formula_reduced': reduced,
        'chemical_formula_hill': None,
        'chemical_formula_anonymous': anonymous,
        'dimension_types': [1, 1, 1],
        'nperiodic_dimensions': 3,
        'lattice_vectors': atoms.cell.array.tolist(),
        'cartesian_site_positions': atoms.positions.tolist(),
        'nsites': len(atoms),
        'species': [{'name': name, 'chemical_symbols': [name], 'concentration': [1.0]} for name in counts],
        'species_at_sites': atoms.get_chemical_symbols(),
        'assemblies': None,
        'structure_features': [],
        **changes,
    }
    return {'id': identifier, 'type': 'structures', 'attributes': attributes}


def titania():
    rutile, anatase = build_prototype('rutile', ['Ti', 'O']), build_prototype('anatase', ['Ti', 'O'])
    squeezed = rutile.copy()
    squeezed.set_cell(rutile.cell * 0.6, scale_atoms=True)
    disordered = [
        {'name': 'Ti', 'chemical_symbols': ['Ti', 'Zr'], 'concentration': [0.5, 0.5]},
        {'name': 'O', 'chemical_symbols': ['O'], 'concentration': [1.0]},
    ]
    return [
        entry('overlapping', squeezed),
        entry('disordered', rutile, species=disordered, structure_features=['disorder']),
        entry('anatase', anatase),
        entry('rutile', rutile),
        entry('rutile-again', rutile),
        {'id': 'broken', 'type': 'structures', 'attributes': {'last_modified': '2024-01-01T00:00:00Z'}},
    ]


class Handler(BaseHTTPRequestHandler):
    """Serves /v1/structures; the first part of the path says what goes wrong."""

    asked: list[str] = []

    def do_GET(self):
        url = urlparse(self.path)
        if url.path.startswith('/slow'):
            time.sleep(20)
        if url.path.startswith('/failing') or not url.path.endswith('/v1/structures'):
            self.send_error(500, 'out of order')
            return
        query = parse_qs(url.query).get('filter', [''])[0]
        self.asked.append(query)
        data = titania() if query == 'chemical_formula_reduced="O2Ti"' else []
        body = json.dumps(
            {
                'data': data,
                'links': {'next': None},
                'meta': {
                    'query': {'representation': self.path},
                    'api_version': '1.1.0',
                    'more_data_available': False,
                    'data_returned': len(data),
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/vnd.api+json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Be silent."""


@pytest.fixture(scope='module')
def address():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_ordered_physical_structures_come_back_each_once(address):
    frames = query_structures('TiO2', address, 5)
    assert [frame.info['parameters']['entry'] for frame in frames] == ['rutile', 'anatase']
    assert [frame.info['parameters']['space_group'] for frame in frames] == [136, 141]
    expected = build_prototype('rutile', ['Ti', 'O'])
    assert frames[0].get_chemical_symbols() == expected.get_chemical_symbols()
    np.testing.assert_allclose(frames[0].cell.array, expected.cell.array)
    np.testing.assert_allclose(frames[0].get_all_distances(mic=True), expected.get_all_distances(mic=True))
    assert frames[0].pbc.all() and 'entry rutile' in frames[0].info['reason']
    json.dumps(frames[0].info)
    assert Handler.asked[-1] == 'chemical_formula_reduced="O2Ti"'
    assert len(query_structures('TiO2', address, 1)) == 1


def test_nothing_known_is_no_error(address):
    assert query_structures('NaCl', address, 5) == []


def test_a_server_that_fails_or_is_slow_is_reported_in_time(address):
    with pytest.raises(RuntimeError, match='failing'):
        query_structures('TiO2', f'{address}/failing', 5)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r'slow.*(did not answer|imed? ?out)'):
        query_structures('TiO2', f'{address}/slow', 5, timeout=0.5)
    assert time.monotonic() - start < 10
    with pytest.raises(RuntimeError, match=r'127\.0\.0\.1:9'):
        query_structures('TiO2', 'http://127.0.0.1:9', 5, timeout=5)


def test_knowledge_adds_what_databases_have(address):
    parameters = Knowledge(formulas=['TiO2'], prototypes=1, optimade=[address])
    frames = KnowledgeFamily().parents(['Ti', 'O'], parameters, 10, np.random.default_rng(1))
    # the database has rutile, too: the same crystal is not proposed twice
    assert [frame.info['phase'].split(':')[0] for frame in frames] == ['rutile', 'optimade']
    assert frames[1].info['parameters']['entry'] == 'anatase'
    assert frames[1].arrays['oxidation_states'].sum() == pytest.approx(0)


def test_knowledge_goes_on_without_databases(address):
    parameters = Knowledge(formulas=['TiO2'], prototypes=3, optimade=[f'{address}/failing'])
    with pytest.warns(UserWarning, match=r'failing.*TiO2') as caught:
        frames = KnowledgeFamily().parents(['Ti', 'O'], parameters, 10, np.random.default_rng(1))
    # spglib deprecates its own way to report errors, depending on what was imported before
    assert len(frames) == 3 and len([warning for warning in caught if warning.category is UserWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        offline = KnowledgeFamily().parents(
            ['Ti', 'O'], Knowledge(formulas=['TiO2'], prototypes=3), 10, np.random.default_rng(1)
        )
    assert offline == frames
