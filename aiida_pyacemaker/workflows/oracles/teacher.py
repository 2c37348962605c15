"""The oracle `teacher`: any ASE calculator or universal potential, many configurations in one job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from aiida_pyacemaker.atomistics.core.plugins import CodePort
from aiida_pyacemaker.atomistics.labelling.teachers import Teacher

from .base import EngineOracle, JobCost, JobFailure

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_pyacemaker.runfile.sections import Label


class TeacherOracle(EngineOracle):
    """A teacher: one ``TeachWorkChain`` per ``label.teacher.batch`` configurations."""

    Parameters = Teacher
    codes = {
        'teacher': CodePort(
            '`pyacemaker-worker` in the Python that has the teacher potential; null: `codes.worker`.',
            fallback='worker',
            plugin='pyacemaker.teacher',
        )
    }
    process_types = ('aiida.calculations:pyacemaker.teacher',)
    outputs = {'labelled': 'labelled'}
    needs_structure = False

    def __init__(self, label: Label):
        super().__init__(label)
        self.teacher: Teacher = label.teacher
        self.teacher.model_file()

    @classmethod
    def get_model_files(cls, label: Label) -> list[Path]:
        """Return the model file, if it is none that comes with the calculator."""
        return get_model_files([label.teacher])

    def get_jobs(self, frames: list[Atoms]) -> list[list[int]]:
        """Return batches, so that no job labels training and held-out configurations together."""
        splits: dict[str, list[int]] = {}
        for index, atoms in enumerate(frames):
            splits.setdefault(atoms.info.get('split', 'train'), []).append(index)
        size = self.teacher.batch
        return [group[k : k + size] for group in splits.values() for k in range(0, len(group), size)]

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of a job that labels the configurations ``indices``."""
        from aiida import orm
        from aiida.plugins import WorkflowFactory

        from ..worker_base import get_options

        builder = WorkflowFactory('pyacemaker.teach').get_builder()
        builder.clean_workdir = orm.Bool(self.label.clean_workdir)
        builder.job.code = code
        builder.job.configurations = configurations
        section = self.teacher.model_dump()
        path = self.teacher.model_file()
        if path is not None:
            section['model'] = path.name
            builder.job.model = get_file_node(path)
        builder.job.parameters = orm.Dict({'teacher': section, 'indices': list(indices)})
        seconds = self.label.max_wallclock_seconds
        builder.job.metadata.options = get_options(options, max_wallclock_seconds=seconds)
        return builder

    @staticmethod
    def read_labels(frames, index, nodes) -> dict[int, Atoms]:
        """Return the labelled configurations of one job."""
        from aiida_pyacemaker.calculations.readers.teacher import read

        return read(frames, index, nodes)

    def get_failures(self, child) -> list[JobFailure]:
        """Return what a finished job could not label."""
        return child.outputs.results.get('failures', [])

    def get_cost(self, child) -> JobCost:
        """Return the wall time and the core-hours of a job."""
        if 'results' not in child.outputs or 'wall_time_seconds' not in child.outputs.results.keys():
            return {}
        results = child.outputs.results.get_dict()
        seconds = results['wall_time_seconds']
        return {'wall_seconds': seconds, 'core_hours': seconds * results['threads'] / 3600}


def get_model_files(teachers: list[Teacher]) -> list[Path]:
    """Return the model files of teachers."""
    return [path for teacher in teachers if (path := teacher.model_file()) is not None]


def get_file_node(path: Path) -> orm.SinglefileData:
    """Return the node of a file: the one of the same name and content that is there, or a new one."""
    from aiida import orm

    query = orm.QueryBuilder()
    query.append(orm.SinglefileData, filters={'attributes.filename': path.name})
    content = path.read_bytes()
    same = (node for node in query.iterall() if node[0].get_content(mode='rb') == content)
    return next(same, [orm.SinglefileData(path)])[0]
