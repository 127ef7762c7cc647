"""What cannot be sharded or cut is refused when a run is composed, with what can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import LLAMA
from tiny_masked import masked_config

from roots.errors import ConfigError
from roots.fit import compose


def fsdp(**arguments: Any) -> dict[str, Any]:
    return {"trainer.strategy": {"class_path": "roots.strategies.FSDP", "init_args": arguments}}


def network(**config: Any) -> dict[str, Any]:
    init_args = {"config": {**LLAMA, **config}, "attention": "sdpa"}
    return {"model.network": {"class_path": "roots.networks.Scratch", "init_args": init_args}}


FOUR = {"trainer.devices": 4}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}


@pytest.mark.parametrize(
    ("wrong", "message", "cure"),
    [
        (
            {**fsdp(tensor_parallel=3)},
            r"tensor_parallel=3: .* where there are 4\. Set it to one of 1, 2, 4, or",
            fsdp(tensor_parallel=2),
        ),
        (
            fsdp(tensor_parallel=0),
            r"tensor_parallel=0: .* one of 1, 2, 4",
            fsdp(tensor_parallel=1),
        ),
        (
            fsdp(tensor_parallel=2, replicas=4),
            r"replicas=4 .* share 2 groups of 2 that share layers evenly\. Set it to one of 1, 2;",
            fsdp(tensor_parallel=2, replicas=2),
        ),
        (
            fsdp(tensor_parallel=4),
            r"tensor_parallel=4 does not divide the network's num_attention_heads=2 and"
            r" num_key_value_heads=2\. Set it to 1 or 2,",
            fsdp(tensor_parallel=2),
        ),
        (
            {**fsdp(tensor_parallel=2), **network(intermediate_size=65)},
            r"tensor_parallel=2 does not divide the network's intermediate_size=65\. Set it to 1,",
            network(intermediate_size=66),
        ),
        (
            {
                **fsdp(tensor_parallel=2, activation_checkpointing="full"),
                "model.compile": "blocks",
            },
            r"compile=blocks fails .* \(activation_checkpointing=full\)\. Set model\.compile to no",
            {"model.compile": "none"},
        ),
        (
            fsdp(cpu_offload=True),
            r"cpu_offload=true .* computes on cpu, .* Leave cpu_offload out, or set trainer\.accel",
            fsdp(),
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(
    config: dict, wrong: dict, message: str, cure: dict
) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(config, {**FOUR, **wrong})
    compose(config, {**FOUR, **wrong, **cure})


@pytest.mark.parametrize(
    ("family", "message", "cure"),
    [
        (GPT2, r"layers of a network\. How .* gpt2, .* to fsdp, or .* gpt_neox, .* llama", LLAMA),
        (
            {"model_type": "phi", "qk_layernorm": True},
            r"lose a part of the gradient of layers\.0\.self_attn\.[qk]_layernorm, .* for phi",
            {"model_type": "phi", "qk_layernorm": False},
        ),
        (
            {"model_type": "cohere", "use_qk_norm": True},
            r"gradient of layers\.0\.self_attn\.[qk]_norm, .* plan for cohere does not speak of it",
            {"model_type": "cohere", "use_qk_norm": False},
        ),
    ],
)
def test_layers_that_nobody_says_how_to_cut_are_refused(
    config: dict, family: dict, message: str, cure: dict
) -> None:
    arguments = config["model"]["init_args"]["network"]["init_args"]
    sizes = {key: LLAMA[key] for key in LLAMA.keys() - {"model_type"}}
    arguments["config"] = family if family is GPT2 else {**sizes, **family}
    two = {"trainer.devices": 2, "trainer.strategy": "tensor_parallel"}
    with pytest.raises(ConfigError, match=message):
        compose(config, two)
    compose(config, {**two, "trainer.strategy": "fsdp"})
    arguments["config"] = {**sizes, **cure}
    compose(config, two)


def test_shared_layers_are_for_causal_language_models(masked_shards: Path, tmp_path: Path) -> None:
    config = masked_config(masked_shards, tmp_path)
    two = {"trainer.devices": 2, "trainer.strategy": "tensor_parallel"}
    message = r"tensor_parallel=2 .* MaskedLM trains a masked language model\. .* to fsdp or ddp"
    with pytest.raises(ConfigError, match=message):
        compose(config, two)
    compose(config, {**two, "trainer.strategy": "fsdp"})
