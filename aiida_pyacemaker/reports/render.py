"""How what is told of a run gets its form: templates, tables, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).with_name('templates')


def render(template: str, **content: Any) -> str:
    """Return the text that a template of :data:`TEMPLATES` makes of some content."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=template.endswith('.html.j2'),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**content)


def format_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], markdown: bool = False) -> str:
    """Return a table of cells as they are given; what is None is a dash.

    :param markdown: as Markdown, else with columns to the right that two spaces part.
    """
    from tabulate import tabulate

    texts = [['-' if value is None else str(value) for value in row] for row in rows]
    if markdown:
        return tabulate(texts, headers, tablefmt='pipe', disable_numparse=True)
    # The headers as a row, or tabulate would pad them.
    return tabulate([headers, *texts], tablefmt='plain', colalign=['right'] * len(headers), disable_numparse=True)


def format_number(value: float | None, form: str, factor: float = 1.0) -> str | None:
    """Return a number in the form and unit of people, None where there is none; large ones with an exponent."""
    if value is None:
        return None
    value *= factor
    return f'{value:.1e}' if abs(value) >= 1e5 else f'{value:{form}}'
