"""What is planned: the run file with all of its keys, the walkers, the initial structures, what is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from ase.build import bulk, fcc111
from pydantic import BaseModel

from . import api, cases
from .serialise import checksum, differences, line, number, plain, summarise_frame

EXAMPLES = Path(__file__).parents[2] / 'examples'
#: Keys of the section `explore` that go to every simulation as they are.
KEPT = (
    'timestep', 'gamma_every', 'gamma_every_dense', 'gamma_select', 'gamma_halt', 'gamma_extreme', 'halt_after',
    'soft_start', 'thermo_every', 'max_volume_ratio', 'max_temperature_ratio',
)  # fmt: skip
PROTOCOLS = ('fast', 'balanced', 'stringent')
SYSTEMS = {'alloy': {'elements': ['Cu', 'Au']}, 'pure': {'elements': ['Al']}}


def look_up(content: dict, key: str):
    """Return the value of a dotted key, and whether there is one."""
    for part in key.split('.'):
        if not isinstance(content, dict) or part not in content:
            return False, None
        content = content[part]
    return True, content


def choices(annotation) -> list[str]:
    """Return all words that a type allows."""
    arguments = get_args(annotation)
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return list(arguments)
    return [word for argument in arguments for word in choices(argument)]


def default_of(field):
    """Return the default of a field as plain content."""
    if field.is_required():
        return '(required)'
    value = field.get_default(call_default_factory=True)
    return plain(value.model_dump(mode='json') if isinstance(value, BaseModel) else value)


# The run file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_protocol(data_regression, protocol):
    """The run file of aluminium by each protocol."""
    data_regression.check(plain(api.resolve({'system': {'elements': ['Al']}, 'protocol': protocol})))


@pytest.mark.parametrize('path', sorted(EXAMPLES.rglob('*.yaml')), ids=lambda path: path.stem)
def test_example(data_regression, path):
    """Each example: what is other in its run file than in that of the same protocol without it."""
    found = api.resolve_file(path)
    plainest = api.resolve({'system': found['system'], 'protocol': found['protocol']})

    missing = {key for key in plainest if key not in found}
    keys = ('system', 'protocol', 'seed')
    data_regression.check(
        plain({**{key: found[key] for key in keys}, 'other': differences(found, plainest), 'missing': sorted(missing)})
    )


def test_overrides(data_regression):
    """Words of the command line."""
    overrides = [
        'protocol=stringent', 'seed=7', 'explore.temperature=[200,800]', 'structures.alloy={}', 'train.production=null',
        'explore.stages.0.share=0.2', 'validate.gate.born.fail=null', 'label.oracle=teacher',
        'options.pw.resources.num_machines=3', 'label.spin=none', 'train.max_cost=1e-1',
    ]  # fmt: skip
    found = api.resolve({'system': {'elements': ['Al', 'Cu']}}, overrides)
    data_regression.check(plain(found))


def test_keys(data_regression):
    """Every key, with its value by default, unit, limits, choices and help."""
    resolved = api.resolve({'system': {'elements': ['Al']}})
    found = {}
    for key, field in api.runfile_fields():
        known, value = look_up(resolved, key)
        limits = {
            name: getattr(limit, name)
            for limit in field.metadata
            for name in ('gt', 'ge', 'lt', 'le', 'min_length', 'max_length')
            if getattr(limit, name, None) is not None
        }
        row = {
            'default': value if known else default_of(field),
            'unit': (field.json_schema_extra or {}).get('unit'),
            'limits': limits,
            'choices': choices(field.annotation),
            'help': field.description,
        }
        found[key] = plain({name: item for name, item in row.items() if name == 'default' or item})
    data_regression.check(found)


WRONG = [
    ({}, 'system.elements'),
    ({'system': {'elements': ['al']}}, 'system.elements'),
    ({'system': {'elements': ['Al', 'Al']}}, 'system.elements'),
    ({'system': {'elements': ['Al']}, 'protocol': 'slow'}, 'protocol'),
    ({'system': {'elements': ['Al']}, 'explore': {'temprature': [1, 2]}}, 'explore.temprature'),
    ({'system': {'elements': ['Al']}, 'explore': {'steps': -1}}, 'explore.steps'),
    ({'system': {'elements': ['Al']}, 'explore': {'gamma_halt': 1.0, 'gamma_select': 2.0}}, 'explore'),
    ({'system': {'elements': ['Al']}, 'label': {'oracle': 'vasp'}}, 'label'),
    ({'system': {'elements': ['Al']}, 'label': {'ecutwfc': 30}}, 'label'),
    ({'system': {'elements': ['Al']}, 'label': {'smearing': 'hot'}}, 'label.smearing'),
    ({'system': {'elements': ['Al']}, 'structures': {'files': ['nowhere.xyz']}}, 'structures.files'),
    ({'system': {'elements': ['Al']}, 'train': {'cutoff': '${oc.env:HOME}'}}, 'train.cutoff'),
    ({'system': {'elements': ['Al']}, 'validate': {'properties': ['colour']}}, 'validate.properties'),
]


@pytest.mark.parametrize(('content', 'key'), WRONG)
def test_wrong(content, key):
    """What is wrong is refused, and named."""
    assert f'{key}' in api.explain_problems(content)


# Walkers --------------------------------------------------------------------------------------------------------------


def cells(kind: str) -> list:
    """Return starting cells of a kind."""
    metal = bulk('Al', cubic=True).repeat((2, 2, 1))
    hop = metal.copy()
    del hop[0]
    hop.info['operation'] = 'hop'
    hexagonal = bulk('Mg', 'hcp', a=3.2).repeat((2, 2, 1))
    hexagonal.symbols[:] = 'Al'
    alloy = bulk('Al', cubic=True).repeat((2, 1, 1))
    alloy.symbols[:4] = 'Cu'
    salt = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    salt.symbols[0] = 'K'
    salt.set_initial_charges([1, -1] * 4)
    return {
        'metal': [metal, hop, hexagonal],
        'slab': [fcc111('Al', (2, 2, 3), vacuum=8.0, periodic=True)],
        'alloy': [alloy, bulk('Cu', cubic=True)],
        'ionic': [salt],
    }[kind]


@pytest.mark.parametrize('kind', ['metal', 'slab', 'alloy', 'ionic'])
def test_walkers(data_regression, kind):
    """What each walker does over all stages, in two rounds."""
    elements = {'alloy': ['Al', 'Cu'], 'ionic': ['Na', 'K', 'Cl']}.get(kind, ['Al'])
    explore = {'walkers': 8, 'swap': {'every': 100}, 'pressure': [0.0, 1.0]}
    content = api.resolve({'system': {'elements': elements}, 'protocol': 'balanced', 'explore': explore})
    found = []
    for stage, described in enumerate(content['explore']['stages']):
        is_last = stage == len(content['explore']['stages']) - 1
        for seed in (42001, 42002) if is_last else (42001,):
            walkers = api.plan(content['explore'], cells(kind), elements, stage, seed)
            kept = {key: content['explore'][key] for key in KEPT}
            assert all({key: walker['parameters'].pop(key) for key in KEPT} == kept for walker in walkers)
            found.append({'stage': described['name'], 'seed': seed, 'walkers': [line(walker) for walker in walkers]})
    data_regression.check(found)


@pytest.mark.parametrize('name', list(SYSTEMS))
def test_starting_cells(data_regression, name):
    """The cells in which each stage starts."""
    sizes = {'explore': {'atoms': 16}, 'embed': {'max_atoms': 32}}
    given = {'system': SYSTEMS[name], 'protocol': 'fast', 'structures': {'parents': 6}, **sizes}
    content = api.resolve(given)
    found = [
        [summarise_frame(atoms) for atoms in api.start_cells(content, stage, 7)]
        for stage in range(len(content['explore']['stages']))
    ]
    data_regression.check(found)


# Structures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['cuauni', 'co-pt111', 'c', 'aluminium'])
def test_generate(data_regression, name):
    """Some of the initial structures of the examples: formulas, families, operations, positions."""
    path = next(EXAMPLES.rglob(f'{name}.yaml'))
    overrides = ['structures.number=24', *(['structures.parents=8'] if name != 'aluminium' else [])]
    frames, table, notes = api.generate(api.resolve_file(path, overrides))
    positions = [checksum(np.concatenate([atoms.positions, atoms.cell.array])) for atoms in frames]
    data_regression.check(
        {
            'number': len(frames),
            'frames': [summarise_frame(atoms, 6) for atoms in frames],
            'table': plain(table),
            'notes': notes,
            'parameters': [line(atoms.info.get('parameters', {})) for atoms in frames],
            'checksum': checksum([int(word, 16) % 2**40 for word in positions], 0),
        }
    )


# Selection ------------------------------------------------------------------------------------------------------------


def describe_choice(atoms) -> dict:
    """Return what is said of a chosen configuration."""
    info = {key: value for key, value in atoms.info.items() if key not in ('gamma_max', 'predicted_energy')}
    if 'embedding' in info:
        info['embedding'] = {key: value for key, value in info['embedding'].items() if key != 'seconds'}
    numbers = {key: number(atoms.info[key], 5) for key in ('gamma_max', 'predicted_energy')}
    forces = np.abs(atoms.arrays['predicted_forces'])
    return plain({**info, **numbers, 'positions': checksum(atoms.positions, 5), 'mean_force': number(forces.mean(), 5)})


@pytest.mark.parametrize(
    'changes',
    [{}, {'candidates': ['path']}, {'candidates': ['bursts'], 'candidates_per_halt': 2}, {'gamma_select': 1e6}],
    ids=['modes', 'path', 'bursts', 'nothing'],
)
def test_select(data_regression, changes):
    """What is chosen to be labelled, by a small real potential."""
    chosen = api.select(cases.POTENTIAL, cases.snapshots(), {**cases.SELECT, **changes})
    data_regression.check([describe_choice(atoms) for atoms in chosen])


def test_select_from_large(data_regression):
    """Cells are cut out of what is too large for DFT."""
    large = bulk('Al', a=4.05, cubic=True).repeat((4, 3, 3))
    large.positions += np.random.default_rng(3).normal(0, 0.12, large.positions.shape)
    large.positions = large.positions.round(4)
    large.info.update(role='halted', parent='run-1', walker=0)
    parameters = {
        **cases.SELECT, 'max_atoms': 60, 'core_radius': 3.0, 'buffer': 3.0, 'relax_steps': 2, 'max_environments': 1,
        'candidates': [], 'select_per_halt': 1, 'number_of_train': 0, 'number_of_test': 0,
    }  # fmt: skip
    (chosen, *_) = api.select(cases.POTENTIAL, [large], parameters)
    core = chosen.arrays['force_weights'] > 0
    data_regression.check({'atoms': len(chosen), 'core': int(core.sum()), 'what': describe_choice(chosen)})
