"""The sections of a run file, assembled from the sections of the science floor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Count, Positive, Section, parameter
from aiida_pyacemaker.atomistics.core.plugins import (
    EXPLORERS,
    ORACLES,
    CodePort,
    find_plugins,
    load_plugin,
    load_plugins,
)
from aiida_pyacemaker.atomistics.core.validation import read_section
from aiida_pyacemaker.atomistics.explorers.parameters import Explore as SharedExplore
from aiida_pyacemaker.atomistics.generators.plan import FAMILIES, Structures
from aiida_pyacemaker.atomistics.io.files import list_files
from aiida_pyacemaker.atomistics.labelling.suspects import Limits
from aiida_pyacemaker.atomistics.loop.parameters import Budget, Train
from aiida_pyacemaker.atomistics.selection.parameters import Embed
from aiida_pyacemaker.atomistics.validation.parameters import Validate

from .errors import RunFileError, _symbols, nearest_element


class System(Section):
    """What the potential is for."""

    elements: list[str] = parameter('Chemical symbols of the elements that the potential describes.', min_length=1)

    @field_validator('elements', mode='before')
    @classmethod
    def _check_elements(cls, value: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise InputError('elements', 'a list of chemical symbols is needed', 'for example [Al]')
        for element in value:
            if element is False:  # YAML 1.1 reads No as a boolean
                raise InputError('elements', 'YAML reads No as `false`', "write nobelium in quotes, 'No'")
            if not isinstance(element, str) or element not in _symbols():
                near = nearest_element(element) if isinstance(element, str) else None
                remedy = f'did you mean {near}?' if near else 'use symbols of the periodic table, for example [Al]'
                raise InputError('elements', f'{element!r} is not a chemical element', remedy)
        twice = sorted({element for element in value if value.count(element) > 1})
        if twice:
            raise InputError('elements', f'{twice[0]} is listed more than once', 'list each element once')
        return value


class Resources(Section):
    """The resources of a job, as AiiDA's scheduler plugins name them."""

    num_machines: Count | None = parameter('Machines.', default=None, ge=1)
    num_mpiprocs_per_machine: Count | None = parameter('MPI processes on each machine.', default=None, ge=1)
    num_cores_per_machine: Count | None = parameter('Cores taken on each machine.', default=None, ge=1)
    num_cores_per_mpiproc: Count | None = parameter('Cores of each MPI process.', default=None, ge=1)
    tot_num_mpiprocs: Count | None = parameter('MPI processes altogether.', default=None, ge=1)
    parallel_env: str | None = parameter('Parallel environment (SGE).', default=None)


class JobOptions(Section):
    """AiiDA's `metadata.options` of the jobs of one code."""

    resources: Resources = parameter('Machines, processes and cores of a job.', default=Resources())
    queue_name: str | None = parameter('Queue or partition.', default=None)
    account: str | None = parameter('Account that is charged.', default=None)
    qos: str | None = parameter('Quality of service.', default=None)
    max_wallclock_seconds: Count | None = parameter('Longest time of a job.', unit='s', default=None, ge=60)
    max_memory_kb: Count | None = parameter('Memory of a job.', unit='kB', default=None, ge=1)
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


#: The code that every run needs, whatever its plug-ins are.
WORKER = CodePort(
    '`pyacemaker-worker`, for fits, selection and errors; its Python has python-ace.', plugin='pyacemaker.pace_train'
)


def get_code_ports() -> dict[str, CodePort]:
    """Return the codes that a run file may name, by key: those of all oracles and explorers, and the worker."""
    ports: dict[str, CodePort] = {}
    for plugin in (*load_plugins(ORACLES).values(), *load_plugins(EXPLORERS).values()):
        for key, port in plugin.codes.items():
            ports.setdefault(key, port)
    return {**ports, 'worker': WORKER}


def _assemble(name: str, doc: str, fields: dict[str, Any], base: type[Section] = Section) -> Any:
    """Return a section of keys that plug-ins bring."""
    section = create_model(name, __base__=base, __module__=__name__, **fields)
    section.__doc__ = doc
    return section


Codes = _assemble(
    'Codes',
    'The AiiDA codes of the engines, as ``label@computer``.',
    {key: (str | None, parameter(port.help, min_length=1, default=None)) for key, port in get_code_ports().items()},
)
Options = _assemble(
    'Options',
    'What the scheduler is asked for, per code.',
    {key: (JobOptions, parameter(f'Jobs of `codes.{key}`.', default=JobOptions())) for key in get_code_ports()},
)


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
        for name, family in FAMILIES.items():
            section = found.get(name)
            if isinstance(section, dict):
                changed = {key: _absolute(section[key], directory) for key in family.file_keys if key in section}
                found[name] = {**section, **changed}
        return found

    def all_files(self) -> list[Path]:
        """Return the files that the structures come from, those of the families included."""
        sections = {name: getattr(self, name) for name in FAMILIES}
        named = [getattr(sections[name], key) for name, family in FAMILIES.items() if sections[name]
                 for key in family.file_keys]  # fmt: skip
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
        missing = [path for path in list_files(paths, key='') if not path.is_file()]
        if missing:
            raise InputError('', f'there is no file `{missing[0]}`', 'paths are relative to the run file')
        return paths


class Noise(Section):
    """The noise wanted of the labels: what is left of their errors by DFT settings after one energy per element."""

    energy: Positive = parameter('Noise of an energy.', unit='eV/atom')
    force: Positive = parameter('Noise of a component of a force.', unit='eV/Å')
    stress: Positive = parameter('Noise of a component of a stress.', unit='GPa')


class SharedLabel(Section):
    """The keys that all oracles share."""

    oracle: str = parameter(
        'Who labels: Quantum ESPRESSO, VASP, a teacher potential, or a teacher where it is sure and DFT elsewhere.',
        default='qe',
    )
    pseudo_family: str | None = parameter(
        'Pseudopotential family of the profile; null: the first known one that covers the elements.',
        min_length=1,
        default=None,
    )
    noise: Noise | None = parameter(
        'Noise wanted of the labels: settings that are null are chosen by measurement such that there is no more, and '
        'that of the given ones is measured; null: nothing is measured.',
        default=None,
    )
    kpoints_distance: float | None = parameter(
        'Distance of k-points; null: by `noise`, or 0.2 where nothing is measured.',
        unit='1/Å',
        gt=0,
        le=2,
        default=None,
    )
    ecutwfc: Positive | None = parameter(
        'Cutoff of the wave functions; null: by `noise`, or what the family recommends where nothing is measured.',
        unit='Ry',
        default=None,
    )
    ecutrho: Positive | None = parameter(
        'Cutoff of the density; null: by `noise`, or what the family recommends where nothing is measured.',
        unit='Ry',
        default=None,
    )
    # Marzari-Vanderbilt: right for metals, harmless for insulators, and nobody knows which of them a cell will be.
    smearing: Literal['cold', 'gaussian', 'methfessel-paxton', 'fermi-dirac'] = parameter(
        'Kind of smearing.', default='cold'
    )
    degauss: Positive | None = parameter(
        'Width of the smearing; null: by `noise`, or 0.02 where nothing is measured.', unit='Ry', default=None
    )
    spin: Literal['auto', 'none'] = parameter(
        'Spin polarisation where an element is magnetic, with a ferromagnetic start, or none at all.', default='auto'
    )
    dipole_correction: bool = parameter('Correct the dipole of slabs with two different sides.', default=True)
    max_force: Positive = Limits.model_fields['max_force']
    max_energy_deviation: Positive = Limits.model_fields['max_energy_deviation']
    mix_settings: bool = parameter('Allow labels of different settings in one data set.', default=False)
    clean_workdir: bool = parameter('Remove the scratch of a calculation as soon as its label is safe.', default=True)
    max_concurrent: Count | None = parameter(
        'Calculations that run at the same time; null: as many as the cores of this computer hold, 20 in the queue '
        'of a scheduler.',
        ge=1,
        default=None,
    )
    max_failed_fraction: float = parameter(
        'Fraction of the calculations of a step that may fail.', ge=0, le=1, default=0.2
    )
    max_wallclock_seconds: Count = parameter('Longest time of one calculation.', unit='s', ge=60, default=43200)

    def get_engines(self) -> dict[str, Any]:
        """Return the oracles that label in the end, by name: several where one combines others."""
        names = load_plugin(ORACLES, self.oracle, 'label.oracle').get_engines(self)
        return {name: load_plugin(ORACLES, name, 'label.oracle') for name in names}

    @model_validator(mode='after')
    def _check_sections(self) -> SharedLabel:
        for name, oracle in self.get_engines().items():
            section = oracle.section_name or name
            if oracle.Parameters is not None and getattr(self, section) is None:
                needed = [key for key, field in oracle.Parameters.model_fields.items() if field.is_required()]
                remedy = f'give at least `label.{section}.{needed[0]}`' if needed else ''
                raise InputError('', f'the oracle {name} needs the section `{section}`', remedy)
        return self

    @model_validator(mode='after')
    def _check_cutoffs(self) -> SharedLabel:
        if (self.ecutwfc is None) != (self.ecutrho is None):
            raise InputError('', 'ecutwfc and ecutrho belong together', 'give both, or null for both')
        # what a family recommends has gone through the rounding of a database
        if self.ecutwfc and self.ecutrho and self.ecutrho < 4 * self.ecutwfc * (1 - 1e-9):
            problem = f'ecutrho ({self.ecutrho:g} Ry) is below 4 ecutwfc ({4 * self.ecutwfc:g} Ry)'
            raise InputError('', problem, 'raise it or give null')
        return self


#: The section `explore` with a section of its own for each explorer that needs one.
Explore = create_model(
    'Explore',
    __base__=SharedExplore,
    __doc__=SharedExplore.__doc__,
    **{
        name: (explorer.Parameters | None, parameter(f'What the explorer `{name}` needs.', default=None))
        for name, explorer in load_plugins(EXPLORERS).items()
        if explorer.Parameters is not None
    },
)


def _oracle_section(parameters: type[Section]) -> tuple[Any, Any]:
    """Return the field of an oracle's own keys, which may be left out as a whole."""
    description = (parameters.__doc__ or '').strip().partition('\n')[0]
    if any(field.is_required() for field in parameters.model_fields.values()):
        return parameters | None, parameter(description, default=None)
    return parameters, parameter(description, default=parameters())


Label = _assemble(
    'Label',
    'The labels: energies, forces and stresses, by DFT or by a teacher potential.',
    {
        'oracle': (Literal[tuple(find_plugins(ORACLES))], SharedLabel.model_fields['oracle']),
        **{
            oracle.section_name or name: _oracle_section(oracle.Parameters)
            for name, oracle in load_plugins(ORACLES).items()
            if oracle.Parameters is not None
        },
    },
    base=SharedLabel,
)


def read_label(content: Mapping[str, Any]) -> SharedLabel:
    """Return the section ``label`` from plain values, as a node holds them.

    :raises InputError: naming the first key that is wrong.
    """
    label = read_section(Label, dict(content), 'label')
    # What a family recommends may be whole numbers: input files, and with them the cache, keep them as they are.
    whole = {key: content[key] for key in ('ecutwfc', 'ecutrho') if isinstance(content.get(key), int)}
    return label.model_copy(update=whole)


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
    seed: Count = parameter('Seed of everything random.', ge=0, lt=2**31)
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

        :raises RunFileError: if a code is not named.
        """
        ports, named = get_code_ports(), self.codes.model_dump()
        explorer = load_plugin(EXPLORERS, getattr(self.explore, 'explorer', 'lammps'), 'explore.explorer')
        reasons: dict[str, str] = {}
        for engine in self.label.get_engines().values():
            reasons |= dict.fromkeys(engine.codes, f'the oracle `{self.label.oracle}`')
        reasons |= {**dict.fromkeys(explorer.codes, 'the exploration'), 'worker': 'every run'}
        needed = {key: named[key] or named.get(ports[key].fallback) for key in reasons}
        for key, label in needed.items():
            if label is None:
                remedy = f'{reasons[key]} needs it; give the label of a code as code@computer'
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
        """Return the files beside the run file that decide what the labels are."""
        return load_plugin(ORACLES, self.label.oracle, 'label.oracle').get_model_files(self.label)

    def read_structures(self) -> list[Any]:
        """Read the user's structures.

        :returns: list of ``ase.Atoms``, in the order of ``structures.files``.
        :raises InputError: if a file is empty, unreadable, or holds an element that the run file lacks.
        """
        from aiida_pyacemaker.atomistics.io.files import read_structures

        return read_structures(self.structures.files, self.system.elements, key='structures.files')


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists and empty sections in one line."""

    def represent_sequence(self, tag, sequence, flow_style=None):
        return super().represent_sequence(tag, sequence, flow_style=True)
