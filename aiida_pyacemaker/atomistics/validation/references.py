"""What a potential is compared with: the numbers of a crystal by name, and what was measured of it."""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path
from typing import Any

import yaml
from ase.data import chemical_symbols

from ..checks.fingerprint import reduced_counts

#: Names of the numbers of a crystal, in their order: what people call them, and their unit.
LABELS = {
    'a': ('a', 'Å'),
    'b': ('b', 'Å'),
    'c': ('c', 'Å'),
    'alpha': ('alpha', '°'),
    'beta': ('beta', '°'),
    'gamma': ('gamma', '°'),
    'volume': ('volume', 'Å³/atom'),
    'bulk_modulus': ('bulk modulus', 'GPa'),
    'b0_prime': ("B0'", ''),
    'shear_modulus': ('shear modulus', 'GPa'),
    'youngs_modulus': ("Young's modulus", 'GPa'),
    'poisson_ratio': ("Poisson's ratio", ''),
    'debye_temperature': ('Debye temperature', 'K'),
    'max_frequency': ('highest frequency', 'THz'),
    'min_frequency': ('lowest frequency', 'THz'),
    'stacking_fault': ('intrinsic stacking fault', 'mJ/m²'),
    'stacking_fault_unstable': ('unstable stacking fault', 'mJ/m²'),
    'surface_lowest': ('surface, the lowest face', 'J/m²'),
    'melting_temperature': ('melting temperature', 'K'),
}
EXPERIMENT = Path(__file__).with_name('experiment.yaml')


def label(name: str) -> tuple[str, str]:
    """Return what people call a number, and its unit; `C11`, `vacancy Al` and `surface (111)` name themselves."""
    if name in LABELS:
        return LABELS[name]
    unit = {'C': 'GPa', 'v': 'eV', 's': 'J/m²'}.get(name[0], '')
    return (f'{name[:7]}, {name[8:]}', unit) if name.startswith('vacancy ') else (name, unit)


def quantities(crystal: dict[str, Any]) -> dict[str, float]:
    """Return the comparable numbers of a crystal by name, see :func:`label`; what is not known is left out.

    The bulk modulus is the Hill average of the elastic constants, else that of the equation of state.

    :param crystal: one of the crystals of a validation, or what DFT or another potential says of it, in the same keys.
    """
    cell, eos, elastic = (_ok(crystal, name) for name in ('equilibrium', 'eos', 'elasticity'))
    fit = eos.get('birch_murnaghan') or {}
    found: dict[str, Any] = {name: cell.get(name) for name in ('a', 'b', 'c', 'alpha', 'beta', 'gamma')}
    found['volume'] = cell.get('volume') or fit.get('v0')
    found |= elastic.get('constants') or {}
    found['bulk_modulus'] = (elastic.get('bulk') or {}).get('hill') or fit.get('b0')
    found['b0_prime'] = fit.get('b0_prime')
    found['shear_modulus'] = (elastic.get('shear') or {}).get('hill')
    found |= {'youngs_modulus': elastic.get('young'), 'poisson_ratio': elastic.get('poisson')}
    found['debye_temperature'] = elastic.get('debye_temperature')
    for name in ('min_frequency', 'max_frequency'):
        value = _ok(crystal, 'phonons').get(name)
        found[name] = None if value is None else round(value, 3)  # the lowest is the noise about zero
    for site in _ok(crystal, 'vacancy').get('sites', []):
        name = f'vacancy {site["element"]}'  # of several sites of an element that which forms most easily
        found[name] = min(site['energy'], found.get(name, math.inf))
    surfaces = _ok(crystal, 'surfaces').get('surfaces', [])
    for surface in surfaces:
        name = f'surface ({"".join(map(str, surface["miller"]))})'
        found[name] = min(surface['energy'], found.get(name, math.inf))
    found['surface_lowest'] = min((surface['energy'] for surface in surfaces), default=None)
    fault = _ok(crystal, 'stacking_fault')
    found |= {'stacking_fault': fault.get('intrinsic'), 'stacking_fault_unstable': fault.get('unstable')}
    found['melting_temperature'] = _ok(crystal, 'melting').get('temperature')
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def find_experiment(crystal: dict[str, Any]) -> dict[str, dict[str, Any]]:
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
        name: {'value': value, 'unit': label(name)[1], 'source': source} for name, (value, source) in measured.items()
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


def compare(crystal: dict[str, Any], columns: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
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
    order = {name: place for place, name in enumerate(LABELS)}
    names = sorted(dict.fromkeys(names), key=lambda name: (_place(name, order), name))
    rows = []
    for name in names:
        if not _tells(name, own):
            continue
        text, unit = label(name)
        others = {title: found.get(name) and _differ(own.get(name), found[name]) for title, found in known.items()}
        rows.append({'name': name, 'label': text, 'unit': unit, 'value': own.get(name), 'others': others})
    return rows


def _place(name: str, order: dict[str, int]) -> float:
    """Where a row stands: the constants before the bulk modulus, vacancies and surfaces after the frequencies."""
    if name in order:
        return order[name]
    return order['volume'] + 0.5 if name[0] == 'C' else order['min_frequency'] + (0.3 if name[0] == 'v' else 0.6)


def _tells(name: str, own: dict[str, float]) -> bool:
    if name in ('alpha', 'beta', 'gamma'):
        return name in own and min(abs(own[name] - right) for right in (90, 120)) > 1e-3
    return not (name in ('b', 'c') and name in own and abs(own[name] - own.get('a', 0)) < 1e-4 * own[name])


def _entry(value: Any) -> dict[str, Any]:
    return {'source': '', **value} if isinstance(value, dict) else {'value': value, 'source': ''}


def _differ(own: float | None, entry: dict[str, Any]) -> dict[str, Any]:
    known = own is not None and abs(entry['value']) > 1e-6
    return {**entry, 'difference': own / entry['value'] - 1 if known else None}


def _ok(crystal: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a property of a crystal, empty unless it was found."""
    found = crystal.get(name) or {}
    return found if found.get('status', 'ok') == 'ok' else {}
