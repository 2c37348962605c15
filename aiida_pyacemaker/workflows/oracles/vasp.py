"""The oracle VASP, through aiida-vasp: one static calculation per configuration.

aiida-vasp is an extra, and so nothing of it is imported before an oracle is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from io import StringIO
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.units import Rydberg

from aiida_pyacemaker.atomistics.core.cost import CostModel
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.plugins import CodePort
from aiida_pyacemaker.atomistics.labelling.incar import ENCUT_FACTOR, Vasp, get_incar
from aiida_pyacemaker.atomistics.labelling.kpoints import kpoints_mesh
from aiida_pyacemaker.atomistics.labelling.magnetism import START_MOMENTS

from .base import EngineOracle, JobCost
from .qe import number_of_processes

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_pyacemaker.atomistics.core.cost import CostModel
    from aiida_pyacemaker.runfile.sections import Label


class VaspOracle(EngineOracle):
    """Static DFT with forces and stress, one ``VaspWorkChain`` of aiida-vasp per configuration."""

    Parameters = Vasp
    codes = {'vasp': CodePort('VASP, for labels by the oracle `vasp`.', plugin='vasp.vasp')}
    citation = 'VASP: G. Kresse and J. Furthmüller, Phys. Rev. B 54, 11169 (1996)'
    process_types = ('aiida.calculations:vasp.vasp',)
    outputs = {'misc': 'misc', 'trajectory': 'trajectory'}

    def __init__(self, label: Label):
        super().__init__(label)
        self.section: Vasp = label.vasp
        if find_spec('aiida_vasp') is None:
            problem = 'vasp needs aiida-vasp, which is not installed'
            raise InputError('label.oracle', problem, 'install it with: pip install "aiida-pyacemaker[vasp]"')

    def complete(self, elements: list[str]) -> Label:
        """Return the section with the cutoff of the hardest element."""
        encut = self.get_settings(self.get_potentials(set(elements)))['encut']
        return self.label.model_copy(update={'vasp': self.section.model_copy(update={'encut': encut})})

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of one static calculation with forces and stress."""
        from aiida import orm
        from aiida.plugins import WorkflowFactory

        from aiida_pyacemaker.calculations.readers.vasp import SETTINGS_KEY

        from ..worker_base import get_options

        label = self.label
        atoms = configurations.get_structure_ase(indices[0])
        # The cutoff is that of all elements of the batch, so that their labels can be compared.
        potentials = self.get_potentials(set(configurations.elements))
        settings = self.get_settings(potentials)
        builder = WorkflowFactory('vasp.v2.vasp').get_builder()
        builder.code = code
        builder.structure = structure
        builder.kpoints = orm.KpointsData()
        builder.kpoints.set_kpoints_mesh(kpoints_mesh(atoms, label.kpoints_distance))
        builder.potential_family = orm.Str(self.section.potential_family)
        builder.potential_mapping = orm.Dict({kind.name: self.get_mapping(kind.symbol) for kind in structure.kinds})
        incar = get_incar(
            atoms, self.section, settings['encut'], label.smearing, label.degauss, label.spin, label.dipole_correction
        )
        builder.parameters = orm.Dict({'incar': incar})
        builder.settings = orm.Dict(
            {
                'parser_settings': {
                    'include_node': ['trajectory'],
                    'energy_type': ['energy_free', 'energy_extrapolated'],
                    # They are in the trajectory, as arrays.
                    'exclude_quantity': ['forces', 'stress'],
                },
                SETTINGS_KEY: settings,
            }
        )
        builder.clean_workdir = orm.Bool(label.clean_workdir)
        builder.calc.metadata.options = get_options(options, max_wallclock_seconds=label.max_wallclock_seconds)
        return builder

    def get_cost_model(self, elements: list[str]) -> CostModel:
        """Return what a label is expected to cost: what pw.x would need with its cutoff, for there are no timings."""

        from aiida_pyacemaker.atomistics.core.cost import CostModel

        label = self.complete(elements)
        return CostModel(
            ecutwfc=label.vasp.encut / Rydberg,
            kpoints_distance=label.kpoints_distance,
            magnetic=frozenset(START_MOMENTS).intersection(elements) if label.spin == 'auto' else frozenset(),
        )

    @staticmethod
    def read_labels(frames, index, nodes) -> dict[int, Atoms]:
        """Return the labelled configuration of one calculation."""
        from aiida_pyacemaker.calculations.readers.vasp import read

        return read(frames, index, nodes)

    def get_mapping(self, element: str) -> str:
        """Return the name of the potential of an element."""
        return self.section.potential_mapping.get(element, element)

    def get_potentials(self, elements: set[str]) -> dict[str, orm.Data]:
        """Return the potentials (``PotcarData``) of the elements.

        :raises ValueError: if the family or one of its potentials is not in the profile.
        """
        from aiida.common.exceptions import NotExistent
        from aiida.plugins import DataFactory

        potcar, family = DataFactory('vasp.potcar'), self.section.potential_family
        if potcar.get_potcar_group(family) is None:
            raise InputError(
                'label.vasp.potential_family',
                f'there is no family {family!r} in this profile',
                f'upload it with: aiida-vasp potcar uploadfamily --path=PATH --name={family} --description=TEXT',
            )
        mapping = {element: self.get_mapping(element) for element in sorted(elements)}
        try:
            return potcar.get_potcars_dict(list(mapping), family, mapping=mapping)
        except NotExistent as exception:
            raise InputError('label.vasp.potential_mapping', str(exception)) from exception

    def get_settings(self, potentials: dict[str, orm.Data]) -> dict[str, Any]:
        """Return what a label of this batch depends on, but for what the calculation itself tells."""
        extra = self.section.settings()
        return {
            'xc': self.section.functional,
            'encut': self.section.encut or round(ENCUT_FACTOR * max(map(get_enmax, potentials.values()))),
            'smearing': self.label.smearing,
            'degauss': self.label.degauss,
            'kpoints_distance': self.label.kpoints_distance,
            'spin': self.label.spin,
            **({'incar': extra} if extra else {}),
        }

    def get_cost(self, child) -> JobCost:
        """Return the cost of a job over all its calculations, as VASP reports it, those that failed included."""
        from aiida import orm

        cost: JobCost = {'wall_seconds': 0.0, 'core_hours': 0.0}
        for calculation in child.called_descendants:
            # What comes from the cache has cost nothing this time.
            ran = isinstance(calculation, orm.CalcJobNode) and not calculation.base.caching.is_created_from_cache
            if ran and 'misc' in calculation.outputs:
                stats = calculation.outputs.misc.get_dict().get('run_stats') or {}
                seconds = float(stats.get('elapsed_time') or 0.0)
                cost['wall_seconds'] += seconds
                cost['core_hours'] += seconds * number_of_processes(calculation) / 3600
        return cost


def get_enmax(potential: orm.Data) -> float:
    """Return the cutoff (eV) that a POTCAR recommends."""
    from parsevasp.potcar import Potcar

    return Potcar(file_handler=StringIO(potential.find_file_node().get_content().decode())).enmax
