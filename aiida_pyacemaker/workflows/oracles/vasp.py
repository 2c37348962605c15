"""The oracle VASP, through aiida-vasp: one static calculation per configuration.

aiida-vasp is an extra, and so nothing of it is imported before an oracle is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from io import StringIO
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import ProcessBuilder
from aiida.plugins import DataFactory, WorkflowFactory
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.labelling.incar import ENCUT_FACTOR, ISMEAR, Vasp, get_incar
from aiida_pyacemaker.atomistics.labelling.kpoints import kpoints_mesh
from aiida_pyacemaker.atomistics.labelling.magnetism import SPIN_TREATMENTS
from aiida_pyacemaker.calculations.readers.vasp import SETTINGS_KEY

from ..worker_base import get_options
from .base import Oracle
from .qe import DEGAUSS, SMEARING, number_of_processes


class VaspOracle(Oracle):
    """Static DFT with forces and stress, one ``VaspWorkChain`` of aiida-vasp per configuration."""

    CODE = 'vasp'
    READER = 'vasp'

    def __init__(self, parameters: dict[str, Any]):
        super().__init__(parameters)
        if find_spec('aiida_vasp') is None:
            raise ValueError(
                '`label.oracle`: vasp needs aiida-vasp, which is not installed; install it with: '
                'pip install "aiida-pyacemaker[vasp]"'
            )
        if not parameters.get('vasp'):
            raise ValueError('`label.vasp` is missing: give at least `label.vasp.potential_family`')
        if parameters.get('kpoints_distance', 0) <= 0:
            raise ValueError('`label.kpoints_distance` is missing or not positive')
        if parameters.get('spin', 'auto') not in SPIN_TREATMENTS:
            raise ValueError(f'`label.spin` must be {" or ".join(SPIN_TREATMENTS)}, got {parameters["spin"]!r}')
        self.smearing = parameters.get('smearing') or SMEARING
        if self.smearing not in ISMEAR:
            raise ValueError(f'`label.smearing` must be one of {", ".join(ISMEAR)}, got {self.smearing!r}')
        self.degauss = parameters.get('degauss') or DEGAUSS
        try:
            self.section = Vasp.model_validate(parameters['vasp'])
        except ValidationError as exception:
            error = exception.errors()[0]
            key = '.'.join(str(part) for part in ('label.vasp', *error['loc']))
            raise ValueError(f'`{key}`: {error["msg"].removeprefix("Value error, ")}') from exception

    def complete(self, elements: list[str]) -> dict[str, Any]:
        """Return the parameters with the cutoff of the hardest element."""
        encut = self.get_settings(self.get_potentials(set(elements)))['encut']
        return {**self.parameters, 'vasp': {**self.parameters['vasp'], 'encut': encut}}

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of one static calculation with forces and stress."""
        atoms = configurations.get_structure_ase(indices[0])
        # The cutoff is that of all elements of the batch, so that their labels can be compared.
        potentials = self.get_potentials(set(configurations.elements))
        settings = self.get_settings(potentials)
        builder = WorkflowFactory('vasp.v2.vasp').get_builder()
        builder.code = code
        builder.structure = structure
        builder.kpoints = orm.KpointsData()
        builder.kpoints.set_kpoints_mesh(kpoints_mesh(atoms, self.parameters['kpoints_distance']))
        builder.potential_family = orm.Str(self.section.potential_family)
        builder.potential_mapping = orm.Dict({kind.name: self.get_mapping(kind.symbol) for kind in structure.kinds})
        correct = self.parameters.get('dipole_correction', True)
        incar = get_incar(
            atoms, self.section, settings['encut'], self.smearing, self.degauss, settings['spin'], correct
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
        builder.clean_workdir = orm.Bool(self.parameters.get('clean_workdir', True))
        builder.calc.metadata.options = get_options(
            options, max_wallclock_seconds=self.parameters.get('max_wallclock_seconds', 43200)
        )
        return builder

    def get_mapping(self, element: str) -> str:
        """Return the name of the potential of an element."""
        return self.section.potential_mapping.get(element, element)

    def get_potentials(self, elements: set[str]) -> dict[str, orm.Data]:
        """Return the potentials (``PotcarData``) of the elements.

        :raises ValueError: if the family or one of its potentials is not in the profile.
        """
        potcar, family = DataFactory('vasp.potcar'), self.section.potential_family
        if potcar.get_potcar_group(family) is None:
            raise ValueError(
                f'`label.vasp.potential_family`: there is no family {family!r} in this profile; upload it with: '
                f'aiida-vasp potcar uploadfamily --path=PATH --name={family} --description=TEXT'
            )
        mapping = {element: self.get_mapping(element) for element in sorted(elements)}
        try:
            return potcar.get_potcars_dict(list(mapping), family, mapping=mapping)
        except NotExistent as exception:
            raise ValueError(f'`label.vasp.potential_mapping`: {exception}') from exception

    def get_settings(self, potentials: dict[str, orm.Data]) -> dict[str, Any]:
        """Return what a label of this batch depends on, but for what the calculation itself tells."""
        extra = self.section.settings()
        return {
            'xc': self.section.functional,
            'encut': self.section.encut or round(ENCUT_FACTOR * max(map(get_enmax, potentials.values()))),
            'smearing': self.smearing,
            'degauss': self.degauss,
            'kpoints_distance': self.parameters['kpoints_distance'],
            'spin': self.parameters.get('spin', 'auto'),
            **({'incar': extra} if extra else {}),
        }

    def get_labels(self, child) -> dict[str, orm.Data]:
        """Return the outputs of a finished calculation that hold the labels."""
        return {'misc': child.outputs.misc, 'trajectory': child.outputs.trajectory}

    def get_cost(self, child) -> dict[str, float]:
        """Return the cost of a job over all its calculations, as VASP reports it, those that failed included."""
        cost = {'wall_seconds': 0.0, 'core_hours': 0.0}
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
