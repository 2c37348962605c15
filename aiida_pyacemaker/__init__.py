"""AiiDA plugin that builds ACE interatomic potentials by active learning.

What a user imports is here, one level deep: ``from aiida_pyacemaker import AcePotential, generate``. A name is imported
when it is first used, so that ``import aiida_pyacemaker`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = '0.1.0'

#: Where each exported name comes from; `__init__.pyi` tells type checkers the same.
_EXPORTS = {
    'AcePotential': 'atomistics.potential.potential',
    'Explorer': 'workflows.explorers.base',
    'Family': 'atomistics.generators.family',
    'InputError': 'atomistics.core.errors',
    'Oracle': 'workflows.oracles.base',
    'Progress': 'atomistics.loop.progress',
    'Property': 'atomistics.validation.property',
    'RunFile': 'runfile',
    'RunFileError': 'runfile',
    'Structures': 'atomistics.generators.plan',
    'Suite': 'atomistics.validation.suite',
    'generate': 'atomistics.generators.generate',
    'judge': 'atomistics.validation.gate',
    'load_configurations': 'atomistics.core.configurations',
    'load_runfile': 'runfile',
    'resolve_runfile': 'runfile',
    'run_suite': 'atomistics.validation.suite',
    'save_configurations': 'atomistics.core.configurations',
    'train': 'atomistics.fitting.train',
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_EXPORTS[name]}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
