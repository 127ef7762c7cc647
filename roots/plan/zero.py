"""What is known of a run under DeepSpeed: what lies on a device, not what a step makes there."""

from __future__ import annotations

from roots.plan.footprint import MASTERS, PARAMETERS, STATE, Planner, Way
from roots.plan.ledger import GRADIENTS
from roots.plan.words import in_gib
from roots.strategies import DeepSpeed


def zero_parts(planner: Planner, strategy: DeepSpeed) -> tuple[dict[str, int], dict[str, int]]:
    """Counts bytes that lie between micro-batches: on each device, and on its host or disk.

    DeepSpeed steps float32 copies of what a rank has, whatever the weights are in, and keeps
    gradients in float32. What it fills up to even lengths is left out.
    """
    ranks, zero = planner.target.ranks, strategy.zero
    trained = sum(p.numel() for p in planner.empty().parameters() if p.requires_grad)
    weights = planner.held(ranks if strategy.stage == 3 else 1).parameters
    here = {
        PARAMETERS: weights,
        GRADIENTS: 4 * trained // (ranks if strategy.stage >= 2 else 1),
        STATE: 8 * trained // ranks,
        MASTERS: 4 * trained // ranks,
    }
    elsewhere: dict[str, int] = {}
    if _moved(zero.get("offload_optimizer")):
        elsewhere |= {part: here.pop(part) for part in (STATE, MASTERS)}
    if _moved(zero.get("offload_param")):
        elsewhere[PARAMETERS] = here.pop(PARAMETERS)
    return here, elsewhere


def zero_words(planner: Planner, strategy: DeepSpeed) -> str:
    """Words it, and what is not known."""
    here, elsewhere = zero_parts(planner, strategy)
    words = [
        f"deepspeed, stage {strategy.stage}: {in_gib(sum(here.values()))} per device before a"
        f" micro-batch: {_listed(here)}"
    ]
    if elsewhere:
        words.append(f"offloaded: {_listed(elsewhere)}")
    if copy := planner.host_copy(Way("fsdp", planner.target.ranks)):  # which gathers as it does
        words.append(f"saves keep {in_gib(copy)} on the host of the first rank")
    words.append("not counted: activations, DeepSpeed's buffers and the weights it gathers")
    return "; ".join(words)


def _moved(block: dict[str, str] | None) -> bool:
    return bool(block) and (block or {}).get("device", "none") != "none"


def _listed(parts: dict[str, int]) -> str:
    ordered = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {in_gib(n_bytes)}" for name, n_bytes in ordered)
