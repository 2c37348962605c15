"""The run file: one YAML file that says what the user wants, completed from a protocol and checked as a whole.

:func:`load_runfile` merges, in this order, the protocol's defaults (``protocols.yaml``), the user's file and the
``key.sub=value`` overrides of the command line, and validates the result. Whatever is wrong is collected into one
:class:`RunFileError` that names each key by its full dotted location, what is wrong with it, and the remedy.

Nothing in a run file is ever executed: the YAML is loaded by a safe loader, and interpolations (``${...}``, which
OmegaConf would resolve, environment variables included) are refused.
"""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.core.validation import nearest
from aiida_pyacemaker.atomistics.generators.plan import FAMILIES

from .errors import RunFileError
from .explain import explain, nullable_sections
from .sections import RunFile

#: Nested sections as YAML gives them.
Content = dict[str, Any]

PROTOCOL_FILE = Path(__file__).with_name('protocols.yaml')


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


def _read_yaml(path: Path) -> Content:
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


def load_protocols() -> Content:
    """Return the content of the protocol file."""
    return copy.deepcopy(_protocols())


@functools.cache
def _protocols() -> Content:
    return yaml.safe_load(PROTOCOL_FILE.read_text(encoding='utf-8'))


def protocol_defaults(name: str | None = None) -> Content:
    """Return the defaults of a protocol, section by section.

    :param name: the protocol; None for the default one.
    :raises KeyError: if there is no such protocol.
    """
    content = load_protocols()
    name = name or content['default_protocol']
    changes = {key: value for key, value in content['protocols'][name].items() if key != 'description'}
    return {'protocol': name, **_merge(content['default_inputs'], changes)}


def _merge(left: Content, right: Content, prefix: str = '') -> Content:
    """Merge ``right`` over ``left``; a section that ``right`` leaves empty stays as it is, unless it may be null."""
    merged = copy.deepcopy(left)
    for key, value in right.items():
        empty = value is None and f'{prefix}{key}' not in nullable_sections()
        if isinstance(merged.get(key), dict) and (isinstance(value, dict) or empty):
            merged[key] = _merge(merged[key], value or {}, f'{prefix}{key}.')
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _apply_overrides(content: Content, overrides: list[str], source: str) -> Content:
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


def read_fit_parameters(overrides: list[str]) -> Content:
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
    content: Content,
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
        near = nearest(str(name), list(protocols))
        raise RunFileError(source, [('protocol', f'{name!r} is not a protocol ({", ".join(protocols)}){near}')])
    merged = _merge(protocol_defaults(name), {**written, 'protocol': name} if name else _without(written, 'protocol'))
    merged = _apply_overrides(merged, overrides or [], source)
    try:
        return RunFile.model_validate(merged, context={'directory': directory or Path.cwd()})
    except ValidationError as exception:
        raise RunFileError(source, [(error.key, error.explanation) for error in explain(exception)]) from None


def _open_families(content: Content) -> Content:
    """Let a family that is named, with nothing below it, stand for the family as it is by default."""
    structures = content.get('structures')
    if not isinstance(structures, dict):
        return content
    named = {key: {} for key in FAMILIES if key in structures and structures[key] is None}
    return {**content, 'structures': {**structures, **named}}


def _without(mapping: Content, key: str) -> Content:
    return {name: value for name, value in mapping.items() if name != key}
