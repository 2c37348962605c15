"""Which pseudopotential family to use when the run file names none."""

from __future__ import annotations

from collections.abc import Iterable

#: The families that :func:`default_pseudo_family` looks for, best first. All have recommended cutoffs.
KNOWN_FAMILIES: tuple[str, ...] = (
    'SSSP/1.3/PBE/efficiency',
    'SSSP/1.3/PBE/precision',
    'SSSP/1.3/PBEsol/efficiency',
    'SSSP/1.3/PBEsol/precision',
    'PseudoDojo/0.5/PBE/SR/standard/upf',
    'PseudoDojo/0.4/PBE/SR/standard/upf',
)


def default_pseudo_family(elements: Iterable[str]) -> str:
    """Return the label of the first known family in the loaded profile that covers the elements.

    :param elements: chemical symbols.
    :raises ValueError: if no known family is installed, or none covers all elements.
    """
    from aiida import orm
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    wanted = set(elements)
    query = orm.QueryBuilder().append(PseudoPotentialFamily, filters={'label': {'in': list(KNOWN_FAMILIES)}})
    installed = {family.label: family for (family,) in query.iterall()}
    if not installed:
        raise ValueError(
            'no pseudopotential family that we know is installed in this profile: '
            'run `aiida-pyacemaker setup pseudos`, or name one under `label.pseudo_family`'
        )
    missing = {}
    for label in KNOWN_FAMILIES:
        if label in installed:
            missing[label] = wanted - set(installed[label].elements)
            if not missing[label]:
                return label
    lacks = '; '.join(f'{label} lacks {", ".join(sorted(symbols))}' for label, symbols in missing.items())
    raise ValueError(
        f'no installed pseudopotential family covers {", ".join(sorted(wanted))} ({lacks}): '
        'run `aiida-pyacemaker setup pseudos`, or name a family that does under `label.pseudo_family`'
    )
