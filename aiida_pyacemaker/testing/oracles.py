"""What every oracle has to pass, see :class:`aiida_pyacemaker.workflows.oracles.Oracle`.

In the tests of a plug-in::

    def test_oracle(my_label_section):
        check_oracle('my_oracle', label=my_label_section)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ase.build import bulk

from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.plugins import ORACLES, CodePort, find_plugins, load_plugin
from aiida_pyacemaker.runfile.sections import Codes, Label, Options
from aiida_pyacemaker.workflows.oracles import EngineOracle, Oracle, load_oracle


def check_oracle(name: str, label: Mapping[str, Any] | None = None) -> None:
    """Check that an oracle keeps the contract.

    :param name: of its entry point.
    :param label: values of a section ``label`` with which it can label here, for the checks of an instance; without
        them only the class is checked.
    :raises AssertionError: saying what is wrong.
    """
    oracle = load_plugin(ORACLES, name, 'label.oracle')
    assert isinstance(oracle, type) and issubclass(oracle, Oracle), f'{name} is no subclass of Oracle'
    assert oracle.__doc__, f'{name} has no docstring'
    _check_section(name, oracle)
    _check_codes(name, oracle)
    _check_import(name)
    for process_type in oracle.process_types:
        assert process_type.startswith('aiida.'), f'{name}: {process_type!r} is no process type such as aiida....:name'
    assert isinstance(oracle.citation, str), f'{name}: the citation is no text'
    if issubclass(oracle, EngineOracle):
        _check_engine(name, oracle)
    if label is not None:
        _check_instance(name, label)


def _check_section(name: str, oracle: type[Oracle]) -> None:
    """Its keys are in the schema of the run file, and described."""
    if oracle.Parameters is None:
        return
    assert issubclass(oracle.Parameters, Section), f'{name}: Parameters is no Section'
    section = oracle.section_name or name
    assert section in Label.model_fields, f'{name}: there is no section label.{section}'
    for key, field in oracle.Parameters.model_fields.items():
        assert field.description, f'{name}: label.{section}.{key} has no description'


def _check_codes(name: str, oracle: type[Oracle]) -> None:
    """Its codes can be named in a run file, with options."""
    for key, port in oracle.codes.items():
        assert isinstance(port, CodePort), f'{name}: codes.{key} is no CodePort'
        assert port.help, f'{name}: codes.{key} does not say what it is'
        assert key in Codes.model_fields and key in Options.model_fields, f'{name}: codes.{key} is in no run file'
        assert port.fallback is None or port.fallback in Codes.model_fields, (
            f'{name}: there is no codes.{port.fallback}'
        )


def _check_import(name: str) -> None:
    """Its module is imported whenever a run file is read, also without a profile, so it must not import AiiDA."""
    module = find_plugins(ORACLES)[name].module
    line = f'import sys, {module}; sys.exit("aiida.orm" in sys.modules or "aiida.engine" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', line], check=False)
    assert done.returncode == 0, f'{name}: importing {module} imports AiiDA (or fails); do it inside methods'


def _check_engine(name: str, oracle: type[EngineOracle]) -> None:
    """Its class says which outputs hold labels, and reads them without an instance."""
    assert len(oracle.codes) == 1, f'{name}: an oracle with an engine runs one code'
    assert oracle.outputs, f'{name}: no output holds its labels'
    for output in oracle.outputs:
        assert output.replace('_', '').isalpha() and output.islower(), f'{name}: {output!r} is not of a-z and _'
    assert oracle.optional_outputs <= set(oracle.outputs), f'{name}: optional outputs that are no outputs'
    assert oracle.process_types, f'{name}: a lineage cannot find the calculations that label'
    assert isinstance(oracle.__dict__.get('read_labels'), staticmethod), f'{name}: read_labels is no staticmethod'


def _check_instance(name: str, label: Mapping[str, Any]) -> None:
    """It is made from the section, completes it once, and gives each configuration to one job."""
    oracle = load_oracle({**label, 'oracle': name})
    for engine in oracle.get_engines(oracle.label):
        assert engine in find_plugins(ORACLES), f'{name}: it combines {engine!r}, which is no oracle'
    complete = oracle.complete(['Al'])
    again = load_oracle(complete.model_dump()).complete(['Al'])
    assert again == complete, f'{name}: what is complete changes when it is completed again'
    assert load_oracle(oracle.get_reference()).code in Codes.model_fields, f'{name}: references need a code'
    if not isinstance(oracle, EngineOracle):
        return
    frames = [bulk('Al', cubic=True) for _ in range(5)]
    frames[3].info['split'] = 'test'
    jobs = oracle.get_jobs(frames)
    assert sorted(index for job in jobs for index in job) == list(range(5)), f'{name}: not one job for each'
    for job in jobs:
        splits = {frames[index].info.get('split', 'train') for index in job}
        assert len(splits) == 1, f'{name}: a job mixes training and held-out configurations'
