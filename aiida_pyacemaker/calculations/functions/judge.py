"""Calcfunction that judges a potential."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def judge(
    parameters: orm.Dict,
    crystals: ConfigurationsData | None = None,
    suite: orm.Dict | None = None,
    errors: orm.Dict | None = None,
    melting: orm.Dict | None = None,
    references: orm.Dict | None = None,
    dataset: ConfigurationsData | None = None,
    cells: orm.Dict | None = None,
) -> dict:
    """Put everything that was found of a potential together, and judge it.

    :param parameters: the section ``validate`` of a run file.
    :param crystals: the crystals that were looked at; their info says which has to be stable.
    :param suite: results of ``pyacemaker.pace_validate``.
    :param errors: results of ``pyacemaker.evaluate``.
    :param melting: results of ``pyacemaker.melting``.
    :param references: results of ``pyacemaker.reference``, with the list ``crystals``.
    :param dataset: what the potential was trained on; labels of unstable modes may say that these are no fault.
    :param cells: results of ``compare_cells``: what the potential and the oracle of the labels say in the same cells.
    :returns: ``results``, the verdict; ``content``, all that was found; ``references``, what it was compared with.
    """
    from aiida_pyacemaker.atomistics.validation.gate import judge as find_verdict
    from aiida_pyacemaker.atomistics.validation.properties.phonons.cures import find_confirmed
    from aiida_pyacemaker.atomistics.validation.references import find_experiment

    content = {'crystals': [], **(suite.get_dict() if suite is not None else {})}
    frames = crystals.get_frames() if crystals is not None else []
    for crystal, atoms in zip(content['crystals'], frames, strict=False):
        crystal['must_be_stable'] = atoms.info.get('must_be_stable', True)
    same_cells = cells.get_dict()['crystals'] if cells is not None else content.pop('same_cells', [])
    for crystal, found in zip(content['crystals'], same_cells, strict=False):
        crystal['same_cells'] = found
    content.pop('same_cells', None)
    confirmed = find_confirmed(dataset.get_frames()) if dataset is not None else set()
    for crystal in content['crystals']:
        crystal['confirmed_unstable'] = crystal['name'] in confirmed
    content['errors'] = errors.get_dict() if errors is not None else None
    if melting is not None:
        content['melting'] = melting.get_dict()
    compared = {
        'dft': references.get_dict()['crystals'] if references is not None else [],
        'experiment': [find_experiment(crystal) for crystal in content['crystals']],
    }
    verdict = find_verdict(content, compared, parameters.get_dict())
    return {'results': orm.Dict(verdict), 'content': orm.Dict(content), 'references': orm.Dict(compared)}
