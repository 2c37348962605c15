"""The verdict on a potential: PASS, CONDITIONAL or FAIL, of what the suite has found and of the criteria.

Every criterion becomes one *check* per crystal: the value, the limits, the result, why there is such a criterion. One
failed check is a FAIL, and asks for what would cure it (:mod:`.requests`); one that is beyond its limit only makes the
verdict CONDITIONAL, and says which labels the next fit should weigh more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ase import units

from ..checks.fingerprint import reduced_counts
from .parameters import Gate

#: From the best to the worst.
VERDICTS = {'pass': 'PASS', 'warn': 'CONDITIONAL', 'fail': 'FAIL'}
#: Criteria whose value should be large; all others should be small.
AT_LEAST = ('born', 'pair_barrier', 'compression_barrier', 'vacancy', 'surface', 'stacking_fault')
UNITS = {name: (field.json_schema_extra or {}).get('unit', '') for name, field in Gate.model_fields.items()}
#: What a property that could not be had at all asks for.
REMEDIES = {
    'equilibrium': 'rattle', 'eos': 'volume', 'elasticity': 'strain', 'phonons': 'rattle', 'vacancy': 'vacancy',
    'surfaces': 'surface', 'stacking_fault': 'rattle', 'stability': 'temperature',
}  # fmt: skip
#: By how much the next fit weighs energies and stresses more, if a criterion that lives on them is only just missed.
WEIGH_MORE = 2.0
WEIGHTS = {
    'energy_rmse': 'energy', 'stress_rmse': 'stress', 'born': 'stress', 'volume_dft': 'stress',
    'bulk_modulus_dft': 'stress', 'shear_modulus_dft': 'stress', 'vacancy': 'energy', 'surface': 'energy',
    'stacking_fault': 'energy',
}  # fmt: skip


class Found(NamedTuple):
    """What a criterion is about: the value (None: nothing to object, whatever the limits), and what cures it."""

    name: str
    value: float | None
    message: str = ''
    requests: tuple[dict[str, Any], ...] = ()


def judge(content: dict[str, Any], references: dict[str, Any] | None, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict.

    :param content: what the suite returns.
    :param references: `dft` and `experiment`, each a list with the entry of each crystal, None or empty if there is
        none.
    :param parameters: the section `validate` of a run file: the criteria, and the limits of the errors.
    :returns: `verdict`, `summary` (a sentence), `checks` (each with `name`, `crystal`, `value`, `unit`, `limit`,
        `fail`, `at_least`, `result`, `reason`, `message`), `requests` of the failed ones, and `weights`: factors for
        the weights of `energy` and `stress` in the next fit.
    """
    judgement = Judgement(content, references or {}, parameters)
    judgement.look_at_everything()
    return judgement.conclude()


class Judgement:
    """The checks of one potential, one after the other."""

    def __init__(self, content: dict[str, Any], references: dict[str, Any], parameters: dict[str, Any]):
        self.content, self.references = content, references
        self.criteria = complete_criteria(parameters)
        self.checks: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []

    def look_at_everything(self) -> None:
        """Make all checks."""
        for found in look_at_errors(self.content.get('errors')):
            self.check(None, found)
        crystals = self.content.get('crystals') or []
        grounds = find_grounds(crystals)
        for index, crystal in enumerate(crystals):
            self.look_at_crystal(index, crystal, crystal.get('must_be_stable', index in grounds))
        self.look_at_section(None, 'pairs', self.content.get('pairs'), self.look_at_dimers)
        self.look_at_section(None, 'melting', self.content.get('melting'), self.look_at_melting)

    def look_at_crystal(self, index: int, crystal: dict[str, Any], ground: bool) -> None:
        """Make the checks of one crystal.

        :param ground: whether it has to be stable.
        """
        confirmed = crystal.get('confirmed_unstable', False)
        looks = {'equilibrium': nothing, 'eos': look_at_eos, 'pairs': look_at_pairs, 'surfaces': look_at_surfaces}
        if ground:
            looks |= {
                'elasticity': look_at_born,
                'phonons': nothing if confirmed else look_at_phonons,
                'vacancy': look_at_vacancies,
                'stacking_fault': look_at_stacking_fault,
                'stability': look_at_stability,
            }
        else:
            others = ('elasticity', 'phonons', 'vacancy', 'stacking_fault')
            looks |= {**dict.fromkeys(others, nothing), 'stability': look_at_drift}
        for name, look in looks.items():
            self.look_at_section(index, name, crystal.get(name), look)
        unstable = crystal.get('phonons', {}).get('stable') is False or not is_born(crystal)
        if unstable and not ground:
            message = 'it is not stable, and need not be: another crystal of this composition is lower in energy'
            self.add(index, 'stable', 'not_applicable', message=message)
        elif unstable and confirmed:
            message = 'the labels themselves fall in energy along an unstable mode: it is no fault of the potential'
            self.add(index, 'imaginary_modes', 'not_applicable', message=message)
        reference = get(self.references, 'dft', index)
        if reference:
            for found in compare_with_dft(crystal, reference):
                self.check(index, found)

    def look_at_section(self, index: int | None, name: str, section: dict[str, Any] | None, look: Any) -> None:
        """Make the checks of one property, if it was asked for and applies; one that could not be had has failed.

        Only a warning is a melting point that was not found: often for want of time, and nothing to label cures it.
        """
        if not section:
            return
        status, message = section.get('status', 'ok'), section.get('message', '')
        if status == 'not_applicable':
            self.add(index, name, status, message=message)
        elif status != 'ok':
            result = 'warn' if name == 'melting' else 'fail'
            self.add(index, name, result, message=message, reason='what cannot be computed cannot be trusted')
            if index is not None and name in REMEDIES:
                self.request({'kind': REMEDIES[name]}, index, message)
        else:
            for found in look(section):
                self.check(index, found)

    def look_at_dimers(self, section: dict[str, Any]) -> Iterator[Found]:
        """Yield how deep holes are into which two atoms alone fall."""
        for name, pair in section['pairs'].items():
            hole = pair.get('hole')
            if hole is None or compare(hole['energy'], self.criteria['pair_barrier'], True) == 'pass':
                yield Found('dimer_hole', None)
                continue
            text = f'two atoms {name} alone fall into a hole of {hole["depth"]:.2g} eV below {hole["distance"]:.2f} Å'
            request = {'kind': 'dimer', 'elements': name.split('-'), 'distances': span_of(pair)}
            yield Found('dimer_hole', hole['depth'], text, (request,))

    def look_at_melting(self, section: dict[str, Any]) -> Iterator[Found]:
        """Yield how far the melting point is from experiment, where that is known."""
        known = (get(self.references, 'experiment', 0) or {}).get('melting_temperature')
        if known:
            value = known['value'] if isinstance(known, dict) else known
            text = f'{section["temperature"]:.0f} ± {section.get("uncertainty", 0):.0f} K, experiment {value:.0f} K'
            yield Found('melting', 100 * abs(section['temperature'] / value - 1), text)

    def check(self, index: int | None, found: Found) -> None:
        """Add a check, and what it asks for if it fails."""
        criterion = self.criteria[found.name]
        result = compare(found.value, criterion, found.name in AT_LEAST)
        message = found.message if result != 'pass' or found.value is None else ''
        self.add(index, found.name, result, found.value, criterion, message=message)
        if result == 'fail':
            for request in found.requests:
                self.request(request, index, found.message)

    def add(
        self, index: int | None, name: str, result: str, value: float | None = None,
        criterion: dict[str, Any] | None = None, message: str = '', reason: str = '',
    ) -> None:  # fmt: skip
        """Add a check that has this result."""
        crystal = None if index is None else self.content['crystals'][index]['name']
        given = criterion or {}
        self.checks.append(
            {
                'name': name, 'crystal': crystal, 'value': None if value is None else float(value),
                'unit': UNITS.get(name, ''), 'limit': given.get('limit'), 'fail': given.get('fail'),
                'at_least': name in AT_LEAST, 'result': result, 'reason': given.get('reason', reason),
                'message': message,
            }
        )  # fmt: skip

    def request(self, request: dict[str, Any], index: int | None, reason: str) -> None:
        """Ask for structures; those of a system as a whole are made of its first crystal."""
        new = {'crystal': 0 if index is None else index, 'reason': reason, **request}
        if new not in self.requests:
            self.requests.append(new)

    def conclude(self) -> dict[str, Any]:
        """Return the verdict of all checks."""
        results = [check['result'] for check in self.checks]
        judged = [result for result in VERDICTS if result in results]
        verdict = VERDICTS[judged[-1]] if judged else 'FAIL'
        warned = [check for check in self.checks if check['result'] == 'warn']
        names = {WEIGHTS[check['name']] for check in warned if check['name'] in WEIGHTS}
        return {
            'verdict': verdict, 'summary': summarise(verdict, self.checks), 'checks': self.checks,
            'requests': self.requests, 'weights': dict.fromkeys(sorted(names), WEIGH_MORE),
        }  # fmt: skip


def complete_criteria(parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the criteria with the limits of the errors filled in."""
    criteria = {name: dict(criterion) for name, criterion in parameters['gate'].items()}
    for name in ('energy_rmse', 'force_rmse'):
        if criteria[name].get('limit') is None:
            criteria[name]['limit'] = parameters[name]
    return criteria


def compare(value: float | None, criterion: dict[str, Any], at_least: bool) -> str:
    """Return `pass`, `warn` or `fail`; a value that is not finite fails."""
    if value is None:
        return 'pass'

    def beyond(limit: float | None) -> bool:
        return limit is not None and not (value >= limit if at_least else value <= limit)

    # whoever relaxes `limit` alone relaxes `fail`, too
    if beyond(criterion.get('fail')) and (criterion.get('limit') is None or beyond(criterion['limit'])):
        return 'fail'
    return 'warn' if beyond(criterion.get('limit')) else 'pass'


def summarise(verdict: str, checks: list[dict[str, Any]]) -> str:
    """Return the verdict and what decided it, in one sentence."""
    judged = [check for check in checks if check['result'] in VERDICTS]
    if not judged:
        return 'FAIL: nothing was judged; ask for properties, or give a held-out set.'
    if verdict == 'PASS':
        return f'PASS: all {len(judged)} checks are met.'
    worst = next(result for result, name in VERDICTS.items() if name == verdict)
    bad = [describe(check) for check in judged if check['result'] == worst]
    rest = f', and {len(bad) - 3} more' if len(bad) > 3 else ''
    text = 'to be used with care' if verdict == 'CONDITIONAL' else 'not to be trusted'
    return f'{verdict}, {text}: {"; ".join(bad[:3])}{rest}.'


def describe(check: dict[str, Any]) -> str:
    """Return what is wrong about a check, in a few words."""
    where = f'{check["crystal"]}: ' if check['crystal'] else ''
    return f'{where}{check["message"] or check["name"]}'.rstrip('.')


# Which crystals have to be stable -------------------------------------------------------------------------------------


def find_grounds(crystals: list[dict[str, Any]]) -> set[int]:
    """Return the crystals that are lowest in energy of those of their composition."""
    lowest: dict[tuple, tuple[float, int]] = {}
    for index, crystal in enumerate(crystals):
        energy = crystal.get('equilibrium', {}).get('energy')
        if energy is None:
            continue
        composition = reduced_counts(crystal['numbers'])
        lowest[composition] = min(lowest.get(composition, (energy, index)), (energy, index))
    return {index for _, index in lowest.values()}


def is_born(crystal: dict[str, Any]) -> bool:
    """Return whether nothing is known against the elastic stability of a crystal."""
    return crystal.get('elasticity', {}).get('born', {}).get('stable', True)


# What is looked at ----------------------------------------------------------------------------------------------------


def look_at_errors(errors: dict[str, Any] | None) -> Iterator[Found]:
    """Yield the errors on the held-out set, where there is one."""
    for key, name, factor, form in (
        ('energy', 'energy_rmse', 1.0, lambda value: f'{1e3 * value:.3g} meV/atom'),
        ('forces', 'force_rmse', 1.0, lambda value: f'{1e3 * value:.3g} meV/Å'),
        ('stress', 'stress_rmse', 1 / units.GPa, lambda value: f'{value:.3g} GPa'),
    ):
        value = ((errors or {}).get(key) or {}).get('rmse')
        if value is not None:
            request = {'kind': 'rattle'} if key != 'stress' else {'kind': 'strain'}
            yield Found(name, factor * value, f'the error of {key} is {form(factor * value)}', (request,))


def nothing(section: dict[str, Any]) -> Iterator[Found]:
    """Yield nothing: that there is such a section is all that is asked for."""
    yield from ()


def look_at_eos(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the kinks of the energy-volume curve."""
    kinks = section.get('kinks') or []
    volumes = section['volumes']
    step = (max(volumes) - min(volumes)) / max(len(volumes) - 1, 1)
    requests = tuple({'kind': 'volume', 'volume': [kink - 2 * step, kink + 2 * step]} for kink in kinks)
    number = max(len(kinks), int(not section.get('smooth', True)), int(not section.get('monotone', True)))
    if number and not kinks:
        requests = ({'kind': 'volume', 'volume': [min(volumes), max(volumes)]},)
    where = ', '.join(f'{kink:.2f}' for kink in kinks)
    yield Found('eos_kinks', number, f'the energy is not smooth at {where or "some"} Å³/atom', requests)


def look_at_born(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the elastic stability, which asks for the softest strain."""
    born = section['born']
    strain = section.get('soft_strain')
    request = {'kind': 'strain'} if strain is None else {'kind': 'strain', 'strain': strain}
    text = f'elastically unstable: smallest eigenvalue {born["min_eigenvalue"]:.1f} GPa'
    violated = '; '.join(born.get('violated') or [])
    yield Found('born', born['min_eigenvalue'], f'{text} ({violated})' if violated else text, (request,))


def look_at_phonons(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the unstable modes, which ask for themselves."""
    modes = section.get('imaginary') or []
    number = max(len(modes), int(not section['stable']))
    requests = tuple({'kind': 'mode', **mode} for mode in modes) or ({'kind': 'rattle'},)
    text = f'dynamically unstable: frequencies down to {section["min_frequency"]:.2f} THz'
    if modes:
        text += f' at q = ({", ".join(f"{x:.3g}" for x in modes[0]["q"])})'
    yield Found('imaginary_modes', number, text, requests)


def look_at_pairs(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the holes at short distance: of pairs of atoms, and of the crystal as a whole."""
    for name, pair in (section.get('pairs') or {}).items():
        hole = pair.get('hole')
        if hole is None:
            yield Found('pair_barrier', None, f'{name} repel each other down to {pair.get("shortest", 0):.2f} Å')
            continue
        request = {'kind': 'pair', 'elements': name.split('-'), 'distances': span_of(pair)}
        text = f'{name} fall into a hole below {hole["distance"]:.2f} Å, {hole["energy"]:.2g} eV up'
        yield Found('pair_barrier', hole['energy'], text, (request,))
    compression = section.get('compression')
    if compression and compression.get('status', 'ok') == 'ok':
        yield from look_at_compression(compression)


def span_of(pair: dict[str, Any]) -> list[float]:
    """Return between what distances (Å) a hole is to be filled: from inside of its bottom to outside of its rim."""
    hole = pair['hole']
    return [0.9 * hole['bottom'], min(max(pair['distances']), 1.35 * hole['distance'])]


def look_at_compression(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the hole into which a compressed crystal falls."""
    hole = section.get('hole')
    if hole is None:
        yield Found('compression_barrier', None, 'the crystal resists compression')
        return
    where = f'compressed by {hole["pressure"]:.0f} GPa, to {hole["volume"]:.2f} Å³/atom'
    text = f'{where}, it collapses, {hole["energy"]:.2g} eV/atom up'
    request = {'kind': 'volume', 'volume': [0.8 * hole['bottom'], 1.2 * hole['volume']]}
    yield Found('compression_barrier', hole['energy'], text, (request,))


def look_at_vacancies(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the formation energies."""
    for site in section['sites']:
        text = f'a vacancy of {site["element"]} costs {site["energy"]:.2f} eV'
        yield Found('vacancy', site['energy'], text, ({'kind': 'vacancy', 'element': site['element']},))


def look_at_surfaces(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the surface that costs least."""
    if section['surfaces']:
        lowest = min(section['surfaces'], key=lambda surface: surface['energy'])
        name = '(' + ''.join(str(index) for index in lowest['miller']) + ')'
        text = f'the surface {name} costs {lowest["energy"]:.2f} J/m²'
        yield Found('surface', lowest['energy'], text, ({'kind': 'surface', 'miller': lowest['miller']},))


def look_at_stacking_fault(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the energy of the intrinsic fault."""
    text = f'the intrinsic stacking fault costs {section["intrinsic"]:.0f} mJ/m²'
    yield Found('stacking_fault', section['intrinsic'], text, ({'kind': 'rattle'},))


def look_at_drift(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the largest drift of the energy."""
    drifts = [abs(run['drift']) for run in section['runs'] if run.get('drift') is not None]
    if drifts:
        yield Found('drift', max(drifts), f'at constant energy it drifts by {max(drifts):.2g} eV/atom/ns')


def look_at_stability(section: dict[str, Any]) -> Iterator[Found]:
    """Yield the simulations that broke off, and the drift."""
    broken = [run for run in section['runs'] if not run['completed']]
    requests = tuple({'kind': 'temperature', 'temperature': run['temperature']} for run in broken)
    told = '; '.join(f'{run["ensemble"]} at {run["temperature"]:.0f} K: {run.get("reason", "")}' for run in broken)
    yield Found('broken_runs', len(broken), f'simulations break off ({told})', requests)
    yield from look_at_drift(section)


# Against DFT ----------------------------------------------------------------------------------------------------------


def compare_with_dft(crystal: dict[str, Any], reference: dict[str, Any]) -> Iterator[Found]:
    """Yield how far volume, bulk and shear modulus are from those of DFT, in per cent, where both are known."""
    for name, what, request, path in (
        ('volume_dft', 'volume', 'volume', ('eos', 'birch_murnaghan', 'v0')),
        ('bulk_modulus_dft', 'bulk modulus', 'volume', ('eos', 'birch_murnaghan', 'b0')),
        ('shear_modulus_dft', 'shear modulus', 'strain', ('elasticity', 'shear', 'hill')),
    ):
        ours, theirs = dig(crystal, path), dig(reference, path)
        if ours is not None and theirs:
            text = f'the {what} is {ours:.4g}, that of DFT {theirs:.4g}'
            yield Found(name, 100 * abs(ours / theirs - 1), text, ({'kind': request},))


def dig(content: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """Return a value deep in dictionaries, None if it is not there."""
    value: Any = content
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def get(references: dict[str, Any], name: str, index: int) -> dict[str, Any] | None:
    """Return the reference of a crystal, None if there is none."""
    column = references.get(name) or []
    return column[index] if index < len(column) else None
