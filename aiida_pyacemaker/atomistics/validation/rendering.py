"""How the report is written: numbers as people read them, and templates that escape what comes from outside."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader, Undefined
from markupsafe import Markup


def render(beside: str, template: str = 'report.html.j2', **values: Any) -> Markup:
    """Return a filled template; it may use the functions below as filters.

    :param beside: the module that the template lies beside, its `__file__`.
    """
    return Markup(environment(Path(beside).parent).get_template(template).render(**values))


@functools.cache
def environment(folder: Path) -> Environment:
    """Return what reads the templates of a folder."""
    found = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=ChainableUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {
        function.__name__: function for function in (number, measure, percent, plain, times, places, cell)
    }
    return found


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
