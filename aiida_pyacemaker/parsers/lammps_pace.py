"""Parser of `LammpsPaceCalculation`."""

from __future__ import annotations

import re
from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from ase import Atoms

from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.lammps.outcome import UNITS, Failure, Outcome, read_outcome
from aiida_pyacemaker.data.configurations import ConfigurationsData


class LammpsPaceParser(Parser):
    """Parse how a simulation ended, its snapshots and its restart file."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse the retrieved files.

        :param kwargs: ``retrieved_temporary_folder``: folder with dumps and restart file.
        """
        try:
            content = self.retrieved.base.repository.get_object_content(self.node.get_option('output_filename'))
        except FileNotFoundError:
            content = ''
        corrupt = re.findall(r'^(\S+): FAILED', content, flags=re.MULTILINE)  # LAMMPS has not even started
        if corrupt and 'LAMMPS' not in content:
            return self.exit_codes.ERROR_CORRUPT_INPUT.format(message=', '.join(corrupt))
        outcome = self.read(kwargs['retrieved_temporary_folder'], content)
        self.output(outcome)
        return self.get_failure(outcome.failure)

    def read(self, folder: str, content: str) -> Outcome:
        """Return what the simulation left in a folder and in the output of LAMMPS."""
        inputs = self.node.inputs
        dynamics = WatchedDynamics.model_validate(inputs.parameters.get_dict())
        return read_outcome(folder, dynamics, inputs.potential.elements, content)

    def output(self, outcome: Outcome) -> None:
        """Output what there is; of a simulation that failed, what tells why."""
        if outcome.thermo:
            array = orm.ArrayData(outcome.thermo)
            array.base.attributes.set('units', UNITS)
            self.out('thermo', array)
        if outcome.results:
            self.out('results', orm.Dict(dict(outcome.results)))
        if outcome.failure:
            return
        if outcome.restart:
            self.out('restart', orm.SinglefileData(str(outcome.restart), filename=outcome.restart.name))
        single = {name: [frame] for name in ('halted', 'violation') if (frame := getattr(outcome, name))}
        for name, frames in {**single, 'trajectory': outcome.trajectory}.items():
            if frames:
                self.out(name, ConfigurationsData(self.tag(frames)))

    def tag(self, frames: list[Atoms]) -> list[Atoms]:
        """Return the frames with a note of where they come from: their parent is the simulation."""
        for atoms in frames:
            atoms.info['parent'] = self.node.uuid
        return frames

    def get_failure(self, failure: Failure | None) -> ExitCode | None:
        """Return the exit code of a simulation that came neither to its end nor to a halt; None for any other."""
        if failure is None:
            return None
        name, message = failure
        # The parser of the scheduler's output knows better why a job died.
        if name == 'ERROR_INCOMPLETE' and self.node.exit_status:
            return ExitCode(self.node.exit_status, self.node.exit_message, invalidates_cache=True)
        return getattr(self.exit_codes, name).format(message=message)
