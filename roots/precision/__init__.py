"""Number formats of training, as Lightning precision plugins, chosen by name or `class_path`."""

from roots.precision.plugins import (
    PRECISIONS,
    BF16Mixed,
    BF16True,
    Float32,
    StepPrecision,
    multiplies_bfloat16,
    precision_named,
)

__all__ = [
    "PRECISIONS",
    "BF16Mixed",
    "BF16True",
    "Float32",
    "StepPrecision",
    "multiplies_bfloat16",
    "precision_named",
]
