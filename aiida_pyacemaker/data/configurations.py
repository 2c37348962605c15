"""Data node that holds many labelled or unlabelled atomic configurations."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from aiida import orm
from aiida.common.exceptions import ValidationError
from ase import Atoms

from aiida_pyacemaker.atomistics.core.configurations import load_configurations, save_configurations
from aiida_pyacemaker.atomistics.core.frame import labels as get_labels
from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.labelling.settings import group_by_settings, oracle_name

LABELS = ('energy', 'forces', 'stress')
MAX_FORMULAS = 100


class ConfigurationsData(orm.Data):
    """N configurations of any size as ragged arrays in one file, so that a million candidates are one row.

    A configuration is an ``ase.Atoms``: labels (energy in eV, forces in eV/Å, stress as Voigt vector in eV/Å³) are
    those of its calculator, everything else (family, parent, uuid of the calculation that labelled it) is in its info.
    The bytes of the file are a function of the configurations alone, so equal configurations have equal hashes.

    Queryable attributes: ``number_of_configurations``, ``number_of_atoms`` (in total), ``elements`` (sorted),
    ``formulas`` (different ones, at most 100), ``labels`` (how many configurations carry each label), ``energy_range``
    (smallest and largest energy per atom in eV, or ``None``), ``families`` (how many configurations of each),
    ``settings`` (fingerprints of the settings of the labels, ``'unknown'`` for those that do not tell them; one where
    all may be mixed), ``oracles`` (who labelled) and ``number_flagged`` (labels with a remark in their info ``flags``).
    """

    FILENAME = 'configurations.npz'

    def __init__(self, frames: Iterable[Atoms] | None = None, **kwargs):
        """Construct a node, filled when ``frames`` are given.

        :param frames: the configurations.
        :raises ValueError: see :meth:`set_frames`.
        """
        super().__init__(**kwargs)
        self._frames: list[Atoms] | None = None
        if frames is not None:
            self.set_frames(frames)

    def __len__(self) -> int:
        return self.base.attributes.get('number_of_configurations', 0)

    def __iter__(self) -> Iterator[Atoms]:
        return iter(self.get_frames())

    def __bool__(self) -> bool:
        # A node is a thing, not a container: ``if inputs.configurations`` asks whether it was given.
        return True

    @classmethod
    def from_file(cls, filepath: str | os.PathLike, **kwargs) -> ConfigurationsData:
        """Return an unstored node with the configurations of an npz file (ours) or of any file that ASE reads.

        :param filepath: path of the file.
        :raises ValueError: if the file holds no configurations, or cannot be read.
        """
        if str(filepath).endswith('.npz'):
            return cls(load_configurations(filepath), **kwargs)
        from ase.io import read

        try:
            frames = read(filepath, index=':')
        except Exception as exception:
            raise ValueError(f'{filepath} cannot be read as configurations: {exception}') from exception
        if not frames:
            raise ValueError(f'{filepath} holds no configurations: give a file with at least one structure.')
        return cls(frames, **kwargs)

    def set_frames(self, frames: Iterable[Atoms]) -> None:
        """Fill the node.

        :param frames: the configurations, at least one, each with at least one atom.
        :raises ValueError: if there are none, one is empty, or numbers are not finite.
        :raises aiida.common.exceptions.ModificationNotAllowed: if the node is stored.
        """
        frames = list(frames)
        check_frames(frames)
        with tempfile.TemporaryDirectory() as folder:
            filepath = os.path.join(folder, self.FILENAME)
            save_configurations(filepath, frames)
            self.base.repository.put_object_from_file(filepath, self.FILENAME)
        self.base.attributes.set_many(summarise(frames))
        self._frames = None

    def get_frames(self) -> list[Atoms]:
        """Return the configurations. The file is read once per instance; what is returned are copies."""
        if getattr(self, '_frames', None) is None:
            with self.base.repository.open(self.FILENAME, 'rb') as handle:
                self._frames = load_configurations(io.BytesIO(handle.read()))
        return [copy_frame(atoms) for atoms in self._frames]

    def get_structure_ase(self, index: int) -> Atoms:
        """Return one configuration.

        :param index: counted from 0.
        :raises ValueError: if there is no such configuration.
        """
        if not -len(self) <= index < len(self):
            raise ValueError(f'There is no configuration {index}: the node has {len(self)}, counted from 0.')
        return self.get_frames()[index]

    @property
    def elements(self) -> list[str]:
        """Return the chemical symbols that occur, sorted."""
        return self.base.attributes.get('elements')

    @property
    def labels(self) -> dict[str, int]:
        """Return how many configurations carry an energy, forces and a stress."""
        return self.base.attributes.get('labels')

    @property
    def families(self) -> dict[str, int]:
        """Return how many configurations belong to each family."""
        return self.base.attributes.get('families')

    def _validate(self) -> None:
        """Refuse to store a node without configurations."""
        super()._validate()
        if self.FILENAME not in self.base.repository.list_object_names() or not len(self):
            raise ValidationError('the node holds no configurations: fill it with `set_frames`.')
        return True

    def _prepare_extxyz(self, main_file_name: str = '') -> tuple[bytes, dict]:
        """Return the configurations as extended xyz, for ``node.export``."""
        from ase.io import write

        frames = self.get_frames()
        for atoms in frames:
            atoms.info = {key: value for key, value in atoms.info.items() if value is not None}
        handle = io.StringIO()
        write(handle, frames, format='extxyz')
        return handle.getvalue().encode(), {}

    def _prepare_db(self, main_file_name: str = '') -> tuple[bytes, dict]:
        """Return the configurations as an ASE database (SQLite), for ``node.export``."""
        from ase.db import connect

        with tempfile.TemporaryDirectory() as folder:
            filepath = os.path.join(folder, 'configurations.db')
            with connect(filepath) as database:
                for index, atoms in enumerate(self.get_frames()):
                    pairs = {key: atoms.info[key] for key in ('family', 'phase', 'split') if atoms.info.get(key)}
                    data = dict(atoms.info)
                    for key in ('gamma', 'force_weights'):
                        if atoms.has(key):
                            data[key] = atoms.get_array(key)
                    database.write(atoms, key_value_pairs={'frame': index, **pairs}, data=data)
            with open(filepath, 'rb') as handle:
                return handle.read(), {}


def copy_frame(atoms: Atoms) -> Atoms:
    """Return a copy of a configuration, its labels included (``Atoms.copy`` drops them)."""
    return set_labels(atoms.copy(), **{key: np.copy(value)[()] for key, value in get_labels(atoms).items()})


def check_frames(frames: list[Atoms]) -> None:
    """Refuse what no configuration may be.

    :param frames: the configurations.
    :raises ValueError: if there are none, one has no atoms, or positions, cell or labels are not finite numbers.
    """
    if not frames:
        raise ValueError('There are no configurations: give at least one structure.')
    for index, atoms in enumerate(frames):
        if not isinstance(atoms, Atoms):
            raise ValueError(f'Configuration {index} is a {type(atoms).__name__}, not an ase.Atoms.')
        name = f'Configuration {index} ({atoms.get_chemical_formula()})'
        if len(atoms) == 0:
            raise ValueError(f'Configuration {index} has no atoms: remove it.')
        for what, value in {'positions': atoms.positions, 'cell': atoms.cell.array, **get_labels(atoms)}.items():
            if not np.all(np.isfinite(value)):
                raise ValueError(f'{name}: the {what} hold NaN or infinite numbers. Remove it, or compute it again.')


def summarise(frames: list[Atoms]) -> dict:
    """Return the queryable attributes of configurations, see :class:`ConfigurationsData`."""
    labels = [get_labels(atoms) for atoms in frames]
    energies = [
        float(found['energy']) / len(atoms) for found, atoms in zip(labels, frames, strict=True) if 'energy' in found
    ]
    formulas = list(dict.fromkeys(atoms.get_chemical_formula() for atoms in frames))
    groups = group_by_settings(atoms for atoms, found in zip(frames, labels, strict=True) if found)
    return {
        'number_of_configurations': len(frames),
        'number_of_atoms': sum(len(atoms) for atoms in frames),
        'elements': sorted({symbol for atoms in frames for symbol in atoms.symbols.species()}),
        'formulas': formulas[:MAX_FORMULAS],
        'labels': {key: sum(key in found for found in labels) for key in LABELS},
        'energy_range': [min(energies), max(energies)] if energies else None,
        'families': dict(sorted(Counter(str(atoms.info.get('family', 'unknown')) for atoms in frames).items())),
        'settings': sorted(group.fingerprint for group in groups),
        'oracles': sorted({oracle_name(group.settings) for group in groups}),
        'number_flagged': sum(bool(atoms.info.get('flags')) for atoms in frames),
    }
