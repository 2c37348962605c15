"""What the validator finds of EMT, EAM, Stillinger-Weber and Tersoff crystals, against what others find.

Run as `python tests/benchmarks/bench_validation.py TRUTH.json [--quick] [--only NAME ...] [--processes N]`, where the
file is made by `validation_truth.py` (ASE, LAMMPS, phonopy, matcalc; nothing of this package). Published values of the
same potentials are below. Printed are a table of all and the largest difference of each quantity.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

from tabulate import tabulate
from validation_truth import SYSTEMS, System, path

from aiida_pyacemaker.atomistics.validation.suite import Suite, run_suite

#: What is compared: name, unit, digits.
QUANTITIES = {
    'a': ('Å', 4),
    'energy': ('eV', 4),
    'bulk_modulus': ('GPa', 1),
    'C11': ('GPa', 1),
    'C12': ('GPa', 1),
    'C44': ('GPa', 1),
    'shear_modulus': ('GPa', 1),
    'X lowest': ('THz', 2),
    'X highest': ('THz', 2),
    'L lowest': ('THz', 2),
    'L highest': ('THz', 2),
    'H lowest': ('THz', 2),
    'N lowest': ('THz', 2),
    'N highest': ('THz', 2),
    'heat capacity': ('k_B at 300 K', 3),
    'entropy': ('k_B at 300 K', 3),
    'vacancy': ('eV', 3),
    '(111)': ('J/m²', 3),
    '(100)': ('J/m²', 3),
    '(110)': ('J/m²', 3),
    'intrinsic': ('mJ/m²', 1),
    'unstable': ('mJ/m²', 1),
}
#: The method that each quantity is taken from first.
ORDER = (
    'minimum',
    'lammps example 1e-03',
    'lammps example 1e-06',
    'lammps',
    'slab and vacancy',
    'phonopy',
    'ase',
    'matcalc',
)
#: Published values of these very potentials, and where.
PUBLISHED = {
    'Cu EAM Mishin': (
        'Mishin et al., Phys. Rev. B 63, 224106 (2001)',
        {
            'a': 3.615,
            'energy': -3.54,
            'C11': 169.9,
            'C12': 122.6,
            'C44': 76.2,
            'vacancy': 1.272,
            '(111)': 1.239,
            '(100)': 1.345,
            '(110)': 1.475,
            'intrinsic': 44.4,
        },
    ),
    'Ni EAM Foiles': (
        'Foiles, Baskes, Daw, Phys. Rev. B 33, 7983 (1986)',
        {'a': 3.52, 'energy': -4.45, 'C11': 233, 'C12': 154, 'C44': 128, 'vacancy': 1.63},
    ),
    'Fe EAM Mendelev': (
        'Mendelev et al., Philos. Mag. 83, 3977 (2003)',
        {'a': 2.8553, 'C11': 243.4, 'C12': 145.0, 'C44': 116.0, 'vacancy': 1.71},
    ),
    'Si Stillinger-Weber': ('Cowley, Phys. Rev. Lett. 60, 2379 (1988)', {'C11': 151.4, 'C12': 76.4, 'C44': 56.4}),
    'Si Tersoff': ('Tersoff, Phys. Rev. B 37, 6991 (1988)', {'C11': 121, 'C12': 86, 'C44': 10}),
}
#: Columns of the short tables: of the crystals, and of their defects.
SHORT = (
    ('a', 'bulk_modulus', 'C11', 'C12', 'C44', 'X lowest', 'X highest', 'N lowest', 'N highest'),
    ('vacancy', '(111)', '(100)', '(110)', 'intrinsic', 'unstable'),
)
QUICK = ('Cu EMT', 'Cu EAM Mishin', 'Si Stillinger-Weber')
PROPERTIES = ('eos', 'elasticity', 'phonons', 'vacancy', 'surfaces', 'stacking_fault')


def description(system: System) -> dict[str, Any]:
    """Return what our command line would be given."""
    if not system.style:
        return {'calculator': 'emt'}
    parameters = {
        'elements': [system.element],
        'pair_style': system.style,
        'pair_coeff': [system.coefficients.replace('FILE', system.file)],
    }
    return {'calculator': 'lammps', 'model': str(path(system.file)), 'parameters': parameters}


def ours(system: System, processes: int) -> dict[str, float]:
    """Return what the validator finds, by the names of `QUANTITIES`."""
    start = perf_counter()
    suite = Suite(properties=list(PROPERTIES))
    content = run_suite(description(system), [system.crystal], suite, processes, report=lambda _: None)
    (crystal,) = content['crystals']
    for name in ('equilibrium', *PROPERTIES):
        if crystal[name]['status'] == 'failed' or crystal[name]['message']:
            print(f'{system.name}: {name}: {crystal[name]["status"]}: {crystal[name]["message"]}')
    print(f'{system.name}: {perf_counter() - start:.0f} s', flush=True)
    return flatten(crystal)


def flatten(crystal: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a crystal."""
    found = {name: crystal['equilibrium'][name] for name in ('a', 'energy')}
    if crystal['eos']['status'] == 'ok':
        found['bulk_modulus'] = crystal['eos']['birch_murnaghan']['b0']
    if crystal['elasticity']['status'] == 'ok':
        found |= crystal['elasticity']['constants'] | {'shear_modulus': crystal['elasticity']['shear']['hill']}
    if crystal['phonons']['status'] == 'ok':
        found |= special_points(crystal['phonons']) | thermal(crystal['phonons']['thermal'])
    if crystal['vacancy']['status'] == 'ok':
        found['vacancy'] = crystal['vacancy']['sites'][0]['energy']
    if crystal['surfaces']['status'] == 'ok':
        for surface in crystal['surfaces']['surfaces']:
            name = f'({"".join(map(str, surface["miller"]))})'
            found[name] = min(surface['energy'], found.get(name, surface['energy']))
    if crystal['stacking_fault']['status'] == 'ok':
        found |= {name: crystal['stacking_fault'][name] for name in ('intrinsic', 'unstable')}
    return {name: value for name, value in found.items() if value is not None}


def special_points(phonons: dict[str, Any]) -> dict[str, float]:
    """Return the lowest and the highest frequency (THz) at the ends of the paths."""
    found = {}
    for part in phonons['paths']:
        for label, frequencies in zip(part['labels'], (part['frequencies'][0], part['frequencies'][-1]), strict=True):
            found |= {f'{label} lowest': min(frequencies), f'{label} highest': max(frequencies)}
    return found


def thermal(values: dict[str, list[float]]) -> dict[str, float]:
    """Return heat capacity and entropy of an atom at 300 K in k_B."""
    index = values['temperatures'].index(300)
    return {name.replace('_', ' '): values[name][index] for name in ('heat_capacity', 'entropy')}


def compare(system: System, found: dict[str, float], truth: dict[str, dict[str, float]]) -> list[list[Any]]:
    """Return the rows of a system: quantity, ours, the others', by which method, difference in percent, published."""
    published = PUBLISHED.get(system.name, ('', {}))[1]
    rows = []
    for name, (unit, digits) in QUANTITIES.items():
        value = best(name, truth)
        if name not in found or value is None:
            continue
        others = {method: truth[method][name] for method in ORDER if name in truth.get(method, {})}
        spread = [f'{method} {other:.{digits}f}' for method, other in others.items()]
        difference = 100 * (found[name] / value - 1)
        known = published.get(name, '')
        rows.append(
            [system.name, f'{name} ({unit})', f'{found[name]:.{digits}f}', '; '.join(spread), difference, known]
        )
    return rows


def best(name: str, truth: dict[str, dict[str, float]]) -> float | None:
    """Return a quantity by the first of the methods that has it."""
    return next((truth[method][name] for method in ORDER if name in truth.get(method, {})), None)


def short_table(names: tuple[str, ...], kept: dict[str, dict[str, float]], truth: dict[str, Any]) -> list[list[str]]:
    """Return a row for each potential: ours / the others' / what was published."""
    rows = []
    for system, found in kept.items():
        published = PUBLISHED.get(system, ('', {}))[1]
        row = [system]
        for name in names:
            values = (found.get(name), best(name, truth[system]), published.get(name))
            known = [f'{value:.{QUANTITIES[name][1]}f}' for value in values if value is not None]
            row.append(' / '.join(known) if len(known) > 1 else '')
        rows.append(row)
    return rows


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('truth', type=Path)
    parser.add_argument('--quick', action='store_true', help=f'only {", ".join(QUICK)}')
    parser.add_argument('--only', nargs='*', default=None)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--out', type=Path, default=None, help='what the validator finds, as JSON; kept')
    options = parser.parse_args()
    truth = json.loads(options.truth.read_text())
    only = options.only or (QUICK if options.quick else [system.name for system in SYSTEMS])
    rows, kept = [], json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    for system in SYSTEMS:
        if system.name in only:
            if system.name not in kept:
                kept[system.name] = ours(system, options.processes)
            rows += compare(system, kept[system.name], truth[system.name])
            if options.out:
                options.out.write_text(json.dumps(kept, indent=1))
    headers = ('potential', 'quantity', 'here', 'others', 'difference (%)', 'published')
    print(tabulate(rows, headers, tablefmt='github', floatfmt='.2f', disable_numparse=[2, 3, 5]))
    for names in SHORT:
        headers = [f'{name} ({QUANTITIES[name][0]})' for name in names]
        print(tabulate(short_table(names, kept, truth), ('', *headers), tablefmt='github', disable_numparse=True))
    worst = {}
    for row in rows:
        worst[row[1]] = max(worst.get(row[1], ('', 0.0)), (row[0], row[4]), key=lambda pair: abs(pair[1]))
    print(tabulate([[name, *pair] for name, pair in worst.items()], ('quantity', 'largest (%)', ''), floatfmt='.2f'))


if __name__ == '__main__':
    main()
