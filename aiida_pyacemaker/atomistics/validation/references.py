"""What a potential is compared with: the numbers of a crystal by name, and what was measured of it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import yaml
from ase.data import chemical_symbols

from ..checks.fingerprint import reduced_counts
from .property import Quantity, load_properties

#: The numbers of the equilibrium; those of the properties come behind or in between.
EQUILIBRIUM = {
    'a': Quantity('a', 'Å', 0),
    'b': Quantity('b', 'Å', 10),
    'c': Quantity('c', 'Å', 20),
    'alpha': Quantity('alpha', '°', 30),
    'beta': Quantity('beta', '°', 40),
    'gamma': Quantity('gamma', '°', 50),
    'volume': Quantity('volume', 'Å³/atom', 60),
}
EXPERIMENT = Path(__file__).with_name('experiment.yaml')


class Measured(TypedDict, total=False):
    """A number that is known from elsewhere, and where from."""

    value: float
    unit: str
    source: str


class Compared(Measured):
    """The same, and how far ours is from it (relative; None if that means nothing)."""

    difference: float | None


class Row(TypedDict):
    """A row of the table that sets a crystal beside what others say of it."""

    name: str
    label: str
    unit: str
    value: float | None
    others: dict[str, Compared | None]


def find_quantity(name: str) -> Quantity:
    """Return what a number of :func:`quantities` is; one that no property knows names itself."""
    found = (kind().quantity(name) for kind in load_properties().values())
    return EQUILIBRIUM.get(name) or next((quantity for quantity in found if quantity is not None), Quantity(name))


def quantities(crystal: Mapping[str, Any]) -> dict[str, float]:
    """Return the comparable numbers of a crystal by name, see :func:`find_quantity`; what is not known is left out.

    Where two properties know a number, such as the bulk modulus of the equation of state and of the elastic constants,
    the later one counts; the equilibrium counts before all of them.

    :param crystal: one of the crystals of a validation, or what DFT or another potential says of it, in the same keys.
    """
    found: dict[str, float | None] = {}
    for name, kind in load_properties().items():
        result = _ok(crystal, name)
        numbers = kind().quantities(result) if result else {}
        found |= {key: value for key, value in numbers.items() if value is not None}
    cell = _ok(crystal, 'equilibrium')
    found |= {name: cell[name] for name in EQUILIBRIUM if cell.get(name)}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def find_experiment(crystal: Mapping[str, Any]) -> dict[str, Measured]:
    """Return what was measured of a crystal: `{name: {'value', 'unit', 'source'}}`, empty if it is not in the table.

    The bulk modulus is the Voigt average of the measured constants, which for a cubic crystal is exact; the volume is
    that of the crystal with the measured lengths.

    :param crystal: with `numbers`, `space_group` ('Fm-3m (225)') and, for the volume, `equilibrium`.
    """
    counts = sorted((chemical_symbols[number], count) for number, count in reduced_counts(crystal['numbers']))
    formula = ''.join(f'{symbol}{count if count > 1 else ""}' for symbol, count in counts)
    group = re.search(r'\((\d+)\)', str(crystal.get('space_group', '')))
    measured = read_experiment().get(f'{formula} {group[1]}', {}) if group else {}
    found = {
        name: {'value': value, 'unit': find_quantity(name).unit, 'source': source}
        for name, (value, source) in measured.items()
    }
    values = {name: entry['value'] for name, entry in found.items()}
    cell = _ok(crystal, 'equilibrium')
    if 'a' in values and {'a', 'c', 'volume'} <= cell.keys():
        stretch = values['a'] / cell['a']
        volume = cell['volume'] * stretch**2 * (values['c'] / cell['c'] if 'c' in values else stretch)
        found['volume'] = {'value': round(volume, 2), 'unit': 'Å³/atom', 'source': found['a']['source']}
    bulk = voigt_bulk(values)
    if bulk is not None:
        found['bulk_modulus'] = {'value': round(bulk, 1), 'unit': 'GPa', 'source': found['C11']['source']}
    return found


def voigt_bulk(values: dict[str, float]) -> float | None:
    """Return the Voigt average of the bulk modulus (GPa) of cubic or hexagonal constants, None without them."""
    if 'C33' in values:
        return (2 * (values['C11'] + values['C12']) + values['C33'] + 4 * values['C13']) / 9
    return (values['C11'] + 2 * values['C12']) / 3 if 'C11' in values else None


@functools.cache
def read_experiment() -> dict[str, dict[str, tuple[float, str]]]:
    """Return the table of measured values: `{'Al 225': {name: (value, source)}}`."""
    content = yaml.safe_load(EXPERIMENT.read_text(encoding='utf-8'))
    sources, table = content['sources'], {}
    for crystal, by_source in content['crystals'].items():
        found = table.setdefault(crystal, {})
        for source, values in by_source.items():
            found.update({name: (float(value), sources[source]) for name, value in values.items()})
    for column in content['columns']:
        for crystal, value in column['values'].items():
            name = column['name'].format(element=crystal.split()[0])
            table.setdefault(crystal, {})[name] = (float(value), sources[column['source']])
    return table


def compare(crystal: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return the rows of the table that sets a crystal beside what DFT, experiment or other potentials say of it.

    Right angles, lengths that equal `a`, and what was only measured are left out.

    :param crystal: one of the crystals of a validation.
    :param columns: title -> numbers by name, those of :func:`quantities` or of :func:`find_experiment`.
    :returns: `name`, `label`, `unit`, `value` (None if only another column knows it), and `others`: of each column
        None, or `value`, `difference` (relative; None without a value, or of a number near zero) and `source` (or '').
    """
    own = quantities(crystal)
    known = {title: {name: _entry(value) for name, value in found.items()} for title, found in columns.items()}
    names = [*own, *(name for found in known.values() for name, entry in found.items() if not entry['source'])]
    told = {name: find_quantity(name) for name in names}
    rows = []
    for name in sorted(told, key=lambda name: (told[name].place, name)):
        if not _tells(name, own):
            continue
        others = {title: found.get(name) and _differ(own.get(name), found[name]) for title, found in known.items()}
        row = {'name': name, 'label': told[name].label, 'unit': told[name].unit, 'value': own.get(name)}
        rows.append({**row, 'others': others})
    return rows


def _tells(name: str, own: dict[str, float]) -> bool:
    if name in ('alpha', 'beta', 'gamma'):
        return name in own and min(abs(own[name] - right) for right in (90, 120)) > 1e-3
    return not (name in ('b', 'c') and name in own and abs(own[name] - own.get('a', 0)) < 1e-4 * own[name])


def _entry(value: Any) -> Measured:
    return {'source': '', **value} if isinstance(value, dict) else {'value': value, 'source': ''}


def _differ(own: float | None, entry: Measured) -> Compared:
    known = own is not None and abs(entry['value']) > 1e-6
    return {**entry, 'difference': own / entry['value'] - 1 if known else None}


def _ok(crystal: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a property of a crystal, empty unless it was found."""
    found = crystal.get(name) or {}
    return found if found.get('status', 'ok') == 'ok' else {}
