"""The oracle Quantum ESPRESSO: one static ``pw.x`` calculation per configuration."""

from __future__ import annotations

import math
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.plugins import WorkflowFactory
from aiida_quantumespresso.common.types import SpinType

from ..restart import get_options
from .base import Oracle

PwBaseWorkChain = WorkflowFactory('quantumespresso.pw.base')

MAGNETIC_ELEMENTS = ('Cr', 'Mn', 'Fe', 'Co', 'Ni', 'Gd')
MIXING_BETA = 0.4
# pw.x's own 20 % of empty bands are too few for small metallic cells, whose k-points differ much in the number of
# occupied bands: measured on Al8 and Al16 with 0.05 Ry of smearing, 16 and 29 bands hold electrons where 12 and 24
# pairs have to be placed. Too few bands cost a second calculation.
BANDS_FACTOR = 1.3
BANDS_EXTRA = 4


class QuantumEspressoOracle(Oracle):
    """Static DFT with forces and stress, one ``PwBaseWorkChain`` per configuration."""

    CODE = 'pw'
    READER = 'qe'

    def __init__(self, parameters: dict[str, Any]):
        super().__init__(parameters)
        for key in ('pseudo_family', 'kpoints_distance'):
            if key not in parameters:
                raise ValueError(f'`label.{key}` is missing')
        for key in ('kpoints_distance', 'degauss', 'ecutwfc', 'ecutrho'):
            if parameters.get(key) is not None and parameters[key] <= 0:
                raise ValueError(f'`label.{key}` must be positive, got {parameters[key]}')
        if (parameters.get('ecutwfc') is None) != (parameters.get('ecutrho') is None):
            raise ValueError('`label.ecutwfc` and `label.ecutrho` belong together: give both or neither')

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of one static calculation with forces and stress."""
        parameters = self.parameters
        system = {key: parameters[key] for key in ('ecutwfc', 'ecutrho', 'smearing', 'degauss') if parameters.get(key)}
        magnetic = not set(structure.get_symbols_set()).isdisjoint(MAGNETIC_ELEMENTS)
        overrides = {
            'clean_workdir': True,
            'kpoints_distance': parameters['kpoints_distance'],
            'pseudo_family': parameters['pseudo_family'],
            'pw': {
                'parameters': {
                    'SYSTEM': {'occupations': 'smearing', **system},
                    'ELECTRONS': {'mixing_beta': MIXING_BETA},
                }
            },
        }
        builder = PwBaseWorkChain.get_builder_from_protocol(
            code,
            structure,
            overrides=overrides,
            spin_type=SpinType.COLLINEAR if magnetic else SpinType.NONE,
            options=get_options(options, max_wallclock_seconds=parameters.get('max_wallclock_seconds', 43200)),
        )
        builder.on_unhandled_failure = orm.Str('restart_once')
        pw_parameters = builder.pw.parameters.get_dict()
        pw_parameters['SYSTEM']['nbnd'] = self.get_number_of_bands(structure, builder.pw.pseudos)
        builder.pw.parameters = orm.Dict(pw_parameters)
        return builder

    @staticmethod
    def get_number_of_bands(structure: orm.StructureData, pseudos) -> int:
        """Return the number of bands: those that hold the valence electrons and enough empty ones for the smearing."""
        electrons = sum(pseudos[site.kind_name].z_valence for site in structure.sites)
        return math.ceil(BANDS_FACTOR * electrons / 2) + BANDS_EXTRA

    def get_labels(self, child) -> dict[str, orm.Data]:
        """Return the outputs of a finished calculation that hold the labels."""
        return {'parameters': child.outputs.output_parameters, 'trajectory': child.outputs.output_trajectory}

    def get_cost(self, child) -> dict[str, float]:
        """Return the wall time of a calculation."""
        if 'output_parameters' not in child.outputs:
            return {}
        return {'wall_seconds': child.outputs.output_parameters.get('wall_time_seconds', 0.0)}
