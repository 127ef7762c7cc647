"""Which parameters of real networks are decayed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from roots.networks import Scratch
from roots.optim import parameter_groups
from roots.optim.groups import hidden_matrices

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
LLAMA = {"model_type": "llama", **SMALL, "num_attention_heads": 2, "vocab_size": 40}
CONFIGS = {
    "llama": {**LLAMA, "tie_word_embeddings": False},
    "llama tied": {**LLAMA, "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 40},
    "mixtral": {
        **LLAMA,
        "model_type": "mixtral",
        "num_key_value_heads": 1,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
    },
}


def network(name: str) -> nn.Module:
    return Scratch(config=CONFIGS[name]).build(None, seed=0, device=torch.device("cpu"))


def names_by_group(module: nn.Module) -> dict[str, set[str]]:
    names = {id(p): name for name, p in module.named_parameters()}
    groups = parameter_groups(module, weight_decay=0.1)
    return {group["name"]: {names[id(p)] for p in group["params"]} for group in groups}


@pytest.mark.parametrize("name", CONFIGS)
def test_each_parameter_is_in_one_group_once(name: str) -> None:
    module = network(name)
    ids = [id(p) for g in parameter_groups(module, weight_decay=0.1) for p in g["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in module.parameters()}


def test_of_llama_the_layers_matrices_and_the_untied_head_are_decayed() -> None:
    matrices = ("self_attn.{}_proj", "qkvo"), ("mlp.{}_proj", ("gate", "up", "down"))
    expected = {
        f"model.layers.{layer}.{form.format(kind)}.weight"
        for layer in (0, 1)
        for form, kinds in matrices
        for kind in kinds
    }
    groups = names_by_group(network("llama"))
    assert groups["decayed"] == {*expected, "lm_head.weight"}
    assert "model.embed_tokens.weight" in groups["undecayed"]
    assert "model.norm.weight" in groups["undecayed"]


def test_a_tied_head_is_the_embedding_and_not_decayed() -> None:
    groups = names_by_group(network("llama tied"))
    assert "model.embed_tokens.weight" in groups["undecayed"]
    assert not any("lm_head" in name for names in groups.values() for name in names)


def test_of_gpt2_its_transposed_matrices_are_decayed_and_nothing_else() -> None:
    # transformers keeps them in a Conv1D of its own, which is no nn.Linear
    forms = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    groups = names_by_group(network("gpt2"))
    assert groups["decayed"] == {f"transformer.h.{n}.{f}.weight" for n in (0, 1) for f in forms}
    assert {"transformer.wte.weight", "transformer.wpe.weight"} <= groups["undecayed"]
    assert all(
        name.endswith(".bias") or ".ln_" in name or name.split(".")[1] in ("wte", "wpe")
        for name in groups["undecayed"]
    )


def test_of_a_mixture_the_stacked_experts_and_the_router_are_decayed() -> None:
    decayed = names_by_group(network("mixtral"))["decayed"]
    assert {n.split(".")[-1] for n in decayed if ".experts." in n} == {"gate_up_proj", "down_proj"}
    assert any(".gate.weight" in name for name in decayed)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_vector_is_decayed(name: str) -> None:
    groups = {g["name"]: g for g in parameter_groups(network(name), weight_decay=0.1)}
    assert all(p.ndim >= 2 for p in groups["decayed"]["params"])
    assert (groups["decayed"]["weight_decay"], groups["undecayed"]["weight_decay"]) == (0.1, 0.0)


STACKED = {
    "gpt_oss": {
        **LLAMA,
        "model_type": "gpt_oss",
        "num_key_value_heads": 1,
        "head_dim": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "mamba": {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}


@pytest.mark.parametrize("family", STACKED)
def test_stacked_biases_and_a_state_spaces_decay_are_no_matrices(family: str) -> None:
    with torch.device("meta"):
        config = AutoConfig.for_model(**{**STACKED[family], "vocab_size": 40})
        module = AutoModelForCausalLM.from_config(config)
    vectors = {n for n, p in module.named_parameters() if n.endswith(("bias", "A_log"))}
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert any(len(shapes[name]) == 2 for name in vectors)  # which could be taken for matrices
    assert not vectors & names_by_group(module)["decayed"]
    matrices = {id(p) for p in hidden_matrices(module)}
    taken = {name for name, p in module.named_parameters() if id(p) in matrices}
    assert taken
    assert not vectors & taken


def test_axes_of_length_one_make_no_matrix_of_a_vector() -> None:
    module = nn.Module()
    module.mix = nn.Parameter(torch.zeros(1, 1, 8))
    module.kernel = nn.Parameter(torch.zeros(8, 1, 4))
    module.head = nn.Linear(8, 1)
    assert names_by_group(module) == {
        "decayed": {"kernel", "head.weight"},
        "undecayed": {"mix", "head.bias"},
    }


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4))
    module[0].requires_grad_(False)
    assert names_by_group(module) == {"decayed": {"1.weight"}, "undecayed": {"1.bias"}}
    module[1].bias.requires_grad_(False)
    assert names_by_group(module) == {"decayed": {"1.weight"}}


def test_the_scales_of_a_norm_are_no_matrix_where_each_head_has_its_own() -> None:
    config = {**LLAMA, "model_type": "cohere", "use_qk_norm": True, "num_key_value_heads": 2}
    module = Scratch(config=config).build(None, seed=0, device=torch.device("cpu"))
    scales = {name for name, p in module.named_parameters() if "_norm" in name and p.ndim == 2}
    assert len(scales) == 4  # two heads, of q and of k, in two layers
    assert scales <= names_by_group(module)["undecayed"]
    matrices = {id(p) for p in hidden_matrices(module)}
    assert not any(id(p) in matrices for name, p in module.named_parameters() if name in scales)
    assert len(matrices) == 2 * 7


def test_a_layer_that_a_loss_has_beside_the_network_is_no_hidden_matrix() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network("llama")
            self.head = nn.Linear(32, 3)

    module = Beside()
    found = {id(p) for p in hidden_matrices(module)}
    assert found == {id(p) for p in hidden_matrices(module.network)}
    assert len(found) == 2 * 7
    assert hidden_matrices(module.head)[0] is module.head.weight
