"""What is decided: the course of the loop, the verdict on a potential and what it asks for, the order of remedies."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest
from ase.build import bulk

from . import api, cases
from .serialise import checksum, differences, line, plain, summarise_frame

# The loop -------------------------------------------------------------------------------------------------------------

STEPS = 1000
PARAMETERS = {
    'seed': 42,
    'system': {'elements': ['Al']},
    'explore': {
        'walkers': 2,
        'seeds': 2,
        'stages': [{'name': 'short', 'share': 0.25, 'atoms': 16}, {'name': 'long', 'share': 1.0, 'atoms': None}],
        'gamma_select': 2.0,
        'gamma_halt': 5.0,
    },
    'train': {
        'number_of_functions': 100,
        'max_functions': 200,
        'production': {'mode': 'linear', 'number_of_functions': None, 'max_cost': None, 'share': 0.25},
    },
    'validate': {
        'energy_rmse': 0.002, 'force_rmse': 0.05, 'test_per_round': 4, 'train_per_round': 3, 'gate': {'born': {}},
        'max_requests': 1,
    },
    'budget': {'max_iterations': 40, 'max_labels': 100},
}  # fmt: skip
GOOD, BAD, BEST = (0.001, 0.03), (0.01, 0.1), (0.0005, 0.02)


def changed(**sections) -> dict:
    """Return the parameters with other values."""
    return {**PARAMETERS, **{name: {**PARAMETERS[name], **values} for name, values in sections.items()}}


def errors(energy: float, forces: float, n_atoms: int = 4000) -> dict:
    """Return the errors of a potential."""
    return {'energy': {'rmse': energy}, 'forces': {'rmse': forces}, 'n_atoms': n_atoms}


def fitted(train=GOOD, test=GOOD, functions: int = 100) -> dict:
    """Return what a fit says."""
    chosen = {
        'basis': {'number_of_functions': functions},
        'hyperparameters': {'energy_weight': 10.0, 'stress_weight': 2.0},
    }
    return {'train': errors(*train), 'test': errors(*test), 'chosen': chosen}


def walker(index: int, reason: str = 'completed', step: int = STEPS, gamma: float = 1.0) -> dict:
    """Return what became of a walker."""
    return {'index': index, 'reason': reason, 'step': step, 'steps': STEPS, 'gamma_max': gamma}


class Course:
    """A run that is told what happens, and keeps what changes with every event."""

    def __init__(self, parameters: dict):
        self.parameters, self.progress = parameters, api.new_progress(parameters)
        self.log = [{'begins': self.look()}]
        self.last = self.look()

    def look(self) -> dict:
        """Return state and answers; both come through JSON, as in a checkpoint."""
        state = json.loads(json.dumps(api.progress_state(self.progress)))
        self.progress = api.restored_progress(self.parameters, state)
        return plain({'state': state, 'answers': api.ask(self.progress, self.parameters)})

    def tell(self, event: str, *arguments):
        """Tell an event."""
        returned = api.tell(self.progress, event, *arguments)
        now = self.look()
        self.log.append({'event': event, 'returned': plain(returned), 'changed': differences(now, self.last)})
        self.last = now
        return returned

    def start(self, train=GOOD, test=GOOD):
        """Label the initial structures, fit, validate."""
        self.tell('labelled', 30, 4)
        self.learn(train, test)

    def learn(self, train=GOOD, test=GOOD, functions: int = 100):
        """Fit and validate."""
        self.tell('trained', fitted(train, test, functions))
        self.tell('validated', errors(*test))

    def clean(self, labels: int = 34):
        """Let all walkers come to their end."""
        self.tell('advance', labels)
        self.tell('explored', [walker(0), walker(1)])

    def pass_stages(self, test=GOOD, stages: int = 2):
        """Pass the stages, the last one with all seeds, and label what is asked for."""
        for _ in range(stages + 1):
            self.clean()
        wanted = self.last['answers']['selection']
        self.tell('labelled', wanted['number_of_train'], wanted['number_of_test'])
        self.tell('validated', errors(*test))

    def produce(self, test=BEST, stable: bool = True):
        """Make the potential for production, and prove it."""
        if self.tell('produced', fitted(BEST, test, 300)):
            self.tell('proven', [walker(0), walker(1, *(() if stable else ('crashed', 10)))])


def verdict(word: str, **weights) -> dict:
    """Return a verdict."""
    return {'verdict': word, 'summary': f'{word}: a summary.', 'weights': weights}


def converges(course: Course):
    """Halts, violations, clean rounds, production, the gate that asks for more, and is content."""
    course.start()
    course.tell('advance', 34)
    course.tell('explored', [walker(0, 'gamma', 300, 6.0), walker(1)])
    course.tell('labelled', 3, 0, {'forces': {'rmse': 0.3}, 'n_atoms': 30})
    course.learn()
    course.tell('advance', 37)
    course.tell('explored', [walker(0, 'gamma', 700, 7.0)])
    course.tell('labelled', 2, 0, {'forces': {'rmse': 0.2}, 'n_atoms': 20})
    course.learn()
    course.tell('advance', 39)
    course.tell('explored', [walker(0)])
    course.tell('advance', 39)
    course.tell('explored', [walker(0, 'volume', 300, 3.0), walker(1)])
    course.tell('labelled', 2, 0)
    course.learn()
    course.tell('advance', 41)
    course.tell('explored', [walker(0, 'overlap', 300, 1.5)], [1])
    course.tell('labelled', 3, 0)
    course.learn()
    course.pass_stages()
    course.produce()
    course.tell('judged', verdict('FAIL', energy=2.0), 6)
    course.tell('advance', 60)
    course.tell('labelled', 6, 0)
    course.learn()
    course.pass_stages(stages=1)
    course.produce()
    course.tell('judged', verdict('CONDITIONAL'), 0)
    course.tell('advance', 80)


def fails_at_the_gate(course: Course):
    """What the gate has asked for cures nothing."""
    course.start()
    course.pass_stages()
    course.produce(stable=False)
    course.tell('judged', verdict('FAIL', stress=2.0), 3)
    course.tell('advance', 50)
    course.tell('labelled', 3, 0)
    course.learn()
    course.pass_stages(stages=1)
    course.produce(test=BAD)
    course.tell('judged', verdict('FAIL'), 2)
    course.tell('advance', 70)


def grows(course: Course):
    """The errors miss the criteria: the basis grows, and that is not enough."""
    course.start(train=BAD, test=BAD)
    course.pass_stages(test=BAD)
    course.produce(test=BAD)
    course.tell('advance', 40)
    course.learn(BAD, BAD, 160)
    for _ in range(5):
        course.pass_stages(test=BAD, stages=1)
        course.tell('production_failed', 'it came to nothing')
        if not course.tell('advance', 50):
            break
        course.learn(BAD, BAD, 200)


def gets_stuck(course: Course):
    """A walker halts at the same place again and again."""
    course.start()
    for _ in range(20):
        if not course.tell('advance', 40):
            break
        halted = course.last['answers']['walkers_to_run']
        course.tell('explored', [walker(index, 'gamma', 300, 30.0) for index in halted])
        course.tell('labelled', 1, 0)
        course.learn()


def violates(course: Course):
    """Simulations end for physical reasons, whatever is learned."""
    course.start()
    for number in range(12):
        if not course.tell('advance', 40):
            break
        course.tell('explored', [walker(0, ('volume', 'temperature', 'lost_atoms')[number % 3], 300, 3.0), walker(1)])
        course.tell('labelled', 1, 0)
        course.learn()


def learns_nothing(course: Course):
    """What halts is not labelled."""
    course.start()
    for _ in range(6):
        if not course.tell('advance', 40):
            break
        course.tell('explored', [walker(0, 'gamma', 300, 6.0), walker(1)])
    if course.last['answers']['production_due']:
        course.produce()


def runs_out(course: Course):
    """The budget is used up; what there is goes into a potential for production, and is judged."""
    course.start()
    course.tell('advance', 99)
    course.tell('explored', [walker(0, 'gamma', 300, 6.0), walker(1)])
    course.tell('labelled', 3, 1)
    course.learn()
    course.tell('advance', 100)
    course.produce()
    course.tell('judged', verdict('PASS'), 0)


COURSES = (converges, fails_at_the_gate, grows, gets_stuck, violates, learns_nothing, runs_out)


@pytest.mark.parametrize('course', COURSES, ids=lambda function: function.__name__)
def test_course(data_regression, course):
    """The state after every event of a run, and everything that the loop asks for."""
    run = Course(changed())
    course(run)
    data_regression.check(run.log)


def test_course_without_production(data_regression):
    """Neither production nor a gate."""
    run = Course(changed(train={'production': None, 'number_of_functions': None}, validate={'gate': None}))
    run.start()
    run.pass_stages()
    run.tell('advance', 60)
    data_regression.check(run.log)


def test_continued(data_regression):
    """A run continues another one that was stuck, with another basis."""
    run = Course(changed())
    gets_stuck(run)
    state = api.progress_state(run.progress)
    others = changed(train={'number_of_functions': 150})
    again = api.continued_progress(others, api.forgiven_state(state))
    data_regression.check(plain({'state': api.progress_state(again), 'answers': api.ask(again, others)}))


# The verdict ----------------------------------------------------------------------------------------------------------

SYSTEM = {'system': {'elements': ['Cu']}, 'protocol': 'balanced'}
ERRORS = {'energy': {'rmse': 0.001}, 'forces': {'rmse': 0.03}, 'stress': {'rmse': 0.0003}}


@pytest.fixture(scope='module')
def stored() -> dict:
    """Return what the suite has said of two crystals of copper, one of which is not stable."""
    return json.loads((cases.OUTPUTS / 'suite.json').read_text())


def broken(stored: dict) -> dict:
    """Return the same, with something wrong in every property of the ground state."""
    content = copy.deepcopy(stored)
    ground, other = content['crystals']
    ground['eos'] |= {'kinks': [11.0], 'smooth': False, 'monotone': False, 'holes': [7.0]}
    ground['elasticity']['born'] = {'stable': False, 'min_eigenvalue': -5.0, 'violated': ['C11 - C12 > 0']}
    ground['elasticity']['soft_strain'] = [1.0, -1.0, 0.0, 0.0, 0.0, 0.0]
    ground['phonons'] |= {'stable': False, 'min_frequency': -1.2, 'message': 'imaginary', 'imaginary': [MODE]}
    ground['vacancy'] |= {'status': 'failed', 'message': 'it did not relax'}
    ground['surfaces']['surfaces'][0]['energy'] = -0.1
    ground['stacking_fault']['intrinsic'] = -40.0
    ground['stability']['runs'][0] |= {'completed': False, 'reason': 'collapse', 'message': 'atoms came to 0.4 Å'}
    other['eos'] |= {'status': 'failed', 'message': 'no eos'}
    hole = {'distance': 1.6, 'energy': 1.0, 'bottom': 1.2, 'depth': 3.0}
    for pair in content['pairs']['pairs'].values():
        pair |= {'monotone': False, 'hole': hole}
    content['melting'] = {
        'status': 'failed', 'message': 'not enough runs', 'method': 'coexistence', 'temperature': None,
        'uncertainty': None, 'n_atoms': 100, 'runs': [], 'track': {'times': [], 'temperatures': [], 'solid': []},
    }  # fmt: skip
    return {**content, 'errors': {**ERRORS, 'forces': {'rmse': 1.0}}}


def mode() -> dict:
    """Return an unstable mode of copper."""
    cell = bulk('Cu', a=3.6, cubic=True)
    moves = np.zeros((4, 3))
    moves[:2, 0], moves[2:, 0] = 1.0, -1.0
    return {
        'q': [0.5, 0.0, 0.0], 'frequency': -1.2, 'numbers': cell.numbers.tolist(),
        'positions': cell.positions.tolist(), 'cell': cell.cell.tolist(), 'displacements': moves.tolist(),
    }  # fmt: skip


MODE = mode()


def contents(stored: dict) -> dict[str, dict]:
    """Return contents that are judged differently."""
    without = {'crystals': [], 'errors': ERRORS, 'pairs': None, 'melting': None}
    warned = {**copy.deepcopy(stored), 'errors': {**ERRORS, 'energy': {'rmse': 0.006}}}
    return {'sound': {**stored, 'errors': ERRORS}, 'broken': broken(stored), 'warned': warned, 'empty': without}


def scaled(value, factor: float):
    """Return content with all of its numbers times a factor."""
    if isinstance(value, dict):
        return {key: scaled(item, factor) for key, item in value.items()}
    if isinstance(value, list):
        return [scaled(item, factor) for item in value]
    return factor * value if isinstance(value, float) else value


def references(content: dict, stored: dict) -> dict:
    """Return made-up references of DFT for the first crystal, and those of experiment for all."""
    ground = stored['crystals'][0]
    dft = {'name': ground['name'], **{key: scaled(ground[key], 1.05) for key in ('equilibrium', 'eos', 'elasticity')}}
    number = len(content['crystals'])
    return {'dft': [dft, None][:number], 'experiment': api.find_experiment(content['crystals'])}


@pytest.mark.parametrize('name', ['sound', 'broken', 'warned', 'empty'])
@pytest.mark.parametrize('known', [True, False], ids=['references', 'alone'])
def test_judge(data_regression, stored, name, known):
    """The verdict, all of its checks, what it asks for, and the structures that are made of that."""
    content = contents(stored)[name]
    validate = api.resolve(SYSTEM)['validate']
    found = api.judge(content, references(content, stored) if known else None, validate)
    made = api.make_requested(found['requests'], cases.crystals_of_copper(), 5) if known else []
    data_regression.check(
        {'verdict': plain(found), 'structures': [f'{summarise_frame(atoms)} {atoms.info["reason"]}' for atoms in made]}
    )


KINDS = [
    {'kind': 'mode', **MODE}, {'kind': 'strain', 'strain': [1.0, -0.5, 0.0, 0.0, 0.0, 0.0]}, {'kind': 'strain'},
    {'kind': 'volume'}, {'kind': 'volume', 'volume': [6.0, 9.0]},
    {'kind': 'pair', 'elements': ['Cu', 'Cu'], 'distances': [1.4, 1.8]},
    {'kind': 'dimer', 'elements': ['Cu', 'Cu'], 'distances': [1.4, 1.8]}, {'kind': 'vacancy'}, {'kind': 'surface'},
    {'kind': 'surface', 'miller': [1, 1, 0]}, {'kind': 'temperature', 'temperature': 1500.0}, {'kind': 'rattle'},
]  # fmt: skip


def test_requests(data_regression):
    """The structures of every kind of request."""
    found = {}
    for index, request in enumerate(KINDS):
        whole = {'crystal': 0, 'reason': 'a test', **request}
        frames = api.make_requested([whole], cases.crystals_of_copper(), 5)
        found[f'{index} {request["kind"]}'] = [summarise_frame(atoms) for atoms in frames]
    data_regression.check(found)


def figures_of(page: str) -> str:
    """Return a line for each figure of a page: titles, kinds and names of its traces, and a hash of all of it."""
    (data,) = re.findall(r'<script id="figures"[^>]*>(.*?)</script>', page, flags=re.S)
    lines = []
    for figure in plain(json.loads(data), 5):
        traces = [[trace.get('type'), trace.get('name')] for trace in figure['data']]
        axes = [figure['layout'].get(axis, {}).get('title') for axis in ('xaxis', 'yaxis')]
        lines.append(f'{line(axes)} {line(traces)} {checksum_text(line(figure))}')
    return '\n'.join(lines)


def strip(page: str) -> str:
    """Return a page without the library that draws, with rounded numbers, without the version of what made it."""
    page = re.sub(
        r'(<script id="figures"[^>]*>).*?(</script>)', lambda f: f'{f[1]}\n{figures_of(page)}\n{f[2]}', page, flags=re.S
    )
    page = re.sub(r'(<script[^>]*>)(?:(?!</script>).){100000,}?</script>', r'\1…</script>', page, flags=re.S)
    page = re.sub(r'-?\d+\.\d{5,}(?:e-?\d+)?', lambda found: f'{float(found[0]):.5g}', page)
    return re.sub(r'(aiida-pyacemaker) \d[\w.]*', r'\1 VERSION', page)


@pytest.mark.parametrize('name', ['sound', 'broken', 'empty'])
def test_report(file_regression, stored, name):
    """The page for people, with figures and tables."""
    content = contents(stored)[name]
    known = references(content, stored)
    verdict_ = api.judge(content, known, api.resolve(SYSTEM)['validate']) if name != 'empty' else None
    frames = cases.labelled_frames()[:6]
    for index, atoms in enumerate(frames):
        atoms.set_array('gamma', np.linspace(0.1, 1 + index, len(atoms)))
    predicted = [atoms.copy() for atoms in frames]
    for atoms, original in zip(predicted, frames, strict=True):
        results = {key: np.asarray(value) * 1.01 for key, value in original.calc.results.items()}
        atoms.calc = type(original.calc)(atoms, **{**results, 'energy': float(results['energy'])})
    content['errors'] = {**(content['errors'] or {}), **api.error_metrics(frames, predicted)}
    arrays = api.error_arrays(frames, predicted)
    provenance = {'Fit': {'functions': 100, 'seed': 1}, 'Settings': ['PBE', '40 Ry'], 'cite': ['aiida', 'qe']}
    page = strip(api.format_report(content, verdict_, known, arrays, provenance))
    page = re.sub(r'(<style>).*?(</style>)', lambda f: f'{f[1]}{checksum_text(f[0])}{f[2]}', page, flags=re.S)
    file_regression.check(page, extension='.html', encoding='utf-8')


def checksum_text(text: str) -> str:
    """Return a short hash of a text."""
    return checksum([ord(character) for character in text], 0)


def test_errors(data_regression):
    """Errors of predictions, of all frames and by family."""
    frames = cases.labelled_frames()
    predicted = [atoms.copy() for atoms in frames]
    for index, (atoms, original) in enumerate(zip(predicted, frames, strict=True)):
        results = {key: np.asarray(value) * (1 + 0.01 * index) for key, value in original.calc.results.items()}
        atoms.calc = type(original.calc)(atoms, **{**results, 'energy': float(results['energy'])})
    data_regression.check(plain(api.error_metrics(frames, predicted)))


def test_suite(data_regression):
    """What the suite says of copper by EMT, anew."""
    suite = copy.deepcopy(cases.SUITE)
    suite['properties'] = ['eos', 'elasticity', 'phonons', 'pairs', 'vacancy', 'surfaces', 'stacking_fault']
    suite['settings'].pop('stability')
    found = api.run_suite({'calculator': 'emt'}, cases.crystals_of_copper()[:1], suite)
    found.pop('seconds')
    found['potential'].pop('versions', None)
    (copper,) = found['crystals']
    for name in ('paths', 'dos'):
        copper['phonons'][name] = '(left out)'
    found['crystals'] = [{key: settled(value) for key, value in copper.items()}]
    data_regression.check(plain(found, 4))


def settled(value):
    """Return content in which what is only noise about zero is zero."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [settled(item) for item in value]
    return 0.0 if isinstance(value, float) and abs(value) < 1e-4 else value


# Remedies -------------------------------------------------------------------------------------------------------------


def test_ladder(data_regression, instantiate, codes, configurations, pseudos):
    """The order in which a pw.x calculation is healed."""
    atoms = bulk('Al')
    oracle = api.load_oracle({'oracle': 'qe', 'pseudo_family': pseudos, 'kpoints_distance': 0.3})
    builder = oracle.get_builder(codes['pw'], configurations([atoms]), [0], api.make_structure(atoms), {})
    chain = instantiate(builder)
    chain.setup()
    data_regression.check([list(rung) for rung in api.ladder(chain)])
