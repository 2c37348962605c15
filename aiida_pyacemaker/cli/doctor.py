"""`aiida-pyacemaker doctor`: what works, and what helps where something does not."""

from __future__ import annotations

import json
import sys

import click

from .utils import DEFAULT_PROFILE, attempt


@click.command('doctor')
@click.option(
    '-p', '--profile', metavar='NAME', default=DEFAULT_PROFILE, show_default=True, help='AiiDA profile to check.'
)
@click.option('--json', 'as_json', is_flag=True, help='Print a JSON list instead of lines.')
def cmd_doctor(profile: str, as_json: bool) -> None:
    """Check Python, the engines, the AiiDA profile, its daemon, codes and pseudopotentials.

    Every engine is run. The exit status is 1 if anything that the main job needs is missing.
    """
    with attempt('doctor'):
        from aiida_pyacemaker.setup.checks import run_checks

        checks = []
        for check in run_checks(profile):
            checks.append(check)
            if not as_json:
                mark, colour = ('ok', 'green') if check.ok else ('problem', 'red') if check.needed else ('--', 'yellow')
                click.echo(f'{click.style(f"{mark:>7}", fg=colour)}  {check.name:<28} {check.detail}')
                if not check.ok and check.remedy:
                    click.echo(f'{"":>7}  {"":<28} {click.style(check.remedy, bold=True)}')
        problems = [check for check in checks if check.needed and not check.ok]
        if as_json:
            click.echo(json.dumps([check.to_dict() for check in checks], indent=2))
        elif problems:
            count = f'{len(problems)} problem' + ('s' if len(problems) > 1 else '')
            click.echo(f'{count}: {", ".join(check.name for check in problems)}')
        else:
            click.echo('Everything that a run needs works.')
    sys.exit(1 if problems else 0)
