"""The command line: `aiida-pyacemaker`."""

from __future__ import annotations

import warnings

import click

from aiida_pyacemaker import __version__

from .utils import LazyGroup

# said by AiiDA when it is first used; a user who sets up a machine need not be warned of that
warnings.filterwarnings('ignore', message='Creating AiiDA configuration folder')

#: In the order in which people use them.
COMMANDS = ('doctor', 'setup', 'generate', 'fit', 'validate', 'launch', 'status', 'report', 'export', 'lineage')


@click.group(
    'aiida-pyacemaker',
    cls=LazyGroup,
    lazy={name: f'{__name__}.{name}:cmd_{name}' for name in COMMANDS},
    context_settings={'help_option_names': ['-h', '--help']},
)
@click.version_option(__version__, '-v', '--version', prog_name='aiida-pyacemaker')
def cmd_root() -> None:
    """Build ACE interatomic potentials by active learning, from one YAML file, with full provenance in AiiDA."""
