"""Tests of hashes of files."""

from __future__ import annotations

import pytest

from aiida_pyacemaker.atomistics.core.checksums import CorruptFileError, check_checksums, write_checksums


def test_checksums(tmp_path):
    """A file that was changed, cut off or removed is named; without hashes nothing is said."""
    for name in ('a.yaml', 'b c.asi'):
        (tmp_path / name).write_text(name * 10)
    check_checksums(tmp_path)
    write_checksums(tmp_path, ['a.yaml', 'b c.asi'])
    check_checksums(tmp_path)
    (tmp_path / 'b c.asi').write_text('b c.asi' * 9)
    with pytest.raises(CorruptFileError, match=r'^b c\.asi in'):
        check_checksums(tmp_path)
    (tmp_path / 'a.yaml').unlink()
    with pytest.raises(CorruptFileError, match=r'^a\.yaml, b c\.asi in'):
        check_checksums(tmp_path)
