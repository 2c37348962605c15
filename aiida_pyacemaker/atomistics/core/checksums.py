"""Hashes of files, written and checked in the format of the command `sha256sum`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

#: Name of the file with the hashes of the files beside it.
FILENAME = 'SHA256SUMS'


class CorruptFileError(ValueError):
    """A file is not what it was when its hash was taken."""


def hash_bytes(content: bytes) -> str:
    """Return the hash (hex) of a content."""
    return hashlib.sha256(content).hexdigest()


def format_checksums(hashes: dict[str, str]) -> str:
    """Return the content of the file, which `sha256sum --check` reads.

    :param hashes: hash (hex) of each file by its name.
    """
    return ''.join(f'{digest}  {name}\n' for name, digest in hashes.items())


def write_checksums(directory: str | os.PathLike[str], names: list[str]) -> None:
    """Write the hashes of files of a directory beside them."""
    hashes = {name: hash_bytes(Path(directory, name).read_bytes()) for name in names}
    Path(directory, FILENAME).write_text(format_checksums(hashes))


def check_checksums(directory: str | os.PathLike[str]) -> None:
    """Compare the files of a directory with their hashes, if it has any.

    :raises CorruptFileError: that names the files that are missing or different.
    """
    path = Path(directory, FILENAME)
    lines = path.read_text().splitlines() if path.is_file() else []
    known = [line.split('  ', 1) for line in lines if '  ' in line]
    bad = [name for digest, name in known if not _has_hash(Path(directory, name), digest)]
    if bad:
        raise CorruptFileError(
            f'{", ".join(bad)} in {directory} is not the file that was written there: it was changed or cut off since. '
            'Copy it once more'
        )


def _has_hash(path: Path, digest: str) -> bool:
    try:
        return hash_bytes(path.read_bytes()) == digest
    except OSError:
        return False
