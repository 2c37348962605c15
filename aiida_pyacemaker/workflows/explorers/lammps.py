"""The explorer LAMMPS: molecular dynamics watched by the extrapolation grade gamma."""

from __future__ import annotations

from aiida_pyacemaker.atomistics.core.plugins import CodePort


class LammpsExplorer:
    """Molecular dynamics with LAMMPS and ML-PACE."""

    codes = {'lammps': CodePort('LAMMPS with ML-PACE, for the exploration.', plugin='pyacemaker.lammps_pace')}
