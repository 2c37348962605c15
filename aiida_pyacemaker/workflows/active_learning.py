"""The main loop: from a list of elements to a potential that its own simulations no longer surprise."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import MultipleObjectsError, NotExistent
from aiida.common.links import LinkType
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida.plugins import DataFactory, WorkflowFactory

from aiida_pyacemaker.atomistics.labelling.settings import check_consistent
from aiida_pyacemaker.calculations.functions.generate_configurations import generate_configurations
from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations
from aiida_pyacemaker.calculations.functions.starting_configurations import starting_configurations
from aiida_pyacemaker.calculations.functions.structures import STRUCTURE_TYPES, find_structure_nodes

from .adopt import adopt_child
from .oracles import load_oracle

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')
LabelWorkChain = WorkflowFactory('pyacemaker.label')
TrainWorkChain = WorkflowFactory('pyacemaker.train')
ExploreWorkChain = WorkflowFactory('pyacemaker.explore')
EmbedWorkChain = WorkflowFactory('pyacemaker.embed')
ValidateWorkChain = WorkflowFactory('pyacemaker.validate')


#: Batches of labels that were given to a run rather than made for it are called this and their PK.
GIVEN = 'labels_'


class ActiveLearningWorkChain(WorkChain):
    """Explore with the current potential, halt where it extrapolates, label, learn, resume, until nothing halts.

    A *round* starts every walker anew; walkers that halt resume from their restart files with the next generation until
    all have reached their end. The loop has converged when a whole round passes without a halt and the errors on the
    held-out set, which every such round extends by frames of its own, meet the criteria.
    """

    defaults = AttributeDict(
        {
            # A walker that halts this often in a row without having advanced by `advance` of its steps is stuck.
            'halts_without_advance': 4,
            'advance': 0.005,
            # So many rounds in a row without a halt whose errors miss the criteria: more data of the kind don't help.
            'rounds_without_success': 4,
        }
    )

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace('codes', help='The engines.')
        for name, engine in (('pw', 'Quantum ESPRESSO `pw.x`'), ('vasp', 'VASP'), ('teacher', 'The teacher potential')):
            what = f'{engine}, if `label.oracle` needs it.'
            spec.input(f'codes.{name}', valid_type=orm.AbstractCode, required=False, help=what)
        spec.input('codes.lammps', valid_type=orm.AbstractCode, help='LAMMPS with ML-PACE.')
        spec.input('codes.worker', valid_type=orm.AbstractCode, help='`pyacemaker-worker`.')
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
            valid_type=orm.SinglefileData,
            dynamic=True,
            required=False,
            help='Restart files of walkers, `walker_NN`, that the former run left halted.',
        )
        spec.input(
            'first_iteration',
            valid_type=orm.Int,
            default=lambda: orm.Int(0),
            help='Number of the first iteration, so that a continued run counts on.',
        )
        spec.outline(
            cls.setup,
            if_(cls.should_generate)(
                cls.run_generate,
                cls.run_label,
                cls.inspect_label,
            ),
            if_(cls.should_train)(
                cls.run_train,
                cls.inspect_train,
            ),
            if_(cls.should_validate)(
                cls.run_validate,
                cls.inspect_validate,
            ),
            while_(cls.should_iterate)(
                cls.run_explore,
                cls.inspect_explore,
                if_(cls.should_embed)(
                    cls.run_embed,
                    cls.inspect_embed,
                    cls.run_label,
                    cls.inspect_label,
                ),
                if_(cls.should_train)(
                    cls.run_train,
                    cls.inspect_train,
                ),
                if_(cls.should_validate)(
                    cls.run_validate,
                    cls.inspect_validate,
                ),
                cls.inspect_iteration,
            ),
            cls.results,
        )
        spec.output('potential', valid_type=AcePotentialData, required=False, help='The last potential.')
        spec.output('dataset', valid_type=ConfigurationsData, required=False, help='Everything it was trained on.')
        spec.output('test_set', valid_type=ConfigurationsData, required=False, help='Everything it was measured on.')
        spec.output('report', valid_type=orm.Dict, required=False, help='End state and the story of each iteration.')

        spec.exit_code(210, 'ERROR_MIXED_SETTINGS', message='Labels that do not belong together: {message}')
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
            500,
            'ERROR_BUDGET_EXHAUSTED',
            message='Not converged: {budget} is used up. The last potential is in the outputs; raise the budget and '
            'continue with `restart_from`.',
        )
        spec.exit_code(501, 'ERROR_STALLED', message='Not converged, and no longer getting better: {reason}.')

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
        from .protocols.runfile import resolve_runfile

        content = {**(overrides or {}), 'system': {'elements': list(elements)}}
        if protocol is not None:
            content['protocol'] = protocol
        if codes is not None:
            content['codes'] = codes
        return cls.get_builder_from_runfile(resolve_runfile(content), restart_from=restart_from)

    @classmethod
    def get_builder_from_runfile(cls, runfile, restart_from=None, labels=()):
        """Return a builder for a run file.

        :param runfile: a run file as :func:`~aiida_pyacemaker.workflows.protocols.runfile.load_runfile` returns it.
        :param restart_from: pk, uuid or node of a former run to continue.
        :param labels: pks, uuids or nodes of further labelled configurations, which join the data set.
        :raises ValueError: if something of these is not there, or of no use.
        """
        parameters, codes = runfile.to_dict(), runfile.needed_codes()
        parameters['label'] = complete_label(parameters['label'], parameters['system']['elements'])

        builder = cls.get_builder()
        builder.codes = {name: orm.load_code(label) for name, label in codes.items()}
        builder.parameters = orm.Dict(parameters)
        builder.metadata.label = f'{"-".join(parameters["system"]["elements"])} {parameters["protocol"]}'
        if parameters['structures']['files']:
            builder.structures['files'] = ConfigurationsData(runfile.read_structures())
        for node in find_structure_nodes(parameters['structures']['nodes']):
            builder.structures[f'node_{node.pk}'] = node
        if restart_from is not None:
            for name, value in get_restart_inputs(restart_from).items():
                builder[name] = value
        if restart_from is not None and labels and builder.potential is None:
            raise ValueError(
                'labels: the former run has no finished fit, and these labels would stand for its whole data set; '
                'continue it without them first'
            )
        for identifier in labels:
            node, name = load_labels(identifier, parameters)
            builder[name][f'{GIVEN}{node.pk}'] = node
        return builder

    # Outline ----------------------------------------------------------------------------------------------------------

    def setup(self):
        """Initialise what the iterations carry on."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        self.ctx.iteration = self.inputs.first_iteration.value
        self.ctx.first = self.ctx.iteration
        self.ctx.potential = self.inputs.get('potential', None)
        # Every batch of labels is kept under its name, and a data set is made of all of them at once: merging one onto
        # the other would lengthen the path from a potential to its DFT calculations with every iteration.
        self.ctx.batches = {name: dict(self.inputs.get(name, {})) for name in ('dataset', 'test_set')}
        self.ctx.dataset = self.ctx.test_set = None
        self.ctx.restarts = dict(self.inputs.get('restarts', {}))
        self.ctx.walkers = {}
        self.ctx.round = 0
        self.ctx.round_is_fresh = False
        self.ctx.round_is_clean = False
        self.ctx.rounds_missed = 0
        self.ctx.new_train = self.has_unseen_labels()
        self.ctx.new_test = False
        self.ctx.passed = None
        self.ctx.state = 'running'
        self.ctx.reason = ''
        self.ctx.history = []
        self.ctx.entry = {'iteration': self.ctx.iteration}
        return self.merge_batches()

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
        self.ctx.to_label = generate_configurations(
            orm.Dict({**self.get_structure_parameters(), 'cutoff': self.ctx.parameters['train']['cutoff']}),
            **self.inputs.get('structures', {}),
            metadata={'call_link_label': 'generate'},
        )
        self.report(f'{len(self.ctx.to_label)} initial configurations')

    def get_structure_parameters(self) -> dict:
        """Return what decides the ideal structures, without the names of files and nodes: their content is an input."""
        structures = {
            key: value for key, value in self.ctx.parameters['structures'].items() if key not in ('files', 'nodes')
        }
        return {
            'elements': self.ctx.parameters['system']['elements'],
            'seed': self.ctx.parameters['seed'],
            'structures': structures,
        }

    def run_label(self):
        """Label the configurations at hand."""
        label, options = self.ctx.parameters['label'], self.ctx.parameters['options']
        if label['oracle'] == 'tiered':
            builder = WorkflowFactory('pyacemaker.label_tiered').get_builder_from_protocol(
                dict(self.inputs.codes), self.ctx.to_label, label, options=options
            )
        else:
            code = load_oracle(label).CODE
            builder = LabelWorkChain.get_builder_from_protocol(
                self.inputs.codes[code], self.ctx.to_label, label, options=options[code]
            )
        return ToContext(label=self.submit_step(builder, 'label'))

    def inspect_label(self):
        """Add the labels to the data sets, also those of a batch in which too much failed."""
        node = self.ctx.label
        for split, name in (('train', 'dataset'), ('test', 'test_set')):
            if split not in node.outputs:
                continue
            self.ctx[f'new_{split}'] = True
            self.ctx.batches[name][f'iteration_{self.ctx.iteration:02d}'] = node.outputs[split]
            self.ctx.entry[f'labels_{split}'] = len(node.outputs[split])
        if 'results' in node.outputs:
            results = node.outputs.results.get_dict()
            self.ctx.entry['labels_failed'] = results['number_failed']
            self.ctx.entry['labels_suspect'] = results.get('number_suspect', 0)
            self.ctx.entry['core_hours'] = results.get('core_hours')
        mixture = self.merge_batches()
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_LABEL_FAILED, node)
        return mixture

    def merge_batches(self):
        """Make ``dataset`` and ``test_set``: all batches of labels in one node each, None if there are none.

        :returns: an exit code if labels of different settings meet, which ``label.mix_settings`` would allow.
        """
        mix = self.may_mix()
        batches = [batch for name in ('dataset', 'test_set') for batch in self.ctx.batches[name].values()]
        try:
            if not mix:
                check_consistent([atoms for batch in batches for atoms in batch.get_frames()])
        except ValueError as exception:
            self.ctx.state, self.ctx.reason = 'failed', str(exception)
            self.ctx.history.append(self.ctx.entry)
            self.attach_outputs()
            return self.exit_codes.ERROR_MIXED_SETTINGS.format(message=self.ctx.reason)
        for name in ('dataset', 'test_set'):
            present = f'iteration_{self.ctx.iteration:02d}'
            if self.ctx.batches[name] and (self.ctx[name] is None or present in self.ctx.batches[name]):
                label = f'{present}_{name}'
                allowed = {'mix_settings': orm.Bool(True)} if mix else {}
                self.ctx[name] = merge_configurations(
                    **self.ctx.batches[name], **allowed, metadata={'call_link_label': label}
                )
        return None

    def may_mix(self) -> bool:
        """Return whether labels of different settings may meet: the user asked for it, or for tiers."""
        label = self.ctx.parameters['label']
        return label.get('mix_settings', False) or label.get('oracle') == 'tiered'

    def should_train(self) -> bool:
        """Return whether there are labels that no potential has seen."""
        return self.ctx.new_train

    def run_train(self):
        """Fit the next generation."""
        generation = 0 if self.ctx.potential is None else self.ctx.potential.generation + 1
        builder = TrainWorkChain.get_builder_from_protocol(
            self.inputs.codes.worker,
            self.ctx.dataset,
            {
                **self.ctx.parameters['train'],
                'elements': self.ctx.parameters['system']['elements'],
                'seed': self.ctx.parameters['seed'],
                'generation': generation,
                'mix_settings': self.may_mix(),
            },
            test=self.ctx.test_set,
            potential=self.ctx.potential,
            options=self.ctx.parameters['options']['worker'],
        )
        return ToContext(train=self.submit_step(builder, 'train'))

    def inspect_train(self):
        """Take the new potential over, and say so if its training set is degenerate."""
        node = self.ctx.train
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_TRAIN_FAILED, node)
        self.ctx.potential = node.outputs.potential
        self.ctx.new_train = False
        self.ctx.trained = True
        self.ctx.entry['generation'] = self.ctx.potential.generation
        cold_start = node.outputs.results.get_dict().get('cold_start') or {}
        self.ctx.entry['cold_start'] = cold_start
        if cold_start.get('degenerate'):
            self.report(
                f'the training set is degenerate: median gamma {cold_start["median_gamma"]:.3g} on held-out rattled '
                'cells, so simulations will halt at once. More low-symmetry cells help: raise '
                '`structures.rattle.number`, or lower `train.number_of_functions`.'
            )

    def should_validate(self) -> bool:
        """Return whether the potential or the held-out set is new."""
        fresh = self.ctx.new_test or self.ctx.pop('trained', False) or self.ctx.passed is None
        return fresh and self.ctx.test_set is not None

    def run_validate(self):
        """Measure the potential on the held-out set."""
        builder = ValidateWorkChain.get_builder_from_protocol(
            self.inputs.codes.worker,
            self.ctx.potential,
            self.ctx.test_set,
            self.ctx.parameters['validate'],
            options=self.ctx.parameters['options']['worker'],
        )
        return ToContext(validate=self.submit_step(builder, 'validate'))

    def inspect_validate(self):
        """Note the errors and whether they meet the criteria."""
        node = self.ctx.validate
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_VALIDATE_FAILED, node)
        results = node.outputs.results.get_dict()
        self.ctx.new_test = False
        self.ctx.passed = results['passed']
        self.ctx.entry.update(
            energy_rmse=results['energy']['rmse'], force_rmse=results['forces']['rmse'], passed=results['passed']
        )
        self.report(
            f'generation {self.ctx.potential.generation}: {results["energy"]["rmse"] * 1e3:.2f} meV/atom, '
            f'{results["forces"]["rmse"] * 1e3:.1f} meV/Å on {len(self.ctx.test_set)} held-out configurations'
        )

    def should_iterate(self) -> bool:
        """Close the last iteration's entry, and return whether there is another one to do."""
        self.ctx.history.append(self.ctx.entry)
        budget = self.ctx.parameters['budget']
        if self.ctx.state == 'running' and self.ctx.iteration - self.ctx.first >= budget['max_iterations']:
            self.ctx.state, self.ctx.reason = (
                'budget_exhausted',
                f'`budget.max_iterations` = {budget["max_iterations"]}',
            )
        if self.ctx.state == 'running' and self.number_of_labels() >= budget['max_labels']:
            self.ctx.state, self.ctx.reason = 'budget_exhausted', f'`budget.max_labels` = {budget["max_labels"]}'
        if self.ctx.state != 'running':
            return False
        self.ctx.iteration += 1
        self.ctx.entry = {'iteration': self.ctx.iteration, 'generation': self.ctx.potential.generation}
        return True

    def number_of_labels(self) -> int:
        """Return how many configurations were labelled for this run, not counting the labels that it was given."""
        batches = [item for batches in self.ctx.batches.values() for item in batches.items()]
        return sum(len(node) for name, node in batches if not name.startswith(GIVEN))

    def run_explore(self):
        """Resume the walkers that halted, or else start a new round."""
        parameters = dict(self.ctx.parameters['explore'])
        self.ctx.round_is_fresh = not self.ctx.restarts
        if self.ctx.round_is_fresh:
            self.ctx.round += 1
            self.ctx.walkers = {}
        else:
            parameters['walker_indices'] = sorted(int(name.removeprefix('walker_')) for name in self.ctx.restarts)
        # Depends on numbers that a continued run finds again, so that what it repeats comes from the cache.
        parameters['seed'] = self.ctx.parameters['seed'] * 100 + self.ctx.iteration
        builder = ExploreWorkChain.get_builder_from_protocol(
            self.inputs.codes.lammps,
            self.ctx.potential,
            self.get_starting_configurations(),
            parameters,
            restarts=self.ctx.restarts,
            options=self.ctx.parameters['options']['lammps'],
        )
        return ToContext(explore=self.submit_step(builder, 'explore'))

    def get_starting_configurations(self):
        """Return the cells in which the walkers start."""
        if 'starting' not in self.ctx:
            explore, largest = self.ctx.parameters['explore'], self.ctx.parameters['embed']['max_atoms']
            sizes = {
                'atoms': explore['atoms'],
                'number': explore['walkers'],
                # Cells that may go to DFT whole stay so; what is larger is cut out of its cell.
                'max_atoms': largest if explore['atoms'] <= largest else None,
            }
            self.ctx.starting = starting_configurations(
                orm.Dict({**self.get_structure_parameters(), **sizes}),
                **self.inputs.get('structures', {}),
                metadata={'call_link_label': 'starting_configurations'},
            )
        return self.ctx.starting

    def inspect_explore(self):
        """Note which walkers halted, and stop if one of them does not get any further."""
        node = self.ctx.explore
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_EXPLORE_FAILED, node)
        results = node.outputs.results.get_dict()
        self.ctx.round_is_clean = self.ctx.round_is_fresh and results['completed']
        self.ctx.restarts = {
            name: restart
            for name, restart in node.outputs.restarts.items()
            if self.get_walker(results, name)['reason'] == 'gamma'
        }
        self.ctx.entry.update(
            number_halted=results['number_halted'],
            number_failed=results['number_failed'],
            gamma_max=results['gamma_max'],
            walkers=[
                {key: walker.get(key) for key in ('index', 'reason', 'step', 'steps', 'gamma_max')}
                for walker in results['walkers']
            ],
        )
        for walker in results['walkers']:
            self.note_advance(walker)

    @staticmethod
    def get_walker(results: dict, name: str) -> dict:
        """Return what became of the walker with the name ``walker_NN``."""
        return next(walker for walker in results['walkers'] if f'walker_{walker["index"]:02d}' == name)

    def note_advance(self, walker: dict):
        """Count how often a walker halted in a row without getting any further."""
        former = self.ctx.walkers.get(walker['index'], {'step': -walker['steps'], 'halts': 0})
        advanced = walker['step'] - former['step'] > self.defaults.advance * walker['steps']
        halts = 0 if advanced or walker['reason'] != 'gamma' else former['halts'] + 1
        self.ctx.walkers[walker['index']] = {'step': walker['step'], 'halts': halts}
        if halts >= self.defaults.halts_without_advance:
            self.ctx.state = 'stalled'
            self.ctx.reason = (
                f'walker {walker["index"]} halted {halts} times in a row around step {walker["step"]}; raise '
                '`explore.gamma_halt`, lower `train.number_of_functions`, or raise `embed.select_per_halt`'
            )

    def should_embed(self) -> bool:
        """Return whether the simulations left something to learn from or to measure on."""
        if self.ctx.state != 'running':
            return False
        snapshots = self.ctx.explore.outputs
        return 'halted' in snapshots or (self.ctx.round_is_fresh and 'trajectory' in snapshots)

    def run_embed(self):
        """Choose what to label: around the halts, or from a round that passed without any."""
        validate = self.ctx.parameters['validate']
        snapshots = 'halted' if 'halted' in self.ctx.explore.outputs else 'trajectory'
        learn = snapshots == 'trajectory' and not (self.ctx.round_is_clean and self.ctx.passed)
        builder = EmbedWorkChain.get_builder_from_protocol(
            self.inputs.codes.worker,
            self.ctx.potential,
            {snapshots: self.ctx.explore.outputs[snapshots]},
            {
                **self.ctx.parameters['embed'],
                'gamma_select': self.ctx.parameters['explore']['gamma_select'],
                'number_of_test': validate['test_per_round'] if self.ctx.round_is_clean else 0,
                'number_of_train': validate['train_per_round'] if learn else 0,
                'seed': self.ctx.parameters['seed'] * 100 + self.ctx.iteration,
            },
            options=self.ctx.parameters['options']['worker'],
        )
        return ToContext(embed=self.submit_step(builder, 'embed'))

    def inspect_embed(self):
        """Take the selection over as what to label next."""
        node = self.ctx.embed
        if not node.is_finished_ok:
            return self.abort(self.exit_codes.ERROR_EMBED_FAILED, node)
        self.ctx.to_label = node.outputs.configurations

    def inspect_iteration(self):
        """Decide whether the loop has converged or no longer gets better."""
        learned = self.ctx.entry.get('labels_train', 0)
        if self.ctx.state != 'running' or not self.ctx.round_is_clean:
            return
        if self.ctx.passed and not learned:
            self.ctx.state = 'converged'
            return
        self.ctx.rounds_missed += 1
        if self.ctx.rounds_missed >= self.defaults.rounds_without_success:
            self.ctx.state = 'stalled'
            self.ctx.reason = (
                f'{self.ctx.rounds_missed} rounds passed without a halt, yet the errors miss the criteria; raise '
                '`train.number_of_functions`, or relax `validate.energy_rmse` and `validate.force_rmse`'
            )

    def results(self):
        """Attach the outputs and end in the state that was reached."""
        self.attach_outputs()
        if self.ctx.state == 'budget_exhausted':
            return self.exit_codes.ERROR_BUDGET_EXHAUSTED.format(budget=self.ctx.reason)
        if self.ctx.state == 'stalled':
            return self.exit_codes.ERROR_STALLED.format(reason=self.ctx.reason)

    # Helpers ----------------------------------------------------------------------------------------------------------

    def submit_step(self, builder, step: str):
        """Submit a step of this iteration under a label that says what and when it is."""
        name = f'iteration_{self.ctx.iteration:02d}_{step}'
        builder.metadata.call_link_label = name
        builder.metadata.label = name
        return adopt_child(self, name) or self.submit(builder)

    def attach_outputs(self):
        """Attach the last potential, the data sets and the report."""
        for name in ('potential', 'dataset', 'test_set'):
            if self.ctx[name] is not None:
                self.out(name, self.ctx[name])
        report = {'state': self.ctx.state, 'reason': self.ctx.reason, 'iterations': self.ctx.history}
        self.out('report', orm.Dict(report).store())

    def abort(self, exit_code, node):
        """Return the exit code for a step that failed, once everything that was reached is attached."""
        self.ctx.state, self.ctx.reason = 'failed', f'{node.process_label}<{node.pk}>: {node.exit_message}'
        self.ctx.history.append(self.ctx.entry)
        self.attach_outputs()
        return exit_code.format(iteration=self.ctx.iteration, message=self.ctx.reason)


def complete_label(label: dict, elements: list[str]) -> dict:
    """Return the section ``label`` of a run file with what DFT needs to know of the whole system."""
    name = label['tiers']['expensive'] if label['oracle'] == 'tiered' else label['oracle']
    return {**load_oracle({**label, 'oracle': name}).complete(elements), 'oracle': label['oracle']}


def load_labels(identifier, parameters: dict) -> tuple[orm.Data, str]:
    """Return a node of labelled configurations, and the data set that it belongs to: ``dataset`` or ``test_set``.

    :param parameters: the resolved run file that they are for.
    :raises ValueError: if there is no such node, or its labels cannot be used with the run file.
    """
    try:
        node = identifier if isinstance(identifier, orm.Node) else orm.load_node(identifier)
    except (NotExistent, MultipleObjectsError, ValueError) as exception:
        raise ValueError(f'labels: {exception}') from None
    if not isinstance(node, ConfigurationsData):
        raise ValueError(f'labels: node {identifier} is a {type(node).__name__}; name a ConfigurationsData')
    if min(node.labels['energy'], node.labels['forces']) < len(node):
        raise ValueError(f'labels: some of the {len(node)} configurations of node {node.pk} have no energy or forces')
    foreign = sorted(set(node.elements) - set(parameters['system']['elements']))
    if foreign:
        raise ValueError(f'labels: node {node.pk} holds {", ".join(foreign)}; add it to system.elements')
    splits = {atoms.info.get('split', 'train') for atoms in node.get_frames()}
    if len(splits) > 1:
        raise ValueError(f'labels: node {node.pk} holds training and held-out configurations; give a node for each')
    label = parameters['label']
    others = [name for name in node.base.attributes.get('oracles', []) if name.split()[0] != label['oracle']]
    if others and label['oracle'] != 'tiered' and not label['mix_settings']:
        raise ValueError(
            f'labels: node {node.pk} was labelled by {", ".join(others)}, the run labels by {label["oracle"]}: such '
            'energies are not comparable; set label.mix_settings to true if you mean it'
        )
    return node, 'test_set' if splits == {'test'} else 'dataset'


def get_batches(dataset: orm.Data) -> dict[str, orm.Data]:
    """Return the batches of labels that a data set was merged from, by name."""
    merge = dataset.creator
    inputs = {} if merge is None else {key: merge.inputs[key] for key in merge.inputs}
    return {name: node for name, node in inputs.items() if isinstance(node, ConfigurationsData)}


def get_restart_inputs(restart_from) -> dict:
    """Return the inputs that continue a former run from its last finished potential and data.

    The walkers that had halted resume from their restart files. What was labelled after the last fit is not an input,
    but the continued run submits the same calculations and finds them in the cache.

    :param restart_from: pk, uuid or node of an ``ActiveLearningWorkChain``, in whatever state.
    :raises ValueError: if it is no such node.
    """
    node = restart_from if isinstance(restart_from, orm.Node) else orm.load_node(restart_from)
    if node.process_type != ActiveLearningWorkChain.build_process_type():
        raise ValueError(f'restart_from: node {node.pk} is a {node.process_label}, not an ActiveLearningWorkChain')

    children = {entry.link_label: entry.node for entry in node.base.links.get_outgoing(link_type=LinkType.CALL_WORK)}
    fits = sorted(name for name, child in children.items() if name.endswith('_train') and child.is_finished_ok)
    if not fits:
        return {name: node.inputs[name] for name in ('dataset', 'test_set', 'potential') if name in node.inputs}

    last, iteration = children[fits[-1]], int(fits[-1].split('_')[1])
    inputs = {'potential': last.outputs.potential, 'first_iteration': orm.Int(iteration)}
    for name, port in (('dataset', 'configurations'), ('test_set', 'test')):
        if port in last.inputs.job:
            inputs[name] = get_batches(last.inputs.job[port])
    explore = children.get(f'iteration_{iteration:02d}_explore')
    if explore is not None:
        halted = [walker['index'] for walker in explore.outputs.results['walkers'] if walker['reason'] == 'gamma']
        names = [f'walker_{index:02d}' for index in halted]
        inputs['restarts'] = {name: explore.outputs.restarts[name] for name in names}
    return inputs
