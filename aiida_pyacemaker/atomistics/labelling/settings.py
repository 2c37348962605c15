"""Settings of labels: which labels may stand in one data set, and what tells the others apart.

The info ``settings`` of a labelled frame says what its label depends on: the oracle, its version, the functional,
cutoffs, smearing, the distance of k-points, the pseudopotential of each element. A frame without it (the user's own
data) has unknown settings, which are no others' settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from ..core.frame import labels

Settings = dict[str, Any]

#: What a setting is called in a message, and its unit.
NAMES = {
    'xc': ('functional', ''),
    'ecutwfc': ('ecutwfc', ' Ry'),
    'ecutrho': ('ecutrho', ' Ry'),
    'degauss': ('degauss', ' Ry'),
    'kpoints_distance': ('distance of k-points', ' 1/Å'),
    'encut': ('ENCUT', ' eV'),
}
#: Settings that are dictionaries by element: what one of their values is called.
BY_ELEMENT = {'pseudos': 'pseudopotential'}
#: Oracles by the names of their programs.
PROGRAMS = {'qe': 'Quantum ESPRESSO', 'vasp': 'VASP'}
#: Settings of the labels onto whose scale an energy was moved, see :func:`~.tiers.align`.
ALIGNED = 'aligned_to'
#: Which oracle it was; where these differ, nothing else has to be compared.
ORACLE_KEYS = ('oracle', 'calculator', 'model')
#: Configurations that a message names.
MAX_NAMED = 5


@dataclass
class Group:
    """Labels of the same settings. ``settings``: of all elements that occur, ``None`` where they are not known;
    ``indices``: of the frames."""

    settings: Settings | None
    indices: list[int]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.settings)


def fingerprint(settings: Settings | None) -> str:
    """Return a short name of settings: equal settings have equal ones.

    :param settings: the settings of a label, or ``None`` where they are not known.
    :returns: 12 hexadecimal digits, or ``'unknown'``.
    """
    return hashlib.sha256(_text(settings).encode()).hexdigest()[:12] if settings else 'unknown'


def differences(one: Settings | None, other: Settings | None) -> list[str]:
    """Return what tells two settings apart, in words; nothing where their labels may be mixed.

    Pseudopotentials are compared for the elements that both have.
    """
    one, other = one or None, other or None
    if one is None or other is None or any(one.get(key) != other.get(key) for key in ORACLE_KEYS):
        same = one == other
        return [] if same else [f'labelled by {oracle_name(one)} against {oracle_name(other)}']
    found = []
    for key in dict.fromkeys([*one, *other]):
        first, second = one.get(key), other.get(key)
        if key in BY_ELEMENT:
            common = sorted(set(first or {}) & set(second or {}))
            found += [
                f'{BY_ELEMENT[key]} of {element} differs' for element in common if first[element] != second[element]
            ]
        elif key == ALIGNED:
            found += [f'energies aligned to other ones: {told}' for told in differences(first, second)]
        elif first != second:
            found.append(_difference(one, key, first, second))
    return found


def oracle_name(settings: Settings | None) -> str:
    """Return the oracle that labelled: ``'qe'``, ``'teacher sevennet 7net-0'``, ``'unknown settings'``."""
    if not settings:
        return 'unknown settings'
    # a model may be the hash of its file
    return ' '.join(str(settings[key])[:20] for key in ORACLE_KEYS if settings.get(key)) or 'an oracle without a name'


def get_settings(atoms: Atoms) -> Settings | None:
    """Return the settings of a label, ``None`` where they are not known."""
    return atoms.info.get('settings') or None


def get_scale(atoms: Atoms) -> Settings | None:
    """Return the settings of the labels that an energy is comparable with: its own, or those it was aligned to."""
    settings = get_settings(atoms)
    return settings.get(ALIGNED, settings) if settings else None


def group_by_settings(frames: Iterable[Atoms], get: Callable[[Atoms], Settings | None] = get_settings) -> list[Group]:
    """Return the groups of frames whose settings do not differ, in the order of their first frame.

    :param frames: labelled frames.
    :param get: which settings: :func:`get_settings` or :func:`get_scale`.
    """
    distinct: dict[str, Group] = {}
    for index, atoms in enumerate(frames):
        settings = get(atoms)
        distinct.setdefault(_text(settings), Group(settings, [])).indices.append(index)
    groups: list[Group] = []
    for entry in distinct.values():
        group = next((group for group in groups if not differences(group.settings, entry.settings)), None)
        if group is None:
            groups.append(entry)
            continue
        group.settings = _joined(group.settings, entry.settings)
        group.indices = sorted(group.indices + entry.indices)
    return groups


def check_consistent(frames: list[Atoms]) -> None:
    """Refuse to mix labels of different settings; frames without labels do not count.

    :raises ValueError: naming the difference, the configurations and the remedy.
    """
    labelled = [index for index, atoms in enumerate(frames) if labels(atoms)]
    groups = group_by_settings(frames[index] for index in labelled)
    if len(groups) < 2:
        return
    first, second = groups[:2]
    parts = [_configurations([labelled[index] for index in group.indices]) for group in (first, second)]
    more = f' (and {len(groups) - 2} more kinds of settings)' if len(groups) > 2 else ''
    raise ValueError(
        f'labels of different settings: {"; ".join(differences(first.settings, second.settings))}; {parts[0]} against '
        f'{parts[1]}{more}. Their energies are not comparable: label all with the same settings, or ask for the '
        'mixture with `label.mix_settings: true`'
    )


def _difference(settings: Settings, key: str, first: Any, second: Any) -> str:
    if key == 'version':
        program = PROGRAMS.get(settings.get('oracle'), oracle_name(settings))
        return f'{program} {first} against {second}'
    name, unit = NAMES.get(key, (key, ''))
    first, second = ('none' if value is None else f'{_shown(value)}{unit}' for value in (first, second))
    return f'{name} {first} against {second}'


def _shown(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)


def _joined(one: Settings | None, other: Settings | None) -> Settings | None:
    """Settings that do not differ, with the elements of both."""
    if one is None or other is None:
        return None
    joined = {**one, **{key: {**other[key], **one.get(key, {})} for key in BY_ELEMENT if other.get(key)}}
    if ALIGNED in one:
        joined[ALIGNED] = _joined(one[ALIGNED], other.get(ALIGNED))
    return joined


def _configurations(indices: list[int]) -> str:
    """How many configurations, and the first of them."""
    named = ', '.join(map(str, indices[:MAX_NAMED])) + (', ...' if len(indices) > MAX_NAMED else '')
    return f'{len(indices)} configuration{"s" if len(indices) > 1 else ""} ({named})'


def _text(settings: Any) -> str:
    """The same text for equal settings: sorted, and 60 written as 60.0."""
    return json.dumps(_plain(settings), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
