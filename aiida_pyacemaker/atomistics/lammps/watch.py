"""The input of LAMMPS for one simulation under a watch: gamma, volume, temperature and distances.

One input runs the whole simulation as a chain of `run` commands that end where the watch wants them to. While gamma is
low it is computed every `gamma_every` steps; above `gamma_select` every `gamma_every_dense`, until it was low for
:data:`CALM_CHECKS` checks in a row. The fixes of the dynamics are never touched between two runs, and the ramps go from
step 0 to step `steps` whatever happens (`run ... upto start 0 stop N`), so the chain is one trajectory.

`jump SELF` needs an input that is a file: start LAMMPS with `-in FILE`, not by a pipe.
"""

from __future__ import annotations

import os
from typing import TextIO

from ase import Atoms
from ase.io.lammpsdata import write_lammps_data

from ..core.plain import Json
from ..explorers.dynamics import Deformation, WatchedDynamics
from .files import pair_lines

STRUCTURE = 'structure.data'
RESTART_IN = 'start.restart'
RESTART = 'final.restart'
TRAJECTORY = 'trajectory.dump'
SELECTED = 'selected.dump'
LAST = 'last.dump'
WATCH = 'watch.dat'
#: Names of the files of the potential, in the folder where LAMMPS runs.
POTENTIAL = ('potential.yaml', 'potential.asi')
#: What LAMMPS leaves beside its output.
OUTPUTS = (RESTART, TRAJECTORY, SELECTED, LAST, WATCH)
#: Prefix of the lines of the output that are written for the parser.
MARK = 'PYACEMAKER'
#: Columns of the table of checks after the step.
WATCHED = ('gamma_max', 'atoms_above_select', 'temperature', 'volume_ratio', 'atoms_too_close', 'atoms_lost')

BAR_PER_GPA = 1e4
PS_PER_FS = 1e-3
#: Steps before the watch on the temperature starts: a strained start, or a new potential, releases heat.
SETTLING_STEPS = 500
#: Relaxation times of thermostat, of barostat, and of the second thermostat of a soft start, in time steps.
THERMOSTAT_STEPS = 100
BAROSTAT_STEPS = 1000
SOFT_STEPS = 20
#: Checks in a row below `gamma_select` after which gamma is computed rarely again.
CALM_CHECKS = 5


def write_structure(
    target: str | os.PathLike | TextIO, atoms: Atoms, elements: list[str], dynamics: WatchedDynamics
) -> None:
    """Write the data file of LAMMPS for a simulation that starts, rotated into its orientation of the cell.

    :param elements: element of atom type 1, 2, ..., those of the potential.
    :param dynamics: the simulation, which says whether the cell must be able to tilt.
    """
    atoms = atoms.copy()
    atoms.wrap()
    write_lammps_data(
        target,
        atoms,
        specorder=elements,
        masses=True,
        force_skew=dynamics.is_tilting,
        units='metal',
        atom_style='atomic',
    )


def write_script(
    dynamics: WatchedDynamics,
    metadata: Json,
    *,
    resume: bool,
    reference_volume: float | None = None,
    label: str = '',
) -> str:
    """Return the input of LAMMPS for one simulation.

    :param dynamics: what the simulation is to do.
    :param metadata: metadata of the potential.
    :param resume: go on from :data:`RESTART_IN` instead of starting from :data:`STRUCTURE`.
    :param reference_volume: volume per atom (Å³) with which the volume is compared if `dynamics` does not say it;
        None: that before the first step.
    :param label: what the simulation is called in the first line.
    """
    reference = dynamics.reference_volume_per_atom or reference_volume
    elements = metadata['elements']
    lines = [
        f'# {label or "molecular dynamics"}: {" ".join(elements)}, '
        f'potential of generation {metadata.get("generation", 0)}',
        *_start_lines(dynamics, resume),
        pair_lines(metadata).rstrip('\n'),
        *_watch_lines(dynamics, elements, reference),
        *_dynamics_lines(dynamics, elements, resume),
        *_output_lines(dynamics, elements),
        *_run_lines(dynamics, resume),
        *_end_lines(dynamics, elements),
    ]
    return '\n'.join(lines) + '\n'


def _start_lines(dynamics: WatchedDynamics, resume: bool) -> list[str]:
    """Return the lines that set up box and atoms."""
    if resume:
        lines = [f'read_restart {RESTART_IN}']
        if dynamics.is_tilting:
            lines.append('change_box all triclinic')
    else:
        lines = ['units metal', 'atom_style atomic', 'boundary p p p', f'read_data {STRUCTURE}']
    return [*lines, 'neigh_modify every 1 delay 0 check yes']


def _watch_lines(dynamics: WatchedDynamics, elements: list[str], reference: float | None) -> list[str]:
    """Return the lines that compute what is watched, and say in variables what it means.

    The variables read the values of the last check out of `fix track`, so that they are also good between two runs.
    """
    first, last = dynamics.temperature
    start = f'{reference:.15g}' if reference else '$(vol/atoms:%.15g)'
    lines = [
        # Replaced at the start of every run by one that computes gamma as often as it is then needed.
        'fix gamma all pair 1 pace/extrapolation gamma 1',
        'compute gamma_max all reduce max f_gamma',
        f'variable above atom f_gamma>{dynamics.gamma_select}',
        'compute above all reduce sum v_above',
        'variable steps equal ' + str(dynamics.steps),
        'variable start_step equal $(step)',
        f'variable reference_volume equal {start}',
        'variable start_atoms equal $(atoms)',
        'variable temperature equal temp',
        'variable volume_ratio equal vol/v_start_atoms/v_reference_volume',
        'variable lost equal v_start_atoms-atoms',
        *_distance_lines(dynamics.min_distances, elements),
        f'variable target equal {first}+({last}-{first})*step/{dynamics.steps}',
        f'variable is_boiling equal f_track[4]>{dynamics.max_volume_ratio}',
        f'variable is_hot equal (step>v_start_step+{SETTLING_STEPS})*'
        f'(f_track[3]>{dynamics.max_temperature_ratio}*v_target)',
        'variable is_overlapping equal f_track[5]>0',
        'variable is_losing equal f_track[6]>0',
        f'variable is_raised equal f_track[1]>{dynamics.gamma_select}',
        f'variable is_high equal f_track[1]>{dynamics.gamma_halt}',
        f'variable is_extreme equal f_track[1]>{dynamics.gamma_extreme}',
        # The mean over the last checks is 1 if all of them are high; those of the runs before do not count.
        f'variable is_high_again equal (f_high>0.999)*(step>=v_first_check+{dynamics.halt_after - 1}*v_every)',
        'variable is_halting equal v_is_extreme||v_is_high_again',
        'variable is_ending equal v_is_halting||v_is_boiling||v_is_hot||v_is_overlapping||v_is_losing',
    ]
    dense, rare = dynamics.gamma_every_dense, dynamics.gamma_every
    if dense == rare:
        return [*lines, 'variable is_stopping equal v_is_ending']
    return [
        *lines,
        f'variable is_calm equal (v_every<{rare})*(f_raised<0.001)*(step>=v_first_check+{CALM_CHECKS - 1}*v_every)',
        f'variable is_alarmed equal (v_every>{dense})*v_is_raised',
        'variable is_stopping equal v_is_ending||v_is_calm||v_is_alarmed',
    ]


def _distance_lines(distances: dict[str, float], elements: list[str]) -> list[str]:
    """Return the lines that count the atoms with a neighbour closer than the least distance of the pair.

    :param distances: least distance (Å) by pair of elements, such as `{'Al-Cu': 1.9}`.
    """
    lines, terms = [], []
    kinds = {element: number for number, element in enumerate(elements, start=1)}
    for pair, distance in sorted(distances.items()):
        first, second = sorted(kinds[element] for element in pair.split('-'))
        name = f'near_{first}_{second}'
        lines.append(f'compute {name} all coord/atom cutoff {distance:.6g} {second}')
        terms.append(f'(type=={first})*(c_{name}>0)')
    return [
        *lines,
        f'variable too_close atom "{" + ".join(terms) or "0*type"}"',
        'compute close all reduce sum v_too_close',
    ]


def _dynamics_lines(dynamics: WatchedDynamics, elements: list[str], resume: bool) -> list[str]:
    """Return the lines of velocities, deformation, thermostat, barostat and exchanges.

    Each fix has the same name and style in every simulation, so that LAMMPS restores its state from a restart file.
    """
    timestep = dynamics.timestep * PS_PER_FS
    first, last = dynamics.temperature
    seed = dynamics.seed % 899999999 + 1  # LAMMPS wants it above 0 and below 900 million
    lines = [f'timestep {timestep:.10g}', *_deform_lines(dynamics.deform)]
    fix = f'fix dynamics all {dynamics.ensemble} temp {first} {last} {THERMOSTAT_STEPS * timestep:.6g}'
    if dynamics.ensemble == 'npt':
        fix += _barostat(dynamics, BAROSTAT_STEPS * timestep)
    lines += [fix, *_swap_lines(dynamics, elements, seed)]
    if not resume:
        lines.append(f'velocity all create {first} {seed} mom yes rot no dist gaussian')
    elif dynamics.soft_start:
        lines.append(f'fix soft all langevin {first} {last} {SOFT_STEPS * timestep:.6g} {seed} zero yes')
    return lines


def _barostat(dynamics: WatchedDynamics, relaxation: float) -> str:
    """Return the part of `fix npt` on the pressure; a direction that is deformed has none."""
    pressures = ' '.join(f'{value * BAR_PER_GPA:.10g}' for value in dynamics.pressure)
    if not dynamics.deform:
        return f' {dynamics.coupling} {pressures} {relaxation:.6g}'
    axis, axes = dynamics.deform.axis, 'xyz'
    free = [name for name in axes if name != axis]
    if dynamics.coupling == 'tri':
        free += [a + b for a, b in (('y', 'z'), ('x', 'z'), ('x', 'y')) if a + b != axis]
    text = ''.join(f' {name} {pressures} {relaxation:.6g}' for name in free)
    # A tilt that is deformed is not scaled by the barostat as well.
    return text + ' scalexy no scalexz no scaleyz no' if dynamics.is_tilting else text


def _deform_lines(deform: Deformation | None) -> list[str]:
    """Return the line of a deformation at a constant rate (1/ps) of engineering strain."""
    if not deform:
        return []
    rate = -deform.rate if deform.kind == 'compression' else deform.rate
    return [f'fix deform all deform 1 {deform.axis} erate {rate:.10g} remap x']


def _swap_lines(dynamics: WatchedDynamics, elements: list[str], seed: int) -> list[str]:
    """Return the lines of Monte Carlo exchanges, one fix per pair of elements; the pairs share the attempts."""
    swap = dynamics.swap
    if not swap:
        return []
    temperature = swap.temperature or sum(dynamics.temperature) / 2
    attempts = max(1, round(swap.attempts / len(swap.pairs)))
    return [
        f'fix swap_{first}_{second} all atom/swap {swap.every} {attempts} {seed + number} {temperature:.10g} '
        f'types {elements.index(first) + 1} {elements.index(second) + 1}'
        for number, (first, second) in enumerate(swap.pairs, start=1)
    ]


def _output_lines(dynamics: WatchedDynamics, elements: list[str]) -> list[str]:
    """Return the lines of thermo output and snapshots."""
    columns = 'id type element x y z f_gamma'
    modify = f'sort id element {" ".join(elements)} format float %.15g'
    return [
        f'thermo {dynamics.thermo_every}',
        # No gamma here: LAMMPS stops with an error when it prints one of a step at which it was not computed.
        'thermo_style custom step temp pe press vol',
        'thermo_modify flush yes lost error',
        f'dump trajectory all custom {dynamics.dump_every} {TRAJECTORY} {columns}',
        f'dump_modify trajectory {modify}',
        'variable is_known equal 1-v_is_raised',
        f'dump selected all custom {dynamics.gamma_every_dense} {SELECTED} {columns}',
        f'dump_modify selected {modify} skip v_is_known',
    ]


def _run_lines(dynamics: WatchedDynamics, resume: bool) -> list[str]:
    """Return the chain of runs: dense at first, rare when all is calm, dense again when gamma rises."""
    dense, rare = dynamics.gamma_every_dense, dynamics.gamma_every
    soft = resume and dynamics.soft_start
    # The soft start ends at a check.
    soft_steps = -(-dynamics.soft_start // dense) * dense
    lines = [
        'variable reason string running',
        f'variable every equal {dense}',
        f'variable upto equal {f"$(step+{soft_steps})" if soft else "v_steps"}',
        'if "${upto} > ${steps}" then "variable upto equal v_steps"',
        'label watch',
        'variable first_check equal $(ceil(step/v_every)*v_every)',
        'fix gamma all pair ${every} pace/extrapolation gamma 1',
        'fix track all ave/time ${every} 1 ${every} c_gamma_max c_above v_temperature v_volume_ratio c_close v_lost '
        f'format " %.10g" append {WATCH}',
        f'fix high all ave/time ${{every}} 1 ${{every}} v_is_high ave window {dynamics.halt_after}',
        f'fix raised all ave/time ${{every}} 1 ${{every}} v_is_raised ave window {CALM_CHECKS}',
        'fix halt all halt ${every} v_is_stopping > 0 error continue message no',
        'dump_modify selected every ${every}',
        'run ${upto} upto start 0 stop ${steps} post no',
        'variable now equal $(step)',
        # The last one that is true is the reason: a broken structure has a large gamma, too.
        'if "$(v_is_halting) > 0" then "variable reason string gamma"',
        'if "$(v_is_boiling) > 0" then "variable reason string volume"',
        'if "$(v_is_hot) > 0" then "variable reason string temperature"',
        'if "$(v_is_overlapping) > 0" then "variable reason string overlap"',
        'if "$(v_is_losing) > 0" then "variable reason string lost_atoms"',
        'if "${reason} == running && ${now} >= ${steps}" then "variable reason string completed"',
        'if "${reason} != running" then "jump SELF end"',
    ]
    if soft:
        lines.append('if "${now} >= ${upto}" then "unfix soft" "variable upto equal v_steps"')
    if dense != rare:
        lines.append(f'if "$(v_is_raised) > 0" then "variable every equal {dense}"')
        lines.append(f'if "$(v_is_calm) > 0" then "variable every equal {rare}"')
    return [*lines, 'jump SELF watch', 'label end']


def _end_lines(dynamics: WatchedDynamics, elements: list[str]) -> list[str]:
    """Return the lines that are run after the end or the halt."""
    marks = {
        'reason': '${reason}',
        'step': '$(step)',
        'start_step': '${start_step}',
        'extreme': '$(v_is_extreme)',
        'temperature': '$(temp:%.10g)',
        'reference_volume_per_atom': '$(v_reference_volume:%.15g)',
    }
    swaps = [f'swap_{first}_{second}' for first, second in (dynamics.swap.pairs if dynamics.swap else [])]
    if swaps:
        marks['swaps_tried'] = f'$({"+".join(f"f_{name}[1]" for name in swaps)})'
        marks['swaps_accepted'] = f'$({"+".join(f"f_{name}[2]" for name in swaps)})'
    return [
        f'write_restart {RESTART}',
        f'write_dump all custom {LAST} id type element x y z f_gamma modify sort id element {" ".join(elements)} '
        'format float %.15g',
        *(f'print "{MARK} {name} {value}"' for name, value in marks.items()),
    ]
