"""The commands `verdi data pyacemaker`."""

from __future__ import annotations

import click
from aiida.cmdline.params import arguments, options, types
from aiida.cmdline.utils import decorators, echo

from .utils import attempt

CONFIGURATIONS = types.DataParamType(sub_classes=('aiida.data:pyacemaker.configurations',))
POTENTIAL = types.DataParamType(sub_classes=('aiida.data:pyacemaker.potential',))


@click.group('pyacemaker')
def cmd_data() -> None:
    """Configurations and ACE potentials of aiida-pyacemaker."""


@cmd_data.group('configurations')
def cmd_configurations() -> None:
    """Sets of atomic configurations, labelled or not."""


@cmd_data.group('potential')
def cmd_potential() -> None:
    """ACE potentials with baseline and active set."""


def list_options(function):
    """Add the options that all `list` commands share."""
    for decorator in (
        options.RAW(),
        options.ALL_USERS(),
        options.PAST_DAYS(default=None, help='Only nodes that are at most this many days old.'),
        click.option(
            '-e', '--elements', multiple=True, metavar='SYMBOL', help='Only nodes with this element (repeat).'
        ),
    ):
        function = decorator(function)
    return function


def query_nodes(
    entry_point: str,
    projections: list[str],
    elements: tuple[str, ...],
    past_days,
    all_users,
    made_by: tuple[str, str] | None = None,
) -> list[list]:
    """Return the projections of all nodes of a type, the oldest first.

    :param made_by: only what a process of this label created under this name.
    """
    from datetime import timedelta

    from aiida import orm
    from aiida.common import timezone
    from aiida.plugins import DataFactory

    filters: dict = {}
    if elements:
        filters['attributes.elements'] = {'contains': list(elements)}
    if past_days is not None:
        filters['ctime'] = {'>=': timezone.now() - timedelta(days=past_days)}
    query = orm.QueryBuilder()
    query.append(DataFactory(entry_point), filters=filters, project=['id', 'ctime', *projections], tag='node')
    if not all_users:
        query.append(orm.User, filters={'email': orm.User.collection.get_default().email}, with_node='node')
    if made_by is not None:
        process, name = made_by
        query.append(
            orm.ProcessNode,
            filters={'attributes.process_label': process},
            with_outgoing='node',
            edge_filters={'label': name},
        )
    query.order_by({'node': ['ctime', 'id']})
    return query.all()


def echo_list(rows: list[list], headers: list[str], raw: bool) -> None:
    """Print a table, as the other commands of `verdi data` do."""
    from tabulate import tabulate

    if raw:
        echo.echo(tabulate(rows, tablefmt='plain'))
        return
    echo.echo(tabulate(rows, headers=headers))
    echo.echo(f'\nTotal results: {len(rows)}\n')


def count_up(counts: dict[str, int] | None) -> str:
    """Return counts by name in one line, those of zero left out."""
    return ', '.join(f'{number} {name}' for name, number in (counts or {}).items() if number) or '-'


@cmd_configurations.command('list')
@list_options
@decorators.with_dbenv()
def configurations_list(elements, past_days, all_users, raw) -> None:
    """List the sets of configurations."""
    keys = ('number_of_configurations', 'number_of_atoms', 'elements', 'labels', 'families')
    projections = [f'attributes.{key}' for key in keys]
    rows = [
        [pk, ctime.strftime('%Y-%m-%d %H:%M'), number, atoms, ' '.join(symbols), labels['energy'], count_up(families)]
        for pk, ctime, number, atoms, symbols, labels, families in query_nodes(
            'pyacemaker.configurations', projections, elements, past_days, all_users
        )
    ]
    echo_list(rows, ['PK', 'Created', 'Configurations', 'Atoms', 'Elements', 'Labelled', 'Families'], raw)


@cmd_configurations.command('show')
@arguments.DATUM(type=CONFIGURATIONS)
@click.option('-l', '--long', 'is_long', is_flag=True, help='One line for each configuration.')
@decorators.with_dbenv()
def configurations_show(datum, is_long) -> None:
    """Show what a set of configurations holds."""
    from tabulate import tabulate

    attributes = datum.base.attributes.all
    energies = attributes['energy_range']
    rows = [
        ['PK', datum.pk],
        ['UUID', datum.uuid],
        ['Label', datum.label or '-'],
        ['Created by', f'{datum.creator.process_label}<{datum.creator.pk}>' if datum.creator else '-'],
        ['Configurations', attributes['number_of_configurations']],
        ['Atoms', attributes['number_of_atoms']],
        ['Elements', ' '.join(attributes['elements'])],
        ['Formulas', ' '.join(attributes['formulas'])],
        ['Labels', count_up(attributes['labels'])],
        ['Labelled by', ', '.join(attributes.get('oracles') or ['-'])],
        ['Settings', ', '.join(attributes.get('settings') or ['-'])],
        ['Flagged', attributes.get('number_flagged', '-')],
        ['Energies', f'{energies[0]:.4f} to {energies[1]:.4f} eV/atom' if energies else '-'],
        ['Families', count_up(attributes['families'])],
    ]
    echo.echo(tabulate(rows, tablefmt='plain'))
    if is_long:
        echo.echo('')
        echo.echo(tabulate(*get_frame_table(datum.get_frames())))


def get_frame_table(frames: list) -> tuple[list[list], list[str]]:
    """Return the rows and the headers of the table of all configurations of a set."""
    import numpy as np

    from aiida_pyacemaker.atomistics.core.frame import labels

    rows = []
    for index, atoms in enumerate(frames):
        found = labels(atoms)
        rows.append(
            [
                index,
                atoms.get_chemical_formula(),
                atoms.info.get('family'),
                atoms.info.get('split'),
                round(atoms.get_volume() / len(atoms), 3) if atoms.pbc.all() else None,
                round(found['energy'] / len(atoms), 4) if 'energy' in found else None,
                round(float(np.abs(found['forces']).max()), 3) if 'forces' in found else None,
                round(atoms.info['gamma_max'], 2) if 'gamma_max' in atoms.info else None,
                str(atoms.info.get('calculation', ''))[:8] or None,
            ]
        )
    headers = ['#', 'Formula', 'Family', 'Split', 'Å³/atom', 'eV/atom', 'max force eV/Å', 'gamma', 'DFT']
    return rows, headers


@cmd_configurations.command('suspects')
@arguments.DATUM(type=CONFIGURATIONS, required=False)
@list_options
@decorators.with_dbenv()
def configurations_suspects(datum, elements, past_days, all_users, raw) -> None:
    """List the labels that were flagged and left out of training, with the reasons.

    Without DATUM, list the sets of such labels and what was confirmed of them.
    """
    if datum is not None:
        headers = ['#', 'Formula', 'Family', 'Split', 'Reasons', 'Calculation']
        echo_list(get_flag_table(datum.get_frames()), headers, raw)
        return
    rows = []
    for pk, ctime, number, symbols in query_nodes(
        'pyacemaker.configurations',
        ['attributes.number_of_configurations', 'attributes.elements'],
        elements,
        past_days,
        all_users,
        made_by=('collect_labels', 'suspect'),
    ):
        confirmed = ', '.join(map(str, find_confirmed(pk))) or '-'
        rows.append([pk, ctime.strftime('%Y-%m-%d %H:%M'), number, ' '.join(symbols), confirmed])
    echo_list(rows, ['PK', 'Created', 'Suspects', 'Elements', 'Confirmed in'], raw)


def get_flag_table(frames: list) -> list[list]:
    """Return a row for each flagged configuration of a set."""
    return [
        [
            index,
            atoms.get_chemical_formula(),
            atoms.info.get('family'),
            atoms.info.get('split'),
            '; '.join(atoms.info['flags']),
            str(atoms.info.get('calculation', ''))[:8] or None,
        ]
        for index, atoms in enumerate(frames)
        if atoms.info.get('flags')
    ]


def find_confirmed(pk: int) -> list[int]:
    """Return the sets of labels that were confirmed out of a set of suspects."""
    from aiida import orm

    query = orm.QueryBuilder()
    query.append(orm.Data, filters={'id': pk}, tag='suspects')
    query.append(
        orm.CalcFunctionNode,
        filters={'attributes.process_label': 'confirm_labels'},
        with_incoming='suspects',
        tag='function',
    )
    query.append(orm.Data, with_incoming='function', project='id')
    return sorted(query.all(flat=True))


@cmd_configurations.command('confirm')
@arguments.DATUM(type=CONFIGURATIONS)
@click.argument('indices', type=click.IntRange(min=0), nargs=-1)
@click.option('--all', 'everything', is_flag=True, help='All configurations of the set.')
@decorators.with_dbenv()
def configurations_confirm(datum, indices, everything) -> None:
    """Confirm the labels INDICES of a set of suspects, so that a potential may be trained on them.

    The numbers are those that `suspects DATUM` prints. What is confirmed becomes a set of its own.
    """
    from aiida import orm

    from aiida_pyacemaker.calculations.functions.confirm_labels import confirm_labels

    if everything == bool(indices):
        raise click.UsageError('name the configurations to confirm, or use --all.')
    with attempt():
        confirmed = confirm_labels(datum, orm.List(list(range(len(datum)) if everything else indices)))
    echo.echo_success(f'{len(confirmed)} labels confirmed: ConfigurationsData<{confirmed.pk}>')
    echo.echo('Give it to a run with:  aiida-pyacemaker launch RUNFILE --restart-from PK --labels PK')


@cmd_configurations.command('export')
@arguments.DATUM(type=CONFIGURATIONS)
@click.argument('path', type=click.Path(dir_okay=False), required=False)
@click.option(
    '-F',
    '--format',
    'fmt',
    type=click.Choice(['extxyz', 'db']),
    help='extended xyz or ASE database (SQLite). [default: that of the suffix of PATH, else extxyz]',
)
@click.option('-f', '--force', is_flag=True, help='Overwrite a file that is there.')
@decorators.with_dbenv()
def configurations_export(datum, path, fmt, force) -> None:
    """Write a set of configurations to the file PATH, by default configurations-PK.extxyz."""
    fmt = fmt or ('db' if path and path.endswith('.db') else 'extxyz')
    path = path or f'configurations-{datum.pk}.{fmt}'
    with attempt():
        datum.export(path, fileformat=fmt, overwrite=force)
    echo.echo_success(f'{len(datum)} configurations written to {path}')


@cmd_potential.command('list')
@list_options
@decorators.with_dbenv()
def potential_list(elements, past_days, all_users, raw) -> None:
    """List the potentials, with their errors on the test set (or, marked by *, on the training set)."""
    keys = ('generation', 'elements', 'number_of_functions', 'cutoff', 'fit')
    projections = [f'attributes.{key}' for key in keys]
    rows = []
    for pk, ctime, generation, symbols, functions, cutoff, fit in query_nodes(
        'pyacemaker.potential', projections, elements, past_days, all_users
    ):
        metrics, mark = get_metrics(fit)
        errors = [format_error(metrics, name, mark) for name in ('energy', 'forces')]
        created = ctime.strftime('%Y-%m-%d %H:%M')
        rows.append([pk, created, generation, ' '.join(symbols), functions, cutoff, *errors])
    headers = ['PK', 'Created', 'Generation', 'Elements', 'Functions', 'Cutoff (Å)', 'meV/atom', 'meV/Å']
    echo_list(rows, headers, raw)


def get_metrics(fit: dict | None) -> tuple[dict, str]:
    """Return the errors on the test set, or those on the training set and a mark for it."""
    if (fit or {}).get('test'):
        return fit['test'], ''
    return (fit or {}).get('train') or {}, '*'


def format_error(metrics: dict, name: str, mark: str = '') -> str:
    """Return the root mean square error of a label, in meV."""
    return f'{1000 * metrics[name]["rmse"]:.2f}{mark}' if metrics.get(name) else '-'


@cmd_potential.command('show')
@arguments.DATUM(type=POTENTIAL)
@decorators.with_dbenv()
def potential_show(datum) -> None:
    """Show what a potential is made of, and how good it is."""
    from tabulate import tabulate

    metadata = datum.metadata
    fit = metadata.get('fit') or {}
    references = metadata['reference_energies'].items()
    rows = [
        ['PK', datum.pk],
        ['UUID', datum.uuid],
        ['Label', datum.label or '-'],
        ['Created by', f'{datum.creator.process_label}<{datum.creator.pk}>' if datum.creator else '-'],
        ['Generation', datum.generation],
        ['Elements', ' '.join(datum.elements)],
        ['Cutoff', f'{datum.cutoff} Å'],
        ['Functions', metadata['number_of_functions']],
        ['Baseline', metadata['baseline']['kind']],
        ['Free atoms', ', '.join(f'{symbol} {energy:.4f} eV' for symbol, energy in references)],
    ]
    for name, title in (('train', 'Training errors'), ('test', 'Test errors')):
        if fit.get(name):
            energy, forces = (format_error(fit[name], key) for key in ('energy', 'forces'))
            number = fit[name].get('n_frames', '?')
            rows.append([title, f'{energy} meV/atom, {forces} meV/Å on {number} configurations'])
    if fit.get('cold_start'):
        median, degenerate = fit['cold_start']['median_gamma'], fit['cold_start']['degenerate']
        remark = ' (degenerate: add rattled cells)' if degenerate else ''
        rows.append(['Gamma of test', f'{median:.2f} in the median{remark}'])
    echo.echo(tabulate(rows, tablefmt='plain'))


@cmd_potential.command('export')
@arguments.DATUM(type=POTENTIAL)
@click.argument('directory', type=click.Path(file_okay=False), required=False)
@click.option('-f', '--force', is_flag=True, help='Write into a folder that is not empty.')
@decorators.with_dbenv()
def potential_export(datum, directory, force) -> None:
    """Write a potential into DIRECTORY, with an input of LAMMPS that uses it; by default potential-PK."""
    from pathlib import Path

    directory = Path(directory or f'potential-{datum.pk}')
    with attempt():
        if directory.is_dir() and any(directory.iterdir()) and not force:
            raise ValueError(f'the folder {directory} is not empty: name another one, or use --force.')
        datum.write_for_lammps(directory)
    echo.echo_success(f'potential written to {directory}')
    echo.echo('`lmp -in in.lammps` runs there as it is; put your own structure into structure.data.')
