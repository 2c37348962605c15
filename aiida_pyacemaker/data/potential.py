"""Data node that holds an ACE potential with its baseline and its active set."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import ValidationError

from aiida_pyacemaker.atomistics.core import checksums


class AcePotentialData(orm.Data):
    """An ACE potential: B-basis, LAMMPS file, linear active set, baseline, reference energies and where it comes from.

    The total energy is the sum of the reference energies, of the baseline and of the ACE part; the three files of the
    engine hold the ACE part alone.

    Queryable attributes: ``elements`` (in the order of the LAMMPS types), ``cutoff`` (Å), ``number_of_functions``,
    ``generation``, ``baseline`` (kind and parameters), ``reference_energies`` (eV per atom) and ``fit`` (metrics).
    """

    FILENAMES = ('potential.yaml', 'potential.yace', 'potential.asi', 'metadata.json')
    OPTIONAL_FILENAMES = ('posterior.npz',)
    ATTRIBUTES = ('elements', 'cutoff', 'number_of_functions', 'generation', 'baseline', 'reference_energies', 'fit')
    REQUIRED = ('elements', 'cutoff', 'number_of_functions', 'baseline', 'reference_energies')

    @classmethod
    def from_directory(cls, path: str | os.PathLike, **kwargs) -> AcePotentialData:
        """Return an unstored node with the potential in a directory.

        :param path: directory with potential.yaml, potential.yace, potential.asi and metadata.json; a posterior.npz
            (error bars) is taken along.
        :raises ValueError: if a file is missing, empty or not as its hash in SHA256SUMS says (where that is there), or
            the metadata are incomplete or not finite.
        """
        folder = Path(path)
        checksums.check_checksums(folder)
        for filename in cls.FILENAMES:
            if not (folder / filename).is_file() or (folder / filename).stat().st_size == 0:
                raise ValueError(f'{folder} is not a potential: the file {filename} is missing or empty.')
        metadata = read_metadata((folder / 'metadata.json').read_text())
        node = cls(**kwargs)
        optional = [filename for filename in cls.OPTIONAL_FILENAMES if (folder / filename).is_file()]
        for filename in (*cls.FILENAMES, *optional):
            node.base.repository.put_object_from_file(str(folder / filename), filename)
        node.base.attributes.set_many({key: metadata.get(key) for key in cls.ATTRIBUTES})
        return node

    def write(self, directory: str | os.PathLike) -> list[str]:
        """Write the files of the potential, and SHA256SUMS, into a directory, which is made if it is not there.

        :param directory: the directory.
        :returns: the names of the files of the potential.
        :raises ValueError: if a file is no longer what was stored.
        """
        self.check_content()
        os.makedirs(directory, exist_ok=True)
        for filename in self.filenames:
            Path(directory, filename).write_bytes(self.read(filename))
        checksums.write_checksums(directory, self.filenames)
        return self.filenames

    def read(self, filename: str) -> bytes:
        """Return the content of a file of the potential."""
        return self.base.repository.get_object_content(filename, mode='rb')

    def get_checksums(self) -> dict[str, str]:
        """Return the SHA-256 hash (hex) that each file had when the potential was stored."""
        return {name: get_stored_hash(self, name) for name in self.filenames}

    def find_corrupt(self) -> list[str]:
        """Return the names of the files that are no longer what was stored: the disk or a copy of it is broken."""
        expected = self.get_checksums()
        return [name for name in self.filenames if self._hash_stored(name) != expected[name]]

    def check_content(self) -> None:
        """:raises ValueError: if a file is no longer what was stored, with what helps."""
        corrupt = self.find_corrupt()
        if corrupt:
            raise ValueError(
                f'potential <{self.pk}>: {", ".join(corrupt)} is no longer what was stored: restore the repository of '
                'the profile from a backup, or fit again'
            )

    def _hash_stored(self, filename: str) -> str | None:
        try:
            return checksums.hash_bytes(self.read(filename))
        except OSError:
            return None

    @property
    def filenames(self) -> list[str]:
        """Return the names of the files that this potential has."""
        stored = self.base.repository.list_object_names()
        return [*self.FILENAMES, *(filename for filename in self.OPTIONAL_FILENAMES if filename in stored)]

    @property
    def metadata(self) -> dict[str, Any]:
        """Return everything that is written about the potential beside it."""
        return json.loads(self.base.repository.get_object_content('metadata.json'))

    @property
    def elements(self) -> list[str]:
        """Return the chemical symbols, in the order of the LAMMPS types."""
        return self.base.attributes.get('elements')

    @property
    def cutoff(self) -> float:
        """Return the cutoff in Å."""
        return self.base.attributes.get('cutoff')

    @property
    def generation(self) -> int | None:
        """Return which generation of the active learning loop this is."""
        return self.base.attributes.get('generation')

    def in_lammps(self) -> str:
        """Return a LAMMPS input that uses the potential, to start from."""
        from aiida_pyacemaker.atomistics.lammps.files import write_in_lammps

        return write_in_lammps(self.metadata)

    def write_for_lammps(self, directory: str | os.PathLike) -> list[str]:
        """Write the potential with a LAMMPS input that runs as it is, on a crystal that the user replaces.

        :param directory: the directory, made if it is not there.
        :returns: the names of the files.
        """
        from ase.io.lammpsdata import write_lammps_data

        from aiida_pyacemaker.atomistics.crystals.elements import example_cell

        names = self.write(directory)
        Path(directory, 'in.lammps').write_text(self.in_lammps(), encoding='utf-8')
        with Path(directory, 'structure.data').open('w', encoding='utf-8') as handle:
            write_lammps_data(handle, example_cell(self.elements, 32), specorder=self.elements, masses=True)
        return [*names, 'in.lammps', 'structure.data']

    def _validate(self) -> bool:
        """Refuse to store an incomplete potential."""
        super()._validate()
        missing = set(self.FILENAMES) - set(self.base.repository.list_object_names())
        if missing:
            raise ValidationError(f'the potential lacks {", ".join(sorted(missing))}: use `from_directory`.')
        for key in self.REQUIRED:
            if not self.base.attributes.get(key, None):
                raise ValidationError(f'the potential has no {key}: use `from_directory`.')
        return True


def get_stored_hash(node: orm.Data, filename: str) -> str:
    """Return the SHA-256 hash (hex) that a file of a node had when it was stored."""
    if node.is_stored and node.backend.get_repository().key_format == 'sha256':
        # content is stored under its hash
        return node.base.repository.get_object(filename).key
    return checksums.hash_bytes(node.base.repository.get_object_content(filename, mode='rb'))


def read_metadata(content: str) -> dict[str, Any]:
    """Return the metadata of a potential.

    :param content: the JSON text.
    :raises ValueError: if it is not JSON, a key is missing, or a number is not finite.
    """
    try:
        metadata = json.loads(content)
    except json.JSONDecodeError as exception:
        raise ValueError(f'metadata.json of the potential is not JSON: {exception}') from exception
    if not isinstance(metadata, dict):
        raise ValueError('metadata.json of the potential is not a JSON object.')
    for key in AcePotentialData.REQUIRED:
        if not metadata.get(key):
            raise ValueError(f'metadata.json of the potential has no `{key}`.')
    not_finite = find_not_finite(metadata)
    if not_finite:
        raise ValueError(f'metadata.json of the potential: {", ".join(not_finite)} is not a finite number.')
    return metadata


def find_not_finite(value: Any, path: str = '') -> list[str]:
    """Return the dotted paths of all NaN and infinite numbers in nested dictionaries and lists."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in find_not_finite(item, f'{path}.{key}'.lstrip('.'))]
    if isinstance(value, list | tuple):
        return [found for index, item in enumerate(value) for found in find_not_finite(item, f'{path}[{index}]')]
    return [path] if isinstance(value, float) and not math.isfinite(value) else []
