"""Submit the active learning of a run file: `verdi run examples/launch.py examples/aluminium.yaml [key=value ...]`."""

from __future__ import annotations

import sys

from aiida.engine import submit
from aiida.plugins import WorkflowFactory

from aiida_pyacemaker.runfile import load_runfile


def main(path: str, *overrides: str) -> None:
    """Load the run file, submit the work chain and say how to follow it."""
    work_chain = WorkflowFactory('pyacemaker.active_learning')
    runfile = load_runfile(path, list(overrides))
    node = submit(work_chain.get_builder_from_runfile(runfile))
    node.base.extras.set('pyacemaker_runfile', runfile.content_hash())
    print(f'Submitted {node.process_label}<{node.pk}>; follow it with `aiida-pyacemaker status {node.pk}`.')


if __name__ == '__main__':
    main(*sys.argv[1:])
