"""The project folder of a run: the view of AiiDA's graph that people know from working with files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import yaml
from aiida import orm
from aiida.plugins import DataFactory

from .queries import Steps, get_batches, get_children, get_jobs, get_results, get_steps, while_unlocked
from .render import render
from .report import write_report
from .rows import Json, Verdict
from .status import get_status
from .trajectories import find_trajectories, read_frames


@while_unlocked
def export_run(run: orm.WorkChainNode, target: Path, force: bool = False) -> list[str]:
    """Write the project folder of a run; all of it or nothing.

    :param run: a run of the loop, finished or not.
    :param target: the folder to make.
    :param force: replace a folder that an earlier export made.
    :returns: the relative paths of the files written, sorted.
    :raises ValueError: if the folder is in use, or the run has nothing to export yet.
    """
    target = target.absolute()
    check_target(target, force)
    steps = get_steps(run)
    if not steps:
        raise ValueError(f'the run {run.pk} has not done a step yet; look at `aiida-pyacemaker status {run.pk}`')
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f'.{target.name}-', dir=target.parent))
    try:
        write_run(run, steps, scratch)
        scratch.chmod(0o777 & ~get_umask())
        put_in_place(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return sorted(str(path.relative_to(target)) for path in target.rglob('*') if path.is_file())


def check_target(target: Path, force: bool) -> None:
    """Refuse a target that holds something, unless it is an export and may be replaced.

    :raises ValueError: with the remedy.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f'`{target}` is a file; name a new folder')
    if target == Path.cwd():
        raise ValueError('the current folder cannot be replaced; name a new folder')
    if not any(target.iterdir()):
        return
    if not force:
        raise ValueError(f'`{target}` is not empty; name a new folder, or replace an earlier export with --force')
    if not ((target / 'config.yaml').is_file() and (target / 'report.json').is_file()):
        raise ValueError(f'`{target}` is not an earlier export, so --force does not replace it; name a new folder')


def put_in_place(scratch: Path, target: Path) -> None:
    """Give the finished folder its name; an earlier export goes only once the new one stands."""
    if not target.exists():
        scratch.rename(target)
        return
    former = Path(tempfile.mkdtemp(prefix=f'.{target.name}-old-', dir=target.parent))
    target.rename(former / 'former')
    scratch.rename(target)
    shutil.rmtree(former)


def get_umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Parts ----------------------------------------------------------------------------------------------------------------


def write_run(run: orm.WorkChainNode, steps: Steps, folder: Path) -> None:
    """Write all parts of the project folder into an existing folder."""
    status = get_status(run)
    config = yaml.safe_dump(run.inputs.parameters.get_dict(), sort_keys=False, allow_unicode=True)
    (folder / 'config.yaml').write_text(config, encoding='utf-8')
    (folder / 'README.txt').write_text(
        render('export_readme.txt.j2', run=run, version=tell_version(status.verdict)), encoding='utf-8'
    )
    write_data(run, steps, folder / 'data')
    write_potentials(run, steps, folder / 'potentials')
    for iteration, children in steps.items():
        write_iteration(children, folder / 'active_learning' / f'iter_{iteration:03d}')
    report = {**status.to_json(), 'report': run.outputs.report.get_dict() if 'report' in run.outputs else None}
    noise = status.label_noise
    if noise is not None:
        (folder / 'label_noise.json').write_text(json.dumps(noise, indent=2) + '\n', encoding='utf-8')
    (folder / 'report.json').write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    write_report(run, folder)
    write_trajectories(run, folder / 'trajectories')


def tell_version(verdict: Verdict | None) -> str:
    """Return the line of the README that says how far the potential can be trusted."""
    if verdict is None:
        return 'The potential has not been judged.'
    return f'{verdict.deployed or "Not deployed"}: {verdict.summary}'


def write_trajectories(run: orm.WorkChainNode, folder: Path) -> None:
    """Write each trajectory of each walker as extended xyz, joined over its resumptions."""
    from ase.io import write

    folder.mkdir()
    for trajectory in find_trajectories(run):
        frames = read_frames(trajectory)
        if frames:
            write(folder / f'walker_{trajectory.walker:02d}_start_{trajectory.number:02d}.extxyz', frames)


def get_trained(steps: Steps) -> list[orm.WorkChainNode]:
    """Return the train steps that left a potential, oldest first."""
    trained = [children['train'] for children in steps.values() if 'train' in children]
    return [node for node in trained if 'potential' in node.outputs]


def write_data(run: orm.WorkChainNode, steps: Steps, folder: Path) -> None:
    """Write the data sets as extended xyz."""
    folder.mkdir()
    trained = get_trained(steps)
    sets: dict[str, orm.Data] = {}
    if 'dataset' in run.inputs:  # batches of a former run that this one continues
        batches = run.inputs.dataset
        frames = [atoms for name in sorted(batches) for atoms in batches[name].get_frames()]
        sets['initial_train'] = DataFactory('pyacemaker.configurations')(frames)
    elif trained:
        sets['initial_train'] = trained[0].inputs.job.configurations
    if 'dataset' in run.outputs:
        sets['accumulated'] = run.outputs.dataset
    elif trained:
        sets['accumulated'] = trained[-1].inputs.job.configurations
    if 'test_set' in run.outputs:
        sets['test'] = run.outputs.test_set
    elif trained and 'test' in trained[-1].inputs.job:
        sets['test'] = trained[-1].inputs.job.test
    for name, node in sets.items():
        write_configurations(node, folder / f'{name}.extxyz')


def write_configurations(node: orm.Data, path: Path) -> None:
    """Write configurations as extended xyz."""
    node.export(str(path), fileformat='extxyz', overwrite=True)


def write_potentials(run: orm.WorkChainNode, steps: Steps, folder: Path) -> None:
    """Write each generation and the production potential, and a LAMMPS input with a structure for the best."""
    from ase.io import write

    from aiida_pyacemaker.atomistics.core import checksums
    from aiida_pyacemaker.atomistics.lammps.files import write_in_lammps

    folder.mkdir()
    trained = get_trained(steps)
    potentials = [run.inputs.potential] if 'potential' in run.inputs else []
    potentials += [node.outputs.potential for node in trained]
    named = {f'generation_{potential.generation or 0:03d}': potential for potential in potentials}
    if 'potential' in run.outputs and run.outputs.potential.uuid not in {node.uuid for node in potentials}:
        named['production'] = run.outputs.potential
        potentials.append(run.outputs.potential)
    names = {'.yaml': 'potential.yaml', '.yace': 'potential.yace', '.asi': 'potential.asi', '.json': 'metadata.json'}
    stem, hashes = '', {}
    for stem, potential in named.items():
        expected = potential.get_checksums()
        for suffix, name in names.items():
            (folder / f'{stem}{suffix}').write_bytes(potential.read(name))
            hashes[f'{stem}{suffix}'] = expected[name]
    (folder / checksums.FILENAME).write_text(checksums.format_checksums(hashes))
    if not potentials or not trained:
        return
    frames = trained[-1].inputs.job.configurations.get_frames()
    largest = max(frames, key=len).copy()
    largest.info = {}
    largest.wrap()
    elements = potentials[-1].elements
    write(folder / 'structure.data', largest, format='lammps-data', specorder=elements, atom_style='atomic')
    files = {'yaml': f'{stem}.yaml', 'asi': f'{stem}.asi', 'yace': f'{stem}.yace'}
    write_in_lammps(potentials[-1].metadata, folder / 'in.lammps', data='structure.data', **files)


def write_iteration(children: dict[str, orm.WorkChainNode], folder: Path) -> None:
    """Write what one iteration did: simulations, candidates, DFT calculations."""
    folder.mkdir(parents=True)
    for name, place in (('explore', 'md_run'), ('proof', 'proof_run')):
        if name in children:
            write_simulations(children[name], folder / place)
    if 'label' in children:
        (folder / 'candidates').mkdir()
        write_configurations(children['label'].inputs.configurations, folder / 'candidates' / 'candidates.extxyz')
        write_dft(children['label'], folder / 'dft_calc')
    report: dict[str, Json] = {}
    for name, node in children.items():
        report[name] = {
            'pk': node.pk,
            'uuid': node.uuid,
            'kind': node.process_label,
            'exit_status': node.exit_status,
            'exit_message': node.exit_message,
            'results': get_results(node),
        }
    (folder / 'report.json').write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


def write_simulations(explore: orm.WorkChainNode, folder: Path) -> None:
    """Write input, log and snapshots of each simulation."""
    folder.mkdir()
    for name, node in get_children(explore).items():
        if not isinstance(node, orm.CalcJobNode):
            continue
        (folder / name).mkdir()
        copy_files(node, folder / name)
        for output in ('trajectory', 'halted', 'violation'):
            if output in node.outputs:
                write_configurations(node.outputs[output], folder / name / f'{output}.extxyz')


def write_dft(label: orm.WorkChainNode, folder: Path) -> None:
    """Write input and output of each DFT calculation; a calculation that was restarted has one folder per attempt."""
    folder.mkdir()
    for batch in get_batches(label):
        name = 'label' if batch.pk == label.pk else batch.label
        for job in get_jobs(batch):
            node = orm.load_node(job.pk)
            called = [node] if isinstance(node, orm.CalcJobNode) else get_children(node).values()
            calculations = [child for child in called if isinstance(child, orm.CalcJobNode)]
            for attempt, calculation in enumerate(calculations):
                suffix = '' if attempt == 0 else f'_attempt_{attempt + 1}'
                path = folder / f'{name}_{job.index:04d}{suffix}'
                path.mkdir()
                copy_files(calculation, path)


def copy_files(node: orm.CalcJobNode, folder: Path) -> None:
    """Copy the input and output file of a calculation, and no more: the rest is in the graph."""
    options = node.get_options()
    name = options.get('input_filename')
    if name and name in node.base.repository.list_object_names():
        (folder / name).write_bytes(node.base.repository.get_object_content(name, mode='rb'))
    name = options.get('output_filename')
    if name and 'retrieved' in node.outputs and name in node.outputs.retrieved.base.repository.list_object_names():
        (folder / name).write_bytes(node.outputs.retrieved.base.repository.get_object_content(name, mode='rb'))
