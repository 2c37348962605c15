"""A small provenance graph of a run of the loop, as the engine of AiiDA would leave it.

Real nodes with real content (a real potential, labelled frames), stored by hand: what `status`, `export` and `lineage`
read is there without an hour of DFT. The complete loop on real engines is covered by the slow test.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from plumpy import ProcessState

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData
from aiida_pyacemaker.runfile import resolve_runfile

#: What the tests read is given here, so that the protocol can change.
RUN_FILE = {
    'protocol': 'fast',
    'system': {'elements': ['Al']},
    'label': {'noise': None},
    'validate': {'energy_rmse': 0.005, 'force_rmse': 0.05},
    'budget': {'max_iterations': 8, 'max_labels': 80},
}

PROCESS_TYPES = {
    'ActiveLearningWorkChain': 'aiida.workflows:pyacemaker.active_learning',
    'LabelWorkChain': 'aiida.workflows:pyacemaker.label',
    'TrainWorkChain': 'aiida.workflows:pyacemaker.train',
    'ExploreWorkChain': 'aiida.workflows:pyacemaker.explore',
    'EmbedWorkChain': 'aiida.workflows:pyacemaker.embed',
    'EvaluateWorkChain': 'aiida.workflows:pyacemaker.evaluate',
    'ValidateWorkChain': 'aiida.workflows:pyacemaker.validate',
    'PwBaseWorkChain': 'aiida.workflows:quantumespresso.pw.base',
    'PwCalculation': 'aiida.calculations:quantumespresso.pw',
    'LammpsPaceCalculation': 'aiida.calculations:pyacemaker.lammps_pace',
    'PaceTrainCalculation': 'aiida.calculations:pyacemaker.pace_train',
    'PaceSelectCalculation': 'aiida.calculations:pyacemaker.pace_select',
    'PaceEvaluateCalculation': 'aiida.calculations:pyacemaker.pace_evaluate',
}


#: Parameters of a simulation that are read, and what each walker does.
EXPLORE = {'steps': 6000, 'timestep': 2.0, 'gamma_select': 2.0, 'gamma_halt': 5.0, 'temperature': [300.0, 900.0]}
PROGRAMS = ('heat', 'cool', 'compress')


def summarise(walkers: list[dict]) -> dict:
    """Return the results of an exploration."""
    return {
        'walkers': walkers,
        'number_halted': sum(walker['halted'] for walker in walkers),
        'number_failed': 0,
        'completed': not any(walker['halted'] for walker in walkers),
        'gamma_max': max(walker['gamma_max'] for walker in walkers),
    }


class RunGraph:
    """Build a run step by step.

    :param frames: labelled frames, with ``info['split']``.
    :param potential: directory of a potential.
    """

    def __init__(self, frames: list, potential: Path):
        self.frames = frames
        self.potential_directory = potential
        _, self.computer = orm.Computer.collection.get_or_create(
            label='graph',
            hostname='localhost',
            transport_type='core.local',
            scheduler_type='core.direct',
            workdir=tempfile.gettempdir(),
        )
        self.computer.store()
        self.runfile = resolve_runfile(RUN_FILE)
        parameters = self.runfile.to_dict()
        parameters['label']['pseudo_family'] = 'PseudoDojo/0.5/PBE/SR/standard/upf'
        lammps = orm.InstalledCode(
            label='lammps', computer=self.computer, filepath_executable='/usr/bin/lmp', prepend_text='export A=1'
        )
        inputs = {'parameters': orm.Dict(parameters), 'codes__lammps': lammps}
        self.run = self.work('ActiveLearningWorkChain', inputs)
        self.dataset: ConfigurationsData | None = None
        self.potential: AcePotentialData | None = None
        self.batches: dict[str, dict[str, ConfigurationsData]] = {}
        #: Of walkers that halted: step, and restart file.
        self.restarts: dict[int, tuple[int, orm.SinglefileData]] = {}

    # Nodes ------------------------------------------------------------------------------------------------------------

    def work(self, label, inputs, parent=None, call=None) -> orm.WorkChainNode:
        """Store a work chain that runs until :meth:`finish`."""
        node = orm.WorkChainNode(process_type=PROCESS_TYPES[label])
        node.set_process_type(PROCESS_TYPES[label])
        return self._process(node, label, inputs, LinkType.INPUT_WORK, parent, LinkType.CALL_WORK, call, None)

    def calculation(self, label, inputs, parent, call, outputs=None, files=None, ok: bool | None = True):
        """Store a calculation job with its outputs; ``files`` are ``(input, output)`` names and texts."""
        node = orm.CalcJobNode(computer=self.computer, process_type=PROCESS_TYPES[label])
        node.set_process_type(PROCESS_TYPES[label])
        node.set_option('resources', {'num_machines': 1})
        if files:
            (input_name, input_text), (output_name, output_text) = files
            node.set_option('input_filename', input_name)
            node.set_option('output_filename', output_name)
            node.base.repository.put_object_from_filelike(io.BytesIO(input_text.encode()), input_name)
            retrieved = orm.FolderData()
            retrieved.base.repository.put_object_from_filelike(io.BytesIO(output_text.encode()), output_name)
            outputs = {**(outputs or {}), 'retrieved': retrieved}
        self._process(node, label, inputs, LinkType.INPUT_CALC, parent, LinkType.CALL_CALC, call, ok)
        return self._create(node, outputs)

    def function(self, label, inputs, parent, call, outputs):
        """Store a calcfunction with its outputs."""
        node = orm.CalcFunctionNode()
        self._process(node, label, inputs, LinkType.INPUT_CALC, parent, LinkType.CALL_CALC, call, True)
        return self._create(node, outputs)

    def _process(self, node, label, inputs, input_link, parent, call_link, call, ok):
        node.set_process_label(label)
        node.set_process_state(ProcessState.WAITING if ok is None else ProcessState.FINISHED)
        if ok is not None:
            node.set_exit_status(0 if ok else 401)
            if not ok:
                node.set_exit_message('it failed')
        for name, data in inputs.items():
            node.base.links.add_incoming(data if data.is_stored else data.store(), input_link, name)
        if parent is not None:
            node.base.links.add_incoming(parent, call_link, call)
        return node.store()

    def _create(self, node, outputs):
        for name, data in (outputs or {}).items():
            data.base.links.add_incoming(node, LinkType.CREATE, name)
            data.store()
        if node.process_state == ProcessState.FINISHED:
            node.seal()
        return node

    def finish(self, node, outputs=None, ok: bool = True):
        """End a work chain with outputs."""
        for name, data in (outputs or {}).items():
            (data if data.is_stored else data.store()).base.links.add_incoming(node, LinkType.RETURN, name)
        node.set_process_state(ProcessState.FINISHED)
        node.set_exit_status(0 if ok else 500)
        if not ok:
            node.set_exit_message('Not converged: budget.max_labels is used up.')
        node.seal()
        return node

    # Steps ------------------------------------------------------------------------------------------------------------

    def label(self, iteration: int, configurations, failing: tuple[int, ...] = (), stop_after: int | None = None):
        """Label configurations; with ``stop_after`` the step is still running."""
        call = f'iteration_{iteration:02d}_label'
        step = self.work('LabelWorkChain', {'configurations': configurations}, self.run, call)
        frames = configurations.get_frames()
        done = []
        for index, frame in enumerate(frames[:stop_after]):
            structure = orm.StructureData(ase=frame)
            self.function(
                'get_structure',
                {'configurations': configurations, 'index': orm.Int(index)},
                step,
                f'structure_{index:04d}',
                {'result': structure},
            )
            ok = index not in failing
            base = self.work('PwBaseWorkChain', {'structure': structure}, step, f'label_{index:04d}')
            energy = orm.Dict({'energy': float(frame.calc.results['energy']), 'wall_time_seconds': 3.0})
            calculation = self.calculation(
                'PwCalculation',
                {'structure': structure},
                base,
                'iteration_01',
                {'output_parameters': energy} if ok else {},
                (('aiida.in', '&CONTROL\n/\n'), ('aiida.out', 'Program PWSCF v.6.7\n')),
                ok,
            )
            self.finish(base, {'output_parameters': energy} if ok else {}, ok)
            if ok:
                done.append((frame, calculation))
        if stop_after is not None:
            structure = orm.StructureData(ase=frames[stop_after]).store()
            base = self.work('PwBaseWorkChain', {'structure': structure}, step, f'label_{stop_after:04d}')
            self.calculation('PwCalculation', {'structure': structure}, base, 'iteration_01', ok=None)
            return {}
        outputs = {}
        for split in ('train', 'test'):
            chosen, energies = [], {}
            for frame, calculation in done:
                if frame.info['split'] == split:
                    frame.info['calculation'] = calculation.uuid
                    chosen.append(frame)
                    energies[f'parameters_{len(energies):04d}'] = calculation.outputs.output_parameters
            if chosen:
                outputs[split] = ConfigurationsData(chosen)
                inputs = {'configurations': configurations, **energies}
                self.function('collect_labels', inputs, step, f'collect_{split}', {split: outputs[split]})
        failures = [{'index': index, 'pk': 0, 'exit_status': 500, 'message': 'it failed'} for index in failing]
        results = orm.Dict(
            {
                'number_of_configurations': len(frames),
                'number_labelled': len(done),
                'number_failed': len(failing),
                'failures': failures,
                'wall_time_seconds': 3.0 * len(done),
            }
        )
        self.finish(step, {**outputs, 'results': results})
        return outputs

    def train(self, iteration: int, dataset, test):
        """Fit the next generation."""
        generation = 0 if self.potential is None else self.potential.generation + 1
        former = {} if self.potential is None else {'potential': self.potential}
        inputs = {'configurations': dataset, 'test': test, **former}
        namespaced = {f'job__{name}': node for name, node in inputs.items()}
        step = self.work('TrainWorkChain', namespaced, self.run, f'iteration_{iteration:02d}_train')
        errors = {'energy': {'rmse': 0.003}, 'forces': {'rmse': 0.04}}
        outputs = {'potential': self.new_potential(generation), 'results': orm.Dict({'train': errors, 'test': errors})}
        self.calculation('PaceTrainCalculation', inputs, step, 'iteration_01', outputs)
        self.finish(step, outputs)
        self.potential, self.dataset = outputs['potential'], dataset

    def new_potential(self, generation: int) -> AcePotentialData:
        """Return the potential as another generation, unstored."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = shutil.copytree(self.potential_directory, Path(scratch) / 'potential')
            metadata = json.loads((folder / 'metadata.json').read_text())
            (folder / 'metadata.json').write_text(json.dumps({**metadata, 'generation': generation}))
            return AcePotentialData.from_directory(folder)

    def evaluate(self, iteration: int, test, energy_rmse: float, force_rmse: float):
        """Measure the potential."""
        from aiida_pyacemaker.atomistics.potential.potential import AcePotential

        inputs = {'job__configurations': test, 'job__potential': self.potential}
        step = self.work('EvaluateWorkChain', inputs, self.run, f'iteration_{iteration:02d}_evaluate')
        calculator = AcePotential(self.potential_directory).calculator()
        predicted = []
        for atoms in test.get_frames():
            atoms.calc = calculator
            labels = {'energy': atoms.get_potential_energy(), 'forces': atoms.get_forces()}
            atoms.calc = SinglePoint(atoms, **labels)
            predicted.append(atoms)
        predictions = ConfigurationsData(predicted)
        bare = {name.removeprefix('job__'): node for name, node in inputs.items()}
        self.calculation('PaceEvaluateCalculation', bare, step, 'iteration_01', {'predictions': predictions})
        results = orm.Dict(
            {
                'energy': {'rmse': energy_rmse},
                'forces': {'rmse': force_rmse},
                'stress': {'rmse': 0.001},
                'passed': energy_rmse < 0.005 and force_rmse < 0.05,
            }
        )
        self.finish(step, {'predictions': predictions, 'results': results})

    def explore(self, iteration: int, ends: dict[int, str], stage: str = 'short', name: str = 'explore'):
        """Run simulations; a walker whose last one halted by gamma resumes from its restart file.

        :param ends: how the simulation of each walker ends; None: it still runs.
        :returns: what is to be chosen from, by walker.
        """
        call = f'iteration_{iteration:02d}_{name}'
        step = self.work('ExploreWorkChain', {'potential': self.potential}, self.run, call)
        walkers, chosen, restarts = [], {}, {}
        for walker, end in ends.items():
            label = f'walker_{walker:02d}'
            start, restart = self.restarts.pop(walker, (0, None))
            inputs = {'potential': self.potential, 'parameters': orm.Dict(EXPLORE)}
            inputs |= {'restart': restart} if restart is not None else {}
            results = self.simulate(walker, end, start) if end else {}
            outputs = self.get_outputs(end, start, results) if end else {}
            node = self.calculation(
                'LammpsPaceCalculation',
                inputs,
                step,
                label,
                outputs,
                (('input.in', 'units metal\n'), ('lammps.out', 'LAMMPS (22 Jul 2025)\n')) if end else None,
                ok=True if end else None,
            )
            node.base.extras.set_many({'stage': stage, 'program': PROGRAMS[walker]})
            walkers.append(results)
            chosen |= {label: outputs[key] for key in ('trajectory', 'halted') if key in outputs}
            if 'restart' in outputs:
                restarts[f'restarts__{label}'] = outputs['restart']
            if end == 'gamma':
                self.restarts[walker] = results['step'], outputs['restart']
        if None not in ends.values():
            self.finish(step, {'results': orm.Dict(summarise(walkers)), **restarts})
        return chosen

    def simulate(self, walker: int, end: str, start: int) -> dict:
        """Return the results of a simulation: it goes on for 1,800 steps, or to its end."""
        step = EXPLORE['steps'] if end == 'completed' else start + 1800
        return {
            'index': walker,
            'halted': end != 'completed',
            'reason': end,
            'start_step': start,
            'step': step,
            'steps': EXPLORE['steps'],
            'gamma_max': 7.5 if end == 'gamma' else 1.25,
            'diagnosis': f'{end} at step {step} of {EXPLORE["steps"]}',
        }

    def get_outputs(self, end: str, start: int, results: dict) -> dict:
        """Return the nodes that a simulation leaves."""
        steps = np.arange(start, results['step'] + 1, 100)
        thermo = orm.ArrayData()
        gamma = np.append(np.full(len(steps) - 1, 1.1), results['gamma_max'])
        arrays = {
            'step': steps,
            'temperature': 300 + steps / 10.0,
            'watch_step': steps,
            'watch_gamma_max': gamma,
            'watch_temperature': 300 + steps / 10.0,
        }
        for name, array in arrays.items():
            thermo.set_array(name, array)
        frames = []
        for step in (start + 100, results['step']):
            frames.append(self.frames[0].copy())
            frames[-1].info['step'] = int(step)
        outputs = {'results': orm.Dict(results), 'thermo': thermo}
        outputs['trajectory'] = ConfigurationsData(frames if end == 'completed' else frames[:1])
        if end in ('completed', 'gamma'):
            outputs['restart'] = orm.SinglefileData(io.BytesIO(b'binary'), filename='final.restart')
        if end != 'completed':
            outputs['halted' if end == 'gamma' else 'violation'] = ConfigurationsData(frames[1:])
        return outputs

    def embed(self, iteration: int, trajectories, frames):
        """Choose what to label."""
        step = self.work('EmbedWorkChain', {}, self.run, f'iteration_{iteration:02d}_embed')
        merged = ConfigurationsData([atoms for node in trajectories.values() for atoms in node.get_frames()])
        self.function('merge_configurations', trajectories, step, 'merge_snapshots', {'result': merged})
        chosen = ConfigurationsData(frames)
        inputs = {'configurations': merged, 'potential': self.potential}
        self.calculation('PaceSelectCalculation', inputs, step, 'iteration_01', {'configurations': chosen})
        self.finish(step, {'configurations': chosen})
        return chosen

    def merge(self, iteration: int, split: str, labels: dict) -> ConfigurationsData:
        """Return all batches of labels of a split in one node."""
        name = {'train': 'dataset', 'test': 'test_set'}[split]
        batches = self.batches.setdefault(split, {})
        batches[f'iteration_{iteration:02d}'] = labels[split]
        merged = ConfigurationsData([atoms for batch in batches.values() for atoms in batch.get_frames()])
        call = f'iteration_{iteration:02d}_{name}'
        self.function('merge_configurations', batches, self.run, call, {'result': merged})
        return merged


def SinglePoint(atoms, **labels):  # noqa: N802
    """Return a calculator that holds labels."""
    from ase.calculators.singlepoint import SinglePointCalculator

    return SinglePointCalculator(atoms, **labels)


def build_first_iteration(graph: RunGraph) -> None:
    """Build initial structures, their labels, the first potential and its errors."""
    generated = ConfigurationsData(graph.frames[:8])
    graph.function(
        'generate_configurations', {'parameters': orm.Dict({})}, graph.run, 'generate', {'result': generated}
    )
    labels = graph.label(0, generated, failing=(3,))
    test = graph.merge(0, 'test', labels)
    graph.train(0, graph.merge(0, 'train', labels), test)
    graph.evaluate(0, test, 0.012, 0.09)


def learn(graph: RunGraph, iteration: int, ends: dict[int, str], frames: slice, errors: tuple[float, float]) -> tuple:
    """Build an iteration that learns: simulations, choice, labels, fit, errors; return data set and test set."""
    labels = graph.label(iteration, graph.embed(iteration, graph.explore(iteration, ends), graph.frames[frames]))
    dataset, test = graph.merge(iteration, 'train', labels), graph.merge(iteration, 'test', labels)
    graph.train(iteration, dataset, test)
    graph.evaluate(iteration, test, *errors)
    return dataset, test


def build_finished(graph: RunGraph) -> orm.WorkChainNode:
    """Build a run of two iterations that converged."""
    build_first_iteration(graph)
    dataset, test = learn(graph, 1, {0: 'gamma', 1: 'completed'}, slice(8, 12), (0.0021, 0.033))
    graph.explore(2, {0: 'completed'})
    report = orm.Dict({'state': 'converged', 'reason': '', 'iterations': []})
    outputs = {'potential': graph.potential, 'dataset': dataset, 'test_set': test, 'report': report}
    return graph.finish(graph.run, outputs)


def build_running(graph: RunGraph) -> orm.WorkChainNode:
    """Build a run that is labelling in its first iteration: two done, one running, one waiting."""
    build_first_iteration(graph)
    chosen = graph.embed(1, graph.explore(1, {0: 'gamma', 1: 'completed'}), graph.frames[8:12])
    graph.label(1, chosen, stop_after=2)
    return graph.run


def build_exploring(graph: RunGraph) -> orm.WorkChainNode:
    """Build a run in its second stage: walker 0 halted twice and resumed, walker 1 broke down, both run anew.

    The second halt taught nothing. What the loop notes of itself is there too.
    """
    build_first_iteration(graph)
    learn(graph, 1, {0: 'gamma', 1: 'overlap'}, slice(8, 12), (0.0021, 0.033))
    graph.explore(2, {0: 'gamma'})
    graph.explore(3, {0: 'completed'})
    graph.explore(4, {0: None, 1: 'gamma'}, stage='long')
    surprise = {'rank_correlation': 0.71, 'forces': {'rmse': 0.182}}
    history = [
        {'iteration': 1, 'stage': 'short', 'round': 1, 'why': 'all walkers start anew: round 1', 'surprise': surprise},
        {'iteration': 2, 'stage': 'short', 'round': 1, 'why': '1 halted walkers resume with what was learned'},
        {'iteration': 4, 'stage': 'long', 'round': 2, 'why': 'all walkers start anew: round 2'},
    ]
    place = {'stage': 'long', 'stage_number': 2, 'stages': 2, 'round': 2, 'clean_rounds': 1, 'seeds': 2}
    progress = {**place, 'state': 'running', 'reason': '', 'waits_for': '2 simulations', 'history': history}
    graph.run.base.extras.set('progress', progress)
    return graph.run
