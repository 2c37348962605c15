"""The documentation says what is true: every code block of README.md and docs/ is held against the real thing.

- `yaml` blocks are run files (or parts of one): they are resolved and validated.
- `python` blocks are executed, page by page, on the graph of a run: 1234 stands for the run, 5678 for its potential.
- `bash` blocks are parsed, line by line, by the commands that they name: options and arguments have to exist, and files
  that are named have to be there. What the main job runs is executed by the slow test in tests/acceptance,
  `lmp -in in.lammps` in tests/cli/test_export.py, examples/launch.py in tests/cli/test_launch.py.
- `json` and `toml` blocks are parsed.
- `text` blocks are for people.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import click
import pytest
import yaml
from aiida.cmdline.commands.cmd_verdi import verdi
from ase.io import write

from aiida_pyacemaker.atomistics.lammps.files import write_in_lammps
from aiida_pyacemaker.cli import cmd_root
from aiida_pyacemaker.runfile import iterate_fields, iterate_sections, resolve_runfile

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / 'README.md',
    REPOSITORY / 'CONTRIBUTING.md',
    *sorted(path for path in (REPOSITORY / 'docs').rglob('*.md') if not {'generated', '_build'} & set(path.parts)),
]
BLOCK = re.compile(r'^```(?P<language>[\w{}-]*)[^\n]*\n(?P<content>.*?)^```$', re.MULTILINE | re.DOTALL)
LANGUAGES = {'yaml', 'toml', 'json', 'python', 'bash', 'text', '{include}', '{literalinclude}', '{toctree}'}


def blocks(*languages: str) -> list:
    """Return the blocks of all pages in some languages, as parameters of a test."""
    found = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text())):
            if match['language'] in languages:
                name = f'{page.relative_to(REPOSITORY)}-{number}'
                found.append(pytest.param(match['content'], id=name))
    return found


def test_all_blocks_are_tested():
    """Every block has a language that is tested, or is for people only."""
    languages = {match['language'] for page in PAGES for match in BLOCK.finditer(page.read_text())}
    assert languages <= LANGUAGES


@pytest.mark.parametrize('content', blocks('yaml'))
def test_yaml(content):
    """A run file, or a part of one, is valid."""
    assert resolve_runfile({'system': {'elements': ['Al']}, **yaml.safe_load(content)})


@pytest.mark.parametrize('content', blocks('json'))
def test_json(content):
    """What a node holds is shown as what it is."""
    assert json.loads(content)


@pytest.mark.parametrize('content', blocks('toml'))
def test_toml(content):
    """What belongs into somebody's pyproject.toml can be read."""
    assert tomllib.loads(content)


# Commands -------------------------------------------------------------------------------------------------------------


def find_command(group: click.Group, words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Follow the words to the command that they name; return it with its context and arguments."""
    context = click.Context(group, info_name=group.name)
    command: click.Command = group
    rest = list(words)
    while isinstance(command, click.Group):
        if rest[0] in ('-p', '--profile'):  # of verdi itself
            rest = rest[2:]
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f'there is no command `{name}`'
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command, context, rest


def parse(group: click.Group, words: list[str]) -> None:
    """Parse a command line without running it: unknown options, missing or superfluous arguments raise."""
    command, context, rest = find_command(group, words)
    if hasattr(command, 'create_options'):  # verdi code create PLUGIN
        return
    options, superfluous, _ = command.make_parser(context).parse_args(rest)
    assert not superfluous, superfluous
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required:
            assert options.get(parameter.name), f'{parameter.name} is missing'


def check_script(script: str, arguments: list[str]) -> None:
    """A script of the repository exists and knows its options."""
    assert (REPOSITORY / script).is_file()
    shown = subprocess.run(
        ['bash', script, '--help'], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout
    assert all(argument in shown for argument in arguments if argument.startswith('-'))


def check_pip(arguments: list[str]) -> None:
    """The extras of this package that pip is asked for exist."""
    assert arguments[0] == 'install'
    extras = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())['project']['optional-dependencies']
    asked = [re.fullmatch(r'(?:\.|aiida-pyacemaker)\[(.+)\]', word) for word in arguments[1:] if word != '-e']
    assert asked and all(match and set(match[1].split(',')) <= set(extras) for match in asked), arguments


def check_words(words: list[str]) -> None:
    """Check a single command."""
    program, *arguments = words
    files = [word for word in arguments if re.fullmatch(r'(examples|setup_profiles|tests)/\S+', word)]
    assert all((REPOSITORY / file).exists() for file in files), files
    if program == 'aiida-pyacemaker':
        parse(cmd_root, arguments)
        if arguments[0] == 'launch':
            check_overrides(arguments)
    elif program == 'verdi':
        parse(verdi, arguments)
    elif program.startswith('setup_profiles/'):
        if arguments:
            check_script(program, arguments)
        assert (REPOSITORY / program).is_file()
    elif program == 'source':
        assert arguments == ['.venv/bin/activate']
    elif program == 'lmp':
        assert arguments[:2] == ['-in', 'in.lammps']
        source = inspect.getsource(write_in_lammps)
        for name in (arguments[place + 1] for place, word in enumerate(arguments) if word == '-var'):
            assert f'variable {name} index' in source, name
    elif Path(program).name == 'pip':
        check_pip(arguments)
    elif program == 'aiida-vasp':
        from aiida_vasp.commands import cmd_aiida_vasp

        parse(cmd_aiida_vasp, arguments)
    elif program == 'python':
        assert (REPOSITORY / arguments[0]).is_file()
    elif program == 'cd':
        assert len(arguments) == 1
    else:
        known = (
            ('git', 'clone'),
            ('python3', '-m', 'venv'),
            ('sphinx-build', '-W', 'docs', 'docs/_build/html'),
            ('pytest', '-m', 'slow', 'tests/acceptance'),
            ('pytest', '-m', 'not engines and not slow'),
        )
        assert any(tuple(words[: len(start)]) == start for start in known), f'`{shlex.join(words)}` is not tested'


def check_overrides(arguments: list[str]) -> None:
    """The overrides of a launch are valid."""
    overrides = [word for word in arguments if re.match(r'[a-z_]+(\.\w+)*=', word)]
    assert resolve_runfile({'system': {'elements': ['Al']}, 'protocol': 'fast'}, overrides)


@pytest.mark.parametrize('content', blocks('bash'))
def test_bash(content):
    """Every command exists, with its options and arguments."""
    for line in content.replace('\\\n', ' ').splitlines():
        for part in line.split('&&'):
            words = shlex.split(part, comments=True)
            if words:
                check_words(words)


def test_workflows_run_the_commands_of_the_readme():
    """The continuous integration has no ways of its own."""
    readme = (REPOSITORY / 'README.md').read_text()
    for path in (REPOSITORY / '.github' / 'workflows').glob('*.yml'):
        for job in yaml.safe_load(path.read_text())['jobs'].values():
            commands = [step['run'] for step in job['steps'] if 'run' in step]
            assert commands
            assert all(command in readme or command.startswith('sudo apt-get') for command in commands), commands


def test_commands_in_text():
    """Commands that the prose names exist."""
    for page in PAGES:
        text = re.sub(BLOCK, '', page.read_text())
        for words in re.findall(r'`aiida-pyacemaker (\w[^`]+)`', text):
            name, *_ = words.split()
            assert cmd_root.get_command(click.Context(cmd_root), name), f'{page}: {words}'


def test_keys_in_text():
    """Keys of the run file that the prose names exist; developers are told of plug-ins that are not there."""
    known = {key for key, _ in iterate_fields()} | {key for key, _ in iterate_sections()}
    sections = {key.split('.')[0] for key in known if '.' in key}
    for page in PAGES:
        if page.parent.name == 'developer':
            continue
        text = re.sub(BLOCK, '', page.read_text())
        for key in re.findall(r'`([a-z]+\.[a-z_.]+)(?:: \w+)?`', text):
            if key.split('.')[0] in sections:
                assert key in known, f'{page}: {key}'


# Python ---------------------------------------------------------------------------------------------------------------


def pages_with_python() -> list:
    """Return the pages that have Python in them."""
    found = []
    for page in PAGES:
        content = [match['content'] for match in BLOCK.finditer(page.read_text()) if match['language'] == 'python']
        if content:
            found.append(pytest.param(content, id=str(page.relative_to(REPOSITORY))))
    return found


@pytest.mark.parametrize('content', pages_with_python())
def test_python(finished_graph, worker_code, content, tmp_path, monkeypatch):
    """The blocks of a page run one after the other, on the graph of a run, beside a file of the reader's own."""
    monkeypatch.chdir(tmp_path)
    write('mine.extxyz', finished_graph.run.outputs.dataset.get_frames())
    # a module, so that classes of a page can be pickled, and their annotations be resolved
    page = types.ModuleType('documentation')
    monkeypatch.setitem(sys.modules, page.__name__, page)
    for block in content:
        block = block.replace('1234', str(finished_graph.run.pk)).replace('5678', str(finished_graph.potential.pk))
        exec(compile(block, page.__name__, 'exec', dont_inherit=True), page.__dict__)


def test_answers(finished_graph, worker_code, capsys, tmp_path, monkeypatch):
    """The queries of the how-to guide find what is there."""
    page = REPOSITORY / 'docs' / 'howto' / 'query_provenance.md'
    content = [match['content'] for match in BLOCK.finditer(page.read_text()) if match['language'] == 'python']
    test_python(finished_graph, worker_code, content, tmp_path, monkeypatch)
    output = capsys.readouterr().out
    assert output.count('8 DFT calculations\n') == 2  # by the data, and by the links of the graph
    assert 'PwCalculation' in output
    assert 'halted at step 1800 with gamma 7.5' in output
    assert f'[[{finished_graph.run.pk}, 0, 42]]' in output


def called(node, label: str):
    """Return the process that another one called under a label."""
    return node.base.links.get_outgoing(link_label_filter=label).one().node


def test_costs(finished_graph, worker_code, capsys, tmp_path, monkeypatch):
    """The queries of the page about labels find what the engine leaves of the cost of a job."""
    batch = called(finished_graph.run, 'iteration_01_label')
    job = called(batch, 'label_0000')
    job.base.extras.set_many({'atoms': 16, 'core_hours': 1.25, 'healed': True})
    page = REPOSITORY / 'docs' / 'explanation' / 'labels.md'
    content = [match['content'] for match in BLOCK.finditer(page.read_text()) if match['language'] == 'python']
    test_python(finished_graph, worker_code, content, tmp_path, monkeypatch)
    output = capsys.readouterr().out
    assert f'{job.pk}: 16 atoms, 1.25 core-hours, healed' in output
    assert output.count(' labels, ') == 2  # the batches of the run
    assert f'{finished_graph.run.outputs.dataset.pk} ' in output


# Pages ----------------------------------------------------------------------------------------------------------------


def test_build(tmp_path):
    """The documentation builds without a warning, and its reference holds every key of the run file."""
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html', '-d', str(tmp_path / 'trees')]
    done = subprocess.run(
        [*command, 'docs', str(tmp_path / 'html')], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    reference = (tmp_path / 'html' / 'reference' / 'run_file.html').read_text()
    assert all(f'>{key}<' in reference for key, _ in iterate_fields())
