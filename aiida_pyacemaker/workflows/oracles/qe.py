"""The oracle Quantum ESPRESSO: one static ``pw.x`` calculation per configuration, its inputs made from physics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from aiida_pyacemaker.atomistics.core.cost import CostModel, number_of_bands
from aiida_pyacemaker.atomistics.core.plugins import CodePort
from aiida_pyacemaker.atomistics.labelling.convergence import TUNABLE
from aiida_pyacemaker.atomistics.labelling.dipole import isolation_parameters
from aiida_pyacemaker.atomistics.labelling.kpoints import Mesh, is_gamma_only, kpoints_mesh
from aiida_pyacemaker.atomistics.labelling.magnetism import Spin, get_spin

from .base import EngineOracle, JobCost

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_pyacemaker.atomistics.core.cost import CostModel
    from aiida_pyacemaker.runfile.sections import Label

MIXING_BETA = 0.4


@dataclass(frozen=True)
class Template:
    """What the labels of structures of the same kinds have in common.

    :param pseudos: by the name of the kind.
    :param parameters: input of pw.x for a structure of `atoms` atoms.
    :param options: `metadata.options`.
    :param shared: inputs of the work chain that are the same nodes for all.
    """

    pseudos: dict[str, orm.Data]
    parameters: dict[str, dict[str, Any]]
    atoms: int
    options: dict[str, Any]
    shared: dict[str, orm.Data]

    def get_parameters(self, atoms: int) -> dict[str, dict[str, Any]]:
        """Return the input of pw.x for a number of atoms, to which the thresholds of the protocol are proportional."""
        parameters = {namelist: dict(values) for namelist, values in self.parameters.items()}
        for namelist, key in (('CONTROL', 'etot_conv_thr'), ('ELECTRONS', 'conv_thr')):
            # rounded: the same number must come of whatever structure was the first, for the cache to find it again
            parameters[namelist][key] = float(f'{parameters[namelist][key] * atoms / self.atoms:.6g}')
        return parameters


class QuantumEspressoOracle(EngineOracle):
    """Static DFT with forces and stress, one ``PyacemakerPwBaseWorkChain`` per configuration."""

    codes = {'pw': CodePort('Quantum ESPRESSO `pw.x`, for the labels.', plugin='quantumespresso.pw')}
    citation = 'Quantum ESPRESSO: P. Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017)'
    process_types = ('aiida.calculations:quantumespresso.pw',)
    outputs = {'parameters': 'output_parameters', 'trajectory': 'output_trajectory', 'healing': 'healing'}
    optional_outputs = frozenset({'healing'})
    tunable = TUNABLE

    def __init__(self, label: Label):
        super().__init__(label)
        self._templates: dict[tuple, Template] = {}
        self._nodes: dict[tuple, orm.Data] = {}

    def complete(self, elements: list[str]) -> Label:
        """Return the section with the family of pseudopotentials and the cutoffs of the hardest element."""
        from aiida_pyacemaker.data.pseudos import default_pseudo_family, get_cutoffs

        family = self.label.pseudo_family or default_pseudo_family(elements)
        wave, density = self.label.ecutwfc, self.label.ecutrho
        if wave is None:
            wave, density = get_cutoffs(family, elements)
        return self.label.model_copy(update={'pseudo_family': family, 'ecutwfc': wave, 'ecutrho': density})

    def get_hints(self, elements: list[str]) -> dict[str, float]:
        """Return the cutoffs that the family recommends for the hardest element."""
        from aiida_pyacemaker.data.pseudos import get_cutoffs, get_high_cutoff

        family = self.complete(elements).pseudo_family
        wave, density = get_cutoffs(family, elements)
        return {'ecutwfc': wave, 'ecutrho': density, 'high': get_high_cutoff(family, elements)}

    def check(self, elements: list[str]) -> None:
        """Check that the family covers the elements, and has cutoffs where the run file has none."""
        from aiida_pyacemaker.data.pseudos import check_family

        check_family(self.complete(elements).pseudo_family, elements)
        if self.is_measured:
            self.get_hints(elements)

    def get_cost_model(self, elements: list[str]) -> CostModel:
        """Return what a static calculation is expected to cost."""
        from aiida_pyacemaker.data.pseudos import get_cost_model

        return get_cost_model(self.given, elements)

    @staticmethod
    def read_labels(frames, index, nodes) -> dict[int, Atoms]:
        """Return the labelled configuration of one calculation."""
        from aiida_pyacemaker.calculations.readers.qe import read

        return read(frames, index, nodes)

    def get_builder(self, code, configurations, indices, structure, options) -> ProcessBuilder:
        """Return the builder of one static calculation with forces and stress."""
        from aiida.plugins import WorkflowFactory

        atoms = configurations.get_structure_ase(indices[0])
        template = self.get_template(code, configurations, structure, options)
        builder = WorkflowFactory('pyacemaker.pw_base').get_builder()
        builder.pw.code = code
        builder.pw.structure = structure
        builder.pw.pseudos = template.pseudos
        builder.pw.metadata = {'options': template.options}
        builder.pw.parameters = self.get_parameters(atoms, structure, template)
        for name, node in template.shared.items():
            builder[name] = node
        mesh = kpoints_mesh(atoms, self.label.kpoints_distance)
        builder.kpoints = self.get_node(make_kpoints, mesh)
        if is_gamma_only(mesh):
            builder.pw.settings = self.get_node(make_gamma_only)
        return builder

    def get_node(self, factory: Callable[..., orm.Data], *arguments) -> orm.Data:
        """Return a node that the whole batch shares."""
        key = (factory, *arguments)
        if key not in self._nodes:
            self._nodes[key] = factory(*arguments)
        return self._nodes[key]

    def get_template(self, code, configurations, structure: orm.StructureData, options: dict[str, Any]) -> Template:
        """Return what the labels of structures of the same kinds have in common: looked up once in a batch."""
        kinds = tuple(sorted((kind.name, kind.symbol) for kind in structure.kinds))
        key = (kinds, structure.pbc, code.uuid, tuple(configurations.elements), json.dumps(options, sort_keys=True))
        if key not in self._templates:
            self._templates[key] = self.make_template(code, configurations, structure, options)
        return self._templates[key]

    def make_template(self, code, configurations, structure: orm.StructureData, options: dict[str, Any]) -> Template:
        """Return the template of a structure, made by the protocol of aiida-quantumespresso."""
        from aiida import orm
        from aiida.plugins import WorkflowFactory

        from ..worker_base import get_options

        complete = self.complete(configurations.elements)
        system = {
            'occupations': 'smearing',
            'smearing': complete.smearing,
            'degauss': complete.degauss,
            'ecutwfc': complete.ecutwfc,
            'ecutrho': complete.ecutrho,
        }
        builder = WorkflowFactory('pyacemaker.pw_base').get_builder_from_protocol(
            code,
            structure,
            overrides={
                'clean_workdir': complete.clean_workdir,
                'pseudo_family': complete.pseudo_family,
                'pw': {'parameters': {'SYSTEM': system, 'ELECTRONS': {'mixing_beta': MIXING_BETA}}},
            },
            options=get_options(options, max_wallclock_seconds=complete.max_wallclock_seconds),
        )
        return Template(
            pseudos=dict(builder.pw.pseudos),
            parameters=builder.pw.parameters.get_dict(),
            atoms=len(structure.sites),
            options=dict(builder.pw.metadata.options),
            shared={
                'clean_workdir': builder.clean_workdir,
                'max_iterations': builder.max_iterations,
                'on_unhandled_failure': self.get_node(orm.Str, 'restart_once'),
            },
        )

    def get_parameters(self, atoms: Atoms, structure: orm.StructureData, template: Template) -> orm.Dict:
        """Return the input of pw.x for one structure: thresholds, spins, bands, the electrostatics of vacuum.

        What was asked for and cannot be seen in it is in the extra ``ASKED``, from where the reader of labels takes it.
        """
        from aiida import orm

        from aiida_pyacemaker.calculations.readers.qe import ASKED

        names = [site.kind_name for site in structure.sites]
        valences = {name: template.pseudos[name].z_valence for name in dict.fromkeys(names)}
        parameters = template.get_parameters(len(names))
        for namelist, values in isolation_parameters(atoms, self.label.dipole_correction).items():
            parameters[namelist] |= values
        spin = get_spin(atoms, self.label.spin, names)
        if spin is not None:
            parameters['SYSTEM'] |= spin_parameters(spin, valences)
        electrons = sum(valences[name] for name in names)
        parameters['SYSTEM']['nbnd'] = number_of_bands(electrons, spin.total or 0.0 if spin else 0.0)
        node = orm.Dict(parameters)
        node.base.extras.set(ASKED, {'kpoints_distance': self.label.kpoints_distance, 'spin': self.label.spin})
        return node

    def get_cost(self, child) -> JobCost:
        """Return the cost of a job over all its calculations, those that failed included."""
        from aiida import orm

        calculations = [called for called in child.called_descendants if isinstance(called, orm.CalcJobNode)]
        # What comes from the cache has cost nothing this time.
        ran = [calculation for calculation in calculations if not calculation.base.caching.is_created_from_cache]
        seconds = [wall_seconds(calculation) for calculation in ran]
        processes = [number_of_processes(calculation) for calculation in ran]
        cost: JobCost = {
            'wall_seconds': float(sum(seconds)),
            'core_hours': float(np.dot(seconds, processes)) / 3600 if ran else 0.0,
        }
        for calculation in reversed(calculations):
            values = calculation.outputs.output_parameters if 'output_parameters' in calculation.outputs else {}
            if values and values.get('number_of_electrons') is not None:
                cost['electrons'] = float(values['number_of_electrons'])
                cost['atoms'] = int(values['number_of_atoms'])
                break
        disk = child.base.extras.get('disk_bytes', None)
        if disk is not None:
            cost['disk_bytes'] = disk
        return cost


def spin_parameters(spin: Spin, valences: dict[str, float]) -> dict[str, Any]:
    """Return the keys of the namelist SYSTEM that polarise the spins.

    :param valences: the number of valence electrons of each kind, which pw.x counts moments in.
    """
    starts = {name: round(max(-1.0, min(1.0, moment / valences[name])), 4) for name, moment in spin.moments.items()}
    fixed = {} if spin.total is None else {'tot_magnetization': spin.total}
    return {'nspin': 2, 'starting_magnetization': starts, **fixed}


def wall_seconds(calculation: orm.CalcJobNode) -> float:
    """Return how long a calculation ran: by pw.x, by the scheduler, or from its submission to the last look at it."""
    if 'output_parameters' in calculation.outputs:
        told = calculation.outputs.output_parameters.get('wall_time_seconds', None)
        if told is not None:
            return float(told)
    job = calculation.get_last_job_info()
    if job is not None and job.wallclock_time_seconds:
        return float(job.wallclock_time_seconds)
    last = calculation.get_scheduler_lastchecktime()
    return max(0.0, (last - calculation.ctime).total_seconds()) if last is not None else 0.0


def number_of_processes(calculation: orm.CalcJobNode) -> int:
    """Return how many cores a calculation occupied."""
    from ..concurrency import cores_of_job

    return cores_of_job({'resources': calculation.get_option('resources')})


def make_kpoints(mesh: Mesh) -> orm.KpointsData:
    """Return the node of an unshifted mesh, one in a profile for each."""
    from aiida import orm

    kpoints = orm.KpointsData(label='mesh {} {} {}'.format(*mesh))
    kpoints.set_kpoints_mesh(mesh)
    return reuse(kpoints)


def make_gamma_only() -> orm.Dict:
    """Return the node of the settings that make wave functions real."""
    from aiida import orm

    return reuse(orm.Dict({'GAMMA_ONLY': True}, label='Gamma only'))


def reuse(node: orm.Data) -> orm.Data:
    """Return the node of the profile with the same label and content, or the given one where there is none yet."""
    from aiida import orm

    query = orm.QueryBuilder().append(type(node), filters={'label': node.label}).order_by({type(node): 'id'})
    same = (found for found in query.all(flat=True) if found.base.attributes.all == node.base.attributes.all)
    return next(same, node)
