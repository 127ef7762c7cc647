"""The checker of shapes and types: an int passes for a float, as PEP 484 has it."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_shapes() -> None:
    """Lets the shapes in signatures be checked while tests run; they cost nothing otherwise."""
    install_import_hook(
        [
            "roots.batch",
            "roots.data",
            "roots.metrics",
            "roots.objectives",
            "roots.strategies",
            "roots.networks.trainable",
        ],
        "shapes.checked",
    )
