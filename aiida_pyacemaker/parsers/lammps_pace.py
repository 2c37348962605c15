"""Parser of `LammpsPaceCalculation`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from ase import Atoms, units

from aiida_pyacemaker.atomistics.lammps import read_dump, read_log
from aiida_pyacemaker.data.configurations import ConfigurationsData

#: Name in the ``thermo`` output, and factor to the units of the package, of the columns of LAMMPS.
COLUMNS = {
    'Step': ('step', 1),
    'Temp': ('temperature', 1.0),
    'PotEng': ('potential_energy', 1.0),
    'Press': ('pressure', units.bar),
    'Volume': ('volume', 1.0),
    'c_gamma_max': ('gamma_max', 1.0),
}
UNITS = {'temperature': 'K', 'potential_energy': 'eV', 'pressure': 'eV/Å^3', 'volume': 'Å^3'}
NO_ML_PACE = re.compile(r"(Unrecognized|Unknown) pair style '?(pace|hybrid/overlay pace)|ML-PACE package which is not")
#: More snapshots than these are thinned out evenly: a long simulation above `gamma_select` writes very many.
MAX_SNAPSHOTS = 2000


class LammpsPaceParser(Parser):
    """Parse how a simulation ended, its snapshots and its restart file."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse the retrieved files.

        :param kwargs: ``retrieved_temporary_folder``: folder with dumps and restart file.
        """
        files = self.node.process_class
        try:
            content = self.retrieved.base.repository.get_object_content(self.node.get_option('output_filename'))
        except FileNotFoundError:
            content = ''
        if 'LAMMPS' not in content:
            return self.exit_codes.ERROR_NO_LOG
        log = read_log(content + '\n')
        folder = Path(kwargs['retrieved_temporary_folder'])
        gamma = self.read_gamma(folder / files.FILENAME_GAMMA)
        self.output_thermo(log['thermo'], gamma)
        failure = self.get_failure(log)
        if failure is not None:
            return failure

        marks = dict(re.findall(rf'^{files.MARK} (\w+) (\S+)\s*$', content, flags=re.MULTILINE))
        try:
            results = self.get_results(log, {key: float(value) for key, value in marks.items()}, gamma)
            last = self.read_frames(folder / files.FILENAME_LAST)[-1:]
            snapshots = [
                *self.read_frames(folder / files.FILENAME_TRAJECTORY),
                *self.read_frames(folder / files.FILENAME_SELECTED),
            ]
        except (KeyError, ValueError, OSError) as exception:
            return self.exit_codes.ERROR_OUTPUT_BROKEN.format(message=f'{exception!r}')
        if not (folder / files.FILENAME_RESTART).is_file() or not last:
            return self.exit_codes.ERROR_OUTPUT_BROKEN.format(message='the restart file or the last frame is missing')

        self.out('results', orm.Dict(results))
        self.out('restart', orm.SinglefileData(str(folder / files.FILENAME_RESTART), filename=files.FILENAME_RESTART))
        if results['gamma_max'] == 0.0:
            return self.exit_codes.ERROR_NO_GAMMA
        if results['reason'] == 'gamma':
            self.out('halted', ConfigurationsData(self.tag(last, 'halted')))
        # The start is known already; the end of a halted run may be broken, and is `halted` if it is worth anything.
        end = results['step'] if results['halted'] else results['step'] + 1
        steps = {atoms.info['step']: atoms for atoms in snapshots if results['start_step'] < atoms.info['step'] < end}
        if steps:
            self.out('trajectory', ConfigurationsData(self.tag(thin_out([steps[key] for key in sorted(steps)]))))
        return None

    def read_gamma(self, path: Path) -> np.ndarray:
        """Return step and largest gamma wherever it was computed, shape (n, 2); a line cut short is left out."""
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        rows = [line.split() for line in lines if line.endswith('\n')]
        return np.array([row for row in rows if len(row) == 2 and row[0].isdigit()], dtype=float).reshape(-1, 2)

    def output_thermo(self, thermo: dict[str, np.ndarray], gamma: np.ndarray) -> None:
        """Output the thermo table and the series of gamma, if there are any."""
        array = orm.ArrayData()
        for column, (name, factor) in COLUMNS.items():
            if column in thermo and len(thermo[column]):
                values = thermo[column] * factor
                array.set_array(name, values.astype(int) if name == 'step' else values)
        if array.get_arraynames():
            array.set_array('watch_step', gamma[:, 0].astype(int))
            array.set_array('watch_gamma_max', gamma[:, 1])
            array.base.attributes.set('units', UNITS)
            self.out('thermo', array)

    def get_failure(self, log: dict[str, Any]) -> ExitCode | None:
        """Return the exit code of a simulation that did not come to its end, nor to a halt."""
        for error in log['errors']:
            if NO_ML_PACE.search(error):
                return self.exit_codes.ERROR_NO_ML_PACE
        if log['errors']:
            message = log['errors'][0]
            name = 'ERROR_LOST_ATOMS' if log['lost_atoms'] else 'ERROR_LAMMPS'
            return getattr(self.exit_codes, name).format(message=message)
        if log['completed'] and log['runs_ended']:
            return None
        # The parser of the scheduler's output knows better why a job died.
        if self.node.exit_status:
            return ExitCode(self.node.exit_status, self.node.exit_message, invalidates_cache=True)
        steps = log['thermo'].get('Step', [])
        return self.exit_codes.ERROR_INCOMPLETE.format(step=int(steps[-1]) if len(steps) else 'none')

    def get_results(self, log: dict[str, Any], marks: dict[str, float], gamma: np.ndarray) -> dict[str, Any]:
        """Return how the simulation ended.

        :param log: the log as :func:`~aiida_pyacemaker.atomistics.lammps.read_log` returns it.
        :param marks: the numbers that the script prints for us.
        :param gamma: step and gamma, shape (n, 2).
        :raises KeyError: if a number is missing.
        :raises ValueError: if a number is not finite.
        """
        parameters = self.node.process_class.complete(self.node.inputs.parameters.get_dict())
        if not np.all(np.isfinite(list(marks.values()))):
            raise ValueError(f'the simulation ended with NaN or infinite numbers: {marks}')
        return {
            'halted': log['halted'],
            'reason': log['halt_id'].removeprefix('halt_') if log['halted'] else 'completed',
            'halt_value': log['halt_value'],
            'start_step': int(marks['start_step']),
            'step': int(marks['step']),
            'steps': parameters['steps'],
            'gamma_max': float(max(*gamma[:, 1], *log['thermo']['c_gamma_max'])),
            'gamma_threshold': parameters['gamma_halt'],
            'temperature_final': marks['temperature'],
            'reference_volume_per_atom': marks['reference_volume_per_atom'],
            'wall_time_seconds': max(log['wall_time'], log['loop_time']),
            'atom_steps_per_second': log['atoms'] * log['steps'] / log['loop_time'] if log['loop_time'] else None,
            'lammps_version': log['version'],
        }

    def read_frames(self, path: Path) -> list[Atoms]:
        """Return the frames of a dump, none if it is not there (LAMMPS writes no dump when every frame is skipped)."""
        return read_dump(path, self.node.inputs.potential.elements, gamma='f_gamma') if path.is_file() else []

    def tag(self, frames: list[Atoms], family: str = 'trajectory') -> list[Atoms]:
        """Return the frames with a note of what they are; their parent is the simulation."""
        for atoms in frames:
            atoms.info.update({'family': family, 'role': family, 'parent': self.node.uuid})
        return frames


def thin_out(frames: list[Atoms], maximum: int = MAX_SNAPSHOTS) -> list[Atoms]:
    """Return at most so many of the frames, evenly spread."""
    if len(frames) <= maximum:
        return frames
    return [frames[index] for index in np.linspace(0, len(frames) - 1, maximum).round().astype(int)]
