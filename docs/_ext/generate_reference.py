"""Write the pages that come from the code: run file, exit codes, nodes, command line, Python interface, layers.

They are written again by every build, so that they cannot say something else than the code does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def setup(app) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect('builder-inited', lambda app: write_all(Path(app.srcdir) / 'reference' / 'generated'))
    return {'parallel_read_safe': True, 'parallel_write_safe': True}


def write_all(folder: Path) -> None:
    """Write all generated pages into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {
        'run_file': run_file,
        'exit_codes': exit_codes,
        'exit_code_numbers': exit_code_numbers,
        'ports': ports,
        'cli': command_line,
        'frames': frames,
        'ladder': ladder,
        'api': interface,
    }
    for name, lines in pages.items():
        (folder / f'{name}.md').write_text('\n'.join(lines()) + '\n', encoding='utf-8')
    (folder / 'layers.svg').write_text('\n'.join(draw_layers()) + '\n', encoding='utf-8')


def cell(value: Any) -> str:
    """Return text for a cell of a table."""
    return ' '.join(str(value).split()).replace('|', '\\|')


def code(value: Any) -> str:
    """Return a value as YAML writes it, set as code."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).removesuffix('...\n').strip()
    return f'`{cell(text)}`'


# Run file -------------------------------------------------------------------------------------------------------------


def run_file() -> Iterator[str]:
    """Yield the reference of the run file, one table per section, one column of defaults per protocol."""
    from aiida_pyacemaker import runfile

    protocols = runfile.load_protocols()['protocols']
    defaults = {name: runfile.protocol_defaults(name) for name in protocols}
    for name, protocol in protocols.items():
        yield f'- `{name}`: {cell(protocol["description"])}'
    yield ''
    fields = dict(runfile.iterate_fields())
    sections = {'': None, **dict(runfile.iterate_sections())}
    for section, model in sections.items():
        keys = [key for key in fields if key.rpartition('.')[0] == section]
        if not keys:
            continue
        if section:
            yield f'## `{section}`\n\n{model.__doc__.strip()}\n'
        else:
            yield '## At the top\n'
        yield f'| key | meaning | {" | ".join(f"`{name}`" for name in protocols)} |'
        yield f'|---|---|{"---|" * len(protocols)}'
        for key in keys:
            values = [default(defaults[name], key, fields[key]) for name in protocols]
            yield f'| `{key}` | {cell(describe(fields[key]))} | {" | ".join(values)} |'
        yield ''


def describe(field: Any) -> str:
    """Return meaning, unit, choices and limits of a key."""
    from aiida_pyacemaker.atomistics.core.validation import choices

    parts = [field.description]
    unit = (field.json_schema_extra or {}).get('unit')
    if unit:
        parts.append(f'In {unit}.')
    known = choices(field.annotation)
    if known:
        parts.append(f'One of {", ".join(f"`{choice}`" for choice in known)}.')
    return ' '.join(parts)


def default(defaults: dict[str, Any], key: str, field: Any) -> str:
    """Return the default of a key in a protocol, or the key's own; `–` for what is left to AiiDA."""
    value: Any = defaults
    for part in key.split('.'):
        if not isinstance(value, dict) or part not in value:
            if field.is_required():
                return '**required**'
            return '–' if key.startswith('options.') else code(field.get_default(call_default_factory=True))
        value = value[part]
    return code(value)


# Processes ------------------------------------------------------------------------------------------------------------


def process_classes() -> Iterator[tuple[str, Any]]:
    """Yield the entry points and classes of all processes."""
    from importlib.metadata import distribution

    ours = distribution('aiida-pyacemaker').entry_points
    for group in ('aiida.workflows', 'aiida.calculations'):
        for entry_point in ours.select(group=group):
            yield entry_point.name, entry_point.load()


def exit_codes() -> Iterator[str]:
    """Yield the exit codes of each process, those of AiiDA itself and those no longer used left out."""
    for entry_point, cls in process_classes():
        yield f'## {cls.__name__} (`{entry_point}`)\n'
        own = [(exit_code.status, label, exit_code.message) for label, exit_code in cls.spec().exit_codes.items()]
        yield '| status | label | message |'
        yield '|---|---|---|'
        for status, label, message in sorted(own):
            if status >= 200 and 'deprecated' not in message:
                yield f'| {status} | `{label}` | {cell(message)} |'
        yield ''


def exit_code_numbers() -> Iterator[str]:
    """Yield a table of the numbers that are taken, and by which processes."""
    taken: dict[tuple[int, str], list[str]] = {}
    for entry_point, cls in process_classes():
        for label, exit_code in cls.spec().exit_codes.items():
            if exit_code.status >= 200 and 'deprecated' not in exit_code.message:
                taken.setdefault((exit_code.status, label), []).append(f'`{entry_point.removeprefix("pyacemaker.")}`')
    yield '| status | label | processes |'
    yield '|---|---|---|'
    for (status, label), processes in sorted(taken.items()):
        yield f'| {status} | `{label}` | {", ".join(processes)} |'


def ladder() -> Iterator[str]:
    """Yield the rungs of the ladder that heals an SCF, in their order."""
    from aiida_pyacemaker.workflows.healing.ladder import LADDER

    yield '| rung | what changes | starts from | why here |'
    yield '|---|---|---|---|'
    for rung in LADDER:
        yield f'| `{rung.name}` | {cell(rung.changes)} | {cell(rung.start)} | {cell(rung.why)} |'


def ports() -> Iterator[str]:
    """Yield inputs and outputs of each process."""
    for entry_point, cls in process_classes():
        yield f'### {cls.__name__} (`{entry_point}`)\n\n{cell((cls.__doc__ or "").strip().split(chr(10) * 2)[0])}\n'
        for kind, namespace in (('Inputs', cls.spec().inputs), ('Outputs', cls.spec().outputs)):
            rows = list(port_rows(namespace))
            if not rows:
                continue
            yield f'| {kind.lower()} | type | |'
            yield '|---|---|---|'
            yield from rows
            yield ''


def port_rows(namespace: Any, prefix: str = '') -> Iterator[str]:
    """Yield the rows of the table of ports; metadata and what another plugin documents is left out."""
    from aiida.engine.processes.ports import PortNamespace

    for name, port in namespace.items():
        if name in ('metadata', 'monitors', 'settings', 'parent_folder', 'remote_folder', 'retrieved', 'remote_stash'):
            continue
        if isinstance(port, PortNamespace) and len(port):
            yield from port_rows(port, f'{prefix}{name}.')
            continue
        types = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
        kinds = ', '.join(f'`{kind.__name__}`' for kind in types if kind is not None and kind is not type(None))
        optional = '' if port.required else ' *Optional.*'
        name = f'{prefix}{name}' + ('.…' if isinstance(port, PortNamespace) else '')
        yield f'| `{name}` | {kinds or "–"} | {cell(port.help or "")}{optional} |'


# Frames ---------------------------------------------------------------------------------------------------------------


def frames() -> Iterator[str]:
    """Yield the keys of `info` and the arrays of a frame."""
    from aiida_pyacemaker.atomistics.core.frame import ARRAYS, describe_keys

    yield '## Keys of `info`\n'
    yield '| key | type | meaning | unit | written by |'
    yield '|---|---|---|---|---|'
    for name, kind, key in describe_keys():
        yield f'| `{name}` | `{cell(kind)}` | {cell(key.meaning)} | {key.unit} | {key.writer} |'
    yield '\n## Arrays\n'
    yield '| array | meaning | unit | written by |'
    yield '|---|---|---|---|'
    for name, key in ARRAYS.items():
        yield f'| `{name}` | {cell(key.meaning)} | {key.unit} | {key.writer} |'
    yield ''


# Command line ---------------------------------------------------------------------------------------------------------


def command_line() -> Iterator[str]:
    """Yield the help of each command."""
    import click

    from aiida_pyacemaker.cli import COMMANDS, cmd_root

    root = click.Context(cmd_root, info_name='aiida-pyacemaker')
    for name in COMMANDS:
        command = cmd_root.get_command(root, name)
        context = click.Context(command, info_name=name, parent=root, max_content_width=100, terminal_width=100)
        yield f'## `aiida-pyacemaker {name}`\n'
        yield f'```text\n{command.get_help(context)}\n```\n'


# Python interface -----------------------------------------------------------------------------------------------------


def interface() -> Iterator[str]:
    """Yield what the package exports, each documented by its docstring."""
    import inspect

    import aiida_pyacemaker

    for name in sorted(aiida_pyacemaker.__all__, key=str.lower):
        exported = getattr(aiida_pyacemaker, name)
        yield f'## `{name}`\n'
        yield '```{eval-rst}'
        if inspect.isclass(exported):
            yield f'.. autoclass:: {exported.__module__}.{exported.__qualname__}'
            # the keys of a section are in the reference of the run file
            if not hasattr(exported, 'model_fields'):
                yield '   :members:'
        else:
            yield f'.. autofunction:: {exported.__module__}.{exported.__qualname__}'
        yield '```\n'


# Layers ---------------------------------------------------------------------------------------------------------------

ROW, WIDTH, GAP = 26, 300, 60


def draw_layers() -> Iterator[str]:
    """Yield a picture (SVG) of the layers that the contracts in pyproject.toml ask for."""
    import tomllib

    pyproject = tomllib.loads((Path(__file__).parents[2] / 'pyproject.toml').read_text(encoding='utf-8'))
    contracts = [each for each in pyproject['tool']['importlinter']['contracts'] if each['type'] == 'layers']
    floors = next(each['layers'] for each in contracts if 'containers' not in each)
    science = next(each['layers'] for each in contracts if 'containers' in each)
    stacks = (
        ('aiida_pyacemaker', [row.replace('aiida_pyacemaker.', '') for row in floors]),
        ('aiida_pyacemaker.atomistics', science),
    )
    height = (max(len(rows) for _, rows in stacks) + 2) * ROW
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH + GAP} {height}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">'
    )
    yield f'<rect width="{2 * WIDTH + GAP}" height="{height}" fill="white"/>'
    for column, (title, rows) in enumerate(stacks):
        left, top = column * (WIDTH + GAP), height - (len(rows) + 0.5) * ROW
        yield f'<text x="{left + WIDTH / 2}" y="{top - 10}" font-weight="bold">{title}</text>'
        for row, text in enumerate(rows):
            own = column == 1 or text in ('worker', 'atomistics')
            yield (
                f'<rect x="{left + 1}" y="{top + row * ROW}" width="{WIDTH - 2}" height="{ROW - 3}" rx="4" '
                f'fill="{"#dcecf7" if own else "#f6e7d2"}" stroke="#888"/>'
            )
            yield f'<text x="{left + WIDTH / 2}" y="{top + row * ROW + 16}">{text.replace("|", " · ")}</text>'
    bottom, middle = height - ROW, height - (len(science) + 0.5) * ROW
    yield (
        f'<path d="M {WIDTH} {bottom} L {WIDTH + GAP} {middle} M {WIDTH} {bottom} L {WIDTH + GAP} {height - ROW / 2}" '
        'stroke="#888" stroke-dasharray="4 3" fill="none"/>'
    )
    yield '</svg>'
