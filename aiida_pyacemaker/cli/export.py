"""`aiida-pyacemaker export`: the project folder of a run."""

from __future__ import annotations

from pathlib import Path

import click

from .utils import attempt, load_profile, profile_option


@click.command('export')
@click.argument('pk')
@click.argument('directory', type=click.Path(path_type=Path))
@click.option('--force', is_flag=True, help='Replace a folder that an earlier export made.')
@profile_option
def cmd_export(pk: str, directory: Path, force: bool, profile: str | None) -> None:
    """Write the run PK as a project folder: run file, data, potentials, simulations, DFT, report, pictures.

    A run that is still going is exported as far as it has come. DIRECTORY appears complete or not at all.
    """
    with attempt():
        from aiida_pyacemaker.reports.export import export_run
        from aiida_pyacemaker.reports.queries import find_run, while_unlocked

        while_unlocked(load_profile)(profile)
        files = export_run(find_run(pk), directory, force)
        click.echo(f'Wrote {len(files)} files to {directory}; {directory}/README.txt says what is where.')
