"""`aiida-pyacemaker validate`: judge any potential, or several side by side, without AiiDA."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.threads import use_one_thread

from .utils import attempt

if TYPE_CHECKING:
    from ase import Atoms

REPORT = 'validation_report.html'
NUMBERS = 'validation.json'
#: Folder of the potentials of an exported run, and what their files are called in the folder of a potential.
POTENTIALS = 'potentials'
EXPORTED = {'.yaml': 'potential.yaml', '.yace': 'potential.yace', '.asi': 'potential.asi', '.json': 'metadata.json'}
#: Exit status where a potential fails.
FAILED = 3
COLORS = {'PASS': 'green', 'CONDITIONAL': 'yellow', 'FAIL': 'red'}


@click.command('validate')
@click.argument('potentials', nargs=-1, required=True, metavar='POTENTIAL...')
@click.option(
    '-s',
    '--structures',
    multiple=True,
    metavar='FILE',
    help='Crystals to look at: files of any format, folders, globs.',
)
@click.option('--elements', metavar='Al,Cu', help='Look at simple crystals of these elements instead.')
@click.option(
    '--properties', metavar='NAMES', help='What is looked at, such as eos,phonons. [default: all but melting]'
)
@click.option('--data', metavar='FILE', help='Labelled configurations to measure the errors on.')
@click.option('--protocol', metavar='NAME', help='Protocol whose criteria judge. [default: balanced]')
@click.option('--processes', type=click.IntRange(1), help='How many work side by side. [default: one per core]')
@click.option(
    '-o',
    '--output',
    type=click.Path(file_okay=False, path_type=Path),
    help='Folder for report and numbers. [default: NAME-validation]',
)
def cmd_validate(
    potentials: tuple[str, ...],
    structures: tuple[str, ...],
    elements: str | None,
    properties: str | None,
    data: str | None,
    protocol: str | None,
    processes: int | None,
    output: Path | None,
) -> None:
    """Judge potentials as a physicist would: elastic constants, phonons, defects, stability and more.

    POTENTIAL is the folder of a fitted potential or of an exported run, a YAML file with a section `label.teacher`
    (any ASE calculator, LAMMPS pair styles, universal potentials), or the name of a calculator such as emt. Several are
    judged side by side. The exit status is 3 if one of them fails, 1 if the input is bad.
    """
    use_one_thread()
    warnings.simplefilter('ignore', DeprecationWarning)  # of libraries, nothing that people could change
    with attempt():
        defaults = read_protocol(protocol)
        suite = read_properties(properties)
        described = read_potentials(potentials)
        crystals = get_crystals(structures, elements, list(described.values()))
        frames = read_data(data)
        number = processes or len(os.sched_getaffinity(0))
        target = output or Path('validation' if len(described) > 1 else f'{next(iter(described))}-validation')
        found = {
            title: look_at(title, description, crystals, suite, frames, number)
            for title, description in described.items()
        }
        verdicts = judge_all(found, defaults['validate'])
        for line in format_tables({title: content for title, (content, _) in found.items()}):
            click.echo(line)
        settings = {'criteria': defaults['protocol'], 'structures': ', '.join(structures) or 'automatic'}
        write_all(found, verdicts, {'Run': settings}, target)
        sys.exit(FAILED if any(verdict['verdict'] == 'FAIL' for verdict in verdicts.values()) else 0)


def read_protocol(name: str | None) -> dict[str, Any]:
    """Return the defaults of a protocol, the criteria of the verdict among them.

    :raises InputError: if there is no such protocol.
    """
    from aiida_pyacemaker.runfile import load_protocols, protocol_defaults

    known = load_protocols()['protocols']
    if name is not None and name not in known:
        raise InputError('--protocol', f'there is no protocol {name}', f'known are {", ".join(known)}')
    return protocol_defaults(name)


def read_properties(text: str | None) -> Any:
    """Return what is to be looked at.

    :raises InputError: naming a property that there is not.
    """
    from aiida_pyacemaker.atomistics.validation.parameters import PROPERTIES
    from aiida_pyacemaker.atomistics.validation.suite import Suite

    if text is None:
        return Suite()
    names = text.replace(',', ' ').split()
    unknown = [name for name in names if name not in PROPERTIES]
    if unknown or not names:
        what = f'there is no property {unknown[0]}' if unknown else 'name at least one'
        raise InputError('--properties', what, f'known are {", ".join(PROPERTIES)}')
    return Suite(properties=names)


def read_potentials(names: tuple[str, ...]) -> dict[str, Any]:
    """Return what describes each potential, by a title of its own.

    :raises InputError: naming what is no potential.
    """
    described: dict[str, Any] = {}
    for name in names:
        title, description = read_potential(name)
        number = 2
        while title in described:
            title, number = f'{title.rstrip("0123456789-")}-{number}', number + 1
        described[title] = description
    return described


def read_potential(name: str) -> tuple[str, Any]:
    """Return a title and what describes a potential, see :class:`..atomistics.validation.evaluator.Evaluator`.

    :raises InputError: if there is no such potential.
    """
    from aiida_pyacemaker.atomistics.labelling.teachers import known_calculators, read_teacher
    from aiida_pyacemaker.atomistics.potential.potential import METADATA, AcePotential

    path = Path(name).expanduser()
    if path.is_file() and (path.parent / METADATA).is_file():
        path = path.parent  # a file of a potential stands for all of them
    if (path / METADATA).is_file():
        return path.resolve().name, str(AcePotential(path.absolute()).directory)
    exported = find_exported(path)
    if exported is not None:
        project = exported.parent.resolve()
        project = project.parent if project.name == POTENTIALS else project
        return f'{project.name}-{exported.name}', str(gather(exported))
    if path.is_file():
        section = read_teacher_file(path)
        read_teacher(section).model_file()
        return path.stem, section
    what = 'is a folder without a potential' if path.is_dir() else 'is neither a folder nor a file'
    if not path.suffix and path.name == name:
        if name in known_calculators():
            read_teacher({'calculator': name})
            return name, {'calculator': name}
        what += ' nor a calculator'
    raise InputError(
        'potential',
        f'{name} {what}',
        'give the folder of a fitted potential, a YAML file with a section `label.teacher`, or the name of a '
        'calculator such as emt',
    )


def find_exported(path: Path) -> Path | None:
    """Return the stem of a potential of an exported run, None if there is none: the production one, or the newest.

    :param path: the folder of the export, its folder `potentials`, or one of the files in there.
    """
    if path.is_file():
        return path.with_suffix('') if path.with_suffix('.asi').is_file() and has_all(path.with_suffix('')) else None
    for folder in (path / POTENTIALS, path):
        stems = sorted(file.with_suffix('') for file in folder.glob('*.asi') if has_all(file.with_suffix('')))
        if stems:
            return next((stem for stem in stems if stem.name == 'production'), stems[-1])
    return None


def has_all(stem: Path) -> bool:
    """Return whether all files of an exported potential are there."""
    return all(stem.with_suffix(suffix).is_file() for suffix in EXPORTED)


def gather(stem: Path) -> Path:
    """Return a folder with the files of an exported potential under their own names, there until the command ends."""
    folder = Path(click.get_current_context().with_resource(tempfile.TemporaryDirectory()))
    for suffix, name in EXPORTED.items():
        (folder / name).symlink_to(stem.with_suffix(suffix).absolute())
    return folder


def read_teacher_file(path: Path) -> dict[str, Any]:
    """Return the section `label.teacher` of a YAML file (or what is in it, if that is all).

    :raises InputError: if there is none.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as exception:
        raise InputError(str(path), f'is no YAML file: {exception}') from None
    for keys in (('label', 'teacher'), ('teacher',), ()):
        section = content
        for key in keys:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and 'calculator' in section:
            model = section.get('model')
            if isinstance(model, str) and (path.parent / model).is_file():
                section = section | {'model': str((path.parent / model).absolute())}
            return section
    raise InputError(str(path), 'has no section `label.teacher` with a `calculator`')


def get_crystals(structures: tuple[str, ...], elements: str | None, descriptions: list[Any]) -> list[Atoms]:
    """Return the crystals to look at: those of the files, or simple ones of the elements.

    :raises InputError: if there are none, or the elements are not known.
    """
    from aiida_pyacemaker.atomistics.crystals.elements import check_elements
    from aiida_pyacemaker.atomistics.io.files import read_structures
    from aiida_pyacemaker.atomistics.validation.choose import simple_crystals
    from aiida_pyacemaker.atomistics.validation.evaluator import identify

    if structures and elements:
        raise InputError('--structures and --elements', 'give one of them')
    if structures:
        frames = read_structures(structures, key='--structures')
        for atoms in frames:
            atoms.info['must_be_stable'] = True
        return frames
    known = [found for found in (identify(item).get('elements') for item in descriptions) if found]
    wanted = elements.replace(',', ' ').split() if elements else sorted(known[0]) if known else []
    if not wanted:
        raise InputError('--structures', 'there is nothing to look at', 'give files, or elements such as --elements Al')
    check_elements(wanted, key='--elements')
    return simple_crystals(wanted)


def read_data(name: str | None) -> list[Atoms]:
    """Return labelled configurations, none without a file."""
    from aiida_pyacemaker.atomistics.io.datasets import read_labelled

    return [] if name is None else read_labelled(Path(name).expanduser())


def look_at(
    title: str, description: Any, crystals: list[Atoms], suite: Any, frames: list[Atoms], processes: int
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what is found with a potential, and what the plots of its errors are drawn of."""
    from aiida_pyacemaker.atomistics.metrics.errors import error_arrays, error_metrics, gamma_against_error
    from aiida_pyacemaker.atomistics.validation.suite import predict_data, run_suite

    click.echo(f'{title}:')
    content = run_suite(description, crystals, suite, processes, report=lambda line: click.echo(f'  {line}'))
    content['potential']['name'] = title
    if 'melting' in suite.properties:
        content['melting'] = melt(description, content)
        if suite.properties == ['melting'] and content['melting']['status'] != 'ok':
            raise ValueError(content['melting']['message'])
    if not frames:
        return content, None
    pair = predict_data(description, frames, processes)
    content['errors'] = error_metrics(*pair) | {'gamma_against_error': gamma_against_error(*pair)}
    return content, error_arrays(*pair)


def melt(description: Any, content: dict[str, Any]) -> dict[str, Any]:
    """Return the melting point of the first crystal."""
    from aiida_pyacemaker.atomistics.validation.properties.melting.search import run_melting
    from aiida_pyacemaker.atomistics.validation.suite import attempt as attempt_property
    from aiida_pyacemaker.atomistics.validation.suite import crystals_of
    from aiida_pyacemaker.setup.engines import find_lammps

    def run() -> dict[str, Any]:
        engine = find_lammps()
        lmp = (str(engine.executable), {**os.environ, **engine.environment})
        with tempfile.TemporaryDirectory() as folder:
            return run_melting(description, crystals_of(content)[0], {}, lmp, folder, lambda x: click.echo(f'  {x}'))

    return attempt_property(run)


def judge_all(found: dict[str, tuple[dict[str, Any], Any]], criteria: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the verdict of each potential."""
    from aiida_pyacemaker.atomistics.validation.gate import judge

    return {title: judge(content, references_of(content), criteria) for title, (content, _) in found.items()}


def references_of(content: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what was measured of the crystals."""
    from aiida_pyacemaker.atomistics.validation.references import find_experiment

    return {'experiment': [find_experiment(crystal) for crystal in content['crystals']]}


def format_tables(contents: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of a table for each crystal, of the potentials and experiment, and of one for the errors."""
    from aiida_pyacemaker.atomistics.validation.references import compare, find_experiment, quantities

    (first, content), *others = contents.items()
    lines = []
    for index, crystal in enumerate(content['crystals']):
        columns: dict[str, Any] = {title: quantities(other['crystals'][index]) for title, other in others}
        columns |= {'experiment': measured} if (measured := find_experiment(crystal)) else {}
        rows = [
            [f'{row["label"]} ({row["unit"]})' if row['unit'] else row['label'], digits(row['value'])]
            + [digits((row['others'][title] or {}).get('value')) for title in columns]
            for row in compare(crystal, columns)
        ]
        lines += ['', f'{crystal["name"]}, {crystal["space_group"]}'.rstrip(', ')]
        lines += tabulated(rows, [first, *columns]) + explain(index, contents)
    rows = error_rows([its['errors'] for its in contents.values()])
    return lines + (['', 'Errors on the data', *tabulated(rows, list(contents))] if rows else [])


def tabulated(rows: list[list[str]], titles: list[str]) -> list[str]:
    """Return the lines of a table, its first column names."""
    from tabulate import tabulate

    align = ('left', *('right' for _ in titles))
    return tabulate(rows, ['', *titles], disable_numparse=True, colalign=align).splitlines() if rows else []


def error_rows(errors: list[dict[str, Any] | None]) -> list[list[str]]:
    """Return the root mean square errors of the potentials, in the units that people read."""
    from ase import units

    kinds = (('energy', 'meV/atom', 1e3), ('forces', 'meV/Å', 1e3), ('stress', 'GPa', 1 / units.GPa))
    rows = []
    for key, unit, factor in kinds:
        values = [((found or {}).get(key) or {}).get('rmse') for found in errors]
        if any(value is not None for value in values):
            cells = [digits(None if value is None else factor * value) for value in values]
            rows.append([f'{key} RMSE ({unit})', *cells])
    return rows


def digits(value: float | None) -> str:
    """Return a number as people read it."""
    if value is None:
        return ''
    places = 4 if abs(value) < 10 else 2
    return f'{round(value, places) + 0.0:.{places}f}'  # + 0.0 turns -0.0 into 0.0


def explain(index: int, contents: dict[str, dict[str, Any]]) -> list[str]:
    """Return why there are no numbers of a property of a crystal, by any of the potentials."""
    from aiida_pyacemaker.atomistics.validation.parameters import PROPERTIES

    lines = []
    for title, content in contents.items():
        crystal = content['crystals'][index]
        # without an equilibrium nothing else was looked at, and its message says why
        names = ('equilibrium', *PROPERTIES) if crystal['equilibrium']['status'] == 'ok' else ('equilibrium',)
        for name in names:
            section = crystal.get(name) or {}
            if section.get('message'):
                lines.append(f'  {title}: {name}: {section["message"]}')
        melting = content['melting'] or {}
        if index == 0 and melting.get('message'):
            lines.append(f'  {title}: melting: {melting["message"]}')
    return lines


def write_all(
    found: dict[str, tuple[dict[str, Any], Any]], verdicts: dict[str, Any], provenance: dict[str, Any], target: Path
) -> None:
    """Write report and numbers of each potential, in a folder of its own if there are several, and say the verdicts."""
    from aiida_pyacemaker.atomistics.validation.report import write_report

    for title, (content, arrays) in found.items():
        folder = target / title if len(found) > 1 else target
        folder.mkdir(parents=True, exist_ok=True)
        references = references_of(content)
        references |= {other: its['crystals'] for other, (its, _) in found.items() if other != title}
        numbers = {'content': content, 'verdict': verdicts[title], 'references': references}
        (folder / NUMBERS).write_text(json.dumps(numbers, indent=1) + '\n', encoding='utf-8')
        write_report(content, verdicts[title], references, arrays, provenance, folder / REPORT)
        verdict = verdicts[title]['verdict']
        click.echo('')
        click.secho(f'{title}: {verdicts[title]["summary"]}', fg=COLORS[verdict], bold=True)
        click.echo(f'  {folder / REPORT} (numbers in {NUMBERS})')
