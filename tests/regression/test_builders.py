"""Every builder: all of its inputs."""

from __future__ import annotations

import pytest
from aiida.plugins import WorkflowFactory
from ase.build import bulk

from . import api, cases
from .serialise import describe_builder, describe_node, differences

TEACHER = {'calculator': 'emt', 'batch': 10}
ORACLES = {
    'qe': {},
    'vasp': {'oracle': 'vasp', 'vasp': {'potential_family': 'regression', 'incar': {'NCORE': 2}}},
    'teacher': {'oracle': 'teacher', 'teacher': TEACHER},
    'tiered': {
        'oracle': 'tiered', 'teacher': TEACHER,
        'tiers': {'expensive': 'qe', 'committee': [{'calculator': 'lj'}]},
    },
}  # fmt: skip
OPTIONS = {
    'resources': {'num_machines': 2, 'num_mpiprocs_per_machine': 4},
    'max_wallclock_seconds': 7200,
    'withmpi': True,
    'queue_name': 'long',
}


@pytest.fixture
def content(labels, pseudos, potcars):
    """Return a factory of resolved run files."""

    def factory(oracle: str = 'qe', protocol: str = 'fast') -> dict:
        return {
            'protocol': protocol,
            'system': {'elements': ['Al']},
            'codes': labels,
            'label': {'pseudo_family': pseudos, **ORACLES[oracle]},
        }

    return factory


@pytest.fixture
def crystals(configurations):
    """Return a node of two crystals."""
    return configurations([bulk('Al', a=4.05), bulk('Al', 'bcc', a=3.2)])


def builder_of(entry_point: str, *arguments, **keys):
    """Return the description of a builder."""
    work_chain = WorkflowFactory(f'pyacemaker.{entry_point}')
    return describe_builder(work_chain.get_builder_from_protocol(*arguments, **keys))


@pytest.mark.parametrize('oracle', list(ORACLES))
@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_active_learning(data_regression, content, labels, oracle, protocol):
    """The loop from a protocol is that from the run file of the same content."""
    work_chain = WorkflowFactory('pyacemaker.active_learning')
    given = content(oracle, protocol)
    by_protocol = work_chain.get_builder_from_protocol(
        ['Al'], protocol=protocol, overrides={'label': given['label']}, codes=labels
    )
    by_runfile = work_chain.get_builder_from_runfile(api.load(given))
    found = describe_builder(by_protocol)
    assert found == describe_builder(by_runfile)
    if oracle != 'qe':  # what is other with another oracle
        usual = work_chain.get_builder_from_runfile(api.load(content('qe', protocol)))
        found = differences(found, describe_builder(usual))
    data_regression.check(found)


def test_active_learning_alloy(data_regression, content, configurations):
    """Options, structures of the profile and several elements."""
    given = content()
    node = configurations([bulk('Al'), bulk('CuAl', 'cesiumchloride', a=2.9)]).store()
    given |= {'system': {'elements': ['Al', 'Cu']}, 'options': {'pw': OPTIONS, 'lammps': OPTIONS}, 'seed': 7}
    given |= {'structures': {'number': 30, 'alloy': {}, 'nodes': [node.uuid]}}
    builder = WorkflowFactory('pyacemaker.active_learning').get_builder_from_runfile(api.load(given))
    names = [name.replace(str(node.pk), 'PK') for name in builder.structures]
    found = describe_builder(builder)
    found['inputs']['structures'] = {name: describe_node(node) for name in names}
    found['inputs']['parameters']['content']['structures']['nodes'] = ['UUID']
    data_regression.check(found)


@pytest.mark.parametrize('oracle', ['qe', 'vasp', 'teacher'])
def test_label(data_regression, content, codes, configurations, oracle):
    """Labels of one oracle."""
    label = api.resolve(content(oracle))['label']
    code = codes[{'qe': 'pw'}.get(oracle, oracle)]
    data_regression.check(builder_of('label', code, configurations(cases.labelled_frames()), label, options=OPTIONS))


def test_label_tiered(data_regression, content, codes, configurations):
    """Labels of a teacher and of DFT."""
    label = api.resolve(content('tiered'))['label']
    options = {'pw': OPTIONS, 'teacher': {}, 'worker': OPTIONS}
    frames = configurations(cases.labelled_frames())
    data_regression.check(builder_of('label_tiered', codes, frames, label, options=options))


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_train(data_regression, content, codes, configurations, potential, protocol):
    """A fit as the loop asks for it, with and without options."""
    train = api.resolve(content(protocol=protocol))['train']
    parameters = {key: value for key, value in train.items() if key not in ('production', 'max_functions')}
    parameters |= {'elements': ['Al'], 'seed': 1, 'generation': 2}
    sets = [configurations(cases.split_frames(split)) for split in ('train', 'test')]
    found = builder_of(
        'train', codes['worker'], sets[0], parameters, test=sets[1], potential=potential, options=OPTIONS
    )
    data_regression.check({'all': found, 'least': builder_of('train', codes['worker'], sets[0], {'elements': ['Al']})})


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_explore(data_regression, content, codes, configurations, potential, protocol):
    """A round of simulations."""
    explore = api.resolve(content(protocol=protocol))['explore']
    cells = configurations([cases.CELL])
    this = {'stage': 0, 'seed': 42001}
    data_regression.check(builder_of('explore', codes, potential, cells, explore, **this, options=OPTIONS))


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_embed(data_regression, content, codes, configurations, potential, protocol):
    """A selection."""
    embed = api.resolve(content(protocol=protocol))['embed']
    frames = {'halted': configurations(cases.snapshots()[:2]), 'trajectory': configurations(cases.snapshots()[2:])}
    parameters = {**embed, 'seed': 3}
    data_regression.check(builder_of('embed', codes['worker'], potential, frames, parameters, options=OPTIONS))


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_evaluate(data_regression, content, codes, configurations, potential, protocol):
    """Errors on the held-out set."""
    validate = api.resolve(content(protocol=protocol))['validate']
    frames = configurations(cases.split_frames('test'))
    data_regression.check(builder_of('evaluate', codes['worker'], potential, frames, validate, options=OPTIONS))


def test_validate(data_regression, content, codes, configurations, potential, crystals):
    """The verdict on a potential."""
    resolved = api.resolve(content())
    sets = [configurations(cases.split_frames(split)) for split in ('train', 'test')]
    found = builder_of('validate', codes, potential, crystals, resolved, test_set=sets[1], dataset=sets[0], deploy=True)
    data_regression.check(found)


def test_suite(data_regression, codes, potential, crystals):
    """Properties of crystals."""
    data_regression.check(builder_of('suite', codes['worker'], potential, crystals, cases.VALIDATE, options=OPTIONS))


def test_melting(data_regression, codes, potential, crystals):
    """A melting point."""
    found = builder_of('melting', codes['lammps'], potential, crystals, {**cases.MELT}, options=OPTIONS)
    data_regression.check({'all': found, 'least': builder_of('melting', codes['lammps'], potential, crystals)})


@pytest.mark.parametrize('oracle', list(ORACLES))
def test_reference(data_regression, content, codes, crystals, oracle):
    """References by the oracle of the labels."""
    resolved = api.resolve(content(oracle))
    options = {'pw': OPTIONS, 'vasp': OPTIONS}
    data_regression.check(
        builder_of('reference', codes, crystals, resolved['label'], parameters=resolved['validate'], options=options)
    )


def test_teach(data_regression, codes, configurations):
    """A job of a teacher, by its oracle: batches that keep training and held-out configurations apart."""
    oracle = api.load_oracle({'oracle': 'teacher', 'teacher': {**TEACHER, 'batch': 5}, 'max_wallclock_seconds': 600})
    frames = cases.labelled_frames()
    jobs = oracle.get_jobs(frames)
    node = configurations(frames)
    builders = [oracle.get_builder(codes['teacher'], node, indices, None, OPTIONS) for indices in jobs[:2]]
    data_regression.check({'jobs': jobs, 'builders': [describe_builder(builder) for builder in builders]})


@pytest.mark.parametrize('name', list(cases.structures()))
def test_qe(data_regression, codes, configurations, pseudos, name):
    """A pw.x calculation of each kind of structure."""
    atoms = cases.structures()[name]
    label = {'oracle': 'qe', 'pseudo_family': pseudos, 'kpoints_distance': 0.3, 'degauss': 0.01, 'smearing': 'cold'}
    oracle = api.load_oracle(label)
    structure = api.make_structure(atoms, tagged=True)
    builder = oracle.get_builder(codes['pw'], configurations([atoms]), [0], structure, OPTIONS)
    others = api.load_oracle({**label, 'spin': 'none', 'dipole_correction': False, 'ecutwfc': 20.0, 'ecutrho': 90.0})
    plain = others.get_builder(codes['pw'], configurations([atoms]), [0], structure, {})
    found = describe_builder(builder)
    if len(atoms) > 10:
        del found['inputs']['pw']['structure']
    asked = builder.pw.parameters.base.extras.all
    data_regression.check(
        {'builder': found, 'extras': asked, 'plain': describe_node(plain.pw.parameters), 'complete': api.complete(
            oracle, sorted(set(atoms.symbols)))}
    )  # fmt: skip


@pytest.mark.parametrize('name', ['al', 'alfe', 'fe_moments', 'slab', 'atom'])
def test_vasp(data_regression, codes, configurations, potcars, name):
    """A VASP calculation of some kinds of structures."""
    atoms = cases.structures()[name]
    section = {'potential_family': potcars, 'potential_mapping': {'Fe': 'Fe_pv'}, 'incar': {'NCORE': 2, 'IVDW': 12}}
    label = {'oracle': 'vasp', 'vasp': section, 'kpoints_distance': 0.3, 'degauss': 0.02, 'smearing': 'cold'}
    oracle = api.load_oracle(label)
    builder = oracle.get_builder(codes['vasp'], configurations([atoms]), [0], api.make_structure(atoms), OPTIONS)
    data_regression.check({'builder': describe_builder(builder), 'complete': api.complete(oracle, ['Al', 'Fe'])})
