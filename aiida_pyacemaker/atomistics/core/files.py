"""Files that are complete or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Any]:
    """Open a binary file that is there under its name only when it is complete."""
    handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix='.', suffix='.tmp', delete=False)
    try:
        with handle:
            yield handle
        os.replace(handle.name, path)
    except BaseException:
        Path(handle.name).unlink(missing_ok=True)
        raise


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz file, whole or not at all."""
    with atomic_file(path) as handle:
        np.savez(handle, **arrays)


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read an npz file; None if it is not there or broken."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def link_or_copy(source: str | os.PathLike, target: str | os.PathLike) -> bool:
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
