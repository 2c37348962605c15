"""The ladder of remedies for an SCF of pw.x, as a table: when a rung applies, what it changes, how often.

:class:`~aiida_pyacemaker.workflows.pw_base.PyacemakerPwBaseWorkChain` climbs it: after each calculation it takes the
first rung that applies and has something left to change. A new rung is a new line of :data:`LADDER`. The table of the
documentation is made of the same lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from aiida_quantumespresso.utils.bands import get_highest_occupied_band

from aiida_pyacemaker.atomistics.labelling.healing import (
    MIXING_BETAS,
    next_diagonalization,
    next_mixing_beta,
    read_accuracies,
    read_version,
)

if TYPE_CHECKING:
    from aiida import orm

    from ..pw_base import PyacemakerPwBaseWorkChain

#: Steps of the SCF: at least so many, and at least so many times what the input allows.
ELECTRON_STEPS = 150
ELECTRON_STEPS_FACTOR = 2
#: Smearing times the nominal one; the weight of the label is the inverse.
SMEARING_FACTORS = (2, 4)
#: More bands: by this factor, and at least so many.
BANDS_FACTOR = 1.25
BANDS_EXTRA = 4
#: Steps of the SCF that the mixing knows of (pw.x's own default); with fewer, less mixing is of little use.
MIXING_HISTORY = 8
#: What pw.x takes where the input says nothing.
DEFAULT_BETA = 0.7
DEFAULT_STEPS = 100


class Step(NamedTuple):
    """What a rung has changed in the inputs, in words, and what the next calculation starts from.

    ``start`` is `density` for the charge density of the calculation that ended, empty for from scratch.
    """

    action: str
    start: str = ''


@dataclass(frozen=True)
class Rung:
    """A remedy.

    :param name: as it is recorded in the output `healing`.
    :param when: returns why it applies to a calculation that has ended, None where it does not.
    :param change: changes the inputs of the next calculation; returns None where nothing is left to change.
    :param repeat: how often it may be taken.
    :param changes, start, why: what it changes, what the next calculation starts from, and why it stands where it
        stands: the columns of the table in the documentation.
    """

    name: str
    when: Callable[[PyacemakerPwBaseWorkChain, orm.CalcJobNode], str | None]
    change: Callable[[PyacemakerPwBaseWorkChain, orm.CalcJobNode], Step | None]
    changes: str
    start: str
    why: str
    repeat: int = 1


# When -----------------------------------------------------------------------------------------------------------------


def not_converged(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> str | None:
    """The SCF is not converged, whatever the exit status says."""
    return 'the SCF is not converged' if chain.is_unconverged(calculation) else None


def not_converged_as_asked(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> str | None:
    """The SCF is not converged, and its smearing is still the nominal one."""
    return None if chain.ctx.smearing else not_converged(chain, calculation)


def not_converged_with_smearing(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> str | None:
    """The SCF is not converged, and there is a smearing that could be wider."""
    system = chain.ctx.inputs.parameters['SYSTEM']
    smeared = system.get('occupations') == 'smearing' and system.get('degauss')
    return not_converged(chain, calculation) if smeared else None


def highest_band_occupied(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> str | None:
    """Electrons are in the highest band: others have no place, which keeps the SCF from converging, too."""
    parameters = calculation.inputs.parameters.get_dict()
    if parameters['SYSTEM'].get('occupations') == 'fixed' or 'output_band' not in calculation.outputs:
        return None
    try:
        get_highest_occupied_band(calculation.outputs.output_band)
    except ValueError as exception:
        return str(exception)
    return None


def converged_with_wider_smearing(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> str | None:
    """A wider smearing has helped, and the way back was not tried."""
    smearing = chain.ctx.smearing
    if not smearing or 'widened' in smearing or chain.ctx.iteration >= chain.inputs.max_iterations.value:
        return None
    converged = calculation.exit_status == 0 and not chain.is_unconverged(calculation)
    return 'converged with a wider smearing' if converged else None


# Change ---------------------------------------------------------------------------------------------------------------


def more_bands(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> Step:
    """More bands; from the density if it is converged."""
    number = calculation.outputs.output_parameters['number_of_bands']
    new = max(math.ceil(BANDS_FACTOR * number), number + BANDS_EXTRA)
    chain.ctx.inputs.parameters['SYSTEM']['nbnd'] = new
    return Step(f'nbnd {number} -> {new}', '' if chain.is_unconverged(calculation) else 'density')


def more_steps(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> Step:
    """More steps, with mixing that knows of inhomogeneous cells; from the density that was reached if it is any.

    Local Thomas-Fermi screening (Raczkowski, Canning, Wang, Phys. Rev. B 64, 121101 (2001)) damps the sloshing of
    charge along slabs and big cells, and does no harm elsewhere.
    """
    electrons = chain.ctx.inputs.parameters['ELECTRONS']
    steps = electrons.get('electron_maxstep', DEFAULT_STEPS)
    electrons['electron_maxstep'] = max(ELECTRON_STEPS, ELECTRON_STEPS_FACTOR * steps)
    electrons['mixing_mode'] = 'local-TF'
    electrons.pop('scf_must_converge', None)  # an input that takes what is not converged is not taken here
    accuracies = read_accuracies(chain.read_stdout(calculation))
    # an SCF that came closer to its end has a density that is a better start than atoms
    advancing = bool(accuracies) and accuracies[-1] < 0.1 * max(accuracies)
    action = f'electron_maxstep {steps} -> {electrons["electron_maxstep"]}, mixing_mode local-TF'
    return Step(action, 'density' if advancing else '')


def less_mixing(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> Step | None:
    """Less of the new density in each step."""
    electrons = chain.ctx.inputs.parameters['ELECTRONS']
    beta = electrons.get('mixing_beta', DEFAULT_BETA)
    new = next_mixing_beta(beta)
    if new is None:
        return None
    electrons['mixing_beta'] = new
    electrons['mixing_ndim'] = max(MIXING_HISTORY, electrons.get('mixing_ndim', MIXING_HISTORY))
    return Step(f'mixing_beta {beta:g} -> {new:g}')


def other_diagonalization(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> Step | None:
    """The next diagonalisation that was not tried and that this version of pw.x has."""
    electrons = chain.ctx.inputs.parameters['ELECTRONS']
    tried = [*chain.ctx.get('diagonalizations', []), electrons.get('diagonalization', 'david').lower()]
    new = next_diagonalization(tried, read_version(chain.read_stdout(calculation)))
    if new is None:
        return None
    chain.ctx.diagonalizations = tried
    electrons['diagonalization'] = new
    return Step(f'diagonalization {new}')


def wider_smearing(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> Step:
    """A wider smearing: this is other physics, so the label is flagged and weighs less.

    Mixing and diagonalisation go back to the input's: what made them fail is gone, and little mixing is only slow.
    """
    system = chain.ctx.inputs.parameters['SYSTEM']
    nominal = chain.ctx.smearing['nominal'] if chain.ctx.smearing else system['degauss']
    raised = SMEARING_FACTORS[chain.times('smearing')] * nominal
    chain.ctx.smearing = {'nominal': nominal, 'raised': raised}
    action = f'degauss {system["degauss"]:g} -> {raised:g} Ry'
    system['degauss'] = raised
    electrons, given = chain.ctx.inputs.parameters['ELECTRONS'], chain.inputs.pw.parameters.get_dict()
    for name in ('mixing_beta', 'diagonalization'):
        electrons.pop(name, None)
        if name in given.get('ELECTRONS', {}):
            electrons[name] = given['ELECTRONS'][name]
    return Step(action)


def nominal_smearing(chain: PyacemakerPwBaseWorkChain, calculation: orm.CalcJobNode) -> Step:
    """The smearing of the input, from the density of the wider one."""
    smearing = chain.ctx.smearing
    chain.ctx.smearing = {**smearing, 'widened': calculation.uuid}
    chain.ctx.inputs.parameters['SYSTEM']['degauss'] = smearing['nominal']
    return Step(f'degauss {smearing["raised"]:g} -> {smearing["nominal"]:g} Ry from that density', 'density')


#: The rungs in the order in which they are asked. The changes add up, unless stated.
LADDER = (
    Rung(
        'bands',
        when=highest_band_occupied,
        change=more_bands,
        repeat=3,
        changes='`nbnd` up by a quarter, at least 4; three times',
        start='density if converged, else scratch',
        why='The highest band holds electrons: others had no place at all, and no mixing cures that. It is seen, not '
        'guessed.',
    ),
    Rung(
        'steps',
        when=not_converged,
        change=more_steps,
        changes="`electron_maxstep` doubled, at least 150; `mixing_mode = 'local-TF'`",
        start='density if it came ten times closer, else scratch',
        why='Cheapest. Local Thomas-Fermi screening ends the sloshing of charge in slabs and long cells; in bulk it '
        'took about as many iterations as plain mixing.',
    ),
    Rung(
        'mixing',
        when=not_converged_as_asked,
        change=less_mixing,
        repeat=len(MIXING_BETAS),
        changes='`mixing_beta` 0.7 → 0.3 → 0.1, from what the input has, in steps of at least a third; a history of 8 '
        'steps',
        start='scratch',
        why='Slower, but steadier.',
    ),
    Rung(
        'diagonalization',
        when=not_converged_as_asked,
        change=other_diagonalization,
        changes='`david` → `cg`',
        start='scratch',
        why='Slowest, and the most robust: bands that are not converged keep the density from converging.',
    ),
    Rung(
        'smearing',
        when=not_converged_with_smearing,
        change=wider_smearing,
        repeat=len(SMEARING_FACTORS),
        changes='`degauss` ×2, then ×4; mixing and diagonalisation as in the input again',
        start='scratch',
        why='Electrons that hop between levels of nearly the same energy are calmed by nothing else.',
    ),
    Rung(
        'nominal_smearing',
        when=converged_with_wider_smearing,
        change=nominal_smearing,
        changes='`degauss` as in the input',
        start='density of the wider smearing',
        why='Often all that was missing was a good start. If it fails, the label of the wider smearing is kept: flag '
        '`smearing raised to … Ry`, weight 1/2 or 1/4.',
    ),
)
