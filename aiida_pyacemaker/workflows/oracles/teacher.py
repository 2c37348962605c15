"""The oracle `teacher`: any ASE calculator or universal potential, many configurations in one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.plugins import WorkflowFactory
from ase import Atoms

from aiida_pyacemaker.atomistics.labelling.teachers import read_teacher

from ..worker_base import get_options
from .base import Oracle

TeachWorkChain = WorkflowFactory('pyacemaker.teach')


class TeacherOracle(Oracle):
    """A teacher: one ``TeachWorkChain`` per ``label.teacher.batch`` configurations."""

    CODE = 'teacher'
    READER = 'teacher'
    NEEDS_STRUCTURE = False

    def __init__(self, parameters: dict[str, Any]):
        super().__init__(parameters)
        self.teacher = read_teacher(parameters.get('teacher'))
        self.teacher.model_file()

    def get_jobs(self, frames: list[Atoms]) -> list[list[int]]:
        """Return batches, so that no job labels training and held-out configurations together."""
        splits: dict[str, list[int]] = {}
        for index, atoms in enumerate(frames):
            splits.setdefault(atoms.info.get('split', 'train'), []).append(index)
        size = self.teacher.batch
        return [group[k : k + size] for group in splits.values() for k in range(0, len(group), size)]

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of a job that labels the configurations ``indices``."""
        builder = TeachWorkChain.get_builder()
        builder.clean_workdir = orm.Bool(self.parameters.get('clean_workdir', True))
        builder.job.code = code
        builder.job.configurations = configurations
        section = self.teacher.model_dump()
        path = self.teacher.model_file()
        if path is not None:
            section['model'] = path.name
            builder.job.model = get_file_node(path)
        builder.job.parameters = orm.Dict({'teacher': section, 'indices': list(indices)})
        seconds = self.parameters.get('max_wallclock_seconds', 43200)
        builder.job.metadata.options = get_options(options, max_wallclock_seconds=seconds)
        return builder

    def get_labels(self, child) -> dict[str, orm.Data]:
        """Return the output of a finished job that holds the labels."""
        return {'labelled': child.outputs.labelled}

    def get_failures(self, child) -> list[dict[str, Any]]:
        """Return what a finished job could not label: ``index`` and ``message`` of each configuration."""
        return child.outputs.results.get('failures', [])

    def get_cost(self, child) -> dict[str, float]:
        """Return the wall time and the core-hours of a job."""
        if 'results' not in child.outputs or 'wall_time_seconds' not in child.outputs.results.keys():
            return {}
        results = child.outputs.results.get_dict()
        seconds = results['wall_time_seconds']
        return {'wall_seconds': seconds, 'core_hours': seconds * results['threads'] / 3600}


def get_file_node(path: Path) -> orm.SinglefileData:
    """Return the node of a file: the one of the same name and content that is there, or a new one."""
    query = orm.QueryBuilder()
    query.append(orm.SinglefileData, filters={'attributes.filename': path.name})
    content = path.read_bytes()
    same = (node for node in query.iterall() if node[0].get_content(mode='rb') == content)
    return next(same, [orm.SinglefileData(path)])[0]
