"""What the user says about the embedding of local environments: keys of the run file under `embed`."""

from __future__ import annotations

from ..core.parameters import Count, Positive, Section, parameter


class Embedding(Section):
    """How a local environment of a large cell becomes a small periodic one."""

    core_radius: Positive = parameter(
        'Radius around the uncertain atom within which forces are learned and atoms stay where they are.',
        unit='Å', default=4.0,
    )  # fmt: skip
    buffer: Positive = parameter(
        'Thickness of matter between the core and the boundary of the cell; less if embed.max_atoms asks for it.',
        unit='Å', default=5.0,
    )  # fmt: skip
    relax_steps: Count = parameter('Steps of the relaxation of the boundary, at most; 0 for none.', ge=0, default=15)
    relax_force: Positive = parameter(
        'Largest force on a relaxed boundary atom at which the relaxation ends.', unit='eV/Å', default=0.5
    )
    max_environments: Count = parameter('Cells cut from one snapshot, the most uncertain first.', ge=1, default=3)
