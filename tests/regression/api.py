"""The only place of these tests that knows where things are inside the package, and how they are called.

Where modules move or signatures change, only this file follows; the tests and their data files stay as they are.
Whatever has an entry point is reached by it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from ase import Atoms

# The run file ---------------------------------------------------------------------------------------------------------


def load(content: dict[str, Any]) -> Any:
    """Return the run file of a content, as builders take it."""
    from aiida_pyacemaker.runfile import resolve_runfile

    return resolve_runfile(content)


def resolve(content: dict[str, Any], overrides: list[str] | None = None) -> dict[str, Any]:
    """Return the resolved run file."""
    from aiida_pyacemaker.runfile import resolve_runfile

    return resolve_runfile(content, overrides).to_dict()


def resolve_file(path: Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """Return the resolved run file of a file."""
    from aiida_pyacemaker.runfile import load_runfile

    return load_runfile(path, overrides).to_dict()


def runfile_fields() -> list[tuple[str, Any]]:
    """Return dotted key and pydantic field of all keys of a run file."""
    from aiida_pyacemaker.runfile import iterate_fields

    return list(iterate_fields())


def explain_problems(content: dict[str, Any], overrides: list[str] | None = None) -> str:
    """Return what is said of a run file that cannot be used."""
    from aiida_pyacemaker.runfile import RunFileError, resolve_runfile

    try:
        resolve_runfile(content, overrides)
    except RunFileError as exception:
        return str(exception)
    return ''


# Planning and deciding ------------------------------------------------------------------------------------------------


def plan(explore: dict, cells: list[Atoms], elements: list[str], stage: int, seed: int) -> list[dict[str, Any]]:
    """Return what each walker of a round does; ``explore`` is the section of a resolved run file."""
    from aiida_pyacemaker.atomistics.explorers.plan import plan_walkers
    from aiida_pyacemaker.runfile.sections import Explore

    walkers = plan_walkers(Explore.model_validate(explore), cells, elements, stage, seed)
    return [walker.to_dict() for walker in walkers]


def start_cells(content: dict[str, Any], stage: int, seed: int) -> list[Atoms]:
    """Return the cells in which a stage starts; ``content`` is a resolved run file."""
    from aiida_pyacemaker.atomistics.explorers.plan import starting_sizes
    from aiida_pyacemaker.atomistics.generators.generate import starting_cells
    from aiida_pyacemaker.atomistics.generators.plan import Structures
    from aiida_pyacemaker.runfile.sections import Explore

    sizes = starting_sizes(Explore.model_validate(content['explore']), stage, content['embed']['max_atoms'])
    structures = {key: value for key, value in content['structures'].items() if key not in ('files', 'nodes')}
    return starting_cells(content['system']['elements'], Structures(**structures), seed, **sizes)


def generate(content: dict[str, Any]) -> tuple[list[Atoms], list[dict[str, Any]], list[str]]:
    """Return the initial structures of a resolved run file, the table of families, and the notes."""
    from aiida_pyacemaker.atomistics.generators.generate import generate
    from aiida_pyacemaker.atomistics.generators.plan import Structures

    structures = {key: value for key, value in content['structures'].items() if key not in ('files', 'nodes')}
    cutoff = content['train']['cutoff']
    found = generate(content['system']['elements'], Structures(**structures), content['seed'], cutoff=cutoff)
    return found.frames, found.table(), found.notes


#: Keys of the state of the loop that had other names when the data files were made.
STATE_KEYS = {
    'first_iteration': 'first',
    'halts': 'walkers',
    'begins_round': 'fresh',
    'is_clean': 'clean',
    'violation_was_foreseen': 'unsure',
    'labels_learned': 'learned',
    'has_unlearned_labels': 'spared',
    'walkers_given_up': 'stuck',
    'iterations_without_gain': 'idle',
    'iterations_with_violations': 'violated',
    'passes_missing_criteria': 'missed',
}


def _present(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with the keys of today."""
    names = {former: present for present, former in STATE_KEYS.items()}
    return {names.get(key, key): value for key, value in state.items()}


def _former(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with the keys of the data files."""
    return {STATE_KEYS.get(key, key): value for key, value in state.items()}


def _settings(parameters: dict[str, Any]) -> Any:
    from aiida_pyacemaker.atomistics.loop.progress import LoopSettings

    return LoopSettings.from_runfile(parameters)


def new_progress(parameters: dict[str, Any]) -> Any:
    """Return a fresh ``Progress``, for :func:`tell`, :func:`ask` and :func:`progress_state`."""
    from aiida_pyacemaker.atomistics.loop.progress import Progress

    return Progress(_settings(parameters))


def continued_progress(parameters: dict[str, Any], content: dict[str, Any]) -> Any:
    """Return the ``Progress`` of a run that continues another one."""
    from aiida_pyacemaker.atomistics.loop.progress import Progress

    return Progress.continued(_settings(parameters), _present(content))


def restored_progress(parameters: dict[str, Any], content: dict[str, Any]) -> Any:
    """Return the ``Progress`` of its plain state."""
    from aiida_pyacemaker.atomistics.loop.progress import Progress

    return Progress.from_dict(_settings(parameters), _present(content))


def progress_state(progress: Any) -> dict[str, Any]:
    """Return the plain state; where a key has another name by now, it is called here as it was."""
    return _former(progress.to_dict())


def forgiven_state(content: dict[str, Any]) -> dict[str, Any]:
    """Return a plain state without the counts that made a loop stall."""
    from aiida_pyacemaker.atomistics.loop.progress import forget_failures

    return _former(forget_failures(_present(content)))


def tell(progress: Any, event: str, *arguments: Any) -> Any:
    """Tell a progress what has happened: advance, explored, labelled, trained, validated, produced, proven, judged."""
    from aiida_pyacemaker.atomistics.explorers.walker import WalkerResult

    if event in ('explored', 'proven'):
        walkers, *others = arguments
        arguments = ([WalkerResult.from_dict(walker) for walker in walkers], *others)
    return getattr(progress, event)(*arguments)


def ask(progress: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return everything that the loop asks a progress for."""
    from aiida_pyacemaker.runfile.sections import Explore

    names = (
        'stage_name', 'seed', 'in_last_stage', 'requested', 'production_due', 'production_holds', 'proof_due',
        'gate_due', 'may_deploy', 'calibration', 'warning', 'why',
    )  # fmt: skip
    answers = {name: getattr(progress, name) for name in names}
    answers |= {'walkers_to_run': progress.walkers_to_run(), 'selection': progress.selection()}
    answers['fit_parameters'] = [progress.fit_parameters(n_atoms) for n_atoms in (100, 4000)]
    if progress.settings.production is not None:
        usual = resolve({'system': parameters['system']})['explore']
        proof = progress.proof(Explore.model_validate({**usual, **parameters['explore']}))
        stages = [stage.model_dump(mode='json', exclude_unset=True) for stage in proof.stages]
        answers |= {'production_parameters': progress.production_parameters(), 'proof': stages}
    return answers


def select(directory: Path, frames: list[Atoms], parameters: dict[str, Any]) -> list[Atoms]:
    """Return what is chosen to be labelled, by the potential in a folder."""
    from aiida_pyacemaker.atomistics.potential import AcePotential
    from aiida_pyacemaker.atomistics.selection.parameters import Selection
    from aiida_pyacemaker.atomistics.selection.select import select_configurations

    selection = Selection.model_validate(parameters)
    return select_configurations(AcePotential(directory), frames, selection, report=lambda line: None)


# The validator --------------------------------------------------------------------------------------------------------


def run_suite(calculator: Any, crystals: list[Atoms], suite: dict[str, Any]) -> dict[str, Any]:
    """Return what the suite says of crystals."""
    from aiida_pyacemaker.atomistics.validation.suite import read_suite, run_suite

    return run_suite(calculator, crystals, read_suite(suite), 1, report=lambda line: None)


def judge(content: dict, references: dict | None, validate: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict; ``validate`` is the section of a resolved run file."""
    from aiida_pyacemaker.atomistics.validation.gate import judge

    return judge(content, references, validate)


def make_requested(requests: list[dict[str, Any]], crystals: list[Atoms], seed: int) -> list[Atoms]:
    """Return the structures that a verdict asks for."""
    from aiida_pyacemaker.atomistics.validation.requests import make_structures

    return make_structures(requests, crystals, seed)


def find_experiment(crystals: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """Return the experiments of the crystals of a content."""
    from aiida_pyacemaker.atomistics.validation.references import find_experiment

    return [find_experiment(crystal) for crystal in crystals]


def format_report(content, verdict, references, errors_arrays, provenance) -> str:
    """Return the page for people."""
    from aiida_pyacemaker.atomistics.core.plugins import ORACLES, load_plugins
    from aiida_pyacemaker.atomistics.validation.report import format_report

    # an oracle brings what is cited for it
    oracles = load_plugins(ORACLES)
    cited = [oracles[name].citation if name in oracles else name for name in provenance['cite']]
    return format_report(content, verdict, references, errors_arrays, {**provenance, 'cite': cited})


def error_metrics(frames: list[Atoms], predictions: list[Atoms]) -> dict[str, Any]:
    """Return the errors of predictions."""
    from aiida_pyacemaker.atomistics.metrics.errors import error_metrics

    return error_metrics(frames, predictions)


def error_arrays(frames: list[Atoms], predictions: list[Atoms]) -> dict[str, Any]:
    """Return what the figures of the errors are drawn of."""
    from aiida_pyacemaker.atomistics.metrics.errors import error_arrays

    return error_arrays(frames, predictions)


# Inputs of engines ----------------------------------------------------------------------------------------------------


def load_oracle(label: dict[str, Any]) -> Any:
    """Return the oracle that the section ``label`` names."""
    from aiida_pyacemaker.workflows.oracles import load_oracle

    return load_oracle(label)


def complete(oracle: Any, elements: list[str]) -> dict[str, Any]:
    """Return the section ``label`` that an oracle has completed: what was given and what it has added."""
    label = oracle.complete(elements).model_dump(exclude_unset=True)
    if label.get('vasp'):  # tags are kept in lower case
        label['vasp']['incar'] = {tag.upper(): value for tag, value in label['vasp']['incar'].items()}
    return label


def make_structure(atoms: Atoms, tagged: bool = False) -> orm.StructureData:
    """Return a configuration as a structure for DFT; ``tagged``: atoms of different moments are of different kinds."""
    from aiida_pyacemaker.atomistics.labelling.magnetism import kind_tags
    from aiida_pyacemaker.calculations.functions.get_structure import make_structure

    return make_structure(atoms, 0, kind_tags(atoms) if tagged else None)


def incar(atoms: Atoms, vasp: dict[str, Any], encut: float, smearing: str, degauss: float, spin: str, dipole: bool):
    """Return the tags of INCAR; ``vasp`` is the section ``label.vasp``."""
    from aiida_pyacemaker.atomistics.labelling.incar import Vasp, get_incar

    return get_incar(atoms, Vasp.model_validate(vasp), encut, smearing, degauss, spin, dipole)


def next_melting(parameters: dict[str, Any], crystal: Atoms, state: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the next simulation of a search for a melting point is to do, ``state`` being what is known."""
    from aiida_pyacemaker.atomistics.validation.properties.melting.search import Search

    return Search(parameters, crystal, **state).next()


def melting_refusal(parameters: dict[str, Any], crystal: Atoms) -> str:
    """Return why there is no search for the melting point of a structure."""
    from aiida_pyacemaker.atomistics.validation.properties.melting.search import NotApplicableError, Search

    try:
        Search(parameters, crystal)
    except NotApplicableError as exception:
        return str(exception)
    return ''


def refusal(name: str, parameters: dict[str, Any]) -> str:
    """Return what the port ``parameters`` of a calculation says of its content."""
    from aiida.plugins import CalculationFactory

    return CalculationFactory(f'pyacemaker.{name}').spec().inputs['parameters'].validator(orm.Dict(parameters), None)


def ladder(chain: Any) -> list[tuple[int, str]]:
    """Return priority and name of what heals a pw.x calculation, in the order in which it is tried.

    :param chain: an instance of the work chain ``pyacemaker.pw_base``.
    """
    from aiida_pyacemaker.workflows.healing.ladder import LADDER

    found = [(priority, handler.__name__) for priority, handler in chain.get_process_handlers_by_priority()]
    # One handler climbs what were handlers of their own, the last of which gives up what nothing has cured.
    (climbs,) = [rung for rung in found if rung[1] == 'climb_ladder']
    found.remove(climbs)
    names = {'bands': 'sanity_check_insufficient_bands'}
    rungs = [names.get(rung.name, f'rung_{rung.name}') for rung in LADDER]
    found += zip((695, 690, 680, 670, 660, 400), rungs, strict=True)
    found.append((650, 'handle_exhausted'))
    return sorted(found, key=lambda rung: (-rung[0], rung[1]))


# The installation -----------------------------------------------------------------------------------------------------


def command_line() -> Any:
    """Return the root of the command line, the click group behind the script ``aiida-pyacemaker``."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group='console_scripts', name='aiida-pyacemaker')
    return script.load()


def data_command_line() -> Any:
    """Return the click group behind ``verdi data pyacemaker``."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group='aiida.cmdline.data', name='pyacemaker')
    return script.load()
