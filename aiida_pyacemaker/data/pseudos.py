"""Which pseudopotential family to use when the run file names none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aiida_pyacemaker.atomistics.core.cost import CostModel
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.labelling.convergence import expected_distance
from aiida_pyacemaker.atomistics.labelling.magnetism import START_MOMENTS

if TYPE_CHECKING:
    from aiida_pseudo.groups.family import PseudoPotentialFamily

#: Where a run file names a family.
KEY = 'label.pseudo_family'
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
    :raises InputError: if no known family is installed, or none covers all elements.
    """
    wanted = set(elements)
    families = known_families()
    for label, covered in families.items():
        if wanted <= covered:
            return label
    if not families:
        raise InputError(
            KEY,
            'no pseudopotential family that we know is installed in this profile',
            'run `aiida-pyacemaker setup pseudos`, or name one',
        )
    lacks = '; '.join(f'{label} lacks {", ".join(sorted(wanted - covered))}' for label, covered in families.items())
    raise InputError(
        KEY,
        f'no installed pseudopotential family covers {", ".join(sorted(wanted))} ({lacks})',
        'name a family that does, or install your own files with `aiida-pyacemaker setup pseudos --pseudo-dir DIR`',
    )


def check_family(label: str, elements: Iterable[str]) -> PseudoPotentialFamily:
    """Return the family of a label.

    :param elements: chemical symbols that it has to cover.
    :raises InputError: if it is not installed or lacks an element.
    """
    from aiida import orm
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    families = {family.label: family for family in orm.QueryBuilder().append(PseudoPotentialFamily).all(flat=True)}
    if label not in families:
        remedy = f'installed are {", ".join(sorted(families))}' if families else 'run `aiida-pyacemaker setup pseudos`'
        raise InputError(KEY, f'there is no pseudopotential family `{label}`', remedy)
    lacking = sorted(set(elements) - set(families[label].elements))
    if lacking:
        raise InputError(
            KEY,
            f'`{label}` has no pseudopotential for {", ".join(lacking)}',
            'name a family that covers all elements, see `aiida-pseudo list`',
        )
    return families[label]


def get_cost_model(label: Any, elements: Iterable[str]) -> CostModel:
    """Return what a label by pw.x is expected to cost, with the valence electrons of a family.

    Cutoffs that are null are taken to be those that the family recommends, k-points that are null to be as dense as the
    noise wanted of the labels makes expect.

    :param label: the section ``label`` of a run file.
    :param elements: chemical symbols of the system.
    :raises InputError: if the family is not installed, lacks an element, or has to recommend cutoffs and does not.
    """
    symbols = sorted(set(elements))
    name = label.pseudo_family or default_pseudo_family(symbols)
    family = check_family(name, symbols)
    return CostModel(
        ecutwfc=label.ecutwfc or get_cutoffs(name, symbols)[0],
        kpoints_distance=label.kpoints_distance or expected_distance(label.noise and label.noise.energy),
        valences={symbol: float(family.get_pseudo(element=symbol).z_valence) for symbol in symbols},
        magnetic=frozenset(START_MOMENTS).intersection(symbols) if label.spin == 'auto' else frozenset(),
    )


def get_cutoffs(label: str, elements: Iterable[str]) -> tuple[float, float]:
    """Return the cutoffs (Ry) of wave functions and density that a family recommends for the hardest of some elements.

    :param label: label of the family.
    :param elements: chemical symbols.
    :raises InputError: if the family is not installed, lacks an element, or recommends no cutoffs.
    """
    family = check_family(label, elements)
    try:
        return family.get_recommended_cutoffs(elements=tuple(sorted(set(elements))), unit='Ry')
    except (AttributeError, ValueError) as exception:
        raise InputError(
            KEY,
            f'`{label}` recommends no cutoffs ({exception})',
            'give label.ecutwfc and label.ecutrho, or set them with `aiida-pseudo family cutoffs set`',
        ) from None


def get_high_cutoff(label: str, elements: Iterable[str]) -> float:
    """Return the tightest cutoff (Ry) of wave functions that a family knows for the hardest of some elements.

    :param label: label of a family that recommends cutoffs.
    :param elements: chemical symbols.
    """
    family, symbols = check_family(label, elements), tuple(sorted(set(elements)))
    return max(
        family.get_recommended_cutoffs(elements=symbols, stringency=stringency, unit='Ry')[0]
        for stringency in family.get_cutoff_stringencies()
    )
