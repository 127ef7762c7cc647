"""`roots plan`."""

from __future__ import annotations

import argparse

from roots.errors import ConfigError
from roots.fit.own_arguments import own_parser, parse_own, whole

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
    own, flags = parse_own(_own_arguments(), args)
    from roots.plan.devices import device_meant

    name = device_meant(own.gpu) if own.gpu else ""
    if not name and (own.gpus or own.nodes):
        raise ConfigError("--gpus and --nodes count devices of --gpu. Name one: --gpu H100-80GB.")
    _check_nodes(own.gpus or 1, own.nodes or 1)
    return _plan(own, flags, name)


def _check_nodes(gpus: int, nodes: int) -> None:
    if gpus % nodes:
        raise ConfigError(
            f"--gpus {gpus} cannot be shared evenly by --nodes {nodes}. --gpus counts those of all"
            f" machines: {nodes * -(-gpus // nodes)} would be {-(-gpus // nodes)} in each."
        )


def _plan(own: argparse.Namespace, flags: list[str], name: str) -> int:
    from roots.fit.compose import put_together
    from roots.fit.run_files import read_run_files
    from roots.plan import plan_run
    from roots.plan.target import target_named
    from roots.strategies.shardable import RANKS_OF_PLAN

    target = target_named(name, own.gpus or 1, own.nodes or 1) if name else None
    before = RANKS_OF_PLAN.set((target.ranks, target.nodes) if target else None)
    try:
        composed = put_together(read_run_files(own.config), flags)
    finally:
        RANKS_OF_PLAN.reset(before)
    trainer = composed.trainer
    plan = plan_run(trainer, composed.model, composed.data, target=target, mfu=own.mfu, memory=True)
    print(f"{trainer.name}\n{plan}")  # noqa: T201
    return 0


def _own_arguments() -> argparse.ArgumentParser:
    parser = own_parser(
        "roots plan",
        usage="roots plan --config FILE [--gpu NAME [--gpus N] [--nodes N]] [--mfu SHARE] [flags]",
        about=ABOUT,
    )
    parser.add_argument(
        "--gpu", default="", metavar="NAME", help="a device of the table: H100-80GB, H200, RTX-4090"
    )
    parser.add_argument(
        "--gpus",
        type=whole("gpus", "devices"),
        metavar="N",
        help="how many, over all machines (default: 1)",
    )
    parser.add_argument(
        "--nodes",
        type=whole("nodes", "machines"),
        metavar="N",
        help="machines they are in (default: 1)",
    )
    parser.add_argument(
        "--mfu",
        type=_share,
        default=0.4,
        metavar="SHARE",
        help="share of the devices' peak rate that is reached, over 0 to 1 (default: 0.4)",
    )
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(f"--mfu {text} is no share of a rate. Give a number over 0 to 1: 0.4.")
    return share
