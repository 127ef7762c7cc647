"""Number formats of training, as Lightning precision plugins, chosen by name or `class_path`.

Beside them, how fast a device multiplies in each.
"""

from roots.precision.float8 import FP8Mixed
from roots.precision.float16 import FP16Mixed
from roots.precision.peaks import PEAKS, Peak, device_peak, measured_peak, peak_of
from roots.precision.plugins import (
    PRECISIONS,
    BF16Mixed,
    BF16True,
    Float32,
    multiplies_bfloat16,
    precision_named,
)
from roots.precision.protocol import StepPrecision

__all__ = [
    "PEAKS",
    "PRECISIONS",
    "BF16Mixed",
    "BF16True",
    "FP8Mixed",
    "FP16Mixed",
    "Float32",
    "Peak",
    "StepPrecision",
    "device_peak",
    "measured_peak",
    "multiplies_bfloat16",
    "peak_of",
    "precision_named",
]
