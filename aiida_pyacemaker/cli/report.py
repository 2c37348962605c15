"""`aiida-pyacemaker report`: text and pictures about a run."""

from __future__ import annotations

from pathlib import Path

import click

from .utils import attempt, load_profile, profile_option


@click.command('report')
@click.argument('pk', required=False)
@click.option(
    '-o',
    '--output',
    'directory',
    type=click.Path(path_type=Path, file_okay=False),
    help='Folder for the files; it is made if need be. By default `report_PK` here.',
)
@profile_option
def cmd_report(pk: str | None, directory: Path | None, profile: str | None) -> None:
    """Write what a run did as text and pictures: by default the newest one, also while it is still going.

    report.md tells the story, with tables of simulations, errors and cost. dynamics.png shows gamma, temperature and
    halts of each walker over the simulated time, joined over its resumptions; learning.png errors and the cost of the
    labels over the iterations; parity.png and uncertainty.png the newest potential on held-out labels.
    validation_report.html is the verdict of the gate and all that it stands on. Files of an earlier report are
    replaced.
    """
    with attempt():
        from aiida_pyacemaker.reports.queries import find_run, while_unlocked
        from aiida_pyacemaker.reports.report import write_report

        while_unlocked(load_profile)(profile)
        run = find_run(pk)
        folder = directory or Path(f'report_{run.pk}')
        folder.mkdir(parents=True, exist_ok=True)
        for name in write_report(run, folder):
            click.echo(folder / name)
