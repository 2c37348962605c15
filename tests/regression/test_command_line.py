"""What the command line says of itself."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from . import api

WIDTH = 100


def walk(command: click.Command, path: tuple[str, ...] = ()):
    """Yield all commands with their words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), (*path, name))


def help_of(root: click.Command, name: str) -> str:
    """Return the help of all commands."""
    pages = []
    for path, command in walk(root):
        command._help_option = None  # click keeps it from a test that ran the command without its parent
        found = CliRunner().invoke(
            root, [*path, '--help'], prog_name=name, terminal_width=WIDTH, max_content_width=WIDTH
        )
        assert found.exit_code == 0, (path, found.output)
        pages.append(f'$ {" ".join([name, *path])} --help\n{found.output}')
    return '\n'.join(pages)


def test_help(file_regression, monkeypatch):
    """All commands of the package."""
    monkeypatch.setenv('COLUMNS', str(WIDTH))
    file_regression.check(help_of(api.command_line(), 'aiida-pyacemaker'), extension='.txt')


def test_data_help(file_regression, monkeypatch, aiida_profile):
    """The commands that extend verdi."""
    monkeypatch.setenv('COLUMNS', str(WIDTH))
    file_regression.check(help_of(api.data_command_line(), 'verdi data pyacemaker'), extension='.txt')


@pytest.mark.parametrize('arguments', [['generate', 'nowhere.yaml'], ['launch', 'nowhere.yaml'], ['no-such-command']])
def test_errors(arguments):
    """A mistake ends with one line and a status of its own."""
    found = CliRunner().invoke(api.command_line(), arguments)
    assert found.exit_code == (2 if arguments == ['no-such-command'] else 1)
    assert arguments[-1] in found.output
