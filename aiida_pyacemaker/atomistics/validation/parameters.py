"""Keys of the validation, those of the section `validate` of a run file."""

from __future__ import annotations

from typing import Literal, get_args

from ..core.parameters import Count, Positive, Section, parameter
from .melting import Melting

Property = Literal[
    'eos', 'elasticity', 'phonons', 'pairs', 'vacancy', 'surfaces', 'stacking_fault', 'stability', 'melting'
]
#: What can be looked at, in this order.
PROPERTIES: tuple[str, ...] = get_args(Property)


class Criterion(Section):
    """One criterion of the gate; which side of a limit is the good one, its description says."""

    limit: float | None = parameter('Beyond it the verdict is CONDITIONAL; null: never.', default=None)
    fail: float | None = parameter(
        'Beyond it the verdict is FAIL, but nowhere where `limit` is still met; null: never.', default=None
    )
    reason: str = parameter('Why this limit, for those who read the report.', min_length=1)


class Gate(Section):
    """The criteria of the verdict."""

    energy_rmse: Criterion = parameter(
        'At most: energy error on the held-out set; limit null: `validate.energy_rmse`.', unit='eV/atom'
    )
    force_rmse: Criterion = parameter(
        'At most: force error on the held-out set; limit null: `validate.force_rmse`.', unit='eV/Å'
    )
    stress_rmse: Criterion = parameter('At most: stress error on the held-out set.', unit='GPa')
    eos_kinks: Criterion = parameter('At most: kinks of the energy-volume curve.')
    born: Criterion = parameter('At least: smallest eigenvalue of the elastic tensor.', unit='GPa')
    imaginary_modes: Criterion = parameter(
        'At most: unstable modes of a crystal that has to be stable, that of lowest energy or your own.'
    )
    pair_barrier: Criterion = parameter(
        'At least: energy of two atoms from which they fall into a hole at short distance.', unit='eV'
    )
    compression_barrier: Criterion = parameter(
        'At least: energy of a compressed crystal from which it falls into a hole.', unit='eV/atom'
    )
    dimer_hole: Criterion = parameter(
        'At most: depth of a hole into which two atoms alone fall from where `pair_barrier` is not kept.', unit='eV'
    )
    vacancy: Criterion = parameter('At least: formation energy of a vacancy.', unit='eV')
    surface: Criterion = parameter('At least: energy of a surface.', unit='J/m²')
    stacking_fault: Criterion = parameter(
        'At least: energy of the intrinsic stacking fault of a close-packed crystal of lowest energy.', unit='mJ/m²'
    )
    drift: Criterion = parameter('At most: drift of the energy at constant energy.', unit='eV/atom/ns')
    broken_runs: Criterion = parameter('At most: simulations that break off.')
    volume_dft: Criterion = parameter('At most: deviation of the volume from that of DFT.', unit='%')
    bulk_modulus_dft: Criterion = parameter('At most: deviation of the bulk modulus from that of DFT.', unit='%')
    shear_modulus_dft: Criterion = parameter('At most: deviation of the shear modulus from that of DFT.', unit='%')
    melting: Criterion = parameter('At most: deviation of the melting point from that of experiment.', unit='%')


class Validate(Section):
    """When the potential is good enough, and how that is found out."""

    energy_rmse: Positive = parameter('Largest energy error on the held-out set.', unit='eV/atom')
    force_rmse: Positive = parameter('Largest force error on the held-out set.', unit='eV/Å')
    test_per_round: Count = parameter(
        'Frames of every round of the last stage without a halt that go to the held-out set.', ge=0
    )
    train_per_round: Count = parameter(
        'Frames of these rounds, the most informative ones, that are learned once the last stage has passed, or of a '
        'round in which a simulation broke off and nothing was above gamma_select.',
        ge=0,
    )
    properties: list[Property] = parameter(
        'What of the crystals is looked at once the loop has converged; an empty list: only the errors.'
    )
    max_crystals: Count = parameter('How many phases are looked at.', ge=1)
    references: list[Literal['eos', 'elasticity']] = parameter(
        'What of it is also computed by the oracle of the labels, to be compared; each crystal takes 20 to 60 labels.'
    )
    max_requests: Count = parameter(
        'How often the loop labels what a failed judgement asks for, and goes on, before it gives up.', ge=0
    )
    melting: Melting = parameter('How the melting point is found.', default=Melting())
    gate: Gate = parameter('The criteria of the verdict.')
