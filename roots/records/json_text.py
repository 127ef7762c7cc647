"""Plain values as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def as_json(value: Any, **how: Any) -> str:
    """Writes plain values as JSON; a number that is not finite, of which JSON has none, is null.

    Python would write `NaN` and `Infinity`, at which other readers refuse the whole file.

    Args:
        value: Mappings, lists, tuples, strings, numbers.
        how: Settings of `json.dumps`, such as `indent`.
    """
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, **how)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
