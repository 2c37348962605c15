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


#: Label prefix of families that the user installed with `aiida-pyacemaker setup pseudos --pseudo-dir`. They come first.
OWN_FAMILY_PREFIX = 'own/'


def known_families() -> dict[str, set[str]]:
    """Return the elements of every known family in the loaded profile, best first: label -> elements.

    A family without cutoffs is left out.
    """
    from aiida import orm
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    wanted = {'or': [{'label': {'in': list(KNOWN_FAMILIES)}}, {'label': {'like': f'{OWN_FAMILY_PREFIX}%'}}]}
    query = orm.QueryBuilder().append(PseudoPotentialFamily, filters=wanted).order_by({PseudoPotentialFamily: 'id'})
    installed = {
        family.label: set(family.elements)
        for family in query.all(flat=True)
        if getattr(family, 'get_cutoff_stringencies', tuple)()
    }
    own = [label for label in installed if label not in KNOWN_FAMILIES]
    return {label: installed[label] for label in [*reversed(own), *KNOWN_FAMILIES] if label in installed}


def default_pseudo_family(elements: Iterable[str]) -> str:
    """Return the label of the first known family in the loaded profile that covers the elements.

    :param elements: chemical symbols.
    :raises ValueError: if no known family is installed, or none covers all elements.
    """
    wanted = set(elements)
    families = known_families()
    for label, covered in families.items():
        if wanted <= covered:
            return label
    if not families:
        raise ValueError(
            'no pseudopotential family that we know is installed in this profile: '
            'run `aiida-pyacemaker setup pseudos`, or name one under `label.pseudo_family`'
        )
    lacks = '; '.join(f'{label} lacks {", ".join(sorted(wanted - covered))}' for label, covered in families.items())
    raise ValueError(
        f'no installed pseudopotential family covers {", ".join(sorted(wanted))} ({lacks}): '
        'name a family that does under `label.pseudo_family`, '
        'or install your own files with `aiida-pyacemaker setup pseudos --pseudo-dir DIR`'
    )
