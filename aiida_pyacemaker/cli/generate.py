"""`aiida-pyacemaker generate`: the initial structures of a run file, without AiiDA."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_pyacemaker.atomistics.core.errors import InputError

from .utils import attempt, load_profile

if TYPE_CHECKING:
    from ase import Atoms

    from aiida_pyacemaker.atomistics.generators.generate import Generation
    from aiida_pyacemaker.runfile import RunFile

SUFFIXES = ('.extxyz', '.xyz', '.npz')


@click.command('generate')
@click.argument('runfile', type=click.Path(path_type=Path))
@click.argument('overrides', nargs=-1, metavar='[KEY=VALUE]...')
@click.option(
    '-o',
    '--output',
    type=click.Path(path_type=Path),
    help='File for the structures: .extxyz or .npz. By default the name of the run file, with .extxyz.',
)
@click.option('--seed', type=click.IntRange(0, 2**31 - 1), help='Seed, instead of that of the run file.')
@click.option('--plot', is_flag=True, help='Write a page with an overview beside the structures, for the browser.')
@click.option('--overwrite', is_flag=True, help='Replace files that are there already.')
def cmd_generate(
    runfile: Path, overrides: tuple[str, ...], output: Path | None, seed: int | None, plot: bool, overwrite: bool
) -> None:
    """Make the initial structures of RUNFILE and write them to a file, without submitting anything.

    Values of the run file are overridden by KEY=VALUE, for example structures.number=200.
    """
    with attempt():
        from aiida_pyacemaker.runfile import load_runfile

        chosen = [*overrides, *([f'seed={seed}'] if seed is not None else [])]
        content = load_runfile(runfile, chosen)
        output = output or Path(f'{runfile.stem}.extxyz')
        page = output.with_suffix('.html') if plot else None
        check_targets([output, *([page] if page else [])], overwrite)
        generation = run(content)
        write(generation.frames, output)
        for line in summary(generation):
            click.echo(line)
        click.echo(f'\n{len(generation.frames)} structures are in {output}')
        if page is not None:
            from aiida_pyacemaker.atomistics.generators.overview import write_overview

            write_overview(generation, page, title=f'{runfile.stem}: {", ".join(content.system.elements)}')
            click.echo(f'Look at them:  {page}')


def check_targets(paths: list[Path], overwrite: bool) -> None:
    """:raises InputError: if a file cannot be written, before any time is spent."""
    if paths[0].suffix not in SUFFIXES:
        raise InputError('--output', f'{paths[0]}: the suffix says the format', f'known are {", ".join(SUFFIXES)}')
    for path in paths:
        if not path.absolute().parent.is_dir():
            raise InputError('--output', f'{path}: there is no folder {path.absolute().parent}', 'make it first')
        if path.exists() and not overwrite:
            raise InputError('--output', f'{path} is there already', 'give another name with -o, or --overwrite')


def run(runfile: RunFile) -> Generation:
    """Generate, with a progress bar on stderr."""
    from aiida_pyacemaker.atomistics.generators.generate import generate

    own = runfile.read_structures()
    moments = runfile.structures.moments
    if runfile.structures.nodes or moments:
        from aiida_pyacemaker.data.structures import check_moments, find_structure_nodes, get_frames

        load_profile()
        nodes = find_structure_nodes(runfile.structures.nodes)
        check_moments(nodes, moments)
        own += get_frames({f'node_{node.pk}': node for node in nodes}, moments)
    with click.progressbar(length=1, label='structures', file=sys.stderr, show_pos=True) as bar:

        def progress(done: int, wanted: int) -> None:
            bar.length = max(wanted, 1)
            bar.update(done - bar.pos)

        return generate(
            runfile.system.elements,
            runfile.structures,
            runfile.seed,
            own=own,
            cutoff=runfile.train.cutoff,
            progress=progress,
        )


def write(frames: list[Atoms], path: Path) -> None:
    """Write the structures; the file is there whole or not at all."""
    from ase.io import write as ase_write

    from aiida_pyacemaker.atomistics.core.configurations import save_configurations
    from aiida_pyacemaker.atomistics.core.files import write_atomically

    with write_atomically(path) as part:
        if path.suffix == '.npz':
            save_configurations(part, frames)
        else:
            ase_write(part, frames, format='extxyz')


def summary(generation: Generation) -> list[str]:
    """Return the lines of a table of families, operations and rejections, and the spread."""
    from tabulate import tabulate

    from aiida_pyacemaker.atomistics.generators.spread import spread

    rows = [
        [row['family'], row['parents'], row['structures'], counts(row['operations']), counts(row['rejected'])]
        for row in generation.table()
    ]
    headers = ['family', 'ideal', 'structures', 'of these', 'refused and replaced']
    lines = tabulate(rows, headers, maxcolwidths=[None, None, None, 40, 40]).splitlines()
    found = spread(generation.frames)
    volumes = found['volume_per_atom']
    between = f'{volumes[0]:.2f} to {volumes[1]:.2f} Å³ per atom (without vacuum); ' if volumes else ''
    lines += [
        '',
        f'spread: {between}{len(found["space_groups"])} space groups; '
        f'{found["coordination_shells"]} coordination shells up to 6 Å; {found["formulas"]} compositions; '
        f'{found["atoms"][0]} to {found["atoms"][1]} atoms',
    ]
    return [*lines, *(f'note: {note}' for note in generation.notes)]


def counts(numbers: dict[str, Any]) -> str:
    """Return text such as `eos 7, rattle 10`."""
    return ', '.join(f'{name} {number}' for name, number in numbers.items() if name) or '–'
