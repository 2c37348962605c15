"""The oracle `emt`: effective medium theory of ASE, run by the program that runs teachers."""

from __future__ import annotations

from aiida_pyacemaker.atomistics.core.parameters import Count, Section, parameter
from aiida_pyacemaker.atomistics.core.plugins import CodePort
from aiida_pyacemaker.workflows.oracles import EngineOracle


class Emt(Section):
    """What the oracle `emt` needs beside the keys that all oracles share."""

    batch: Count = parameter('Configurations of a job.', ge=1, default=16)


class EmtOracle(EngineOracle):
    """Effective medium theory, many configurations a job."""

    Parameters = Emt
    codes = {
        'emt': CodePort('pyacemaker-worker, for the labels by EMT.', fallback='worker', plugin='pyacemaker.teacher')
    }
    citation = 'EMT: K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996)'
    process_types = ('aiida.calculations:pyacemaker.teacher',)
    outputs = {'labelled': 'labelled'}
    needs_structure = False

    def get_jobs(self, frames):
        """Return the indices of the configurations of each job."""
        size = (self.label.emt or Emt()).batch
        return [list(range(start, min(start + size, len(frames)))) for start in range(0, len(frames), size)]

    def get_builder(self, code, configurations, indices, structure, options):
        """Return the builder of one job."""
        from aiida import orm
        from aiida.plugins import WorkflowFactory

        builder = WorkflowFactory('pyacemaker.teach').get_builder()
        builder.job.code = code
        builder.job.configurations = configurations
        builder.job.parameters = orm.Dict({'teacher': {'calculator': 'emt'}, 'indices': indices})
        builder.job.metadata.options = {
            'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
            'max_wallclock_seconds': 600,
            **(options or {}),
        }
        return builder

    @staticmethod
    def read_labels(frames, index, nodes):
        """Return the labelled configurations of one job."""
        from aiida_pyacemaker.atomistics.core.frame import labels, set_labels

        found = {}
        for labelled in nodes['labelled'].get_frames():
            atoms = frames[labelled.info['index']]
            atoms.info['settings'] = {'oracle': 'emt'}
            atoms.info['calculation'] = nodes['labelled'].creator.uuid
            found[labelled.info['index']] = set_labels(atoms, **labels(labelled))
        return found

    def get_cost(self, child):
        """Return the wall time of a job, where it is known."""
        results = child.outputs.results.get_dict() if 'results' in child.outputs else {}
        seconds = results.get('wall_time_seconds')
        return {} if seconds is None else {'wall_seconds': seconds, 'core_hours': seconds / 3600}
