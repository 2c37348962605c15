"""Calcfunction that decides which labels of a teacher are good enough."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.labelling import tiers as physics
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def decide_tiers(
    configurations: ConfigurationsData,
    teacher: ConfigurationsData,
    chosen: ConfigurationsData,
    tiers: orm.Dict,
    expensive: ConfigurationsData | None = None,
    **committee: ConfigurationsData,
) -> dict[str, Any]:
    """Compare the tiers where both have labels, and decide about the others.

    :param configurations: the batch.
    :param teacher: the training configurations that the teacher has labelled.
    :param chosen: what has gone to the expensive tier, see :func:`~.choose_calibration.choose_calibration`.
    :param tiers: the section ``label.tiers``.
    :param expensive: those of them that it has labelled, without the held-out ones.
    :param committee: the labels of further teachers.
    :returns: ``cheap``, the labels of the teacher where it is sure, aligned; ``unsure``, the configurations that remain
        for the expensive tier; ``report``.
    """
    section = physics.Tiers.model_validate(tiers.get_dict())
    found = {physics.key(atoms): atoms for atoms in teacher}
    pairs = [(found[physics.key(atoms)], atoms) for atoms in expensive or () if physics.key(atoms) in found]
    pairs = [pair for pair in pairs if not physics.is_expensive(pair[0])]
    calibration = physics.calibrate([pair[0] for pair in pairs], [pair[1] for pair in pairs], section)
    settings = physics.common_settings([pair[1] for pair in pairs])
    members = [{physics.key(atoms): atoms for atoms in node} for _, node in sorted(committee.items())]

    originals = {physics.key(atoms): atoms for atoms in configurations}
    taken = {physics.key(atoms) for atoms in chosen}
    cheap, unsure, doubts = [], [], Counter()
    for name, atoms in found.items():
        if name in taken:
            continue
        doubt = physics.doubt(atoms, [member.get(name) for member in members], calibration, section)
        if doubt is None:
            cheap.append(physics.align(atoms, calibration, settings, section))
        else:
            unsure.append(originals[name])
            doubts[doubt] += 1
    report = {'calibration': calibration.to_dict(), 'cheap': len(cheap), 'unsure': len(unsure), 'doubts': dict(doubts)}
    results: dict[str, Any] = {'report': orm.Dict(report)}
    results |= {'cheap': ConfigurationsData(cheap)} if cheap else {}
    return results | ({'unsure': ConfigurationsData(unsure)} if unsure else {})
