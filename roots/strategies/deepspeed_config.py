"""What DeepSpeed is told: typed settings, the user's own file over them, and what the step decides.

A file says how DeepSpeed works (buckets, offload, what is printed). What a step is — how many rows,
clipped how, by which optimizer, in which number format — is said once, in the run's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roots.errors import ConfigError, nearest
from roots.records import read_yaml

STAGES = (1, 2, 3)
PLACES = ("none", "cpu", "nvme")
ZERO = "zero_optimization"

PASSED_ON = (
    ZERO,
    "aio",
    "comms_logger",
    "communication_data_type",
    "csv_monitor",
    "data_types",
    "dump_state",
    "flops_profiler",
    "gradient_predivide_factor",
    "memory_breakdown",
    "prescale_gradients",
    "steps_per_print",
    "tensorboard",
    "timers",
    "wall_clock_breakdown",
    "wandb",
)
"""The keys of a DeepSpeed configuration that leave the step as it is."""

INSTEAD = {
    "train_batch_size": "set data.sequences_per_step",
    "train_micro_batch_size_per_gpu": "set model.micro_batch_size",
    "gradient_accumulation_steps": "it follows from data.sequences_per_step and"
    " model.micro_batch_size",
    "managed_gradient_accumulation": "it follows from data.sequences_per_step and"
    " model.micro_batch_size",
    "gradient_clipping": "set model.clip_norm",
    "optimizer": "set model.optimizer to roots.optim.AdamW",
    "scheduler": "set model.schedule",
    "fp16": "set trainer.precision to bf16-mixed, bf16-true or 32",
    "bf16": "set trainer.precision to bf16-true",
    "bfloat16": "set trainer.precision to bf16-true",
    "amp": "set trainer.precision to bf16-mixed",
    "torch_autocast": "set trainer.precision to bf16-mixed",
    "checkpoint": "set trainer.checkpoint_every_steps",
    "zero_optimization.stage": "set stage to 1, 2 or 3, or trainer.strategy to ddp",
    "zero_optimization.compute_grad_norm": "the norm is what every step reports",
    "zero_optimization.zenflow": "its late updates are another optimizer",
}
"""What says in a run's configuration what a DeepSpeed configuration would say with a key."""


def read_config(config: str | Mapping[str, Any]) -> dict[str, Any]:
    """Reads a user's DeepSpeed configuration, and checks that it leaves the step as it is.

    `auto`, which other trainers fill in, counts as not said; so does a block that is not enabled.

    Args:
        config: A JSON or YAML file, or what it would hold; empty for none.

    Raises:
        ConfigError: There is no such file, or it says what the run's configuration decides.
    """
    said = _without_auto(_mapping_of(config))
    for key in ("fp16", "bf16", "bfloat16", "amp", "torch_autocast"):
        if isinstance(said.get(key), Mapping) and not said[key].get("enabled", False):
            del said[key]
    for key in said:
        if key not in PASSED_ON:
            raise _refused(key, said[key])
    zero = said.get(ZERO, {})
    if not isinstance(zero, Mapping):
        raise ConfigError(f"{ZERO} is {zero!r}. Make it a block with its keys in it.")
    wrong = {"stage": zero.get("stage", 1) not in STAGES, "zenflow": "zenflow" in zero}
    wrong["compute_grad_norm"] = not zero.get("compute_grad_norm", True)
    for key, is_wrong in wrong.items():
        if is_wrong:
            raise _refused(f"{ZERO}.{key}", zero[key])
    return said


def _refused(key: str, value: Any) -> ConfigError:
    if key in INSTEAD:
        return ConfigError(
            f"The DeepSpeed configuration sets {key}: {value!r}, which a run says itself. Leave it"
            f" out there; {INSTEAD[key]}."
        )
    return ConfigError(
        f"The DeepSpeed configuration sets {key}: {value!r}, which is not tried with the step of"
        f" roots{nearest(key, PASSED_ON)}. Leave it out; passed on are {', '.join(PASSED_ON)}."
    )


def zero_block(
    *, stage: int, offload_optimizer: str, offload_parameters: str, nvme_path: str
) -> dict[str, Any]:
    """Gives DeepSpeed's block of the typed settings.

    Raises:
        ConfigError: There is no such stage, or no such place.
    """
    if stage not in STAGES:
        raise ConfigError(
            f"stage={stage} is no stage of ZeRO. Set it to 1 (cuts the optimizer's state), 2"
            " (gradients too) or 3 (weights too)."
        )
    if nvme_path and "nvme" not in (offload_optimizer, offload_parameters):
        raise ConfigError(
            f"nvme_path={nvme_path!r} is used by nothing. Set offload_optimizer or"
            " offload_parameters to nvme, or leave it out."
        )
    block: dict[str, Any] = {"stage": stage}
    for name, place in (("optimizer", offload_optimizer), ("param", offload_parameters)):
        if place not in PLACES:
            argument = "offload_parameters" if name == "param" else "offload_optimizer"
            raise ConfigError(
                f"{argument}={place!r} is no place{nearest(place, PLACES)}. Set it to"
                f" {', '.join(PLACES)}."
            )
        if place != "none":
            block[f"offload_{name}"] = {"device": place}
        if place == "nvme" and nvme_path:
            block[f"offload_{name}"]["nvme_path"] = nvme_path
    return block


def merged(config: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two configurations deeply; the second wins where it speaks."""
    result = dict(config)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def check_places(zero: Mapping[str, Any]) -> None:
    """Raises ConfigError for an offload that a stage does not have, or that has no folder."""
    stage = zero["stage"]
    for name in ("offload_optimizer", "offload_param"):
        block = zero.get(name) or {}
        place = block.get("device", "none")
        if stage < 3 and (place == "nvme" or (name == "offload_param" and place != "none")):
            what, instead = "parameters", "offload_parameters to none"
            if name == "offload_optimizer":
                what, instead = "the optimizer's state", "offload_optimizer to cpu"
            raise ConfigError(
                f"Stage {stage} cannot keep {what} in {place}, which only stage 3 does. Set stage"
                f" to 3, or {instead}."
            )
        if place == "nvme" and not block.get("nvme_path"):
            raise ConfigError(
                f"{name} goes to nvme, and no folder is given. Set nvme_path to one on a fast disk."
            )


def _mapping_of(config: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(config, Mapping):
        return dict(config)
    if not config:
        return {}
    said = read_yaml(Path(config), what="DeepSpeed configuration")
    if not isinstance(said, dict):
        raise ConfigError(f"{config} holds {type(said).__name__}. Make it a block of keys.")
    return said


def _without_auto(said: Mapping[str, Any]) -> dict[str, Any]:
    """Drops what is `auto`, and blocks of which nothing is left."""
    kept: dict[str, Any] = {}
    for key, value in said.items():
        if isinstance(value, Mapping):
            inner = _without_auto(value)
            if inner or not value:
                kept[key] = inner
        elif value != "auto":
            kept[key] = value
    return kept
