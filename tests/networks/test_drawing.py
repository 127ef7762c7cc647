"""Weights handed over block by block against those drawn or loaded whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import NETWORKS, write_t5_with_a_head
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from roots.errors import ConfigError
from roots.networks import SEQ2SEQ, Pretrained, Scratch
from roots.networks.drawing import draw_by_blocks, named_tensors
from roots.networks.reading import read_one_by_one
from roots.networks.scratch import draw_weights
from roots.strategies.filling import Placing

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 120,
    "max_position_embeddings": 64,
}
FEW_HEADS = {**SHAPE, "num_key_value_heads": 1, "head_dim": 16}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 64, "vocab_size": 120}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": SHAPE,
    "llama, tied": {**SHAPE, "tie_word_embeddings": True},
    "gpt2": GPT2,  # its blocks initialise what lies deeper once more
    "qwen3": FEW_HEADS,
    "gemma2": FEW_HEADS,
    "gpt_neox": {**SHAPE, "bos_token_id": 0, "eos_token_id": 0},
    "qwen3_moe": {
        **SHAPE,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 1,
        "num_experts": 4,
        "moe_intermediate_size": 16,
    },
}
HYBRID = {**SHAPE, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16}
"""Falcon-H1 writes into its blocks when they are all there."""


def scratch(family: str, config: dict[str, Any]) -> Scratch:
    return Scratch(config={"model_type": family.split(",", maxsplit=1)[0], **config})


class Kept:
    """Keeps copies of what it is given, and how much was there at once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def __call__(self, name: str, tensor: Tensor) -> None:
        assert tensor.device.type == "cpu"
        self.tensors[name] = tensor.clone()


def assert_same(given: dict[str, Tensor], network: torch.nn.Module) -> None:
    expected = dict(named_tensors(network))
    assert given.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(given[name], tensor), name


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_drawn_bitwise_as_the_whole(family: str) -> None:
    builder, kept = scratch(family, FAMILIES[family]), Kept()
    before = torch.get_rng_state()
    assert draw_by_blocks(builder.skeleton(None), seed=3, give=kept)
    assert torch.equal(torch.get_rng_state(), before)
    whole = draw_weights(builder.skeleton(None), seed=3, device=torch.device("cpu"))
    assert_same(kept.tensors, whole)
    other = draw_weights(builder.skeleton(None), seed=4, device=torch.device("cpu"))
    assert any(not torch.equal(kept.tensors[name], t) for name, t in named_tensors(other))


def test_a_block_gives_its_memory_back_before_the_next_is_drawn() -> None:
    skeleton = scratch("llama", SHAPE).skeleton(None)
    in_memory: list[int] = []

    def count(name: str, _tensor: Tensor) -> None:
        if ".layers." in name:
            layers = skeleton.model.layers
            in_memory.append(sum(not next(layer.parameters()).is_meta for layer in layers))

    assert draw_by_blocks(skeleton, seed=1, give=count)
    assert set(in_memory) == {1}


def test_an_initialisation_that_reaches_back_into_blocks_is_noticed_and_drawn_whole() -> None:
    builder, kept = scratch("falcon_h1", HYBRID), Kept()
    assert not draw_by_blocks(builder.skeleton(None), seed=3, give=kept)
    builder.fill(None, kept, seed=3)
    whole = draw_weights(builder.skeleton(None), seed=3, device=torch.device("cpu"))
    assert_same(kept.tensors, whole)


# -- published weights --------------------------------------------------------------------------


def saved(family: str, folder: Path, **how: Any) -> Pretrained:
    network = scratch(family, FAMILIES[family]).build(None, seed=3, device=torch.device("cpu"))
    network.save_pretrained(folder, **how)
    return Pretrained(path=str(folder))


@pytest.mark.parametrize("family", ["llama", "llama, tied", "gpt2", "gemma2"])
def test_published_weights_are_read_one_by_one(family: str, tmp_path: Path) -> None:
    builder, kept = saved(family, tmp_path, max_shard_size="20kB"), Kept()
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert read_one_by_one(builder.skeleton(None), tmp_path, kept)
    assert_same(kept.tensors, builder.build(None, seed=0, device=torch.device("cpu")))


def test_names_without_the_bodys_prefix_are_found(tmp_path: Path) -> None:
    """As in the folder of the original GPT-2."""
    from safetensors.torch import load_file, save_file

    builder, kept = saved("gpt2", tmp_path), Kept()
    file = tmp_path / "model.safetensors"
    bare = {k.removeprefix("transformer."): v for k, v in load_file(file).items()}
    save_file(bare, file, metadata={"format": "pt"})
    assert read_one_by_one(builder.skeleton(None), tmp_path, kept)
    assert_same(kept.tensors, builder.build(None, seed=0, device=torch.device("cpu")))


def test_weights_that_transformers_must_merge_are_loaded_by_it(tmp_path: Path) -> None:
    """A mixture's file has its experts one by one, the network has them stacked."""
    builder, kept = saved("qwen3_moe", tmp_path), Kept()
    assert not read_one_by_one(builder.skeleton(None), tmp_path, kept)
    assert not kept.tensors
    builder.fill(None, kept, seed=0)
    assert_same(kept.tensors, builder.build(None, seed=0, device=torch.device("cpu")))


def test_another_file_beside_the_weights_is_not_read(tmp_path: Path) -> None:
    builder, kept = saved("llama", tmp_path), Kept()
    other = scratch("llama", SHAPE).build(None, seed=9, device=torch.device("cpu"))
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "model_old.safetensors")
    assert read_one_by_one(builder.skeleton(None), tmp_path, kept)
    assert_same(kept.tensors, builder.build(None, seed=0, device=torch.device("cpu")))
    (tmp_path / "model.safetensors").rename(tmp_path / "adapter_model.safetensors")
    assert not read_one_by_one(builder.skeleton(None), tmp_path, kept)


def test_a_head_of_its_own_where_the_network_ties_it_is_kept(tmp_path: Path) -> None:
    """As in the folders of T5 1.1, mT5 and Flan-T5."""
    folder = write_t5_with_a_head(tmp_path)
    own = load_file(folder / "model.safetensors")["lm_head.weight"]
    builder, kept = Pretrained(path=str(folder)), Kept()
    for network in (
        builder.skeleton(None, head=SEQ2SEQ),
        builder.empty(builder.network_config(None, SEQ2SEQ), SEQ2SEQ),
        Pretrained(path=str(folder), frozen_layers=1).skeleton(None, head=SEQ2SEQ),
    ):
        network.tie_weights(recompute_mapping=False)
        assert network.lm_head.weight is not network.shared.weight
        assert network.encoder.embed_tokens.weight is network.shared.weight
        assert network.lm_head.weight.requires_grad
    builder.fill(None, kept, seed=0, head=SEQ2SEQ)
    assert torch.equal(kept.tensors["lm_head.weight"], own)
    whole = builder.build(None, seed=0, device=torch.device("cpu"), head=SEQ2SEQ)
    assert_same(kept.tensors, whole)
    whole.lm_head.weight = whole.shared.weight
    whole.save_pretrained(tmp_path / "tied")
    kept, builder = Kept(), Pretrained(path=str(tmp_path / "tied"))
    network = builder.skeleton(None, head=SEQ2SEQ)
    assert network.lm_head.weight is network.shared.weight
    builder.fill(None, kept, seed=0, head=SEQ2SEQ)
    assert torch.equal(kept.tensors["shared.weight"], whole.shared.weight)


def test_weights_that_are_one_in_a_network_that_is_filled_are_refused_with_two_values() -> None:
    network = AutoModelForSeq2SeqLM.from_config(
        AutoConfig.for_model(**NETWORKS["t5"], vocab_size=32, decoder_start_token_id=0)
    )
    placing = Placing(network)
    placing("shared.weight", torch.ones(32, 32))
    placing("shared.weight", torch.zeros(32, 32))
    message = r"lm_head\.weight and shared\.weight have values of their own.*strategy to ddp"
    with pytest.raises(ConfigError, match=message):
        placing("lm_head.weight", torch.ones(32, 32))
    assert not network.shared.weight.any()
