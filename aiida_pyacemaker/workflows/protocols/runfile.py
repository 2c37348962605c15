"""The run file: one YAML file that says what the user wants, completed from a protocol and checked as a whole.

:func:`load_runfile` merges, in this order, the protocol's defaults (``active_learning.yaml``), the user's file and the
``key.sub=value`` overrides of the command line, and validates the result. Whatever is wrong is collected into one
:class:`RunFileError` that names each key by its full dotted location, what is wrong with it, and the remedy.

Nothing in a run file is ever executed: the YAML is loaded by a safe loader, and interpolations (``${...}``, which
OmegaConf would resolve, environment variables included) are refused.
"""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from aiida_pyacemaker.atomistics.core.parameters import Number, Positive, Section, parameter
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.fitting.parameters import Fit
from aiida_pyacemaker.atomistics.generators.plan import FAMILIES, Structures
from aiida_pyacemaker.atomistics.io.files import list_files
from aiida_pyacemaker.atomistics.labelling.incar import Vasp
from aiida_pyacemaker.atomistics.labelling.teachers import Teacher
from aiida_pyacemaker.atomistics.labelling.tiers import Tiers
from aiida_pyacemaker.atomistics.selection.parameters import Embed
from aiida_pyacemaker.atomistics.validation.parameters import Validate

PROTOCOL_FILE = Path(__file__).with_name('active_learning.yaml')


class RunFileError(ValueError):
    """A run file that cannot be used; the message lists every problem with its location and remedy.

    :param source: name of the run file, as the user gave it.
    :param problems: ``(location, message)`` pairs; the location is a dotted key, or empty for the file as a whole.
    """

    def __init__(self, source: str, problems: list[tuple[str, str]]):
        self.source = source
        self.problems = problems
        lines = [f'  {location}: {message}' if location else f'  {message}' for location, message in problems]
        super().__init__('\n'.join([f'the run file `{source}` cannot be used:', *lines]))


# Values ---------------------------------------------------------------------------------------------------------------


def _symbols() -> list[str]:
    from ase.data import chemical_symbols

    return chemical_symbols[1:]  # number 0 is ASE's dummy atom X


def nearest_element(name: str) -> str | None:
    """Return the chemical symbol that somebody who wrote ``name`` most likely meant, or None.

    :param name: a symbol in the wrong case, an English element name or something similar.
    """
    from ase.data import atomic_names

    symbols = {symbol.lower(): symbol for symbol in _symbols()}
    names = {full.lower(): symbol for full, symbol in zip(atomic_names[1:], _symbols(), strict=False)}
    names |= {'aluminum': 'Al', 'sulphur': 'S', 'cesium': 'Cs', 'caesium': 'Cs', 'wolfram': 'W', 'natrium': 'Na'}
    word = name.strip().lower()
    if word in symbols:
        return symbols[word]
    if word in names:
        return names[word]
    begun = [symbol for name, symbol in names.items() if len(word) > 2 and name.startswith(word)]
    if begun:
        return begun[0]
    close = difflib.get_close_matches(word, list(names), n=1, cutoff=0.65) if len(word) > 3 else []
    if close:
        return names[close[0]]
    close = difflib.get_close_matches(word, list(symbols), n=1, cutoff=0.5)
    return symbols[close[0]] if close else None


class System(Section):
    """What the potential is for."""

    elements: list[str] = parameter('Chemical symbols of the elements that the potential describes.', min_length=1)

    @field_validator('elements', mode='before')
    @classmethod
    def _check_elements(cls, value: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise PydanticCustomError('elements', 'a list of chemical symbols is needed, for example [Al]')
        for element in value:
            if element is False:  # YAML 1.1 reads No as a boolean
                raise PydanticCustomError('elements', "YAML reads No as `false`; write nobelium in quotes, 'No'")
            if not isinstance(element, str) or element not in _symbols():
                near = nearest_element(element) if isinstance(element, str) else None
                remedy = f'did you mean {near}?' if near else 'use symbols of the periodic table, for example [Al]'
                raise PydanticCustomError('elements', f'{element!r} is not a chemical element; {remedy}')
        twice = sorted({element for element in value if value.count(element) > 1})
        if twice:
            raise PydanticCustomError('elements', f'{twice[0]} is listed more than once; list each element once')
        return value


class Codes(Section):
    """The AiiDA codes of the engines, as ``label@computer``."""

    pw: str = parameter('Quantum ESPRESSO `pw.x`, for the labels.', min_length=1)
    lammps: str = parameter('LAMMPS with ML-PACE, for the exploration.', min_length=1)
    worker: str = parameter(
        '`pyacemaker-worker`, for fits, selection and errors; its Python has python-ace.', min_length=1
    )
    teacher: str | None = parameter(
        '`pyacemaker-worker` in the Python that has the teacher potential; null: `codes.worker`.',
        default=None,
        min_length=1,
    )
    vasp: str | None = parameter('VASP, for labels by the oracle `vasp`.', default=None, min_length=1)


class Resources(Section):
    """The resources of a job, as AiiDA's scheduler plugins name them."""

    num_machines: Number | None = parameter('Machines.', default=None, ge=1)
    num_mpiprocs_per_machine: Number | None = parameter('MPI processes on each machine.', default=None, ge=1)
    num_cores_per_machine: Number | None = parameter('Cores taken on each machine.', default=None, ge=1)
    num_cores_per_mpiproc: Number | None = parameter('Cores of each MPI process.', default=None, ge=1)
    tot_num_mpiprocs: Number | None = parameter('MPI processes altogether.', default=None, ge=1)
    parallel_env: str | None = parameter('Parallel environment (SGE).', default=None)


class JobOptions(Section):
    """AiiDA's `metadata.options` of the jobs of one code."""

    resources: Resources = parameter('Machines, processes and cores of a job.', default=Resources())
    queue_name: str | None = parameter('Queue or partition.', default=None)
    account: str | None = parameter('Account that is charged.', default=None)
    qos: str | None = parameter('Quality of service.', default=None)
    max_wallclock_seconds: Number | None = parameter('Longest time of a job.', unit='s', default=None, ge=60)
    max_memory_kb: Number | None = parameter('Memory of a job.', unit='kB', default=None, ge=1)
    withmpi: bool | None = parameter("Whether to start the engine through the computer's `mpirun`.", default=None)
    environment_variables: dict[str, str] | None = parameter('Environment variables of the job.', default=None)
    prepend_text: str | None = parameter('Lines of the job script before the engine.', default=None)
    custom_scheduler_commands: str | None = parameter(
        'More lines for the scheduler, such as `#SBATCH ...`.', default=None
    )

    @model_serializer(mode='wrap')
    def _only_given(self, handler: Any) -> dict[str, Any]:
        """Leave out what was not given: AiiDA has defaults of its own."""
        content = handler(self)
        content['resources'] = {key: value for key, value in content['resources'].items() if value is not None}
        return {key: value for key, value in content.items() if value is not None and value != {}}


class Options(Section):
    """What the scheduler is asked for, per code."""

    pw: JobOptions = parameter('Jobs of `codes.pw`.')
    lammps: JobOptions = parameter('Jobs of `codes.lammps`.')
    worker: JobOptions = parameter('Jobs of `codes.worker`.')
    teacher: JobOptions = parameter('Jobs of `codes.teacher`.', default=JobOptions())
    vasp: JobOptions = parameter('Jobs of `codes.vasp`.', default=JobOptions())


#: Keys of the families that take a file where they take a formula or the name of a molecule.
FILE_KEYS = {
    'alloy': ('lattice_files',),
    'interface': ('film', 'substrate'),
    'adsorption': ('slab', 'molecules'),
    'molecular': ('molecules',),
}


class InitialStructures(Structures):
    """The initial structures: which families of ideal structures, and which variants of them."""

    @model_validator(mode='before')
    @classmethod
    def _find_family_files(cls, value: Any, info: ValidationInfo) -> Any:
        """Make the paths of files that families are given absolute; what is no file is a formula or a name."""
        if not isinstance(value, dict):
            return value
        directory = (info.context or {}).get('directory', Path.cwd())
        found = dict(value)
        for family, keys in FILE_KEYS.items():
            section = found.get(family)
            if isinstance(section, dict):
                changed = {key: _absolute(section[key], directory) for key in keys if key in section}
                found[family] = {**section, **changed}
        return found

    def all_files(self) -> list[Path]:
        """Return the files that the structures come from, those of the families included."""
        named = [getattr(getattr(self, family), key) for family, keys in FILE_KEYS.items() if getattr(self, family)
                 for key in keys]  # fmt: skip
        flat = [name for item in named for name in (item if isinstance(item, list) else [item]) if name]
        return [*list_files(self.files), *(Path(name) for name in flat if Path(name).is_file())]

    @field_validator('files', mode='before')
    @classmethod
    def _find_files(cls, value: Any, info: ValidationInfo) -> Any:
        """Make the paths absolute, so that they mean the same wherever the run file is used."""
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            return value
        directory = (info.context or {}).get('directory', Path.cwd())
        paths = [str(directory / Path(name).expanduser()) for name in value]
        try:
            missing = [path for path in list_files(paths) if not path.is_file()]
        except ValueError as exception:
            message = str(exception).removeprefix('structures.files: ')
            raise PydanticCustomError('files', '{message}', {'message': message}) from None
        if missing:
            raise PydanticCustomError('files', f'there is no file `{missing[0]}`; paths are relative to the run file')
        return paths


class Label(Section):
    """The labels: energies, forces and stresses, by DFT or by a teacher potential."""

    oracle: Literal['qe', 'vasp', 'teacher', 'tiered'] = parameter(
        'Who labels: Quantum ESPRESSO, VASP, a teacher potential, or a teacher where it is sure and DFT elsewhere.',
        default='qe',
    )
    pseudo_family: str | None = parameter(
        'Pseudopotential family of the profile; null: the first known one that covers the elements.', min_length=1
    )
    kpoints_distance: float = parameter('Distance of k-points.', unit='1/Å', gt=0, le=2)
    ecutwfc: Positive | None = parameter('Cutoff of the wave functions; null: what the family recommends.', unit='Ry')
    ecutrho: Positive | None = parameter('Cutoff of the density; null: what the family recommends.', unit='Ry')
    smearing: Literal['cold', 'gaussian', 'methfessel-paxton', 'fermi-dirac'] = parameter('Kind of smearing.')
    degauss: Positive = parameter('Width of the smearing.', unit='Ry')
    spin: Literal['auto', 'none'] = parameter(
        'Spin polarisation where an element is magnetic, with a ferromagnetic start, or none at all.', default='auto'
    )
    dipole_correction: bool = parameter('Correct the dipole of slabs with two different sides.', default=True)
    max_force: Positive = parameter(
        'A label with a larger force is put aside until it is confirmed.', unit='eV/Å', default=50.0
    )
    max_energy_deviation: Positive = parameter(
        'So is one whose energy is further from that of its like.', unit='eV/atom', default=5.0
    )
    mix_settings: bool = parameter('Allow labels of different settings in one data set.', default=False)
    clean_workdir: bool = parameter('Remove the scratch of a calculation as soon as its label is safe.', default=True)
    max_concurrent: Number = parameter('Calculations that run at the same time.', ge=1)
    max_failed_fraction: float = parameter('Fraction of the calculations of a step that may fail.', ge=0, le=1)
    max_wallclock_seconds: Number = parameter('Longest time of one calculation.', unit='s', ge=60)
    teacher: Teacher = parameter('The teacher potential of the oracles `teacher` and `tiered`.', default=Teacher())
    vasp: Vasp | None = parameter('What the oracle `vasp` needs beside the keys above.', default=None)
    tiers: Tiers = parameter('Where the teacher of the oracle `tiered` is sure.', default=Tiers())

    @model_validator(mode='after')
    def _check_vasp(self) -> Label:
        if self.vasp is None and 'vasp' in (self.oracle, self.tiers.expensive if self.oracle == 'tiered' else None):
            raise PydanticCustomError('vasp', 'the oracle vasp needs the section `vasp` with a `potential_family`')
        return self

    @model_validator(mode='after')
    def _check_cutoffs(self) -> Label:
        if (self.ecutwfc is None) != (self.ecutrho is None):
            raise PydanticCustomError('cutoffs', 'ecutwfc and ecutrho belong together; give both, or null for both')
        if self.ecutwfc and self.ecutrho and self.ecutrho < 4 * self.ecutwfc:
            raise PydanticCustomError(
                'cutoffs',
                f'ecutrho ({self.ecutrho:g} Ry) is below 4 ecutwfc ({4 * self.ecutwfc:g} Ry); raise it or give null',
            )
        return self


class Production(Section):
    """The fit of all data at the end, whose potential is the result if it beats the one that explored."""

    mode: Literal['linear', 'nonlinear'] = parameter('As `train.mode`.', default='linear')
    number_of_functions: Number | None = parameter(
        'Basis functions per element; null: what pays on the data.', ge=10, default=None
    )
    max_cost: Positive | None = parameter('As `train.max_cost`.', unit='µs/atom/step', default=None)
    share: float = parameter(
        'Its simulations, with all guards but gamma, take this share of `explore.steps`.', gt=0, le=1, default=1.0
    )


class Train(Fit):
    """The fit. What is null is chosen from the data."""

    # the loop needs to know it before there are data
    cutoff: float = parameter('Cutoff radius of the ACE.', unit='Å', ge=2, le=15)
    max_functions: Number | None = parameter(
        'Functions per element to which the basis of the exploration may grow while the errors are above the criteria; '
        'null: it does not grow.',
        ge=10,
        default=None,
    )
    production: Production | None = parameter('The fit at the end; null: none.', default=Production())


class Budget(Section):
    """When to give up."""

    max_iterations: Number = parameter('Iterations of the loop.', ge=1)
    max_labels: Number = parameter('DFT calculations altogether.', ge=1)


def _absolute(value: Any, directory: Path) -> Any:
    """Return names of files as absolute paths, everything else as it is."""
    if isinstance(value, list):
        return [_absolute(item, directory) for item in value]
    if isinstance(value, str) and value and (directory / Path(value).expanduser()).is_file():
        return str(directory / Path(value).expanduser())
    return value


class RunFile(Section):
    """A complete, valid run file: what the user wrote, and the protocol's value for everything else."""

    protocol: str = parameter('Where the defaults come from: `fast`, `balanced` or `stringent`.')
    seed: Number = parameter('Seed of everything random.', ge=0, lt=2**31)
    system: System = parameter('What the potential is for.')
    codes: Codes = parameter('The AiiDA codes of the engines.')
    options: Options = parameter('What the scheduler is asked for, per code.')
    structures: InitialStructures = parameter('The initial structures.')
    label: Label = parameter('The labels: energies, forces and stresses.')
    train: Train = parameter('The fit.')
    explore: Explore = parameter('Molecular dynamics watched by gamma.')
    embed: Embed = parameter('What a halted simulation sends to DFT.')
    # `validate` is a method of every pydantic model, so the attribute has another name than the key.
    validation: Validate = parameter('When the potential is good enough.', alias='validate')
    budget: Budget = parameter('When to give up.')

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved run file as plain nested dictionaries, sections in the order of the model."""
        return self.model_dump(mode='json')

    def to_yaml(self) -> str:
        """Return the resolved run file as YAML; loading it again gives the same run file."""
        return yaml.dump(self.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)

    def needed_codes(self) -> dict[str, str]:
        """Return the codes that the run starts, by their key.

        :raises RunFileError: if the oracle needs a code that is not named.
        """
        tiered = self.label.oracle == 'tiered'
        oracles = ('teacher', self.label.tiers.expensive) if tiered else (self.label.oracle,)
        keys = [{'qe': 'pw'}.get(oracle, oracle) for oracle in oracles]
        named = {**self.codes.model_dump(), 'teacher': self.codes.teacher or self.codes.worker}
        needed = {key: named[key] for key in (*keys, 'lammps', 'worker')}
        for key, label in needed.items():
            if label is None:
                remedy = f'the oracle `{self.label.oracle}` needs it; give the label of a code as code@computer'
                raise RunFileError('run file', [(f'codes.{key}', remedy)])
        return needed

    def content_hash(self) -> str:
        """Return a hash (hex) of everything that decides the result: all keys, and the content of structure files."""
        content = self.to_dict()
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.structures.all_files()]
        content['structures']['files'] = digests
        content['label']['model_files'] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.model_files()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def model_files(self) -> list[Path]:
        """Return the model files of the teachers that the oracle asks."""
        tiers = self.label.tiers
        asked = {'teacher': [self.label.teacher], 'tiered': [self.label.teacher, tiers.reference, *tiers.committee]}
        teachers = [teacher for teacher in asked.get(self.label.oracle, []) if teacher is not None]
        return [path for teacher in teachers if (path := teacher.model_file()) is not None]

    def read_structures(self) -> list[Any]:
        """Read the user's structures.

        :returns: list of ``ase.Atoms``, in the order of ``structures.files``.
        :raises ValueError: if a file is empty, unreadable, or holds an element that the run file lacks.
        """
        from aiida_pyacemaker.atomistics.io.files import read_structures

        return read_structures(self.structures.files, self.system.elements)


# Reading --------------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``1e-9`` is a number, as in YAML 1.2 and OmegaConf, and no key may come twice."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f'the key {key_node.value!r} is not text; put it in quotes'
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f'the key {key!r} comes twice in one section; keep one of them'
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$'),
    list('-+0123456789.'),
)


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists and empty sections in one line."""

    def represent_sequence(self, tag, sequence, flow_style=None):
        return super().represent_sequence(tag, sequence, flow_style=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    """Load the user's file.

    :raises RunFileError: if it is missing, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as exception:
        if path.is_dir():
            reason = 'it is a folder; name the YAML file in it'
        elif isinstance(exception, FileNotFoundError):
            reason = 'there is no such file; check the path'
        else:
            reason = f'it cannot be read as text ({exception}); check that it is a YAML file you may read'
        raise RunFileError(str(path), [('', reason)]) from None
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as exception:
        mark = getattr(exception, 'problem_mark', None)
        where = f'line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        problem = getattr(exception, 'problem', None) or str(exception)
        raise RunFileError(str(path), [(where, f'not valid YAML: {problem}')]) from None
    if content is None:
        raise RunFileError(str(path), [('system.elements', 'the file is empty; at least `system: {elements: [Al]}`')])
    if not isinstance(content, dict):
        raise RunFileError(str(path), [('', f'it holds a {type(content).__name__}, not sections such as `system:`')])
    return content


def load_protocols() -> dict[str, Any]:
    """Return the content of the protocol file."""
    return yaml.safe_load(PROTOCOL_FILE.read_text(encoding='utf-8'))


def protocol_defaults(name: str | None = None) -> dict[str, Any]:
    """Return the defaults of a protocol, section by section.

    :param name: the protocol; None for the default one.
    :raises KeyError: if there is no such protocol.
    """
    content = load_protocols()
    name = name or content['default_protocol']
    changes = {key: value for key, value in content['protocols'][name].items() if key != 'description'}
    return {'protocol': name, **_merge(content['default_inputs'], changes)}


def _merge(left: dict[str, Any], right: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Merge ``right`` over ``left``; a section that ``right`` leaves empty stays as it is, unless it may be null."""
    merged = copy.deepcopy(left)
    for key, value in right.items():
        empty = value is None and f'{prefix}{key}' not in _nullable_sections()
        if isinstance(merged.get(key), dict) and (isinstance(value, dict) or empty):
            merged[key] = _merge(merged[key], value or {}, f'{prefix}{key}.')
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _apply_overrides(content: dict[str, Any], overrides: list[str], source: str) -> dict[str, Any]:
    """Apply ``key.sub=value`` overrides as Hydra does; values are YAML, list items are addressed by number."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = OmegaConf.create(content)
    for override in overrides:
        key, equals, value = override.partition('=')
        if not equals or not re.fullmatch(r'[A-Za-z_]\w*(\.\w+)*', key):
            raise RunFileError(
                source,
                [(override, 'not an override; write key=value, for example explore.temperature=[300,900]')],
            )
        if '${' in value:
            raise RunFileError(source, [(key, 'interpolations (${...}) are not supported; write the value itself')])
        try:
            config.merge_with_dotlist([override])
        except (OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError, IndexError) as exception:
            reason = str(exception).splitlines()[0]
            raise RunFileError(source, [(key, f'the override {override!r} cannot be applied: {reason}')]) from None
    return OmegaConf.to_container(config, resolve=False)


def _interpolations(content: Any, location: str = '') -> list[str]:
    """Return the dotted locations of all values that hold an interpolation."""
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    else:
        return [location] if isinstance(content, str) and '${' in content else []
    return [found for key, value in items for found in _interpolations(value, f'{location}.{key}'.lstrip('.'))]


def default_codes() -> dict[str, str]:
    """Return the codes that the default protocol names, by their key."""
    return protocol_defaults()['codes']


def read_fit_parameters(overrides: list[str]) -> dict[str, Any]:
    """Return what ``key=value`` strings set of a fit that no run file describes: only what was given.

    :param overrides: keys of the section ``train`` of a run file, and ``seed``.
    :raises RunFileError: listing everything that is wrong.
    """
    named = [item if item.startswith('seed=') else f'train.{item.removeprefix("train.")}' for item in overrides]
    resolved = resolve_runfile({'system': {'elements': ['H']}}, named, source='key=value').to_dict()
    given = {item.partition('=')[0].removeprefix('train.') for item in named}
    return {key: value for key, value in {**resolved['train'], 'seed': resolved['seed']}.items() if key in given}


def load_runfile(path: str | Path, overrides: list[str] | None = None) -> RunFile:
    """Load, complete and check a run file.

    :param path: the YAML file.
    :param overrides: ``key.sub=value`` strings, applied last.
    :returns: the complete run file.
    :raises RunFileError: listing everything that is wrong.
    """
    path = Path(path)
    content = _read_yaml(path)
    return resolve_runfile(content, overrides, source=str(path), directory=path.absolute().parent)


def resolve_runfile(
    content: dict[str, Any],
    overrides: list[str] | None = None,
    source: str = 'run file',
    directory: Path | None = None,
) -> RunFile:
    """Complete and check the content of a run file that is already loaded; see :func:`load_runfile`.

    :param directory: what the paths of structure files are relative to; None for the current directory.
    """
    problems = [
        (location, 'interpolations (${...}) are not supported; write the value itself')
        for location in _interpolations(content)
    ]
    if problems:
        raise RunFileError(source, problems)
    content = _open_families(content)
    written = _apply_overrides(content, [item for item in overrides or [] if item.startswith('protocol=')], source)
    protocols = load_protocols()['protocols']
    name = written.get('protocol')
    if name is not None and (not isinstance(name, str) or name not in protocols):
        near = _nearest(str(name), list(protocols))
        raise RunFileError(source, [('protocol', f'{name!r} is not a protocol ({", ".join(protocols)}){near}')])
    merged = _merge(protocol_defaults(name), {**written, 'protocol': name} if name else _without(written, 'protocol'))
    merged = _apply_overrides(merged, overrides or [], source)
    try:
        return RunFile.model_validate(merged, context={'directory': directory or Path.cwd()})
    except ValidationError as exception:
        raise RunFileError(source, [_explain(error) for error in exception.errors()]) from None


def _open_families(content: dict[str, Any]) -> dict[str, Any]:
    """Let a family that is named, with nothing below it, stand for the family as it is by default."""
    structures = content.get('structures')
    if not isinstance(structures, dict):
        return content
    named = {key: {} for key in FAMILIES if key in structures and structures[key] is None}
    return {**content, 'structures': {**structures, **named}}


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


# Explaining -----------------------------------------------------------------------------------------------------------


def _section(field: Any) -> type[Section] | None:
    """Return the section that a field holds, also where it may be left out; None for a value, or a list of sections."""
    if get_origin(field.annotation) is list:
        return None
    for annotation in (field.annotation, *get_args(field.annotation)):
        if isinstance(annotation, type) and issubclass(annotation, Section):
            return annotation
    return None


def iterate_fields(model: type[BaseModel] = RunFile, prefix: str = ''):
    """Yield ``(dotted key, field)`` of all keys that hold a value, section by section."""
    for name, field in model.model_fields.items():
        key = f'{prefix}{field.alias or name}'
        section = _section(field)
        if section is not None:
            yield from iterate_fields(section, f'{key}.')
        else:
            yield key, field


def iterate_sections(model: type[BaseModel] = RunFile, prefix: str = ''):
    """Yield ``(dotted key, model)`` of all sections."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is not None:
            key = f'{prefix}{field.alias or name}'
            yield key, section
            yield from iterate_sections(section, f'{key}.')


@functools.cache
def _nullable_sections(model: type[BaseModel] = RunFile, prefix: str = '') -> frozenset[str]:
    """Return the dotted keys of all sections that may be left out as a whole, by null."""
    found = set()
    for name, field in model.model_fields.items():
        section, key = _section(field), f'{prefix}{field.alias or name}'
        if section is not None:
            found |= _nullable_sections(section, f'{key}.')
            found |= {key} if type(None) in get_args(field.annotation) else set()
    return frozenset(found)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'; did you mean `{close[0]}`?' if close else ''


def _unknown_key(location: tuple[str | int, ...]) -> str:
    """Explain an unknown key by the nearest known one: in its own section first, then anywhere, else list them."""
    *parents, word = [str(part) for part in location]
    prefix = '.'.join(parents)
    section = dict(iterate_sections()).get(prefix, RunFile)
    close = difflib.get_close_matches(word, _keys(section), n=1, cutoff=0.6)
    if close:
        return f'unknown key; did you mean `{".".join([*parents, close[0]])}`?'
    # of keys with the same name the shallowest, and of those the first
    every = sorted((key for key, _ in iterate_fields()), key=lambda key: -key.count('.'))
    everywhere = {key.rpartition('.')[2]: key for key in every}
    close = difflib.get_close_matches(word, list(everywhere), n=1, cutoff=0.6)
    if close:
        return f'unknown key; did you mean `{everywhere[close[0]]}`?'
    nearest = difflib.get_close_matches(word, _keys(section), n=1, cutoff=0.0)
    others = ', '.join(_keys(section))
    return f'unknown key; the nearest one is `{".".join([*parents, nearest[0]])}`; known are {others}'


def _explain(error: dict[str, Any]) -> tuple[str, str]:
    """Turn an error of pydantic into ``(location, what is wrong and the remedy)``."""
    # Branches of a union (`float | None`) come as an extra last part of the location, which is no key.
    location = tuple(part for part in error['loc'] if not (isinstance(part, str) and '[' in part))
    dotted = '.'.join(str(part) for part in location)
    kind, value, context = error['type'], error.get('input'), error.get('ctx', {})
    if kind == 'extra_forbidden':
        return dotted, _unknown_key(location)
    if kind == 'missing':
        remedy = 'for example [Al]' if dotted in ('system', 'system.elements') else 'give it a value'
        return ('system.elements' if dotted == 'system' else dotted), f'missing; {remedy}'
    fields = dict(iterate_fields())
    parents = ('.'.join(str(part) for part in location[:end]) for end in range(len(location), 0, -1))
    key = next(
        (parent for parent in parents if parent in fields), None
    )  # the items of a list have no field of their own
    meaning = _meaning(fields[key]) if key else ''
    if kind in ('model_type', 'model_attributes_type'):
        if dotted == 'system' and value is None:
            return 'system.elements', 'missing; for example [Al]'
        section = dict(iterate_sections()).get(dotted, RunFile)
        return dotted, f'{value!r} is not a section; known keys of it are {", ".join(_keys(section))}'
    if kind == 'literal_error':
        choices = _choices(fields[key].annotation) if key else []
        near = _nearest(str(value), choices)
        return dotted, f'{value!r} is not one of {", ".join(choices)}{near}'
    wrong = {
        'greater_than': 'must be above {gt:g}',
        'greater_than_equal': 'must be at least {ge:g}',
        'less_than': 'must be below {lt:g}',
        'less_than_equal': 'must be at most {le:g}',
        'too_short': 'has {actual_length} items, at least {min_length} needed',
        'too_long': 'has {actual_length} items, at most {max_length} allowed',
        'string_too_short': 'must not be empty',
        'finite_number': 'must be a finite number',
        'float_type': 'must be a number',
        'int_type': 'must be a whole number',
        'list_type': 'must be a list',
        'string_type': 'must be text',
        'bool_type': 'must be true or false',
    }.get(kind)
    if wrong is None:  # our own checks, whose message is complete
        return dotted, error['msg'].removeprefix('Value error, ')
    return dotted, f'{value!r} is wrong, it {wrong.format(**context)}{meaning}'


def _meaning(field: Any) -> str:
    unit = (field.json_schema_extra or {}).get('unit')
    return f' ({field.description.rstrip(".")}{f", in {unit}" if unit else ""})'


def _choices(annotation: Any) -> list[str]:
    """Return the choices of the first ``Literal`` inside an annotation."""
    arguments = get_args(annotation)
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return list(arguments)
    return next((found for found in (_choices(argument) for argument in arguments) if found), [])
