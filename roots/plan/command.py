"""`roots plan`."""

from __future__ import annotations

import argparse
from typing import Any

from roots.errors import ConfigError

ABOUT = """\
Says what a run needs before a machine is rented for it: memory per device by part, tokens per
second and hours at a stated share of the peak, and a table of the ways to split the run over the
devices (strategy, activation checkpointing, rows of a micro-batch) that says which fit.

Weights, gradients and optimizer state are counted exactly. What a micro-batch keeps is found by
running it without numbers on this machine, whatever the architecture; the buffers of communication
are a model of how torch works. A tenth of a device's memory is left free. Nothing was measured on
the devices themselves. Without --gpu it plans for the devices that the run would use here.
"""


def main(args: list[str]) -> int:
    """Plans a run; gives the exit code."""
    own, flags = _own_arguments().parse_known_args(args)
    if any(flag in ("-h", "--help") for flag in flags):
        _own_arguments().print_help()
        return 0
    from roots.plan.devices import device_meant

    name = device_meant(own.gpu) if own.gpu else ""
    if not name and (own.gpus or own.nodes):
        raise ConfigError("--gpus and --nodes count devices of --gpu. Name one: --gpu H100-80GB.")
    return _plan(own, flags, name)


def _plan(own: argparse.Namespace, flags: list[str], name: str) -> int:
    raise NotImplementedError
