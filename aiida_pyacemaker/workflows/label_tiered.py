"""WorkChain that labels with a teacher where it is sure, and with an expensive oracle elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder, ToContext, WorkChain, if_
from aiida.plugins import DataFactory, WorkflowFactory

from aiida_pyacemaker.atomistics.labelling.tiers import TIERED, held_out_errors, is_expensive, key, saved_core_hours
from aiida_pyacemaker.calculations.functions.choose_calibration import choose_calibration
from aiida_pyacemaker.calculations.functions.decide_tiers import decide_tiers
from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations

from .label import COSTS, SPLITS, TOO_MANY_FAILURES
from .oracles import load_oracle
from .oracles.tiered import EXPENSIVE, TieredOracle
from .reuse_children import submit_once

ConfigurationsData = DataFactory('pyacemaker.configurations')
LabelWorkChain = WorkflowFactory('pyacemaker.label')

#: Children that label with the expensive oracle, in the order in which they run.
BATCHES = (EXPENSIVE, 'unsure')
#: What of the results of the batches is added up over the expensive ones.
COUNTS = ('number_suspect', 'number_failed', 'number_not_submitted', 'number_healed')


def load_tiered(parameters: dict[str, Any]) -> TieredOracle:
    """Return the oracle of the section ``label`` of a resolved run file, which must be the one of two tiers.

    :raises InputError: naming the key that is missing or wrong.
    """
    return load_oracle({**parameters, 'oracle': TIERED})


def get_codes(oracle: TieredOracle) -> set[str]:
    """Return the names of the codes that are needed, such as ``pw`` and ``teacher``."""
    return {part.code for part in oracle.parts.values()}


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Refuse what could not run, as soon as it is known."""
    if 'parameters' not in inputs:
        return None
    try:
        needed = get_codes(load_tiered(inputs['parameters'].get_dict()))
    except ValueError as exception:
        return str(exception)
    missing = sorted(needed - set(inputs.get('codes', {})))
    return f'codes.{missing[0]}: is missing; name the code of the engine' if missing else None


class TieredLabelWorkChain(WorkChain):
    """Label configurations with a teacher where it is sure, and with an expensive oracle elsewhere.

    The teacher labels all of them. Those that are held out, and a few that the two tiers are compared on, then go to
    the expensive oracle (child ``expensive``); where the comparison or doubts about a configuration say so, the others
    follow (child ``unsure``). See :mod:`aiida_pyacemaker.atomistics.labelling.tiers` for what being sure means. What
    the teacher said where it was not trusted is in no output. The outputs are those of ``LabelWorkChain``.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'codes',
            valid_type=orm.AbstractCode,
            dynamic=True,
            help='Those of the two oracles: `teacher` and, for Quantum ESPRESSO, `pw`.',
        )
        spec.input(
            'configurations',
            valid_type=ConfigurationsData,
            help='The configurations to label. Those with `split: test` in their info end in the output `test`.',
        )
        spec.input('parameters', valid_type=orm.Dict, help='The section `label` of a run file with every value set.')
        spec.input_namespace(
            'options', valid_type=orm.Dict, dynamic=True, help='Overrides of `metadata.options`, by code.'
        )
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            if_(cls.should_run_teachers)(
                cls.run_teachers,
                cls.inspect_teachers,
            ),
            cls.run_expensive,
            if_(cls.should_decide)(
                cls.decide,
                if_(cls.should_run_unsure)(
                    cls.run_unsure,
                ),
            ),
            cls.results,
        )
        spec.expose_outputs(LabelWorkChain)
        spec.exit_code(401, 'ERROR_TOO_MANY_FAILURES', message=TOO_MANY_FAILURES)
        spec.exit_code(
            402,
            'ERROR_TEACHER_FAILED',
            message='`label.teacher` or `label.tiers.committee`: {message}. Nothing was sent to the expensive oracle.',
        )

    @classmethod
    def get_builder_from_protocol(cls, codes, configurations, parameters, options=None):
        """Return a builder that labels ``configurations``.

        :param codes: mapping of ``teacher`` and of the code of the expensive oracle (``pw``, ``vasp``) to codes; others
            are left out.
        :param configurations: :class:`~aiida_pyacemaker.data.ConfigurationsData` to label.
        :param parameters: dictionary, the section ``label`` of a resolved run file.
        :param options: mapping of the names of codes to overrides of ``metadata.options``.
        :raises ValueError: naming the key that is missing or wrong.
        """
        needed = get_codes(load_tiered(parameters))
        builder = cls.get_builder()
        builder.codes = {name: code for name, code in codes.items() if name in needed}
        builder.configurations = configurations
        builder.parameters = orm.Dict(parameters)
        builder.options = {name: orm.Dict(value) for name, value in (options or {}).items() if name in needed and value}
        return builder

    @functools.cached_property
    def oracle(self) -> TieredOracle:
        """The oracle, with one of its own for each batch."""
        return load_tiered(self.inputs.parameters.get_dict())

    def setup(self):
        """Nothing is known yet."""
        self.ctx.teachers = {}  # name -> PK of its labels
        self.ctx.decision = {}  # PK of what `decide_tiers` returned
        if not self.should_run_teachers():
            self.report('no more configurations for the teacher than a calibration takes: all go to DFT')

    # Teachers ---------------------------------------------------------------------------------------------------------

    def should_run_teachers(self) -> bool:
        """Return whether more than the calibration could go to the teacher."""
        return sum(not is_expensive(atoms) for atoms in self.inputs.configurations) > self.oracle.tiers.calibration

    def run_teachers(self):
        """Label everything with the teacher and its committee."""
        names = [name for name in self.oracle.parts if name != EXPENSIVE]
        return ToContext(**{name: self.submit_batch(name, self.inputs.configurations) for name in names})

    def inspect_teachers(self):
        """Stop where a teacher has failed: it would cost more DFT than was meant."""
        for name in self.oracle.parts:
            if name == EXPENSIVE:
                continue
            child = self.ctx[name]
            if not child.is_finished_ok:
                message = f'{child.process_label}<{child.pk}> {child.exit_message or "did not finish"}'
                return self.exit_codes.ERROR_TEACHER_FAILED.format(message=message.rstrip('.'))
            if 'train' in child.outputs:
                self.ctx.teachers[name] = child.outputs.train.pk
        if 'teacher' not in self.ctx.teachers:
            return self.exit_codes.ERROR_TEACHER_FAILED.format(message='the teacher has labelled nothing')

    def should_decide(self) -> bool:
        """Return whether there are labels of the teacher, and the expensive oracle did not fail."""
        return bool(self.ctx.teachers) and self.ctx.expensive.is_finished_ok

    # Expensive oracle -------------------------------------------------------------------------------------------------

    def run_expensive(self):
        """Label what goes to the expensive oracle whatever comes; everything, if the teacher was not asked."""
        configurations = self.inputs.configurations
        if self.ctx.teachers:
            configurations = choose_calibration(
                configurations,
                orm.load_node(self.ctx.teachers['teacher']),
                orm.Dict(self.oracle.tiers.model_dump()),
                metadata={'call_link_label': 'choose_calibration'},
            )
        return ToContext(expensive=self.submit_batch('expensive', configurations))

    def decide(self):
        """Compare the tiers, and take the labels of the teacher where it is sure."""
        nodes = {name: orm.load_node(pk) for name, pk in self.ctx.teachers.items()}
        if 'train' in self.ctx.expensive.outputs:
            nodes['expensive'] = self.ctx.expensive.outputs.train
        decision = decide_tiers(
            configurations=self.inputs.configurations,
            chosen=self.ctx.expensive.inputs.configurations,
            tiers=orm.Dict(self.oracle.tiers.model_dump()),
            **nodes,
            metadata={'call_link_label': 'decide_tiers'},
        )
        self.ctx.decision = {name: node.pk for name, node in decision.items()}
        report = decision['report'].get_dict()
        self.report(f'the teacher is sure of {report["cheap"]} configurations, and not of {report["unsure"]}')
        for doubt, number in report['doubts'].items():
            self.report(f'{number} not sure: {doubt}')

    def should_run_unsure(self) -> bool:
        """Return whether configurations remain for the expensive oracle."""
        return 'unsure' in self.ctx.decision

    def run_unsure(self):
        """Label them."""
        return ToContext(unsure=self.submit_batch('unsure', orm.load_node(self.ctx.decision['unsure'])))

    def submit_batch(self, name: str, configurations: orm.Data) -> orm.ProcessNode:
        """Submit a batch, or find it again after an interruption."""
        return submit_once(self, name, lambda: self.get_batch_builder(name, configurations))

    def get_batch_builder(self, name: str, configurations: orm.Data) -> ProcessBuilder:
        """Return the builder of a batch."""
        part = EXPENSIVE if name in BATCHES else name
        code = self.oracle.parts[part].code
        options = self.inputs.options[code].get_dict() if code in self.inputs.get('options', {}) else None
        builder = LabelWorkChain.get_builder_from_protocol(
            self.inputs.codes[code], configurations, self.oracle.get_parameters(part), options
        )
        builder.metadata.label = name
        return builder

    # Results ----------------------------------------------------------------------------------------------------------

    def results(self):
        """Put the labels of both tiers together, and compare the failures with the quota."""
        children = {name: self.ctx[name] for name in BATCHES if name in self.ctx}
        for split in SPLITS:
            sets = {name: child.outputs[split] for name, child in children.items() if split in child.outputs}
            if split == 'train' and 'cheap' in self.ctx.decision:
                sets['teacher'] = orm.load_node(self.ctx.decision['cheap'])
            self.out_merged(split, split, sets)
            suspects = {name: child.outputs.suspects for name, child in children.items() if 'suspects' in child.outputs}
            self.out_merged(
                f'suspects.{split}',
                f'suspects_{split}',
                {name: found[split] for name, found in suspects.items() if split in found},
            )
        results = self.summarise(children)
        self.out('results', orm.Dict(results).store())
        failed, total = results['number_failed'], results['number_of_configurations']
        if failed > self.oracle.label.max_failed_fraction * total or not all(
            child.is_finished_ok for child in children.values()
        ):
            return self.exit_codes.ERROR_TOO_MANY_FAILURES.format(failed=failed, total=total)

    def out_merged(self, port: str, name: str, sets: Mapping[str, orm.Data]):
        """Register an output that is made of sets of configurations."""
        if len(sets) > 1:
            # Their settings differ, but the energies of the teacher are aligned to those of the others.
            mixed = orm.Bool(True)
            self.out(port, merge_configurations(mixed, **sets, metadata={'call_link_label': f'merge_{name}'}))
        elif sets:
            self.out(port, next(iter(sets.values())))

    def summarise(self, children: dict[str, orm.ProcessNode]) -> dict[str, Any]:
        """Return the output ``results``; the keys are those of ``LabelWorkChain``, and ``tiers``."""
        batches = {name: get_results(child) for name, child in children.items()}
        teachers = [
            self.ctx[name].outputs.results.get_dict() for name in self.oracle.parts if name in self.ctx.teachers
        ]
        cheap = orm.load_node(self.ctx.decision['cheap']) if 'cheap' in self.ctx.decision else ()
        report = orm.load_node(self.ctx.decision['report']).get_dict() if self.ctx.decision else {}
        expensive = sum(batch['number_labelled'] for batch in batches.values())
        results = {
            'number_of_configurations': len(self.inputs.configurations),
            'number_labelled': expensive + len(cheap),
            **{name: sum(batch.get(name, 0) for batch in batches.values()) for name in COUNTS},
            'failures': [
                {**failure, 'index': self.find(children[name], failure['index'])}
                for name, batch in batches.items()
                for failure in batch['failures']
            ],
            'suspects': [suspect for batch in batches.values() for suspect in batch.get('suspects', [])],
            'tiers': {'teacher': len(cheap), 'expensive': expensive, **report},
        }
        for cost in ('wall_time_seconds', 'atoms', *COSTS[:1], *COSTS[2:]):
            results[cost] = sum(batch.get(cost, 0) for batch in (*batches.values(), *teachers))
        if self.ctx.teachers and 'test' in self.ctx.teacher.outputs and 'test' in self.ctx.expensive.outputs:
            tests = (child.outputs.test.get_frames() for child in (self.ctx.teacher, self.ctx.expensive))
            results['tiers']['held_out'] = held_out_errors(*tests)
        jobs = [job for batch in batches.values() for job in batch.get('jobs', [])]
        saved = saved_core_hours(jobs, [len(atoms) for atoms in cheap]) if cheap else None
        if saved is not None:
            spent = sum(batch.get('core_hours', 0.0) for batch in teachers)
            results['tiers'] |= {'core_hours_saved': saved - spent, 'core_hours_teacher': spent}
        return results

    def find(self, child: orm.ProcessNode, index: int) -> int:
        """Return the index of a configuration of a batch among all configurations."""
        wanted = key(child.inputs.configurations.get_structure_ase(index))
        return next(k for k, atoms in enumerate(self.inputs.configurations) if key(atoms) == wanted)


def get_results(child: orm.ProcessNode) -> dict[str, Any]:
    """Return the results of a batch; one that broke has lost all its configurations."""
    if 'results' in child.outputs:
        return child.outputs.results.get_dict()
    return {'number_labelled': 0, 'number_failed': len(child.inputs.configurations), 'failures': []}
