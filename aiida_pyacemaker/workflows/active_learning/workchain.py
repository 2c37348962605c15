"""The main loop: from a list of elements to a potential that its own simulations no longer surprise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiida import orm
from aiida.engine import ProcessBuilder, ToContext, WorkChain, if_, while_
from aiida.plugins import DataFactory

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.explorers.walker import WalkerResult
from aiida_pyacemaker.atomistics.labelling.settings import check_consistent
from aiida_pyacemaker.atomistics.loop.progress import LoopSettings, Progress
from aiida_pyacemaker.atomistics.metrics.errors import surprise
from aiida_pyacemaker.calculations.functions.choose_crystals import choose_crystals
from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations
from aiida_pyacemaker.calculations.functions.starting_configurations import starting_configurations
from aiida_pyacemaker.data.structures import STRUCTURE_TYPES, check_moments, find_structure_nodes
from aiida_pyacemaker.runfile.sections import Explore

from ..explorers import load_explorer
from ..links import IterationLink, WalkerLink, iteration_name
from ..oracles import load_oracle
from ..reuse_children import submit_once
from . import builders
from .planning import get_cost_model, get_own_structures, plan_run
from .restart import (
    CHECKPOINTS,
    GIVEN_LABELS,
    checkpoint_name,
    get_batches,
    get_restart_inputs,
    load_labels,
    take_settings,
)

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')

#: What is told of each simulation of an iteration.
WALKER_KEYS = ('index', 'program', 'reason', 'start_step', 'step', 'steps', 'gamma_max', 'diagnosis')


if TYPE_CHECKING:
    from aiida.common import AttributeDict

    class Context(AttributeDict):
        """What the loop carries on from step to step; AiiDA keeps it as text, so nodes and plain content only."""

        #: The resolved run file, and the state of the loop, see `Progress.to_dict`.
        parameters: dict[str, Any]
        progress: dict[str, Any]
        #: The potential that explores, and the one that was made for production, if it is (still) the better one.
        potential: AcePotentialData | None
        production: AcePotentialData | None
        #: Every batch of labels by name, of the data set and of the test set, and all of each in one node.
        batches: dict[str, dict[str, ConfigurationsData]]
        dataset: ConfigurationsData | None
        test_set: ConfigurationsData | None
        #: The settings of the labels and their noise, if they were measured.
        label_noise: orm.Dict | None
        #: What is labelled next.
        to_label: ConfigurationsData | None
        #: Restart files of the walkers that resume, by `walker_NN`; cells in which walkers start, by their sizes.
        restarts: dict[str, orm.SinglefileData]
        starting: dict[str, ConfigurationsData]
        #: Snapshots of the clean rounds in a row, by round.
        trajectories: dict[str, ConfigurationsData]
        #: The crystals that the potential is judged on, and the process that has judged last.
        crystals: ConfigurationsData | None
        judged: orm.WorkChainNode | None
        #: Whether the potential or the test set is new, so that the errors are not known.
        new_test: bool
        #: What is told of the present iteration, and of those before it.
        entry: dict[str, Any]
        history: list[dict[str, Any]]
        #: The process of the last step of each kind.
        generate: orm.WorkChainNode
        converge: orm.WorkChainNode
        label: orm.WorkChainNode
        train: orm.WorkChainNode
        evaluate: orm.WorkChainNode
        explore: orm.WorkChainNode
        embed: orm.WorkChainNode
        fit: orm.WorkChainNode
        trial: orm.WorkChainNode
        validate: orm.WorkChainNode


class ActiveLearningWorkChain(WorkChain):
    """Explore with the current potential, halt where it extrapolates, label, learn, resume, until nothing halts.

    What comes next (which walkers resume, which stage follows, when the basis grows, when the loop has ended) is
    decided by :class:`~aiida_pyacemaker.atomistics.loop.progress.Progress`; here are the steps.
    """

    if TYPE_CHECKING:
        ctx: Context

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'codes',
            valid_type=orm.AbstractCode,
            dynamic=True,
            help='The engines, by their keys in the section `codes` of the run file: `lammps`, `worker` '
            '(`pyacemaker-worker`), and those of the oracle.',
        )
        spec.input('parameters', valid_type=orm.Dict, help='The resolved run file: every section with every value.')
        spec.input_namespace(
            'structures',
            valid_type=STRUCTURE_TYPES,
            dynamic=True,
            required=False,
            help="The user's own structures, labelled together with the generated ones.",
        )
        spec.input_namespace(
            'dataset',
            valid_type=ConfigurationsData,
            dynamic=True,
            required=False,
            help='Batches of labelled configurations to start from, instead of generating and labelling any.',
        )
        spec.input_namespace(
            'test_set',
            valid_type=ConfigurationsData,
            dynamic=True,
            required=False,
            help='Batches of labelled configurations that are held out.',
        )
        spec.input('potential', valid_type=AcePotentialData, required=False, help='The potential to start from.')
        spec.input_namespace(
            'restarts',
            valid_type=orm.Data,
            dynamic=True,
            required=False,
            help='What walkers, `walker_NN`, resume from that the former run left halted.',
        )
        spec.input(
            'first_iteration',
            valid_type=orm.Int,
            default=lambda: orm.Int(0),
            help='Number of the first iteration, so that a continued run counts on.',
        )
        spec.input(
            'progress',
            valid_type=orm.Dict,
            required=False,
            help='How far the former run had come after its last fit.',
        )
        spec.input(
            'label_noise',
            valid_type=orm.Dict,
            required=False,
            help='The settings of the labels and their noise, as a former run has measured them.',
        )
        builders.expose_overrides(spec)
        spec.inputs.validator = builders.validate_inputs
        # What is done with a result. It stands in the outline twice: in the loop, as what the gate asks for has the
        # loop go on, and after it for a run whose budget has ended it before the loop came to a result.
        production = (
            if_(cls.should_produce)(
                cls.run_production,
                cls.inspect_production,
            ),
            if_(cls.should_run_trial)(
                cls.run_trial,
                cls.inspect_trial,
            ),
            if_(cls.should_validate)(
                cls.run_validate,
                cls.inspect_validate,
            ),
        )
        spec.outline(
            cls.setup,
            if_(cls.should_generate)(
                cls.run_generate,
                cls.inspect_generate,
                if_(cls.should_converge)(
                    cls.run_converge,
                    cls.inspect_converge,
                ),
                cls.run_label,
                cls.inspect_label,
            ),
            if_(cls.should_train)(
                cls.run_train,
                cls.inspect_train,
            ),
            if_(cls.should_evaluate)(
                cls.run_evaluate,
                cls.inspect_evaluate,
            ),
            cls.close_iteration,
            while_(cls.should_iterate)(
                cls.check_potential,
                if_(cls.should_explore)(
                    cls.run_explore,
                    cls.inspect_explore,
                ),
                if_(cls.should_embed)(
                    cls.run_embed,
                    cls.inspect_embed,
                ),
                if_(cls.should_label)(
                    cls.run_label,
                    cls.inspect_label,
                ),
                if_(cls.should_train)(
                    cls.run_train,
                    cls.inspect_train,
                ),
                if_(cls.should_evaluate)(
                    cls.run_evaluate,
                    cls.inspect_evaluate,
                ),
                *production,
                cls.close_iteration,
            ),
            # once more for a run whose loop does not iterate
            *production,
            cls.results,
        )
        spec.output('potential', valid_type=AcePotentialData, required=False, help='The best potential.')
        spec.output(
            'exploring_potential',
            valid_type=AcePotentialData,
            required=False,
            help='The potential that explored, and that a continued run goes on from, if the best one is another.',
        )
        spec.output('dataset', valid_type=ConfigurationsData, required=False, help='Everything it was trained on.')
        spec.output('test_set', valid_type=ConfigurationsData, required=False, help='Everything it was measured on.')
        spec.output(
            'label_noise',
            valid_type=orm.Dict,
            required=False,
            help='The settings of the labels and their noise, as measured at the start: `results` of '
            '`ConvergeWorkChain`.',
        )
        spec.output('report', valid_type=orm.Dict, required=False, help='End state and the story of each iteration.')
        spec.output(
            'validation', valid_type=orm.Dict, required=False, help='The verdict of the gate on the best potential.'
        )
        spec.output(
            'validation_content', valid_type=orm.Dict, required=False, help='Everything that the gate has looked at.'
        )
        spec.output(
            'validation_report',
            valid_type=orm.SinglefileData,
            required=False,
            help='The same for people: one HTML file.',
        )

        spec.exit_code(210, 'ERROR_MIXED_SETTINGS', message='Labels that do not belong together: {message}')
        spec.exit_code(
            211,
            'ERROR_CORRUPT_POTENTIAL',
            message='Potential <{pk}>: {files} is no longer what was stored. Restore the repository of the profile '
            'from a backup, or continue with `restart_from`, which goes on from the last sound potential.',
        )
        spec.exit_code(401, 'ERROR_LABEL_FAILED', message='Labelling failed in iteration {iteration}: {message}')
        spec.exit_code(402, 'ERROR_TRAIN_FAILED', message='The fit failed in iteration {iteration}: {message}')
        spec.exit_code(
            403, 'ERROR_EXPLORE_FAILED', message='The exploration failed in iteration {iteration}: {message}'
        )
        spec.exit_code(404, 'ERROR_EMBED_FAILED', message='The selection failed in iteration {iteration}: {message}')
        spec.exit_code(
            405, 'ERROR_VALIDATE_FAILED', message='The validation failed in iteration {iteration}: {message}'
        )
        spec.exit_code(
            406, 'ERROR_EVALUATE_FAILED', message='The errors could not be measured in iteration {iteration}: {message}'
        )
        spec.exit_code(
            407, 'ERROR_CONVERGE_FAILED', message='The settings of the labels, iteration {iteration}: {message}'
        )
        spec.exit_code(
            408, 'ERROR_GENERATE_FAILED', message='The initial structures failed in iteration {iteration}: {message}'
        )
        spec.exit_code(
            500,
            'ERROR_BUDGET_EXHAUSTED',
            message='Not converged: {budget} is used up. The last potential is in the outputs; raise the budget and '
            'continue with `restart_from`.',
        )
        spec.exit_code(501, 'ERROR_STALLED', message='Not converged, and no longer getting better: {reason}.')
        spec.exit_code(502, 'ERROR_GATE_FAILED', message='Converged, but not deployed: {reason}')

    # Builders ---------------------------------------------------------------------------------------------------------

    @classmethod
    def get_builder_from_protocol(cls, elements, protocol=None, overrides=None, codes=None, restart_from=None):
        """Return a builder from a protocol, as the other plugins of AiiDA do.

        :param elements: list of chemical symbols.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: nested dictionary that mirrors the sections of a run file.
        :param codes: mapping of ``pw``, ``lammps``, ``worker``... to ``label@computer``.
        :param restart_from: pk, uuid or node of a former run to continue.
        """
        from aiida_pyacemaker.runfile import resolve_runfile

        content = {**(overrides or {}), 'system': {'elements': list(elements)}}
        if protocol is not None:
            content['protocol'] = protocol
        if codes is not None:
            content['codes'] = codes
        return cls.get_builder_from_runfile(resolve_runfile(content), restart_from=restart_from)

    @classmethod
    def get_builder_from_runfile(cls, runfile, restart_from=None, labels=(), plan=None):
        """Return a builder for a run file.

        :param runfile: a run file as :func:`~aiida_pyacemaker.runfile.load_runfile` returns it.
        :param restart_from: pk, uuid or node of a former run to continue.
        :param labels: pks, uuids or nodes of further labelled configurations, which join the data set.
        :param plan: what :func:`~.planning.plan_run` has told of it, if it was asked before.
        :raises InputError: if something of these is not there, or of no use.
        """
        parameters, codes = runfile.to_dict(), runfile.needed_codes()
        parameters['label'] = load_oracle(runfile.label).prepare(runfile.system.elements).model_dump()
        if plan is None:
            plan = plan_run(runfile, get_own_structures(runfile), get_cost_model(runfile))
        plan.complete(parameters)

        builder = cls.get_builder()
        builder.codes = {name: orm.load_code(label) for name, label in codes.items()}
        builder.parameters = orm.Dict(parameters)
        builder.metadata.label = f'{"-".join(parameters["system"]["elements"])} {parameters["protocol"]}'
        if parameters['structures']['files']:
            builder.structures['files'] = ConfigurationsData(runfile.read_structures())
        nodes = find_structure_nodes(parameters['structures']['nodes'])
        check_moments(nodes, parameters['structures']['moments'])
        for node in nodes:
            builder.structures[f'node_{node.pk}'] = node
        if restart_from is not None:
            for name, value in get_restart_inputs(restart_from).items():
                builder[name] = value
            label = take_settings(restart_from, builder.label_noise, parameters['label'])
            builder.parameters = orm.Dict({**parameters, 'label': label})
        if restart_from is not None and labels and builder.potential is None:
            raise InputError(
                'labels',
                'the former run has no finished fit, and these labels would stand for its whole data set',
                'continue it without them first',
            )
        for identifier in labels:
            node, name = load_labels(identifier, parameters)
            builder[name][f'{GIVEN_LABELS}{node.pk}'] = node
        return builder

    # Outline ----------------------------------------------------------------------------------------------------------

    def setup(self):
        """Initialise what the iterations carry on."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        self.ctx.label_noise = None
        if 'label_noise' in self.inputs:
            self.take_noise(self.inputs.label_noise)
        self.ctx.potential = self.inputs.get('potential', None)
        # Every batch of labels is kept under its name, and a data set is made of all of them at once: merging one onto
        # the other would lengthen the path from a potential to its DFT calculations with every iteration.
        self.ctx.batches = {name: dict(self.inputs.get(name, {})) for name in ('dataset', 'test_set')}
        self.ctx.dataset = self.ctx.test_set = None
        self.ctx.restarts = dict(self.inputs.get('restarts', {}))
        self.ctx.starting = {}
        self.ctx.trajectories = {}
        self.ctx.to_label = None
        self.ctx.production = None
        self.ctx.crystals = self.ctx.judged = None
        self.ctx.new_test = True
        self.ctx.history = []
        progress = self.get_first_progress()
        self.ctx.entry = {'iteration': progress.iteration}
        self.keep(progress)
        mixture = self.merge_batches()
        if self.ctx.label_noise is None and self.ctx.dataset is not None:
            self.take_settings_of_labels()
        return mixture

    def take_settings_of_labels(self):
        """Take the settings that are null from the labels that the run starts from: others would not go with them."""
        label = self.ctx.parameters['label']
        told = self.ctx.dataset.get_frames()[0].info.get('settings') or {}
        oracle = load_oracle(label)
        complete = oracle.complete(self.ctx.parameters['system']['elements']).model_dump()
        for key in oracle.get_tunable():
            if label[key] is None:
                label[key] = told.get(key, complete[key])

    def take_noise(self, node: orm.Dict):
        """Go on with the settings that were chosen; their noise goes into weights of fits and limits of errors.

        :param node: what `ConvergeWorkChain` has found.
        """
        found, parameters = node.get_dict(), self.ctx.parameters
        self.ctx.label_noise = node
        for key, value in found['settings'].items():
            if parameters['label'].get(key) is None:
                parameters['label'][key] = value
        # what given settings leave beyond the wanted noise is told, not used: a potential learns what of it changes
        # smoothly with the cell, and limits that follow it would excuse any potential
        noise = {name: min(value, found['wanted'][name]) for name, value in found['noise'].items()}
        for section in ('train', 'validate'):
            if parameters[section].get('noise') is None:
                parameters[section]['noise'] = noise

    def get_first_progress(self) -> Progress:
        """Return how far the loop has come before it begins: where a former run was after its last fit, or nowhere."""
        if 'progress' in self.inputs:
            progress = Progress.continued(self.settings, self.inputs.progress.get_dict())
        else:
            first = self.inputs.first_iteration.value
            progress = Progress(self.settings, iteration=first, first_iteration=first)
        progress.resuming = sorted(WalkerLink.parse(name).index for name in self.ctx.restarts)
        progress.fit_due = self.has_unseen_labels()
        return progress

    @property
    def progress(self) -> Progress:
        """How far the loop has come. What is changed in it must be kept, see :meth:`keep`."""
        return Progress.from_dict(self.settings, self.ctx.progress)

    @property
    def settings(self) -> LoopSettings:
        """What the loop needs to know of the run file."""
        return LoopSettings.from_runfile(self.ctx.parameters)

    def keep(self, progress: Progress, waits_for: str = ''):
        """Keep a progress in the context, and show it to those who look at the node while the run goes on.

        :param waits_for: what the run waits for, for people.
        """
        self.ctx.progress = progress.to_dict()
        story = {
            'stage': progress.stage_name,
            'stage_number': progress.stage + 1,
            'stages': len(self.ctx.parameters['explore']['stages']),
            'round': progress.round,
            'clean_rounds': progress.clean_rounds,
            'seeds': self.ctx.parameters['explore']['seeds'],
            'state': progress.state,
            'reason': progress.reason,
            'waits_for': waits_for,
            'history': [*self.ctx.history, self.ctx.entry],
        }
        self.node.base.extras.set('progress', story)

    def has_unseen_labels(self) -> bool:
        """Return whether there are labels to start from that the potential to start from was not trained on."""
        if self.ctx.potential is None or self.ctx.potential.creator is None:
            return self.ctx.potential is None and bool(self.ctx.batches['dataset'])
        trained_on = self.ctx.potential.creator.inputs.configurations
        seen = {trained_on.uuid, *(batch.uuid for batch in get_batches(trained_on).values())}
        return any(batch.uuid not in seen for batch in self.ctx.batches['dataset'].values())

    def should_generate(self) -> bool:
        """Return whether there is nothing labelled to start from."""
        return self.ctx.dataset is None

    def run_generate(self):
        """Generate the initial structures, the user's own among them."""
        structures = self.inputs.get('structures', {})
        builder = builders.build_generate(self.inputs.codes, self.ctx.parameters, structures)
        return ToContext(generate=self.submit_step('generate', builder, 'the initial structures'))

    def inspect_generate(self):
        """Take the initial structures over as what to label next."""
        node = self.ctx.generate
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_GENERATE_FAILED, node)
        self.ctx.to_label = node.outputs.configurations
        notes = '; '.join(node.outputs.results['notes'])
        self.report(f'{len(self.ctx.to_label)} initial configurations{": " if notes else ""}{notes}')
        return None

    def should_converge(self) -> bool:
        """Return whether the noise of the labels is to be measured."""
        return self.ctx.label_noise is None and load_oracle(self.ctx.parameters['label']).is_measured

    def run_converge(self):
        """Choose the settings of the labels that are null, and measure the noise of all."""
        builder = builders.build_converge(self.inputs.codes, self.ctx.parameters, self.ctx.to_label)
        return ToContext(converge=self.submit_step('converge', builder, 'the settings of the labels'))

    def inspect_converge(self):
        """Take the settings, and say before the labels start if they are noisier than wanted."""
        node = self.ctx.converge
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_CONVERGE_FAILED, node)
        found = node.outputs.results.get_dict()
        self.take_noise(node.outputs.results)
        self.ctx.entry['label_noise'] = {key: found[key] for key in ('settings', 'noise', 'reached', 'message')}
        self.keep(self.progress)
        self.report(found['message'])
        return None

    def run_label(self):
        """Label the configurations at hand."""
        builder = builders.build_label(self.inputs.codes, self.ctx.parameters, self.ctx.to_label)
        name = builders.find_overrides(builder)
        number = len(self.ctx.to_label)
        waits_for = f'{number} {"label" if number == 1 else "labels"}'
        return ToContext(label=self.submit_step('label', builder, waits_for, overrides=name))

    def inspect_label(self):
        """Add the labels to the data sets, also those of a batch in which too much failed."""
        node, self.ctx.to_label = self.ctx.label, None
        number, frames = {'train': 0, 'test': 0}, []
        for split, name in (('train', 'dataset'), ('test', 'test_set')):
            if split not in node.outputs:
                continue
            self.ctx.batches[name][iteration_name(self.ctx.progress['iteration'])] = node.outputs[split]
            number[split] = self.ctx.entry[f'labels_{split}'] = len(node.outputs[split])
            frames += node.outputs[split].get_frames()
        if 'results' in node.outputs:
            results = node.outputs.results.get_dict()
            self.ctx.entry['labels_failed'] = results['number_failed']
            self.ctx.entry['labels_suspect'] = results.get('number_suspect', 0)
            self.ctx.entry['core_hours'] = results.get('core_hours')
        self.ctx.new_test = self.ctx.new_test or bool(number['test'])
        progress = self.progress
        self.ctx.entry['surprise'] = surprise(frames)
        progress.labelled(**number, surprise=self.ctx.entry['surprise'])
        self.keep(progress)
        mixture = self.merge_batches()
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_LABEL_FAILED, node)
        return mixture

    def merge_batches(self):
        """Make ``dataset`` and ``test_set``: all batches of labels in one node each, None if there are none.

        :returns: an exit code if labels of different settings meet, which ``label.mix_settings`` would allow.
        """
        mix = builders.may_mix(self.ctx.parameters)
        batches = [batch for name in ('dataset', 'test_set') for batch in self.ctx.batches[name].values()]
        try:
            if not mix:
                check_consistent([atoms for batch in batches for atoms in batch.get_frames()])
        except ValueError as exception:
            self.fail(str(exception))
            return self.exit_codes.ERROR_MIXED_SETTINGS.format(message=str(exception))
        for name in ('dataset', 'test_set'):
            present = iteration_name(self.ctx.progress['iteration'])
            if self.ctx.batches[name] and (self.ctx[name] is None or present in self.ctx.batches[name]):
                allowed = {'mix_settings': orm.Bool(True)} if mix else {}
                link = IterationLink(name, self.ctx.progress['iteration'])
                self.ctx[name] = merge_configurations(
                    **self.ctx.batches[name], **allowed, metadata={'call_link_label': link.label}
                )
        return None

    def should_train(self) -> bool:
        """Return whether there are labels that no potential has seen, or the basis is to grow."""
        return self.progress.fit_due

    def run_train(self):
        """Fit the next generation."""
        generation = 0 if self.ctx.potential is None else self.ctx.potential.generation + 1
        n_atoms = sum(len(atoms) for atoms in self.ctx.dataset.get_frames())
        changes = {**self.progress.fit_parameters(n_atoms), 'generation': generation}
        waits_for = f'the fit of {len(self.ctx.dataset)} configurations'
        return ToContext(train=self.submit_fit('train', changes, self.ctx.potential, waits_for))

    def submit_fit(self, step: str, changes: dict, potential, waits_for: str):
        """Submit a fit to all labels.

        :param changes: what is other than in the section `train` of the run file.
        :param potential: the potential to continue from, None for none.
        """
        builder = builders.build_train(
            self.inputs.codes, self.ctx.parameters, self.ctx.dataset, self.ctx.test_set, potential, changes
        )
        return self.submit_step(step, builder, waits_for, overrides='train')

    def inspect_train(self):
        """Take the new potential over, and say so if its training set is degenerate."""
        node = self.ctx.train
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_TRAIN_FAILED, node)
        self.ctx.potential = node.outputs.potential
        self.ctx.new_test = True
        results, progress = node.outputs.results.get_dict(), self.progress
        progress.trained(results)
        cold_start = results.get('cold_start') or {}
        self.ctx.entry.update(
            generation=self.ctx.potential.generation,
            number_of_functions=progress.functions_used,
            cold_start=cold_start,
        )
        self.keep(progress)
        self.keep_checkpoint()
        if cold_start.get('degenerate'):
            self.report(
                f'the training set is degenerate: median gamma {cold_start["median_gamma"]:.3g} on held-out rattled '
                'cells, so simulations will halt at once. More low-symmetry cells help: raise '
                '`structures.rattle.number`, or lower `train.number_of_functions`.'
            )

    def keep_checkpoint(self):
        """Leave with the node what a continued run needs to go on from this fit."""
        checkpoints = self.node.base.extras.get(CHECKPOINTS, {})
        name = checkpoint_name(self.ctx.progress['iteration'])
        self.node.base.extras.set(CHECKPOINTS, {**checkpoints, name: self.ctx.progress})

    def should_evaluate(self) -> bool:
        """Return whether the potential or the held-out set is new."""
        return self.ctx.new_test and self.ctx.test_set is not None and self.ctx.potential is not None

    def run_evaluate(self):
        """Measure the potential on the held-out set."""
        builder = builders.build_evaluate(self.inputs.codes, self.ctx.parameters, self.ctx.potential, self.ctx.test_set)
        waits_for = f'the errors on {len(self.ctx.test_set)} held-out configurations'
        return ToContext(evaluate=self.submit_step('evaluate', builder, waits_for))

    def inspect_evaluate(self):
        """Note the errors and whether they meet the criteria."""
        node = self.ctx.evaluate
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_EVALUATE_FAILED, node)
        results, progress = node.outputs.results.get_dict(), self.progress
        self.ctx.new_test = False
        passed = progress.validated(results)
        self.ctx.entry.update(
            energy_rmse=results['energy']['rmse'], force_rmse=results['forces']['rmse'], passed=passed
        )
        self.keep(progress)
        self.report(
            f'generation {self.ctx.potential.generation}: {results["energy"]["rmse"] * 1e3:.2f} meV/atom, '
            f'{results["forces"]["rmse"] * 1e3:.1f} meV/Å on {len(self.ctx.test_set)} held-out configurations'
        )

    def close_iteration(self):
        """Decide what the iteration that ends here meant, and begin the next, unless the loop has ended."""
        progress = self.progress
        self.ctx.entry['clean_rounds'] = progress.clean_rounds
        goes_on = progress.advance(self.number_of_labels(), self.core_hours())
        if goes_on and progress.requested:
            self.ctx.to_label = self.ctx.judged.outputs.requested
        if goes_on:
            self.ctx.history.append(self.ctx.entry)
            self.ctx.entry = {
                'iteration': progress.iteration,
                'stage': progress.stage_name,
                'round': progress.round,
                'generation': self.ctx.potential.generation,
                'why': progress.why,
            }
            self.report(f'iteration {progress.iteration}, stage {progress.stage_name}: {progress.why}')
        self.keep(progress)

    def should_iterate(self) -> bool:
        """Return whether there is another iteration to do."""
        return self.progress.state == 'running'

    def number_of_labels(self) -> int:
        """Return how many configurations were labelled for this run, not counting the labels that it was given."""
        batches = [item for batches in self.ctx.batches.values() for item in batches.items()]
        return sum(len(node) for name, node in batches if not name.startswith(GIVEN_LABELS))

    def core_hours(self) -> float:
        """Return what the labels of this run have taken, those of a former one and those that are found again not."""
        return sum(entry.get('core_hours') or 0.0 for entry in [*self.ctx.history, self.ctx.entry])

    def check_potential(self):
        """Stop before a potential is used whose files the disk has lost or changed."""
        corrupt = self.ctx.potential.find_corrupt()
        if corrupt:
            pk, files = self.ctx.potential.pk, ', '.join(corrupt)
            self.fail(f'potential <{pk}>: {files} is no longer what was stored')
            return self.exit_codes.ERROR_CORRUPT_POTENTIAL.format(pk=pk, files=files)
        return None

    def should_explore(self) -> bool:
        """Return whether this iteration simulates: one in which only the basis grows does not."""
        return self.progress.explores

    def run_explore(self):
        """Resume the walkers that halted, or else start a new round."""
        progress = self.progress
        walkers = progress.walkers_to_run()
        node = self.submit_exploration(
            'explore',
            self.explore,
            progress.stage,
            self.ctx.potential,
            f'{len(walkers)} simulations',
            walkers=walkers,
            restarts=self.ctx.restarts,
        )
        return ToContext(explore=node)

    @property
    def explore(self) -> Explore:
        """The section `explore` of the run file."""
        return Explore.model_validate(self.ctx.parameters['explore'])

    def submit_exploration(
        self, step: str, explore: Explore, stage: int, potential, waits_for: str, walkers=None, restarts=None
    ):
        """Submit the simulations of a round.

        :param explore: the section `explore`.
        :param stage: that of the section.
        :param walkers: indices of those to run; None: all.
        :param restarts: restart files of walkers that resume, by `walker_NN`.
        """
        sizes = load_explorer(explore.explorer).starting_sizes(
            explore, stage, self.ctx.parameters['embed']['max_atoms']
        )
        # The seed depends on numbers that a continued run finds again, so that what it repeats comes from the cache.
        builder = builders.build_explore(
            self.inputs.codes,
            self.ctx.parameters,
            potential,
            self.get_starting_configurations(sizes),
            explore,
            stage=stage,
            seed=self.progress.seed,
            walkers=walkers,
            restarts=restarts,
        )
        return self.submit_step(step, builder, waits_for, overrides='explore')

    def get_starting_configurations(self, sizes: dict):
        """Return the cells in which the walkers of a stage start.

        :param sizes: number and size of the cells.
        """
        name = '_'.join(str(value) for value in sizes.values())
        if name not in self.ctx.starting:
            self.ctx.starting[name] = starting_configurations(
                orm.Dict({**builders.get_structure_parameters(self.ctx.parameters), **sizes}),
                **self.inputs.get('structures', {}),
                metadata={'call_link_label': f'starting_configurations_{len(self.ctx.starting)}'},
            )
        return self.ctx.starting[name]

    def inspect_explore(self):
        """Note how the simulations ended, and which of them resume."""
        node = self.ctx.explore
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_EXPLORE_FAILED, node)
        results, progress = node.outputs.results.get_dict(), self.progress
        progress.explored([WalkerResult.from_dict(walker) for walker in results['walkers']], results.get('failed', []))
        names = [WalkerLink(index).name for index in progress.resuming]
        self.ctx.restarts = {name: node.outputs.restarts[name] for name in names}
        self.ctx.entry.update(
            number_halted=results['number_halted'],
            number_failed=results['number_failed'],
            gamma_max=results['gamma_max'],
            ended=progress.ended,
            walkers=[{key: walker.get(key) for key in WALKER_KEYS} for walker in results['walkers']],
        )
        if progress.clean_rounds <= 1:
            self.ctx.trajectories = {}
        if 'trajectory' in node.outputs:
            self.ctx.trajectories[f'trajectory_{progress.round:03d}'] = node.outputs.trajectory
        self.keep(progress)

    def should_embed(self) -> bool:
        """Return whether the simulations left something to learn from or to measure on."""
        progress = self.progress
        if not progress.explores or progress.selection() is None:
            return False
        return bool(self.get_snapshots())

    def get_snapshots(self) -> dict:
        """Return the frames to choose from: those of the last simulations, after clean rounds those of all of them."""
        outputs = self.ctx.explore.outputs
        return {**self.ctx.trajectories, **({'halted': outputs.halted} if 'halted' in outputs else {})}

    def run_embed(self):
        """Choose what to label: around the halts, or from simulations that passed without any."""
        progress = self.progress
        builder = builders.build_embed(
            self.inputs.codes,
            self.ctx.parameters,
            self.ctx.potential,
            self.get_snapshots(),
            progress.selection(),
            seed=self.ctx.parameters['seed'] * 100 + progress.iteration,
        )
        return ToContext(embed=self.submit_step('embed', builder, 'the choice of what to label'))

    def inspect_embed(self):
        """Take the selection over as what to label next; it may be empty."""
        node = self.ctx.embed
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_EMBED_FAILED, node)
        self.ctx.to_label = node.outputs.configurations if 'configurations' in node.outputs else None
        if self.ctx.to_label is None:
            self.report('nothing new to label was found')

    def should_label(self) -> bool:
        """Return whether something was chosen."""
        return self.ctx.to_label is not None

    def should_produce(self) -> bool:
        """Return whether the potential for production is to be fitted."""
        return self.progress.production_due

    def run_production(self):
        """Fit all labels from scratch, with the basis that is worth its cost on them."""
        changes = {**self.progress.production_parameters(), 'generation': self.ctx.potential.generation}
        return ToContext(fit=self.submit_fit('production', changes, None, 'the production fit'))

    def inspect_production(self):
        """Note whether the production potential is the better one; a fit that failed does not fail the run."""
        node, progress = self.ctx.fit, self.progress
        self.ctx.production = None
        if node.is_finished_ok:
            progress.produced(node.outputs.results.get_dict())
            if progress.production['kept']:
                self.ctx.production = node.outputs.potential
        else:
            progress.production_failed(f'{node.process_label}<{node.pk}>: {node.exit_message}')
        self.ctx.entry['production'] = progress.production
        self.keep(progress)
        self.report(f'production fit: {progress.production["why"]}')

    def should_run_trial(self) -> bool:
        """Return whether the production potential has still to show that simulations with it are stable."""
        return self.progress.proof_due

    def run_trial(self):
        """Run the simulations of the last stage with the production potential, without a limit on gamma."""
        waits_for = 'simulations with the production potential'
        node = self.submit_exploration('proof', self.progress.proof(self.explore), 0, self.ctx.production, waits_for)
        return ToContext(trial=node)

    def inspect_trial(self):
        """Keep the production potential if all simulations came to their end."""
        node, progress = self.ctx.trial, self.progress
        results = node.outputs.results.get_dict() if 'results' in node.outputs else {'walkers': []}
        walkers = [WalkerResult.from_dict(walker) for walker in results['walkers']]
        if not progress.proven(walkers, results.get('failed', [])):
            self.ctx.production = None
        self.ctx.entry['production'] = progress.production
        self.keep(progress)
        self.report(f'production fit: {progress.production["why"]}')

    def should_validate(self) -> bool:
        """Return whether the result is there and has still to be judged."""
        return self.progress.gate_due

    def run_validate(self):
        """Judge the physics of the result; it is deployed if it passes and the simulations have passed, too."""
        # one structure at least may be asked for, so that it is the budget that ends the loop
        left = self.ctx.parameters['budget']['max_labels'] - self.number_of_labels()
        builder = builders.build_validate(
            self.inputs.codes,
            self.ctx.parameters,
            self.get_best(),
            self.get_crystals(),
            self.ctx.dataset,
            self.ctx.test_set,
            deploy=self.progress.may_deploy,
            max_requested=max(left, 1),
        )
        return ToContext(validate=self.submit_step('validate', builder, 'the verdict on the physics of the potential'))

    def get_best(self):
        """Return the potential for production, or the one that explored."""
        return self.ctx.production if self.progress.production_holds else self.ctx.potential

    def get_crystals(self):
        """Return the crystals that the potential is judged on: the same every time."""
        if self.ctx.crystals is None:
            number = self.ctx.parameters['validate']['max_crystals']
            self.ctx.crystals = choose_crystals(
                orm.Dict({**builders.get_structure_parameters(self.ctx.parameters), 'number': number}),
                self.ctx.dataset,
                **self.inputs.get('structures', {}),
                metadata={'call_link_label': 'choose_crystals'},
            )
        return self.ctx.crystals

    def inspect_validate(self):
        """Note the verdict, and take over what it asks for as what to label next."""
        node = self.ctx.judged = self.ctx.validate
        if not node.is_finished_ok:
            if self.progress.state == 'running':
                return self.abort(self.exit_codes.ERROR_VALIDATE_FAILED, node)
            self.report(f'what there is could not be judged: {node.process_label}<{node.pk}>: {node.exit_message}')
            return None  # the loop has ended for another reason, which is the one to report
        verdict, progress = node.outputs.results.get_dict(), self.progress
        requested = node.outputs.requested if 'requested' in node.outputs else None
        progress.judged(verdict, 0 if requested is None else len(requested))
        self.ctx.entry['verdict'] = progress.judgement
        self.keep(progress)
        self.report(verdict['summary'])
        return None

    def results(self):
        """Attach the outputs and end in the state that was reached."""
        self.ctx.history.append(self.ctx.entry)
        self.attach_outputs()
        progress = self.progress
        if progress.warning:
            self.report(progress.warning)
        if progress.state == 'budget_exhausted':
            return self.exit_codes.ERROR_BUDGET_EXHAUSTED.format(budget=progress.reason)
        if progress.state == 'stalled':
            return self.exit_codes.ERROR_STALLED.format(reason=progress.reason)
        if progress.state == 'gate_failed':
            return self.exit_codes.ERROR_GATE_FAILED.format(reason=progress.reason)

    # Helpers ----------------------------------------------------------------------------------------------------------

    def submit_step(self, step: str, builder: ProcessBuilder, waits_for: str, overrides: str = ''):
        """Submit a step of this iteration under a label that says what and when it is.

        :param waits_for: what it is, for people.
        :param overrides: the namespace in which the user may have given inputs of it; empty: that of the step's name.
        """
        label = IterationLink(step, self.ctx.progress['iteration']).label
        builders.override(builder, self.inputs.get(overrides or step))
        builder.metadata.label = label
        self.keep(self.progress, waits_for)
        return submit_once(self, label, lambda: builder)

    def attach_outputs(self):
        """Attach the best and the last potential, the data sets and the report."""
        progress = self.progress
        best = self.get_best()
        judged = self.ctx.judged.outputs if best is not None and self.is_judged(best) else {}
        outputs = {
            'potential': best,
            'exploring_potential': self.ctx.potential if progress.production_holds else None,
            'dataset': self.ctx.dataset,
            'test_set': self.ctx.test_set,
            'label_noise': self.ctx.label_noise,
            'validation': judged['results'] if 'results' in judged else None,
            'validation_content': judged['content'] if 'content' in judged else None,
            'validation_report': judged['report'] if 'report' in judged else None,
        }
        for name, node in outputs.items():
            if node is not None:
                self.out(name, node)
        report = {
            'state': progress.state,
            'reason': progress.reason,
            'iterations': self.ctx.history,
            'production': progress.production if progress.production_holds else None,
            'ends': progress.ends,
            'calibration': progress.calibration,
            'warning': progress.warning,
            'validation': self.get_verdict(best),
        }
        self.out('report', orm.Dict(report).store())

    def is_judged(self, potential) -> bool:
        """Return whether the last judgement was of this potential."""
        judged = self.ctx.judged
        return judged is not None and judged.is_finished_ok and judged.inputs.potential.uuid == potential.uuid

    def get_verdict(self, potential) -> dict | None:
        """Return the verdict on a potential, and the version that it was deployed as; None if it was not judged."""
        if potential is None or not self.is_judged(potential):
            return None
        outputs = self.ctx.judged.outputs
        deployed = outputs.deployed.value if 'deployed' in outputs else None
        return {**self.progress.judgement, 'deployed': deployed}

    def abort(self, exit_code, node):
        """Return the exit code for a step that failed, once everything that was reached is attached."""
        reason = f'{node.process_label}<{node.pk}>: {node.exit_message}'
        self.fail(reason)
        return exit_code.format(iteration=self.ctx.progress['iteration'], message=reason)

    def fail(self, reason: str):
        """End in the state `failed`, with everything that was reached."""
        progress = self.progress
        progress.state, progress.reason = 'failed', reason
        self.keep(progress)
        self.ctx.history.append(self.ctx.entry)
        self.attach_outputs()
