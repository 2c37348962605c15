"""Calcfunction that makes properties of crystals of the labels of an oracle."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.validation import from_labels
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def analyse_reference(crystals: ConfigurationsData, parameters: orm.Dict, **labelled: ConfigurationsData) -> orm.Dict:
    """Return ``crystals``: of each what it is, ``equilibrium``, ``eos`` and ``elasticity``, each with its ``status``.

    :param crystals: the crystals that :func:`~.plan_reference.plan_reference` was given.
    :param parameters: its parameters.
    :param labelled: its configurations with labels, in as many nodes as there are. Suspicious ones count, too: cells
        of a fifth less volume do have large energies.
    """
    points = [atoms for _, node in sorted(labelled.items()) for atoms in node.get_frames()]
    found = from_labels.analyse(crystals.get_frames(), points, parameters.get_dict().get('sections'))
    return orm.Dict({'crystals': found})
