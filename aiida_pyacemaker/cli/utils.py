"""What the commands share."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

DEFAULT_PROFILE = 'pyacemaker'


@contextmanager
def attempt(what: str | None = None) -> Iterator[None]:
    """Turn an exception into one readable line on stderr and exit status 1.

    With AIIDA_PYACEMAKER_TRACEBACK in the environment the traceback is printed as well, for developers.

    :param what: what was attempted; it is put before the message.
    """
    try:
        yield
    except (click.ClickException, click.Abort):
        raise
    except Exception as exception:
        if os.environ.get('AIIDA_PYACEMAKER_TRACEBACK'):
            import traceback

            traceback.print_exc()
        message = str(exception).strip() or type(exception).__name__
        if isinstance(exception, KeyError):  # str() of a KeyError is only the key
            message = f'KeyError: {message}'
        echo_error(f'{what}: {message}' if what else message)
        sys.exit(1)


def echo_error(message: str) -> None:
    """Print an error message to stderr."""
    click.secho('Error: ', fg='red', bold=True, nl=False, err=True)
    click.echo(message, err=True)


def load_profile(name: str | None = None) -> str:
    """Load the named profile; without a name the profile `pyacemaker` if there is one, else the user's default.

    :return: the name of the loaded profile. A profile that is loaded already stays, if no name is given.
    :raises ValueError: if there is no such profile.
    """
    from aiida.common.exceptions import MissingConfigurationError, ProfileConfigurationError
    from aiida.manage.configuration import get_config, get_profile
    from aiida.manage.configuration import load_profile as aiida_load_profile

    loaded = get_profile()
    if name is None and loaded is not None:
        return loaded.name
    remedy = 'run `aiida-pyacemaker setup all` to create one'
    try:
        config = get_config()
    except MissingConfigurationError:
        raise ValueError(f'there is no AiiDA profile yet: {remedy}') from None
    if name is None:
        name = DEFAULT_PROFILE if DEFAULT_PROFILE in config.profile_names else config.default_profile_name
    if name is None:
        raise ValueError(f'there is no AiiDA profile yet: {remedy}')
    if name not in config.profile_names:
        known = ', '.join(config.profile_names) or 'none'
        raise ValueError(f'there is no AiiDA profile `{name}` (there are: {known}): {remedy}')
    try:
        return aiida_load_profile(name, allow_switch=True).name
    except ProfileConfigurationError as exception:
        raise ValueError(f'the AiiDA profile `{name}` cannot be loaded: {exception}') from exception


def profile_option(function):
    """Add the option `--profile`/`-p`."""
    return click.option(
        '-p',
        '--profile',
        'profile',
        metavar='NAME',
        help=f'AiiDA profile to use. By default `{DEFAULT_PROFILE}` if it exists, else your default profile.',
    )(function)


class LazyGroup(click.Group):
    """A group that imports a sub command only when it is called: `--help` and completion stay fast."""

    def __init__(self, *args, lazy: dict[str, str] | None = None, **kwargs) -> None:
        """Construct the group.

        :param lazy: where each sub command is: `{'status': 'package.module:cmd_status'}`.
        """
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all sub commands, in the order in which people use them."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the sub command."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name].partition(':')
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """Name the nearest command when an unknown one is given."""
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exception:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near:
                exception.message += f" Did you mean '{near[0]}'?"
            raise
