"""Which advice of Lightning is silenced: what does not hold here."""

from __future__ import annotations

import logging
import warnings


def quieten_lightning() -> None:
    """Silences advice that does not hold here: there are no workers to add, no loops to shorten."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for advice in (
        ".*does not have many workers.*",
        ".*ended before the epoch ended and your dataloader is.*",
        ".*is smaller than the logging interval.*",
        ".*found in eval mode at the start of training.*",
        ".*is not resumable.*",
        ".*Total length of `list` across ranks is zero.*",  # there is no validation text
        ".*logging on epoch level in distributed setting.*",  # what is logged is summed over ranks
        ".*LeafSpec.*is deprecated.*",  # Lightning 2.6 with torch 2.13
    ):
        warnings.filterwarnings("ignore", message=advice)
