"""Crystals from databases that speak OPTIMADE (COD, Materials Project, OQMD...), by the `optimade` client.

C. W. Andersen et al., OPTIMADE, an API for exchanging materials data, Sci. Data 8, 217 (2021).
"""

from __future__ import annotations

import contextlib
import io
import math
import threading
import warnings
from typing import Any

import numpy as np
from ase import Atoms
from ase.formula import Formula

from ..checks.overlap import overlapping
from ..core.parameters import require
from ..core.symmetry import call_spglib

#: Addresses of well-known providers; others are looked up in the list of the OPTIMADE consortium.
ADDRESSES = {
    'cod': 'https://www.crystallography.net/cod/optimade',
    'mp': 'https://optimade.materialsproject.org',
    'oqmd': 'https://oqmd.org/optimade',
    'alexandria': 'https://alexandria.icams.rub.de/pbe',
    'jarvis': 'https://jarvis.nist.gov/optimade/jarvisdft',
}
#: What a structure needs.
FIELDS = (
    'elements nelements elements_ratios chemical_formula_descriptive chemical_formula_reduced '
    'chemical_formula_anonymous dimension_types nperiodic_dimensions lattice_vectors cartesian_site_positions nsites '
    'species species_at_sites structure_features last_modified'
).split()
#: So many entries are read for each structure wanted: some are the same crystal again, disordered or broken.
ENTRIES_PER_STRUCTURE = 4


def query_structures(formula: str, provider: str, number: int, timeout: float = 20.0) -> list[Atoms]:
    """Return crystals of exactly this composition.

    :param formula: such as TiO2.
    :param provider: identifier ('cod', 'mp'), or the address of a database ('https://...', without /v1).
    :param number: at most; the smallest cells come first, disordered and overlapping structures are left out.
    :param timeout: s, for everything together.
    :returns: periodic; info `phase` is `optimade:<provider>:<space group>`, `reason` names the entry.
    :raises MissingLibraryError: if the client is not installed.
    :raises RuntimeError: if the database does not answer in time, or answers with an error.
    """
    require('optimade.client', 'structures.knowledge.optimade')
    entries = _within(
        timeout, lambda: _entries(_filter(formula), provider, ENTRIES_PER_STRUCTURE * number, timeout), provider
    )
    frames = [frame for entry in entries if (frame := _structure(entry, formula, provider)) is not None]
    frames.sort(key=len)
    kept: list[Atoms] = []
    seen: list[tuple[int, float]] = []
    for frame in frames:
        # of the same symmetry and density: the same crystal measured again
        mark = frame.info['parameters']['space_group'], frame.get_volume() / len(frame)
        if any(mark[0] == group and abs(mark[1] / volume - 1) < 0.03 for group, volume in seen):
            continue
        seen.append(mark)
        kept.append(frame)
    return kept[:number]


def _filter(formula: str) -> str:
    """The reduced formula as OPTIMADE writes it: elements in alphabetical order."""
    counts = Formula(formula).count()
    divisor = math.gcd(*counts.values())
    reduced = ((name, count // divisor) for name, count in sorted(counts.items()))
    return f'chemical_formula_reduced="{"".join(name + (str(n) if n > 1 else "") for name, n in reduced)}"'


def _within(timeout: float, work: Any, provider: str) -> Any:
    """Do work in a thread of its own, so that a server that answers very slowly cannot block the program."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome['value'] = work()
        except (Exception, SystemExit) as exception:  # the client ends the program if it finds no address
            outcome['error'] = exception

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise RuntimeError(f'{provider} did not answer within {timeout:g} s')
    if 'error' in outcome:
        error = outcome['error']
        raise RuntimeError(f'{provider}: {type(error).__name__}: {error}') from error
    return outcome['value']


def _entries(query: str, provider: str, number: int, timeout: float) -> list[dict[str, Any]]:
    from optimade.client import OptimadeClient

    address = provider if '://' in provider else ADDRESSES.get(provider)
    where = {'base_urls': [address]} if address else {'include_providers': [provider]}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        client = OptimadeClient(
            **where, max_results_per_provider=number, http_timeout=timeout, max_attempts=1, use_async=False, silent=True
        )
        answers = client.get(query, endpoint='structures', response_fields=FIELDS)
    results = list(answers['structures'][query].values())
    entries = [entry for result in results for entry in result['data']]
    errors = [str(error) for result in results for error in result['errors']]
    if errors and not entries:
        raise RuntimeError(errors[0])
    return entries[:number]


def _structure(entry: dict[str, Any], formula: str, provider: str) -> Atoms | None:
    """Return a physical, ordered, periodic crystal, or None."""
    from optimade.adapters import Structure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found = Structure(entry).as_ase
        atoms = Atoms(found.numbers, found.positions, cell=found.cell, pbc=True)
    except Exception:  # whatever a database sends that does not follow the standard
        return None
    usable = len(atoms) and found.pbc.all() and np.isfinite(atoms.positions).all() and atoms.get_volume() > 1.0
    if not usable or _filter(str(atoms.symbols)) != _filter(formula) or overlapping(atoms, 0.7):
        return None
    atoms.wrap()
    group = _space_group(atoms)
    atoms.info.update(
        family='knowledge',
        phase=f'optimade:{provider}:{group}',
        reason=f'entry {entry["id"]} of the database {provider} for {formula}, space group {group}',
        parameters={
            'formula': formula,
            'prototype': None,
            'space_group': group,
            'provider': provider,
            'entry': str(entry['id']),
        },
    )
    return atoms


def _space_group(atoms: Atoms) -> int:
    import spglib

    found = call_spglib(
        spglib.get_symmetry_dataset, (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=0.01
    )
    return int(found.number) if found is not None else 1
