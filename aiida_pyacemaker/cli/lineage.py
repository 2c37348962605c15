"""`aiida-pyacemaker lineage`: where a potential or configurations come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .utils import attempt, load_profile, profile_option

if TYPE_CHECKING:
    from aiida_pyacemaker.reports.rows import DataRow, LabellingRow, Lineage, SimulationRow

#: Calculations of one kind that are listed; --json gives all.
MAX_ROWS = 20


@click.command('lineage')
@click.argument('pk')
@click.option('--json', 'as_json', is_flag=True, help='Print everything as JSON.')
@profile_option
def cmd_lineage(pk: str, as_json: bool, profile: str | None) -> None:
    """Follow PK back to the DFT calculations, simulations and potentials that it comes from.

    PK (or a UUID) is a potential, configurations, or a process that made a potential, such as a run.
    """
    with attempt():
        import json

        from aiida_pyacemaker.reports.queries import find_node, get_lineage, while_unlocked

        while_unlocked(load_profile)(profile)
        lineage = get_lineage(find_node(pk))
        click.echo(json.dumps(lineage.to_json(), indent=2) if as_json else format_lineage(lineage))


def format_lineage(lineage: Lineage) -> str:
    """Return the lineage as text."""
    lines = [format_data(lineage.node)]
    creator = lineage.created_by
    if creator:
        lines.append(f'  made by {creator.kind}<{creator.pk}>  {creator.called_as}')
    lines += ['', f'Potentials before it: {len(lineage.potentials)}']
    lines += shorten([f'  {format_data(potential)}' for potential in lineage.potentials])
    lines += ['', f'Simulations that proposed configurations: {len(lineage.simulations)}']
    lines += shorten([f'  {format_simulation(simulation)}' for simulation in lineage.simulations])
    lines += ['', f'Calculations that labelled, held-out ones included: {len(lineage.dft)}']
    lines += shorten([f'  {format_dft(calculation)}' for calculation in lineage.dft])
    return '\n'.join(lines)


def shorten(lines: list[str]) -> list[str]:
    """Return the first lines, and how many are left out."""
    more = len(lines) - MAX_ROWS
    return [*lines[:MAX_ROWS], f'  ... {more} more, see --json'] if more > 0 else lines


def format_data(node: DataRow) -> str:
    """Return one line about a potential or configurations."""
    text = f'{node.type}<{node.pk}>  {"-".join(node.elements or [])}'
    if node.generation is not None:
        text += f'  generation {node.generation}'
    if node.number_of_configurations is not None:
        families = ', '.join(f'{count} {name}' for name, count in (node.families or {}).items())
        text += f'  {node.number_of_configurations} configurations ({families})'
    return text


def format_simulation(simulation: SimulationRow) -> str:
    """Return one line about a simulation."""
    gamma = f', largest gamma {simulation.gamma_max:.2f}' if simulation.gamma_max is not None else ''
    return (
        f'{simulation.kind}<{simulation.pk}>  {simulation.called_as}  driven by potential '
        f'<{simulation.potential}>: {simulation.reason} at step {simulation.step}{gamma}'
    )


def format_dft(calculation: LabellingRow) -> str:
    """Return one line about a calculation that labelled."""
    energy = f'  {calculation.energy:.4f} eV' if calculation.energy is not None else ''
    number = calculation.configurations
    what = calculation.formula if number is None else f'{number} configurations'
    return f'{calculation.kind}<{calculation.pk}>  {what}{energy}  {calculation.called_as}'
