"""WorkChain that judges a potential: its errors, its physics, what DFT says of the same, and the verdict."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, if_
from aiida.plugins import DataFactory, WorkflowFactory

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.loop.parameters import Budget
from aiida_pyacemaker.atomistics.validation.parameters import REFERENCES, SAME_CELLS, SUITE
from aiida_pyacemaker.calculations.functions.compare_cells import compare_cells
from aiida_pyacemaker.calculations.functions.judge import judge
from aiida_pyacemaker.calculations.functions.make_requested import make_requested
from aiida_pyacemaker.calculations.functions.validation_report import validation_report

from ..runfile.sections import read_label
from .deploy import deploy
from .oracles import Oracle, load_oracle
from .reuse_children import submit_once

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')
EvaluateWorkChain = WorkflowFactory('pyacemaker.evaluate')
SuiteWorkChain = WorkflowFactory('pyacemaker.suite')

#: The property that is no part of the suite: it takes LAMMPS and hours.
MELTING = 'melting'


class ValidateWorkChain(WorkChain):
    """Judge a potential as a physicist would: PASS, CONDITIONAL or FAIL, why, and what would cure it.

    Whatever the verdict, it ends with exit code 0: a judgement that could be made is a success.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'codes',
            valid_type=orm.AbstractCode,
            dynamic=True,
            help='The engines: `worker`; `lammps` for the melting point; that of the oracle for references.',
        )
        spec.input('potential', valid_type=AcePotentialData, help='The potential to judge.')
        spec.input('crystals', valid_type=ConfigurationsData, help='The crystals that are looked at.')
        spec.input(
            'test_set', valid_type=ConfigurationsData, required=False, help='Labelled configurations that are held out.'
        )
        spec.input(
            'dataset',
            valid_type=ConfigurationsData,
            required=False,
            help='What it was trained on: its labels of unstable modes may say that these are no fault.',
        )
        spec.input('parameters', valid_type=orm.Dict, help='The resolved run file: every section with every value.')
        spec.input(
            'deploy',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help='Whether a potential that passes is put in the group of production.',
        )
        spec.input(
            'max_requested',
            valid_type=orm.Int,
            required=False,
            help='Most structures that are made of what it asks for.',
        )
        spec.outline(
            cls.run_suite,
            if_(cls.should_go_on)(
                cls.run_others,
            ),
            cls.inspect_cells,
            cls.judge,
            cls.write_report,
            cls.results,
        )
        spec.output('results', valid_type=orm.Dict, help='The verdict, every check, and what would cure what failed.')
        spec.output('content', valid_type=orm.Dict, help='Everything that was found.')
        spec.output('references', valid_type=orm.Dict, help='What it was compared with: DFT and experiment.')
        spec.output('report', valid_type=orm.SinglefileData, required=False, help='The same for people: one HTML file.')
        spec.output(
            'predictions', valid_type=ConfigurationsData, required=False, help='The held-out set as it predicts it.'
        )
        spec.output(
            'requested', valid_type=ConfigurationsData, required=False, help='Structures that would cure what failed.'
        )
        spec.output('deployed', valid_type=orm.Str, required=False, help='Name of the version, if it is deployed.')
        spec.exit_code(
            401, 'ERROR_SUITE_FAILED', message='The properties of the crystals could not be looked at: {message}'
        )
        spec.exit_code(402, 'ERROR_ERRORS_FAILED', message='The errors could not be measured: {message}')

    @classmethod
    def get_builder_from_protocol(
        cls, codes, potential, crystals, parameters, test_set=None, dataset=None, deploy=False
    ):
        """Return a builder that judges ``potential``.

        :param codes: mapping of ``worker`` (and ``lammps``, ``pw``...) to codes.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData` to judge.
        :param crystals: ideal structures; info ``must_be_stable`` says which have to be stable.
        :param parameters: dictionary, a resolved run file.
        :param test_set: labelled configurations that are held out.
        :param dataset: what the potential was trained on.
        :param deploy: whether a potential that passes is put in the group of production.
        """
        builder = cls.get_builder()
        builder.codes = codes
        builder.potential = potential
        builder.crystals = crystals
        builder.parameters = orm.Dict(parameters)
        builder.deploy = orm.Bool(deploy)
        if test_set is not None:
            builder.test_set = test_set
        if dataset is not None:
            builder.dataset = dataset
        return builder

    # Outline ----------------------------------------------------------------------------------------------------------

    @property
    def validate(self) -> dict:
        """The section ``validate``."""
        return self.inputs.parameters['validate']

    def run_suite(self):
        """Measure the errors, look at the crystals, and ask the oracle, side by side."""
        options = self.inputs.parameters['options']
        children = {}
        if 'test_set' in self.inputs:
            children['errors'] = EvaluateWorkChain.get_builder_from_protocol(
                self.inputs.codes.worker,
                self.inputs.potential,
                self.inputs.test_set,
                self.validate,
                options=options['worker'],
            )
        properties = [name for name in self.validate['properties'] if name in SUITE]
        settings = {name: self.validate[name] for name in properties if name in self.validate}
        cells = self.get_cells_request()
        if properties or cells:
            children['suite'] = SuiteWorkChain.get_builder_from_protocol(
                self.inputs.codes.worker,
                self.inputs.potential,
                self.inputs.crystals,
                {
                    'properties': properties,
                    **({'settings': settings} if settings else {}),
                    **({'same_cells': cells} if cells else {}),
                },
                options=options['worker'],
            )
        if set(REFERENCES) & set(self.validate['references']):
            try:
                children['references'] = WorkflowFactory('pyacemaker.reference').get_builder_from_protocol(
                    dict(self.inputs.codes),
                    self.inputs.crystals,
                    self.inputs.parameters['label'],
                    parameters=self.validate,
                    options=options,
                )
            except ValueError as exception:  # molecules have neither volume nor elastic constants
                self.report(f'there are no references: {exception}')
        return ToContext(**{name: self.submit_step(builder, name) for name, builder in children.items()})

    def should_melt(self) -> bool:
        """Return whether the melting point is asked for."""
        return MELTING in self.validate['properties'] and 'lammps' in self.inputs.codes

    def should_label_cells(self) -> bool:
        """Return whether there are cells that the oracle of the labels shall label."""
        return 'suite' in self.ctx and self.ctx.suite.is_finished_ok and 'cells' in self.ctx.suite.outputs

    def should_go_on(self) -> bool:
        """Return whether there is more to find than the properties of the suite."""
        return self.should_melt() or self.should_label_cells()

    def run_others(self):
        """Label the cells that the potential has relaxed, and find the melting point, side by side."""
        builders = {}
        if self.should_label_cells():
            oracle, cells = self.get_reference_oracle(), self.ctx.suite.outputs.cells
            builders['cells'] = oracle.get_batch_builder(
                dict(self.inputs.codes), cells, self.inputs.parameters['options']
            )
            self.report(f'{len(cells)} cells of the potential are labelled')
        if self.should_melt():
            builders[MELTING] = self.get_melting_builder()
        return ToContext(**{name: self.submit_step(builder, name) for name, builder in builders.items()})

    def inspect_cells(self):
        """Compare the potential with the oracle in the same cells."""
        if 'cells' not in self.ctx:
            return
        node = self.ctx.cells
        if not node.is_finished_ok:
            reason = node.exit_message or node.process_state.value
            self.report(f'not all cells have labels: {node.process_label}<{node.pk}> {reason}')
        outputs = node.outputs
        suspects = outputs.suspects if 'suspects' in outputs else {}
        labelled = {split: outputs[split] for split in ('train', 'test') if split in outputs}
        labelled |= {f'suspect_{split}': suspects[split] for split in suspects}
        self.ctx.compared = compare_cells(
            self.ctx.suite.outputs.results,
            self.ctx.suite.outputs.cells,
            **labelled,
            metadata={'call_link_label': 'compare_cells'},
        )

    def get_melting_builder(self):
        """Return the builder that finds the melting point of the first crystal."""
        return WorkflowFactory('pyacemaker.melting').get_builder_from_protocol(
            self.inputs.codes.lammps,
            self.inputs.potential,
            self.ctx.suite.outputs.crystals if 'suite' in self.ctx else self.inputs.crystals,
            parameters={**self.validate[MELTING], 'seed': self.inputs.parameters['seed']},
            options=self.inputs.parameters['options']['lammps'],
        )

    def judge(self):
        """Put everything together."""
        for name, exit_code in (
            ('errors', self.exit_codes.ERROR_ERRORS_FAILED),
            ('suite', self.exit_codes.ERROR_SUITE_FAILED),
        ):
            node = self.ctx.get(name)
            if node is not None and not node.is_finished_ok:
                return exit_code.format(message=f'{node.process_label}<{node.pk}>: {node.exit_message}')
        measured = {name: self.get_results(name) for name in ('suite', 'errors', 'references', MELTING)}
        if 'compared' in self.ctx:
            measured['cells'] = self.ctx.compared
        judged = judge(
            orm.Dict(self.validate),
            crystals=self.inputs.crystals,
            **({'dataset': self.inputs.dataset} if 'dataset' in self.inputs else {}),
            **{name: results for name, results in measured.items() if results is not None},
            metadata={'call_link_label': 'judge'},
        )
        for name in ('results', 'content', 'references'):
            self.out(name, judged[name])
        verdict = judged['results'].get_dict()
        self.report(verdict['summary'])
        if verdict['requests']:
            most = {'number': self.inputs.max_requested} if 'max_requested' in self.inputs else {}
            requested = make_requested(
                judged['results'],
                judged['content'],
                orm.Int(self.inputs.parameters['seed']),
                **most,
                metadata={'call_link_label': 'make_requested'},
            )
            self.out('requested', requested)
        return None

    def write_report(self):
        """Write the report; if that fails, only the report is missing."""
        measured = {}
        if 'errors' in self.ctx:
            measured = {'test_set': self.inputs.test_set, 'predictions': self.ctx.errors.outputs.predictions}
            self.out('predictions', measured['predictions'])
        judged = {name: self.outputs[name] for name in ('results', 'content', 'references')}
        try:
            report = validation_report(
                **judged, **measured, provenance=orm.Dict(self.get_provenance()), metadata={'call_link_label': 'report'}
            )
            self.out('report', report)
        except Exception as exception:
            self.report(f'the report could not be written: {exception}')

    def results(self):
        """Deploy what has passed, and attach the rest."""
        verdict = self.outputs['results'].get_dict()
        if self.inputs.deploy and verdict['verdict'] != 'FAIL':
            name = deploy(self.inputs.potential, verdict)
            self.out('deployed', orm.Str(name).store())
            self.report(f'deployed as {name}')

    # Helpers ----------------------------------------------------------------------------------------------------------

    def get_reference_oracle(self) -> Oracle:
        """Return the oracle whose labels are believed."""
        return load_oracle(load_oracle(self.inputs.parameters['label']).get_reference())

    def get_cells_request(self) -> dict[str, Any]:
        """Return which cells are made for the oracle, nothing if none are asked for or they cannot be labelled."""
        asked = [name for name in SAME_CELLS if name in self.validate['references']]
        asked = [name for name in asked if name in self.validate['properties']]
        if not asked:
            return {}
        parameters = self.inputs.parameters.get_dict()
        try:
            oracle = self.get_reference_oracle()
            missing = [key for key in oracle.codes if key not in self.inputs.codes]
            if missing:
                raise InputError(f'codes.{missing[0]}', 'is missing', 'the cells are labelled by it')
            model = oracle.get_cost_model(self.inputs.crystals.elements)
            allowed = self.validate.get('reference_core_hours')
            if allowed is None:
                allowed = Budget(**parameters['budget']).reference_core_hours()
        except ValueError as exception:
            self.report(f'{", ".join(asked)} are not compared with the oracle: {exception}')
            return {}
        return {'properties': asked, 'core_hours': allowed, 'cost': model.to_dict() if model else {}}

    def get_results(self, name: str):
        """Return the results of a step, None if it was not asked for or has failed, which is reported."""
        node = self.ctx.get(name)
        if node is None:
            return None
        if node.is_finished_ok:
            return node.outputs.results
        message = f'there is no {name}: {node.process_label}<{node.pk}> {node.exit_message or node.process_state.value}'
        self.report(message)
        return orm.Dict({'status': 'failed', 'message': message}) if name == MELTING else None

    def get_provenance(self) -> dict:
        """Return where the potential and the judgement are from, for people."""
        potential, parameters = self.inputs.potential, self.inputs.parameters.get_dict()
        nodes = {'judgement': describe_node(self.node), 'potential': describe_node(potential)}
        if potential.creator is not None:
            nodes['fit'] = describe_node(potential.creator)
            nodes['training set'] = describe_node(potential.creator.inputs.configurations)
        if 'test_set' in self.inputs:
            nodes['held-out set'] = describe_node(self.inputs.test_set)
        label = {key: value for key, value in parameters['label'].items() if isinstance(value, str | int | float)}
        programs = {name: code.full_label for name, code in self.inputs.codes.items()}
        return {
            'AiiDA nodes': nodes,
            'labels': label,
            'codes': programs,
            'cite': ['aiida', *get_citations(parameters['label'])],
        }

    def submit_step(self, builder, name: str):
        """Submit a step, unless a worker that was killed has submitted it."""
        return submit_once(self, name, lambda: builder)


def get_citations(label: dict[str, Any]) -> list[str]:
    """Return what to cite for the oracles that label."""
    try:
        engines = read_label(label).get_engines() if label else {}
    except ValueError:  # a report is written whatever the labels were asked for with
        return []
    return [engine.citation for engine in engines.values() if engine.citation]


def describe_node(node: orm.Node) -> str:
    """Return what names a node: in this profile, and everywhere."""
    return f'{node.uuid} (PK {node.pk})'
