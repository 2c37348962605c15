"""Files that are complete or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give the path of a file to write beside the one that is asked for, whose place it takes when it is complete.

    A reader never finds half of it; a file that was not completed is removed. The suffix is that of `path`.
    """
    part = path.with_name(f'.{path.stem}-{secrets.token_hex(4)}{path.suffix}')
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that is there under its name only when it is complete."""
    with write_atomically(path) as part, open(part, 'wb') as handle:
        yield handle


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz file, whole or not at all."""
    with atomic_file(path) as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read an npz file; None if it is not there or broken."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def link_or_copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> bool:
    """Make a file appear at another place; return whether it worked."""
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return True
    except OSError:
        # another file system, or one without hard links
        try:
            with open(source, 'rb') as origin, atomic_file(Path(target)) as handle:
                shutil.copyfileobj(origin, handle, 1 << 20)
            return True
        except OSError:
            return False
