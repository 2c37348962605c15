"""Results as JSON and databases take them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: A JSON object whose keys are free by nature: a run file, keywords of another program, metadata, a figure.
Json = dict[str, Any]


def plain(value: Any) -> Any:
    """Return nested dictionaries, lists and arrays as what JSON knows; None for what is not a finite number."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
