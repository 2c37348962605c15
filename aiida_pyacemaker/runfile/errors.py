"""What is wrong with a run file."""

from __future__ import annotations

import difflib


class RunFileError(ValueError):
    """A run file that cannot be used; the message lists every problem with its location and remedy.

    :param source: name of the run file, as the user gave it.
    :param problems: ``(location, message)`` pairs; the location is a dotted key, or empty for the file as a whole.
    """

    def __init__(self, source: str, problems: list[tuple[str, str]]):
        self.source = source
        self.problems = problems
        lines = [f'  {location}: {message}' if location else f'  {message}' for location, message in problems]
        super().__init__('\n'.join([f'the run file `{source}` cannot be used:', *lines]))


def _symbols() -> list[str]:
    from ase.data import chemical_symbols

    return chemical_symbols[1:]  # number 0 is ASE's dummy atom X


def nearest_element(name: str) -> str | None:
    """Return the chemical symbol that somebody who wrote ``name`` most likely meant, or None.

    :param name: a symbol in the wrong case, an English element name or something similar.
    """
    from ase.data import atomic_names

    symbols = {symbol.lower(): symbol for symbol in _symbols()}
    names = {full.lower(): symbol for full, symbol in zip(atomic_names[1:], _symbols(), strict=False)}
    names |= {'aluminum': 'Al', 'sulphur': 'S', 'cesium': 'Cs', 'caesium': 'Cs', 'wolfram': 'W', 'natrium': 'Na'}
    word = name.strip().lower()
    if word in symbols:
        return symbols[word]
    if word in names:
        return names[word]
    begun = [symbol for name, symbol in names.items() if len(word) > 2 and name.startswith(word)]
    if begun:
        return begun[0]
    close = difflib.get_close_matches(word, list(names), n=1, cutoff=0.65) if len(word) > 3 else []
    if close:
        return names[close[0]]
    close = difflib.get_close_matches(word, list(symbols), n=1, cutoff=0.5)
    return symbols[close[0]] if close else None
