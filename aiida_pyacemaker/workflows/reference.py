"""WorkChain that finds equation of state and elastic constants of crystals with the oracle of the labels."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder, ToContext, WorkChain, if_
from aiida.plugins import DataFactory, WorkflowFactory

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.validation import from_labels
from aiida_pyacemaker.atomistics.validation.parameters import REFERENCES
from aiida_pyacemaker.calculations.functions.analyse_reference import analyse_reference
from aiida_pyacemaker.calculations.functions.plan_reference import plan_reference

from .oracles import load_oracle
from .reuse_children import submit_once

ConfigurationsData = DataFactory('pyacemaker.configurations')
LabelWorkChain = WorkflowFactory('pyacemaker.label')


def validate_crystals(value, _):
    """Refuse what has no equation of state at all."""
    reasons = [from_labels.why_not(atoms) for atoms in value]
    return None if not all(reasons) else f'there is nothing to find: {"; ".join(reasons)}'


class ReferenceWorkChain(WorkChain):
    """Equation of state, then elastic constants at its volume, by the very settings of the labels.

    The configurations are planned and their labels looked at by the functions that do it for a potential. Between them
    ``LabelWorkChain`` does the work, so what was computed once comes from the cache.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(LabelWorkChain, include=('code', 'options'))
        spec.input(
            'crystals', valid_type=ConfigurationsData, validator=validate_crystals, help='The crystals, without labels.'
        )
        spec.input('label', valid_type=orm.Dict, help='The section `label` of a run file with every value set.')
        spec.input(
            'properties',
            valid_type=orm.List,
            default=lambda: orm.List(list(REFERENCES)),
            help='What is asked for; the equation of state is needed for the elastic constants.',
        )
        spec.input(
            'sections',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            help='Parameters of `eos` and `elasticity`, where they are not the defaults.',
        )
        spec.outline(
            cls.run_eos,
            cls.inspect_eos,
            if_(cls.should_run_others)(
                cls.run_others,
                cls.inspect_others,
            ),
            cls.results,
        )
        spec.output(
            'results',
            valid_type=orm.Dict,
            help='Of each crystal what it is, its `equilibrium`, `eos` and `elasticity`, in the keys of a validation.',
        )
        spec.exit_code(
            401, 'ERROR_NOTHING_LABELLED', message='No configuration of the equation of state was labelled: {message}'
        )

    @classmethod
    def get_builder_from_protocol(cls, codes, crystals, label, parameters=None, options=None):
        """Return a builder that finds the references of ``crystals``.

        :param codes: mapping of the names of codes (``pw``, ``vasp``, ``teacher``) to codes; others are left out.
        :param crystals: :class:`~aiida_pyacemaker.data.ConfigurationsData`.
        :param label: dictionary, the section ``label`` of a resolved run file. Of two tiers the expensive one is meant.
        :param parameters: dictionary, the section ``validate``, of which ``references``, ``eos`` and ``elasticity``
            count.
        :param options: mapping of the names of codes to overrides of ``metadata.options``.
        :raises InputError: naming the key that is missing or wrong.
        """
        label = load_oracle(label).get_reference()
        name = load_oracle(label).code
        if name not in codes:
            raise InputError(f'codes.{name}', 'is missing', 'the references are found by the oracle of the labels')
        builder = cls.get_builder()
        builder.code = codes[name]
        builder.crystals = crystals
        builder.label = orm.Dict(label)
        asked = parameters or {}
        builder.sections = orm.Dict({key: asked[key] for key in REFERENCES if asked.get(key)})
        named = [name for name in asked.get('references') or [] if name in REFERENCES]
        builder.properties = orm.List(named or list(REFERENCES))
        if (options or {}).get(name):
            builder.options = orm.Dict(options[name])
        return builder

    def run_eos(self):
        """Label crystals of other volumes."""
        return ToContext(eos=self.submit_labels('eos'))

    def inspect_eos(self):
        """Fit the equations of state."""
        labelled = self.get_labelled('eos')
        if not labelled:
            return self.exit_codes.ERROR_NOTHING_LABELLED.format(message=self.ctx.eos.exit_message or 'see its results')
        self.ctx.known = analyse_reference(
            self.inputs.crystals, self.get_parameters('eos'), **labelled, metadata={'call_link_label': 'eos_analysed'}
        )
        for index, crystal in enumerate(self.ctx.known.get_dict()['crystals']):
            if crystal['eos']['status'] != 'ok':
                self.report(
                    f'crystal {index} ({crystal["name"]}) has no equation of state: {crystal["eos"]["message"]}'
                )

    @property
    def others(self) -> list[str]:
        """What is asked for besides the equation of state, whose volume it belongs to."""
        return [name for name in REFERENCES if name != 'eos' and name in self.inputs.properties.get_list()]

    def should_run_others(self) -> bool:
        """Return whether something else is asked for, and there is an equilibrium to find it at."""
        return bool(self.others) and any(
            crystal['eos']['status'] == 'ok' for crystal in self.ctx.known.get_dict()['crystals']
        )

    def run_others(self):
        """Label what the other properties need, such as strained crystals, and those with an ion displaced."""
        return ToContext(**{name: self.submit_labels(name, known=self.ctx.known) for name in self.others})

    def inspect_others(self):
        """Find the other properties, such as the elastic constants."""
        labelled = {key: node for name in ('eos', *self.others) for key, node in self.get_labelled(name).items()}
        last = self.others[-1]
        self.ctx.known = analyse_reference(
            self.inputs.crystals,
            self.get_parameters(last),
            **labelled,
            metadata={'call_link_label': f'{last}_analysed'},
        )

    def results(self):
        """Attach what was found."""
        self.out('results', self.ctx.known)

    def submit_labels(self, name: str, **known: orm.Dict) -> orm.ProcessNode:
        """Submit the labels of a property."""
        return submit_once(self, name, lambda: self.get_label_builder(name, known))

    def get_label_builder(self, name: str, known: dict[str, orm.Dict]) -> ProcessBuilder:
        """Return the builder of the labels of a property, and make what is to be labelled."""
        planned = plan_reference(
            self.inputs.crystals, self.get_parameters(name), **known, metadata={'call_link_label': f'{name}_planned'}
        )
        builder = LabelWorkChain.get_builder_from_protocol(self.inputs.code, planned, self.inputs.label.get_dict())
        if 'options' in self.inputs:
            builder.options = self.inputs.options
        self.report(f'{len(planned)} labels for {name}')
        return builder

    def get_parameters(self, name: str) -> orm.Dict:
        """Return the parameters of the functions."""
        distance = self.inputs.label.get_dict().get('kpoints_distance')
        values: dict[str, Any] = {'property': name, 'sections': self.inputs.sections.get_dict()}
        return orm.Dict({**values, 'kpoints_distance': distance})

    def get_labelled(self, name: str) -> dict[str, orm.Data]:
        """Return the labels of a property: suspicious ones, too, as large energies are what it is about."""
        outputs = self.ctx[name].outputs
        found = {f'{name}_{split}': outputs[split] for split in ('train', 'test') if split in outputs}
        suspects = outputs.suspects if 'suspects' in outputs else {}
        return found | {f'{name}_suspect_{split}': suspects[split] for split in suspects}
