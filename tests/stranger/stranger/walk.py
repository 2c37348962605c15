"""The explorer `walk`: Metropolis Monte Carlo with small displacements of all atoms, halted by gamma.

`python -m stranger.walk` is what a job runs: it reads and writes the files that :mod:`stranger.job` names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from aiida_pyacemaker import AcePotential, load_configurations, save_configurations
from aiida_pyacemaker.atomistics.core.parameters import Count, Positive, Section, parameter
from aiida_pyacemaker.atomistics.core.plugins import CodePort
from aiida_pyacemaker.atomistics.explorers.walker import EndReason, Walker, WalkerResult
from aiida_pyacemaker.workflows.explorers import Explorer

PARAMETERS, START, RESULTS = 'parameters.json', 'start.npz', 'results.json'


class Walk(Section):
    """What the explorer `walk` needs beside the keys of `explore`."""

    amplitude: Positive = parameter('Width of the displacements of a step.', unit='Å', default=0.03)


class WalkParameters(Walk):
    """What one walker takes."""

    steps: Count = parameter('Number of the last step.', ge=1)
    timestep: Positive = parameter('A step takes no time; for reports.', unit='fs', default=1.0)
    seed: Count = parameter('Decides everything random.', ge=0)
    temperature: Positive = parameter('Temperature of the Metropolis criterion.', unit='K')
    gamma_select: Positive = parameter('Frames above this gamma are worth learning.')
    gamma_halt: Positive = parameter('The walk halts above this gamma.')


class WalkExplorer(Explorer):
    """Monte Carlo, one `WalkCalculation` for each walker."""

    Parameters = Walk
    WalkerParameters = WalkParameters
    codes = {'python': CodePort('A Python that has this package, for the exploration.', plugin='stranger.walk')}
    process_type = 'aiida.calculations:stranger.walk'

    def plan(self, explore, cells, elements, stage, seed):
        """Return as many walks as there are walkers, at temperatures between the lowest and the highest."""
        entry = explore.stages[stage]
        low, high = explore.temperature
        section = getattr(explore, 'walk', None) or Walk()
        return [
            Walker(
                index=index,
                stage=entry.name,
                program='walk',
                structure=index % len(cells),
                parameters=WalkParameters(
                    amplitude=section.amplitude,
                    steps=max(1, round(entry.share * explore.steps)),
                    seed=1000 * seed + index,
                    temperature=low + entry.reach * (high - low) * (index + 1) / explore.walkers,
                    gamma_select=explore.gamma_select,
                    gamma_halt=explore.gamma_halt,
                ),
            )
            for index in range(explore.walkers)
        ]

    def get_builder(self, walker, codes, potential, options, *, structure=None, restart=None):
        """Return the builder of a walk."""
        from aiida import orm
        from aiida.plugins import CalculationFactory

        builder = CalculationFactory('stranger.walk').get_builder()
        builder.code = codes['python']
        builder.potential = potential
        builder.parameters = orm.Dict(walker.parameters.model_dump(mode='json'))
        builder.metadata.options = options
        if restart is None:
            builder.structure = structure
        else:
            builder.restart = restart
        return builder

    def get_result(self, walker, node):
        """Return what became of a walk."""
        what = {'index': walker.index, 'stage': walker.stage, 'program': walker.program}
        return WalkerResult.from_dict({**node.outputs.results.get_dict(), **what})


def walk(atoms: Atoms, potential: AcePotential, parameters: WalkParameters) -> tuple[dict[str, Any], dict[str, list]]:
    """Walk until the last step or until gamma halts it.

    :param atoms: where it starts; info `step` says how far it has come already.
    :return: the results, and the frames by their kind.
    """
    start = int(atoms.info.get('step', 0))
    rng = np.random.default_rng([parameters.seed, start])
    calculator = potential.calculator()
    frames: dict[str, list[Atoms]] = {'halted': [], 'trajectory': []}
    energy, largest, gamma_max = np.inf, 0.0, 0.0
    reason, step = EndReason.COMPLETED, start
    for step in range(start + 1, parameters.steps + 1):
        trial = atoms.copy()
        trial.positions += rng.normal(0.0, parameters.amplitude, trial.positions.shape)
        calculator.calculate(trial)
        change = calculator.results['energy'] - energy
        if change > 0 and rng.random() > np.exp(-change / (units.kB * parameters.temperature)):
            continue
        atoms, energy, gamma = trial, calculator.results['energy'], calculator.results['gamma']
        largest = float(gamma.max())
        gamma_max = max(gamma_max, largest)
        kind = 'halted' if largest > parameters.gamma_halt else 'trajectory'
        if kind == 'halted' or largest > parameters.gamma_select or step % 10 == 0:
            frame = atoms.copy()
            frame.set_array('gamma', gamma)
            frame.info = {'role': kind, 'family': kind, 'step': step, 'gamma_max': largest}
            frame.info |= {'temperature': parameters.temperature}
            if largest > parameters.gamma_select:
                frame.info['selected'] = True
            frames[kind].append(frame)
        if kind == 'halted':
            reason = EndReason.GAMMA
            break
    for frame in [*frames['halted'], *frames['trajectory']]:
        frame.info['ended'] = str(reason)
    text = f'gamma was {largest:.1f}' if reason is EndReason.GAMMA else 'all steps were made'
    results = {
        'reason': str(reason),
        'step': step,
        'steps': parameters.steps,
        'start_step': start,
        'gamma_max': gamma_max,
        'diagnosis': f'step {step} of {parameters.steps}: {text}',
    }
    return results, frames


def main() -> None:
    """Do what the files of this folder ask for."""
    parameters = WalkParameters.model_validate_json(Path(PARAMETERS).read_text())
    (start,) = load_configurations(START)
    results, frames = walk(start, AcePotential('.'), parameters)
    for kind, found in frames.items():
        if found:
            save_configurations(f'{kind}.npz', found)
    Path(RESULTS).write_text(json.dumps(results))


if __name__ == '__main__':
    main()
