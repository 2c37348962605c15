"""The report of a validation for people: one HTML file that needs nothing else, on screens, phones and paper."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import units
from jinja2 import ChainableUndefined, Environment, FileSystemLoader, Undefined
from markupsafe import Markup

from . import figures
from .references import compare, label, quantities

TEMPLATE = 'report.html'
#: What the columns of references are called.
TITLES = {'dft': 'DFT', 'experiment': 'experiment'}
#: What a check is called, where its name does not tell.
CHECKS = {
    'energy_rmse': 'energy error (RMSE)',
    'force_rmse': 'force error (RMSE)',
    'stress_rmse': 'stress error (RMSE)',
    'eos_kinks': 'kinks of energy against volume',
    'born': 'elastic stability',
    'imaginary_modes': 'unstable vibrations',
    'pair_barrier': 'repulsion of pairs',
    'compression_barrier': 'repulsion under compression',
    'broken_runs': 'simulations that break off',
    'drift': 'energy drift',
    'volume_dft': 'volume against DFT',
    'bulk_modulus_dft': 'bulk modulus against DFT',
    'shear_modulus_dft': 'shear modulus against DFT',
    'melting': 'melting temperature against experiment',
}
#: The worst first.
RESULTS = {'fail': 'fails', 'warn': 'warns', 'pass': 'met', 'not_applicable': 'not applicable'}
#: Sections of a crystal, in the order of the report.
SECTIONS = {
    'eos': 'Equation of state',
    'elasticity': 'Elasticity',
    'phonons': 'Phonons',
    'pairs': 'Close approach',
    'vacancy': 'Vacancies',
    'surfaces': 'Surfaces',
    'stacking_fault': 'Stacking fault',
    'stability': 'Simulations',
}
#: What a report stands on: what it has to hold for it, and the reference.
CITATIONS = (
    ('ace', 'The potential: R. Drautz, Phys. Rev. B 99, 014104 (2019); Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 '
     '(2021); A. Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022)'),
    ('gamma', 'The extrapolation grade: Y. Lysogorskiy, A. Bochkarev, M. Mrovec and R. Drautz, Phys. Rev. Mater. 7, '
     '043801 (2023)'),
    ('ase', 'ASE: A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)'),
    ('spglib', 'spglib: A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Methods 4, 2384822 (2024)'),
    ('eos', 'Equations of state: F. Birch, Phys. Rev. 71, 809 (1947); P. Vinet et al., J. Phys. C 19, L467 (1986)'),
    ('elasticity', 'Elastic stability: F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014); averages: R. Hill, '
     'Proc. Phys. Soc. A 65, 349 (1952)'),
    ('phonons', 'phonopy: A. Togo, L. Chaput, T. Tadano and I. Tanaka, J. Phys.: Condens. Matter 35, 353001 (2023); '
     'SeeK-path: Y. Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)'),
    ('surfaces', 'pymatgen: S. P. Ong et al., Comput. Mater. Sci. 68, 314 (2013); R. Tran et al., Sci. Data 3, 160080 '
     '(2016)'),
    ('melting', 'LAMMPS: A. P. Thompson et al., Comput. Phys. Commun. 271, 108171 (2022)'),
    ('aiida', 'AiiDA: S. P. Huber et al., Sci. Data 7, 300 (2020); M. Uhrin et al., Comput. Mater. Sci. 187, 110086 '
     '(2021)'),
)  # fmt: skip


def write_report(
    content: dict[str, Any],
    verdict: dict[str, Any] | None,
    references: dict[str, list[dict[str, Any] | None]] | None,
    errors_arrays: dict[str, Any] | None,
    provenance: dict[str, Any] | None,
    path: Path,
) -> None:
    """Write the report; the file is there whole or not at all.

    :param content: what the suite returns.
    :param verdict: what :func:`.gate.judge` returns; None: nothing was judged.
    :param references: columns of the tables: `dft`, `experiment` (see :func:`.references.find_experiment`) and others
        by the names that they shall have, each a list with an entry, or None, for each crystal.
    :param errors_arrays: what :func:`.errors.error_arrays` returns.
    :param provenance: tables by their titles, each a dictionary or a list of lines; and in `cite` what else was used,
        keys of :data:`CITATIONS`, or what to cite itself.
    """
    page = format_report(content, verdict, references or {}, errors_arrays or {}, provenance or {})
    part = path.with_name(f'.{path.name}.part')
    try:
        part.write_text(page, encoding='utf-8')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def format_report(
    content: dict[str, Any],
    verdict: dict[str, Any] | None,
    references: dict[str, list[dict[str, Any] | None]],
    errors_arrays: dict[str, Any],
    provenance: dict[str, Any],
) -> str:
    """Return the page, see :func:`write_report`; what came from outside is escaped."""
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=ChainableUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        function.__name__: function for function in (number, measure, percent, plain, times, places, cell)
    }
    collected: list[dict[str, Any]] = []
    view = {
        'title': f'Validation of {name_system(content)}',
        'verdict': describe_verdict(verdict),
        'checks': sort_checks(verdict),
        'requests': (verdict or {}).get('requests') or [],
        'weights': (verdict or {}).get('weights') or {},
        'crystals': describe_crystals(content, references, _collector(collected)),
        'errors': describe_errors(content.get('errors'), errors_arrays, _collector(collected)),
        'dimers': describe_dimers(content.get('pairs'), _collector(collected)),
        'melting': describe_melting(content.get('melting'), _collector(collected)),
        'sources': find_sources(references),
        'seconds': content.get('seconds') or {},
        'provenance': describe_provenance(content, provenance),
        'citations': cite(content, errors_arrays, provenance),
        'results': RESULTS,
        'plotly': Markup(get_plotlyjs()),
    }
    # `<` as an escape: nothing in the data can end the element that holds them
    data = json.dumps(_finite(collected), ensure_ascii=False).replace('<', '\\u003c')
    return environment.get_template(TEMPLATE).render(**view, figures=Markup(data))


def _collector(collected: list[dict[str, Any]]) -> Callable[[dict[str, Any] | None, str], dict[str, Any] | None]:
    """Return a function that keeps a figure for the page and returns its number and what is said below it."""

    def collect(drawn: dict[str, Any] | None, caption: str) -> dict[str, Any] | None:
        if drawn is None:
            return None
        collected.append(drawn)
        return {'index': len(collected) - 1, 'caption': caption, 'height': drawn['layout']['height']}

    return collect


Collect = Callable[[dict[str, Any] | None, str], dict[str, Any] | None]


# Words and numbers ----------------------------------------------------------------------------------------------------


def number(value: Any, digits: int = 4) -> str:
    """Return a number with so many digits that count, a dash where there is none."""
    if value is None or isinstance(value, Undefined):
        return '–'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return 'not finite'
    value += 0  # no zero with a sign
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        places = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
        text = f'{round(value, places):.{max(0, places)}f}' if not isinstance(value, int) else str(value)
        text = text.rstrip('0').rstrip('.') if '.' in text else text
    else:
        text = f'{value:.{digits - 1}e}'
    return text.replace('-', '−')


def measure(value: Any, unit: str) -> str:
    """Return a number with its unit: errors and drifts in thousandths, where people think in them."""
    thousandths = {'eV/atom': 'meV/atom', 'eV/Å': 'meV/Å', 'eV/atom/ns': 'meV/atom/ns'}
    if unit in thousandths and isinstance(value, (int, float)) and abs(value) < 1:
        value, unit = 1e3 * value, thousandths[unit]
    return f'{number(value)} {unit}'.strip() if value is not None else '–'


def times(value: Any, factor: float) -> float | None:
    """Return a number in another unit, None where there is none."""
    return factor * value if isinstance(value, (int, float)) else None


def places(value: Any, digits: int) -> float | None:
    """Return a number without what is only noise about zero, None where there is none."""
    return round(value, digits) if isinstance(value, (int, float)) else None


def cell(value: float | None) -> str:
    """Return an entry of the elastic tensor (GPa): a dot where symmetry or noise makes it zero."""
    return '–' if value is None else '·' if abs(value) < 0.05 else f'{value:.1f}'.replace('-', '−')


def percent(value: float | None) -> str:
    """Return a relative difference."""
    return '' if value is None else f'{round(100 * value, 1) + 0:+.1f}\u00a0%'.replace('-', '−')


def plain(value: Any) -> str:
    """Return what a value of the provenance or of a request says, in one line."""
    if isinstance(value, dict):
        return ', '.join(f'{key}: {plain(item)}' for key, item in value.items())
    if isinstance(value, (list, tuple)):
        shown = [plain(item) for item in value[:9]]
        return ', '.join(shown) + (f', ... ({len(value)} in all)' if len(value) > 9 else '')
    return number(value)


def name_system(content: dict[str, Any]) -> str:
    """Return what the potential is called, or what it was tried on."""
    potential = content.get('potential') or {}
    names = [crystal['name'] for crystal in content.get('crystals') or []]
    given = potential.get('name') or '-'.join(potential.get('elements') or [])
    return given or ', '.join(dict.fromkeys(names)) or 'a potential'


def describe_verdict(verdict: dict[str, Any] | None) -> dict[str, str]:
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


def count_results(checks: list[dict[str, Any]]) -> str:
    """Return how many checks ended how."""
    counts = {words: sum(check['result'] == name for check in checks) for name, words in RESULTS.items()}
    return ', '.join(f'{count} {words}' for words, count in counts.items() if count) or 'no check was made'


def sort_checks(verdict: dict[str, Any] | None) -> list[dict[str, Any]]:
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


def describe_crystals(
    content: dict[str, Any], references: dict[str, list[dict[str, Any] | None]], collect: Collect
) -> list[dict[str, Any]]:
    """Return of each crystal what the page shows: table, and sections with figures."""
    described = []
    for index, crystal in enumerate(content.get('crystals') or []):
        melting = content.get('melting')
        whole = {**crystal, 'melting': melting} if melting and not index else crystal
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
                'sections': [
                    describe_section(name, title, crystal, others, collect)
                    for name, title in SECTIONS.items()
                    if crystal.get(name)
                ],
            }
        )
    return described


def describe_section(
    name: str, title: str, crystal: dict[str, Any], others: dict[str, dict[str, Any]], collect: Collect
) -> dict[str, Any]:
    """Return a section: `name`, `title`, `found`, `message` (if there is nothing to show) and `figures`."""
    found = crystal[name]
    section = {'name': name, 'title': title, 'found': found, 'message': found.get('message', ''), 'figures': []}
    section['ok'] = found.get('status', 'ok') == 'ok'
    if not section['ok']:
        return section
    drawn: list[dict[str, Any] | None] = []
    if name == 'eos':
        columns = {'potential': found}
        known = {TITLES.get(key, key): other.get('eos') for key, other in others.items() if key != 'experiment'}
        columns |= {key: eos for key, eos in known.items() if eos and eos.get('status', 'ok') == 'ok'}
        drawn = [collect(figures.eos(columns), 'Points: computed; lines: Birch–Murnaghan fit.')]
    elif name == 'phonons':
        caption = 'Phonon bands along the path, and the density of states. Below zero: imaginary, unstable.'
        drawn = [collect(figures.phonons(found), caption)]
        drawn.append(collect(figures.thermal(found), 'Heat capacity and entropy in the harmonic approximation.'))
    elif name == 'pairs':
        caption = 'Two atoms pushed together in the crystal: the energy has to rise, all the way.'
        drawn = [collect(figures.pairs(found.get('pairs') or {}), caption)]
        squeezed = figures.compression(found.get('compression') or {})
        drawn.append(collect(squeezed, 'The whole crystal compressed, down to half its bond length.'))
    elif name == 'stability':
        drawn = [collect(figures.energies(found.get('runs') or []), 'Energy of the simulations.')]
    section['figures'] = [figure for figure in drawn if figure]
    return section


def describe_errors(errors: dict[str, Any] | None, arrays: dict[str, Any], collect: Collect) -> dict[str, Any] | None:
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


def _error_row(name: str, found: dict[str, float] | None, unit: str, factor: float) -> dict[str, Any] | None:
    if not found:
        return None
    return {'name': name, 'unit': unit, **{key: factor * found[key] for key in ('rmse', 'mae', 'p95', 'max')}}


def _scaled(found: dict[str, Any], key: str, factor: float) -> float | None:
    return factor * found[key]['rmse'] if found.get(key) else None


def describe_dimers(found: dict[str, Any] | None, collect: Collect) -> dict[str, Any] | None:
    """Return the pairs of atoms in vacuum."""
    if not found:
        return None
    shown = found.get('pairs') or {} if found.get('status', 'ok') == 'ok' else {}
    drawn = collect(figures.pairs(shown), 'Two atoms in vacuum, from beyond their bond length to half of it.')
    return {'pairs': shown, 'message': found.get('message', ''), 'figures': [drawn] if drawn else []}


def describe_melting(found: dict[str, Any] | None, collect: Collect) -> dict[str, Any] | None:
    """Return the melting temperature, and of each run what is a number or a word."""
    if not found:
        return None
    runs = [
        {key: value for key, value in run.items() if isinstance(value, (int, float, str, bool))}
        for run in found.get('runs') or []
    ]
    columns = list(dict.fromkeys(key for run in runs for key in run))
    drawn = collect(figures.melting(found), 'Solid and liquid side by side: the temperature at which both stay.')
    ok = found.get('status', 'ok') == 'ok'
    return {'found': found, 'ok': ok, 'runs': runs, 'columns': columns, 'figures': [drawn] if drawn else []}


def find_sources(references: dict[str, list[dict[str, Any] | None]]) -> list[dict[str, str]]:
    """Return the sources of the experimental values, and which each is for."""
    names: dict[str, list[str]] = {}
    for column in references.get('experiment') or []:
        for name, entry in (column or {}).items():
            names.setdefault(entry['source'], []).append(label(name)[0])
    return [{'source': source, 'names': ', '.join(dict.fromkeys(found))} for source, found in names.items()]


def describe_provenance(content: dict[str, Any], provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of the provenance: what describes the potential first, then what was given."""
    tables: dict[str, Any] = {'Potential': content.get('potential') or {}}
    tables |= {title: found for title, found in provenance.items() if title != 'cite'}
    described = []
    for title, found in tables.items():
        rows = list(found.items()) if isinstance(found, dict) else [('', line) for line in found]
        if rows:
            described.append(
                {'title': title, 'rows': [(str(key).replace('_', ' '), plain(value)) for key, value in rows]}
            )
    return described


def cite(content: dict[str, Any], arrays: dict[str, Any], provenance: dict[str, Any]) -> list[str]:
    """Return what to cite for what is in the report."""
    asked = list(provenance.get('cite') or [])
    used = {'ase', 'spglib', *asked}
    used |= {name for crystal in content.get('crystals') or [] for name in crystal if crystal[name]}
    used |= {'gamma', 'ace'} if (arrays.get('gamma') or {}).get('gamma') else set()
    used |= {'melting'} if content.get('melting') else set()
    known = dict(CITATIONS)
    return [*(text for key, text in CITATIONS if key in used), *(text for text in asked if text not in known)]


def _finite(value: Any) -> Any:
    """Return a value as strict JSON has it: what is not a finite number is null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
