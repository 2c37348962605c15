"""The report of a validation for people: one HTML file that needs nothing else, on screens, phones and paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from ase import units
from markupsafe import Markup

from ..core.files import write_atomically
from ..core.plain import Json
from ..core.plain import plain as as_json
from . import figures
from .gate import Check, Verdict
from .parameters import Gate
from .property import Chapter, Figure, Property, load_properties
from .references import compare, find_quantity, quantities
from .rendering import measure, plain, render

TEMPLATE = 'report.html'
#: What the suite returns, one of its crystals, or provenance: plain, as JSON has it.
Content = Json
#: Of each column of references its entry for each crystal.
References = dict[str, list[Content | None]]
#: What the template takes of a part of the page.
View = Json
#: What the columns of references are called.
TITLES = {'dft': 'DFT', 'experiment': 'experiment'}
#: The worst first.
RESULTS = {'fail': 'fails', 'warn': 'warns', 'pass': 'met', 'not_applicable': 'not applicable'}
#: What a check is called, where its name does not tell.
CHECKS = {name: field.title for name, field in Gate.model_fields.items() if field.title}
#: What a report stands on besides the properties: what it has to hold for it, and the reference.
CITATIONS = {
    'ace': 'The potential: R. Drautz, Phys. Rev. B 99, 014104 (2019); Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 '
    '(2021); A. Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022)',
    'gamma': 'The extrapolation grade: Y. Lysogorskiy, A. Bochkarev, M. Mrovec and R. Drautz, Phys. Rev. Mater. 7, '
    '043801 (2023)',
    'ase': 'ASE: A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)',
    'spglib': 'spglib: A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Methods 4, 2384822 (2024)',
}
#: The same of what provenance comes from; it follows the properties. Oracles bring their own.
PROGRAMS = {
    'aiida': 'AiiDA: S. P. Huber et al., Sci. Data 7, 300 (2020); M. Uhrin et al., Comput. Mater. Sci. 187, 110086 '
    '(2021)',
}


def write_report(
    content: Content,
    verdict: Verdict | None,
    references: References | None,
    errors_arrays: Content | None,
    provenance: Content | None,
    path: Path,
) -> None:
    """Write the report; the file is there whole or not at all.

    :param content: what the suite returns.
    :param verdict: what :func:`.gate.judge` returns; None: nothing was judged.
    :param references: columns of the tables: `dft`, `experiment` (see :func:`.references.find_experiment`) and others
        by the names that they shall have, each a list with an entry, or None, for each crystal.
    :param errors_arrays: what :func:`~..metrics.errors.error_arrays` returns.
    :param provenance: tables by their titles, each a dictionary or a list of lines; and in `cite` what else was used,
        keys of :data:`CITATIONS` and :data:`PROGRAMS`, or references as they are.
    """
    page = format_report(content, verdict, references or {}, errors_arrays or {}, provenance or {})
    with write_atomically(path) as part:
        part.write_text(page, encoding='utf-8')


def format_report(
    content: Content,
    verdict: Verdict | None,
    references: References,
    errors_arrays: Content,
    provenance: Content,
) -> str:
    """Return the page, see :func:`write_report`; what came from outside is escaped."""
    from plotly.offline import get_plotlyjs

    collected: list[Figure] = []
    view = {
        'title': f'Validation of {name_system(content)}',
        'verdict': describe_verdict(verdict),
        'checks': sort_checks(verdict),
        'requests': (verdict or {}).get('requests') or [],
        'weights': (verdict or {}).get('weights') or {},
        'crystals': describe_crystals(content, references, _collector(collected)),
        'errors': describe_errors(content.get('errors'), errors_arrays, _collector(collected)),
        'system': describe_system(content, _collector(collected)),
        'sources': find_sources(references),
        'seconds': content.get('seconds') or {},
        'provenance': describe_provenance(content, provenance),
        'citations': cite(content, errors_arrays, provenance),
        'results': RESULTS,
        'plotly': Markup(get_plotlyjs()),
    }
    # `<` as an escape: nothing in the data can end the element that holds them
    data = json.dumps(as_json(collected), ensure_ascii=False).replace('<', '\\u003c')
    return render(__file__, TEMPLATE, **view, figures=Markup(data))


def _collector(collected: list[Figure]) -> Callable[[Figure | None, str], View | None]:
    """Return a function that keeps a figure for the page and returns its number and what is said below it."""

    def collect(drawn: Figure | None, caption: str) -> View | None:
        if drawn is None:
            return None
        collected.append(drawn)
        return {'index': len(collected) - 1, 'caption': caption, 'height': drawn['layout']['height']}

    return collect


Collect = Callable[[Figure | None, str], View | None]


# Words ----------------------------------------------------------------------------------------------------------------


def name_system(content: Content) -> str:
    """Return what the potential is called, or what it was tried on."""
    potential = content.get('potential') or {}
    names = [crystal['name'] for crystal in content.get('crystals') or []]
    given = potential.get('name') or '-'.join(potential.get('elements') or [])
    return given or ', '.join(dict.fromkeys(names)) or 'a potential'


def describe_verdict(verdict: Verdict | None) -> dict[str, str]:
    """Return the one word, the sentence that says why, and what became of the potential."""
    if not verdict:
        return {
            'word': 'NOT JUDGED',
            'sentence': 'No criteria were given: the numbers speak for themselves.',
            'then': '',
        }
    word = verdict['verdict']
    sentence = verdict.get('summary') or count_results(verdict['checks'])
    deployed = verdict.get('deployed')
    then = f'Deployed as {deployed}.' if deployed else 'Not deployed.' if word == 'FAIL' else ''
    return {'word': word, 'sentence': sentence.removeprefix(word).lstrip(':,. '), 'then': then}


def count_results(checks: list[Check]) -> str:
    """Return how many checks ended how."""
    counts = {words: sum(check['result'] == name for check in checks) for name, words in RESULTS.items()}
    return ', '.join(f'{count} {words}' for words, count in counts.items() if count) or 'no check was made'


def sort_checks(verdict: Verdict | None) -> list[View]:
    """Return the checks, the worst first, with what they are called and their limits in words."""
    order, found = list(RESULTS), []
    for check in sorted((verdict or {}).get('checks') or [], key=lambda entry: order.index(entry['result'])):
        unit, limits = check.get('unit') or '', []
        if check.get('limit') is not None:
            limits.append(f'{"≥" if check.get("at_least") else "≤"} {measure(check["limit"], unit)}')
        if check.get('fail') is not None and check['fail'] != check.get('limit'):
            limits.append(f'fails {"below" if check.get("at_least") else "above"} {measure(check["fail"], unit)}')
        title = CHECKS.get(check['name'], check['name'].replace('_', ' '))
        found.append({**check, 'title': title, 'limits': '; '.join(limits)})
    return found


# Sections -------------------------------------------------------------------------------------------------------------


def describe_crystals(content: Content, references: References, collect: Collect) -> list[View]:
    """Return of each crystal what the page shows: table, and sections with figures."""
    described = []
    found_once = {
        name: content[name] for name, kind in load_properties().items() if kind.system_title and content.get(name)
    }
    for index, crystal in enumerate(content.get('crystals') or []):
        whole = {**found_once, **crystal} if not index else crystal
        others = {title: column[index] for title, column in references.items() if index < len(column) and column[index]}
        columns = {
            TITLES.get(title, title): found if title == 'experiment' else quantities(found)
            for title, found in others.items()
        }
        columns = {title: found for title, found in columns.items() if found}
        described.append(
            {
                'crystal': crystal,
                'rows': compare(whole, columns),
                'columns': list(columns),
                'same_cells': describe_same_cells(crystal.get('same_cells') or {}),
                'sections': [
                    describe_section(kind(), crystal, others, collect)
                    for name, kind in load_properties().items()
                    if crystal.get(name)
                ],
            }
        )
    return described


def describe_same_cells(found: Mapping[str, Content]) -> View | None:
    """Return what the page shows of a potential beside DFT in the same cells: what was compared, and what was not."""
    titles = {name: kind.title for name, kind in load_properties().items()}
    entries = [{'title': titles.get(name, name), **entry} for name, entry in found.items()]
    compared = [entry for entry in entries if entry['status'] == 'ok']
    for entry in compared:
        entry['rows'] = [{**row, 'difference': _difference(row)} for row in entry['rows']]
    others = [entry for entry in entries if entry['status'] not in ('ok', 'not_applicable')]
    return {'compared': compared, 'others': others} if compared or others else None


def _difference(row: Content) -> float | None:
    """Return how far a potential is from DFT, relative; None where that means nothing."""
    ours, theirs = row['potential'], row['dft']
    return ours / theirs - 1 if ours is not None and theirs is not None and abs(theirs) > 1e-3 else None


def describe_section(kind: Property, crystal: Content, others: Mapping[str, Content], collect: Collect) -> View:
    """Return a section: `title`, `status`, `message`, and what :func:`typeset` says if there is something to show."""
    found = crystal[kind.name]
    status = found.get('status', 'ok')
    section = {'title': kind.title, 'status': status, 'message': found.get('message', '')}
    if status != 'ok':
        return section
    known = {TITLES.get(key, key): other.get(kind.name) for key, other in others.items() if key != 'experiment'}
    known = {key: result for key, result in known.items() if result and result.get('status', 'ok') == 'ok'}
    return section | typeset(kind.chapter(found, known), collect)


def typeset(chapter: Chapter, collect: Collect) -> View:
    """Return what is shown of a property: `html`, `figures`, and `below` them."""
    drawn = [collect(figure, caption) for figure, caption in chapter.figures]
    return {
        'html': Markup(chapter.html), 'figures': [figure for figure in drawn if figure], 'below': Markup(chapter.below),
    }  # fmt: skip


def describe_errors(errors: Content | None, arrays: Content, collect: Collect) -> View | None:
    """Return the errors on held-out labels: rows of the table, and figures; None without any."""
    if not errors:
        return None
    rows = []
    for key, name, unit, factor in (
        ('energy', 'energy', 'meV/atom', 1e3),
        ('forces', 'forces, per component', 'meV/Å', 1e3),
        ('force_magnitude', 'length of forces', 'meV/Å', 1e3),
        ('stress', 'stress, per component', 'GPa', 1 / units.GPa),
    ):
        rows.append(_error_row(name, errors.get(key), unit, factor))
    for axis, found in (errors.get('force_components') or {}).items():
        rows.append(_error_row(f'forces, {axis}', found, 'meV/Å', 1e3))
    by_element = errors.get('by_element') or {}
    rows += [
        _error_row(f'forces on {el}', found, 'meV/Å', 1e3) for el, found in by_element.items() if len(by_element) > 1
    ]
    families = [
        {'name': name, 'n': found.get('n_frames'), 'energy': _scaled(found, 'energy', 1e3),
         'forces': _scaled(found, 'forces', 1e3), 'stress': _scaled(found, 'stress', 1 / units.GPa)}
        for name, found in (errors.get('by_family') or {}).items()
    ]  # fmt: skip
    captions = {key: f'{name}: prediction against label.' for key, name, *_ in figures.LABELS}
    drawn = [collect(figures.parity(arrays, key), captions[key]) for key in captions]
    drawn.append(collect(figures.distribution(arrays), 'Which part of the labels is met how well.'))
    text = 'Error of the force on each atom against gamma: beyond 1 the potential extrapolates.'
    drawn.append(collect(figures.gamma(arrays), text))
    return {
        'rows': [row for row in rows if row],
        'families': families,
        'coverage': ((errors.get('uncertainty') or {}).get('forces') or {}).get('coverage'),
        'n_frames': errors.get('n_frames'),
        'n_atoms': errors.get('n_atoms'),
        'figures': [figure for figure in drawn if figure],
    }


def _error_row(name: str, found: dict[str, float] | None, unit: str, factor: float) -> View | None:
    if not found:
        return None
    return {'name': name, 'unit': unit, **{key: factor * found[key] for key in ('rmse', 'mae', 'p95', 'max')}}


def _scaled(found: Content, key: str, factor: float) -> float | None:
    return factor * found[key]['rmse'] if found.get(key) else None


def describe_system(content: Content, collect: Collect) -> list[View]:
    """Return the sections of what is found once and not of each crystal."""
    kinds = [kind() for name, kind in load_properties().items() if kind.system_title and content.get(name)]
    return [
        {
            'name': kind.name,
            'title': kind.system_title,
            'message': content[kind.name].get('message', ''),
            **typeset(kind.chapter_of_system(content[kind.name]), collect),
        }
        for kind in kinds
    ]


def find_sources(references: References) -> list[dict[str, str]]:
    """Return the sources of the experimental values, and which each is for."""
    names: dict[str, list[str]] = {}
    for column in references.get('experiment') or []:
        for name, entry in (column or {}).items():
            names.setdefault(entry['source'], []).append(find_quantity(name).label)
    return [{'source': source, 'names': ', '.join(dict.fromkeys(found))} for source, found in names.items()]


def describe_provenance(content: Content, provenance: Content) -> list[View]:
    """Return the tables of the provenance: what describes the potential first, then what was given."""
    tables: Content = {'Potential': content.get('potential') or {}}
    tables |= {title: found for title, found in provenance.items() if title != 'cite'}
    described = []
    for title, found in tables.items():
        rows = list(found.items()) if isinstance(found, dict) else [('', line) for line in found]
        if rows:
            described.append(
                {'title': title, 'rows': [(str(key).replace('_', ' '), plain(value)) for key, value in rows]}
            )
    return described


def cite(content: Content, arrays: Content, provenance: Content) -> list[str]:
    """Return what to cite for what is in the report."""
    asked = list(provenance.get('cite') or [])
    used = {'ase', 'spglib', *asked}
    used |= {name for crystal in content.get('crystals') or [] for name in crystal if crystal[name]}
    used |= {'gamma', 'ace'} if (arrays.get('gamma') or {}).get('gamma') else set()
    of_properties = {
        text: None
        for name, kind in load_properties().items()
        if name in used or (kind.system_title and not kind.in_suite and content.get(name))
        for text in kind.citations
    }
    given = [text for text in asked if text not in {**CITATIONS, **PROGRAMS}]
    before, behind = ([text for key, text in table.items() if key in used] for table in (CITATIONS, PROGRAMS))
    return [*before, *of_properties, *behind, *given]
