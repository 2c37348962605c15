"""Calcfunction that compares measured errors with the criteria."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction


@calcfunction
def judge_errors(errors: orm.Dict, criteria: orm.Dict) -> orm.Dict:
    """Return the errors with the verdict: ``passed``, and for each criterion the value, the limit and whether it holds.

    :param errors: results of ``pyacemaker.pace_evaluate``, energies in eV/atom and forces in eV/Å.
    :param criteria: dictionary with ``energy_rmse`` (eV/atom) and ``force_rmse`` (eV/Å).
    """
    errors, criteria = errors.get_dict(), criteria.get_dict()
    errors.update(errors.pop('metrics', None) or {})
    measured = {'energy_rmse': errors['energy']['rmse'], 'force_rmse': errors['forces']['rmse']}
    verdict = {
        key: {'value': value, 'limit': criteria[key], 'passed': value <= criteria[key]}
        for key, value in measured.items()
    }
    return orm.Dict({**errors, 'criteria': verdict, 'passed': all(entry['passed'] for entry in verdict.values())})
