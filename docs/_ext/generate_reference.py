"""Write the pages of the reference that come from the code: run file, exit codes, nodes, command line.

They are made anew by every build, so that they cannot say something else than the code does.
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
    pages = {'run_file': run_file, 'exit_codes': exit_codes, 'ports': ports, 'cli': command_line, 'ladder': ladder}
    for name, lines in pages.items():
        (folder / f'{name}.md').write_text('\n'.join(lines()) + '\n', encoding='utf-8')


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
