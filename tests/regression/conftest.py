"""Fixtures of the regression tests: no engine runs, the codes name a program that is never started."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.plugins import DataFactory

from . import cases

PLUGINS = {
    'pw': 'quantumespresso.pw',
    'vasp': 'vasp.vasp',
    'lammps': 'pyacemaker.lammps_pace',
    'worker': 'pyacemaker.pace_train',
    'teacher': 'pyacemaker.teacher',
}


@pytest.fixture
def codes(aiida_code_installed) -> dict[str, orm.InstalledCode]:
    """Return a code for each engine."""
    return {
        name: aiida_code_installed(
            label=f'regression-{name}', default_calc_job_plugin=plugin, filepath_executable='/bin/true'
        )
        for name, plugin in PLUGINS.items()
    }


@pytest.fixture
def labels(codes) -> dict[str, str]:
    """Return the section `codes` of a run file."""
    return {name: code.full_label for name, code in codes.items()}


@pytest.fixture
def pseudos(pseudo_family) -> str:
    """Return the label of a family of pseudopotentials."""
    return pseudo_family


@pytest.fixture
def potcars(aiida_profile, tmp_path) -> str:
    """Return the label of a family of made-up potentials of VASP."""
    from .potcars import upload

    return upload(tmp_path / 'potcars', {'Al': 240.3, 'Fe_pv': 293.2})


@pytest.fixture
def potential(aiida_profile) -> orm.Data:
    """Return the potential as a node."""
    return DataFactory('pyacemaker.potential').from_directory(cases.POTENTIAL).store()


@pytest.fixture
def configurations(aiida_profile) -> Callable[..., orm.Data]:
    """Return the class that makes a node of frames."""
    return DataFactory('pyacemaker.configurations')


@pytest.fixture
def instantiate(aiida_profile) -> Callable[..., Any]:
    """Return a factory of processes that do not run."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage.manager import get_manager

    def factory(process: Any, **inputs: Any) -> Any:
        return instantiate_process(get_manager().get_runner(), process, **inputs)

    return factory


@pytest.fixture
def prepare(instantiate) -> Callable[..., SimpleNamespace]:
    """Return a function that gives the files, and what is copied and retrieved, of a calculation."""

    def function(process: Any, **inputs: Any) -> SimpleNamespace:
        calculation = instantiate(process, **inputs)
        with SandboxFolder() as folder:
            info = calculation.prepare_for_submission(folder)
            texts = {name: folder.get_abs_path(name) for name in folder.get_content_list()}
            files = {name: Path(path).read_text() for name, path in texts.items() if Path(path).is_file()}
            folders = {name: sorted(os.listdir(path)) for name, path in texts.items() if Path(path).is_dir()}
        return SimpleNamespace(files=files, folders=folders, info=info)

    return function


@pytest.fixture
def parse(aiida_profile, codes) -> Callable[..., tuple[dict[str, orm.Data], orm.CalcJobNode]]:
    """Return a function that parses stored outputs: the outputs by their ports, with exit code, as a pair."""
    from aiida.common.links import LinkType
    from aiida.plugins import ParserFactory

    def function(entry_point: str, folder: Any, inputs: dict[str, Any], kept: tuple[str, ...]) -> tuple[dict, Any]:
        node = orm.CalcJobNode(
            computer=codes['worker'].computer, process_type=f'aiida.calculations:pyacemaker.{entry_point}'
        )
        node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        outputs = {'lammps_pace': 'lammps.out', 'lammps_melting': 'lammps.out'}
        node.set_option('output_filename', outputs.get(entry_point, 'worker.out'))
        for name, value in inputs.items():
            value = value if isinstance(value, orm.Data) else orm.Dict(value)
            node.base.links.add_incoming(value.store(), link_type=LinkType.INPUT_CALC, link_label=name)
        node.store()
        retrieved = orm.FolderData()
        for name in kept:
            if (folder / name).exists():
                retrieved.base.repository.put_object_from_file(str(folder / name), name)
        retrieved.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='retrieved')
        retrieved.store()
        parser = ParserFactory(f'pyacemaker.{entry_point}')(node)
        exit_code = parser.parse(retrieved_temporary_folder=str(folder))
        return dict(parser.outputs), exit_code

    return function
