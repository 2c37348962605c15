"""Parser of `LammpsMeltingCalculation`."""

from __future__ import annotations

from aiida import orm

from aiida_pyacemaker.atomistics.validation.properties.melting.script import RESTART, UNITS, Run, read_run

from .lammps_pace import LammpsPaceParser


class LammpsMeltingParser(LammpsPaceParser):
    """Parse what became of crystal and melt, the track, and the restart file of a coexistence that may go on."""

    def read(self, folder: str, content: str) -> Run:
        """Return what the simulation left in a folder and in the output of LAMMPS."""
        self.folder = folder
        return read_run(folder, self.node.inputs.parameters.get_dict(), content)

    def output(self, left: Run) -> None:
        """Output what there is; of a simulation that failed, what tells why."""
        if left.track and len(left.track['time']):
            array = orm.ArrayData(left.track)
            array.base.attributes.set('units', UNITS)
            self.out('track', array)
        if left.failure:
            return
        self.out('results', orm.Dict(left.results))
        if left.outcome == 'coexists':
            self.out('restart', orm.SinglefileData(f'{self.folder}/{RESTART}', filename=RESTART))
