"""Times in words, the same wherever a person reads them."""

from __future__ import annotations

_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float, *, units: int = 2) -> str:
    """Words a time in the units that say most of it: `3 min 20 s`, or with one unit `3 min`."""
    whole = round(seconds)
    for size, name, below, smaller in _UNITS:
        if whole >= size and units == 1:
            return f"{seconds / size:.0f} {name}"
        if whole >= size:
            return f"{whole // size} {name} {whole % size // below} {smaller}"
    return f"{seconds:.3g} s" if seconds < 1 < units else f"{whole} s"


def clock(seconds: float) -> str:
    """Words a time that is counted down in one place, whose digits stand still: `3:07:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
