"""The job of the explorer `walk` and its parser: the floor of AiiDA."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

from aiida import orm
from aiida.common import CalcInfo, CodeInfo
from aiida.engine import CalcJob
from aiida.parsers import Parser

from aiida_pyacemaker import AcePotential, load_configurations, save_configurations
from aiida_pyacemaker.calculations.validators import section_validator
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData

from .walk import PARAMETERS, RESULTS, START, WalkParameters

KINDS = ('halted', 'trajectory')


class WalkCalculation(CalcJob):
    """A walk with a potential."""

    @classmethod
    def define(cls, spec):
        """Define the inputs and outputs."""
        super().define(spec)
        spec.input('potential', valid_type=AcePotentialData, help='What drives the walk.')
        spec.input('structure', valid_type=orm.StructureData, required=False, help='Where it starts.')
        spec.input('restart', valid_type=ConfigurationsData, required=False, help='Where it goes on.')
        spec.input('parameters', valid_type=orm.Dict, validator=section_validator(WalkParameters), help='What it does.')
        spec.output('results', valid_type=orm.Dict, required=False, help='How it ended.')
        for kind in KINDS:
            spec.output(kind, valid_type=ConfigurationsData, required=False, help=f'Frames of the kind {kind}.')
        spec.output('restart', valid_type=ConfigurationsData, required=False, help='The frame that halted it.')
        spec.inputs['metadata']['options']['parser_name'].default = 'stranger.walk'
        spec.inputs['metadata']['options']['resources'].default = lambda: {'num_machines': 1}
        spec.exit_code(303, 'ERROR_NO_RESULTS', message='The walk left no results: it crashed or was killed.')

    def prepare_for_submission(self, folder):
        """Write the input files."""
        inputs = self.inputs
        atoms = inputs.restart.get_frames()[0] if 'restart' in inputs else inputs.structure.get_ase()
        start = BytesIO()
        save_configurations(start, [atoms])
        with folder.open(START, 'wb') as handle:
            handle.write(start.getvalue())
        with folder.open(PARAMETERS, 'w') as handle:
            json.dump(inputs.parameters.get_dict(), handle)
        code = CodeInfo()
        code.code_uuid = inputs.code.uuid
        code.cmdline_params = ['-m', 'stranger.walk']
        code.stdout_name = 'walk.out'
        code.join_files = True
        job = CalcInfo()
        job.codes_info = [code]
        job.local_copy_list = [(inputs.potential.uuid, name, name) for name in AcePotential.FILES]
        job.retrieve_list = ['walk.out']
        job.retrieve_temporary_list = [RESULTS, *(f'{kind}.npz' for kind in KINDS)]
        return job


class WalkParser(Parser):
    """Reads how a walk ended, and its frames."""

    def parse(self, **kwargs):
        """Parse the retrieved files."""
        folder = Path(kwargs['retrieved_temporary_folder'])
        if not (folder / RESULTS).is_file():
            return self.exit_codes.ERROR_NO_RESULTS
        self.out('results', orm.Dict(json.loads((folder / RESULTS).read_text())))
        for kind in KINDS:
            path = folder / f'{kind}.npz'
            if path.is_file():
                frames = load_configurations(path)
                for atoms in frames:
                    atoms.info['parent'] = self.node.uuid
                self.out(kind, ConfigurationsData(frames))
                if kind == 'halted':
                    self.out('restart', ConfigurationsData(frames))
        return None
