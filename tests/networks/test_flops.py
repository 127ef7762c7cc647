"""Operations per token, against torch's counter, which sees whole squares of attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from roots.networks.flops import (
    ATTENTION,
    ATTENTION_LINEAR,
    EXPERTS,
    FEED_FORWARD,
    HEAD,
    ROUTER,
    TokenFLOPs,
    count_flops,
    keys_in_window,
)

T = 24
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 320,
    "max_position_embeddings": 64,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, "tie_word_embeddings": False},
    "llama tied, shared keys": {**SMALL, "tie_word_embeddings": True, "num_key_value_heads": 2},
    "llama wide heads": {**SMALL, "head_dim": 24, "num_key_value_heads": 1},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 320, "n_positions": 64},
    "gpt_neox": SMALL,
    "qwen3": {**SMALL, "head_dim": 32, "num_key_value_heads": 2},
    "gemma2": {**SMALL, "head_dim": 32, "num_key_value_heads": 2, "sliding_window": 8},
    "phi3": {**SMALL, "pad_token_id": 0, "num_key_value_heads": 2},
    "mixtral": {
        **SMALL,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "qwen3_moe": {
        **SMALL,
        "moe_intermediate_size": 48,
        "num_experts": 8,
        "num_experts_per_tok": 3,
        "num_key_value_heads": 2,
        "mlp_only_layers": [1],
    },
    "deepseek_v3": {
        **SMALL,
        "moe_intermediate_size": 48,
        "num_key_value_heads": 4,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 12,
    },
}
DENSE = [name for name in NETWORKS if "mo" not in name and "mix" not in name and "deep" not in name]


def built(name: str, **more: Any) -> Any:
    """A network whose every product torch's counter sees: not fused into one operation."""
    config = AutoConfig.for_model(name.split(maxsplit=1)[0], **NETWORKS[name], **more)
    return AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )


def seen(network: Any, *, backward: bool, T: int = T) -> int:
    """What torch's counter sees of one sequence."""
    tokens = torch.arange(T)[None] + 1
    with FlopCounterMode(display=False) as counter:
        logits = network(input_ids=tokens, use_cache=False).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


def whole_squares(by_kind: dict[str, float]) -> float:
    """The sum with causal attention no longer halved."""
    return sum(by_kind.values()) + by_kind[ATTENTION]


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_training_are_what_torch_counts(name: str) -> None:
    network = built(name)
    if name == "gemma2":  # torch counts masked keys too
        network.config.layer_types = ["full_attention"] * 3
    flops = count_flops(network, seq_len=T)
    assert flops.not_understood == ()
    assert whole_squares(flops.forward) * T == pytest.approx(seen(network, backward=False), 1e-12)
    assert whole_squares(flops.training) * T == pytest.approx(seen(network, backward=True), 1e-12)


def freeze(network: nn.Module, *starts: str) -> None:
    """Freezes the parameters whose name starts so."""
    for name, parameter in network.named_parameters():
        if name.startswith(starts):
            parameter.requires_grad = False


@pytest.mark.parametrize(
    "frozen",
    [
        ("model.embed_tokens",),
        ("model.embed_tokens", "model.layers.0."),
        ("model.embed_tokens", "model.layers"),
        ("model.embed_tokens", "model.layers", "model.norm"),
        ("lm_head", "model.norm"),
        ("model.layers.1.mlp",),
    ],
)
def test_what_is_frozen_saves_its_gradients(frozen: tuple[str, ...]) -> None:
    network = built("llama")
    freeze(network, *frozen)
    flops = count_flops(network, seq_len=T)
    assert whole_squares(flops.training) * T == seen(network, backward=True)
    assert flops.forward == count_flops(built("llama"), seq_len=T).forward


def test_a_network_that_trains_nothing_is_a_forward_pass() -> None:
    network = built("gpt2").requires_grad_(False)
    flops = count_flops(network, seq_len=T)
    assert flops.training == flops.forward


@pytest.mark.parametrize("name", DENSE)
def test_training_is_three_forward_passes(name: str) -> None:
    flops = count_flops(built(name), seq_len=T)
    assert flops.training == {kind: 3 * n for kind, n in flops.forward.items()}
    assert flops.per_trained_token == 3 * sum(flops.forward.values())


def test_the_kinds_of_layers_are_those_of_the_formula() -> None:
    """PaLM, appendix B, by hand: L layers, D wide, F inside, H heads of K, G of keys, V tokens."""
    L, D, F, H, K, G, V = 3, 64, 96, 4, 32, 2, 320
    flops = count_flops(built("qwen3"), seq_len=T)
    assert flops.forward == {
        ATTENTION_LINEAR: L * 2 * (D * H * K + 2 * D * G * K + H * K * D),
        ATTENTION: L * 2 * (2 * H * K * T / 2),
        FEED_FORWARD: L * 2 * 3 * D * F,
        HEAD: 2 * D * V,
    }


def test_the_rule_of_six_per_parameter_leaves_attention_out() -> None:
    network = built("llama tied, shared keys")
    flops = count_flops(network, seq_len=T)
    matrices = sum(p.numel() for p in network.parameters() if p.dim() == 2)
    assert flops.per_trained_token - flops.training[ATTENTION] == 6 * matrices


def test_a_token_pays_for_the_experts_that_it_visits() -> None:
    flops = count_flops(built("mixtral"), seq_len=T)
    assert flops.forward[EXPERTS] == 3 * 2 * (2 * 3 * 64 * 96)
    assert flops.forward[ROUTER] == 3 * 2 * 4 * 64


def test_a_query_that_sees_all_keys_costs_twice_a_causal_one() -> None:
    causal, both = (count_flops(built("llama"), seq_len=T, causal=c).forward for c in (True, False))
    assert both[ATTENTION] == 2 * causal[ATTENTION]
    assert {**both, ATTENTION: 0} == {**causal, ATTENTION: 0}


def test_of_a_masked_models_head_the_share_of_hidden_positions_counts() -> None:
    """The transform and the projection; transformers' own forward runs them on all positions."""
    config = AutoConfig.for_model(
        "bert", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    network = AutoModelForMaskedLM.from_config(config)
    whole = count_flops(network, seq_len=T, causal=False).forward
    hidden = count_flops(network, seq_len=T, causal=False, labelled_fraction=0.25).forward
    of_head = {
        "vocabulary projection": 2 * 32 * config.vocab_size,
        "other linear layers": 2 * 32**2,
    }
    for kind, n in whole.items():
        assert hidden[kind] == n * (0.25 if kind in of_head else 1)
        assert n == of_head.get(kind, n)


def test_windows_count_the_keys_inside_them() -> None:
    T, window = 4096, 512
    pairs = sum(min(t + 1, window) for t in range(T))
    assert keys_in_window(window, T) == pytest.approx(pairs / T, rel=1e-3)
    assert keys_in_window(T, T) == T / 2
    network = built("gemma2")  # sliding, full, sliding
    flops = count_flops(network, seq_len=T)
    assert flops.forward[ATTENTION] == 4 * 32 * 4 * (T / 2 + 2 * keys_in_window(8, T))


def test_a_window_that_the_configuration_switches_off_does_not_count() -> None:
    wide = count_flops(built("qwen3"), seq_len=T).forward[ATTENTION]
    off = built("qwen3", sliding_window=4, use_sliding_window=False)
    assert count_flops(off, seq_len=T).forward[ATTENTION] == wide
    on = built("qwen3", sliding_window=4, use_sliding_window=True, max_window_layers=0)
    expected = wide * keys_in_window(4, T) / (T / 2)
    assert count_flops(on, seq_len=T).forward[ATTENTION] == expected


def test_nothing_is_run_and_no_memory_taken() -> None:
    config = AutoConfig.for_model("llama", **NETWORKS["llama"])
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    assert count_flops(network, seq_len=T) == count_flops(built("llama"), seq_len=T)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "mamba": ({"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 99}, "MambaMixer"),
    "diffllama": (SMALL, "DiffLlamaAttention"),
    "rwkv": ({"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 99}, "RwkvSelfAttention"),
    "minimax": ({**SMALL, "num_key_value_heads": 2}, "MiniMaxLightningAttention"),
    "lfm2": ({**SMALL, "num_key_value_heads": 2, "layer_types": ["conv"] * 3}, "Conv1d"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_understood_is_said(kind: str) -> None:
    keys, named = OTHERS[kind]
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **keys))
    flops = count_flops(network, seq_len=T)
    assert named in flops.not_understood


RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
ENCODERS: dict[str, tuple[dict[str, Any], str]] = {
    "deberta": ({**SMALL, **RELATIVE}, "DebertaAttention"),
    "deberta-v2": ({**SMALL, **RELATIVE}, "DebertaV2Attention"),
    "longformer": ({**SMALL, "attention_window": [8] * 3}, "LongformerAttention"),
    "neomme": ({**SMALL, "num_key_value_heads": 2, "head_dim": 16}, "NeoMMEAttention"),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_attention_that_is_more_or_less_than_all_queries_by_all_keys_is_named(kind: str) -> None:
    keys, named = ENCODERS[kind]
    with torch.device("meta"):
        network = AutoModelForMaskedLM.from_config(AutoConfig.for_model(kind, **keys))
    assert named in count_flops(network, seq_len=T, causal=False).not_understood


def test_a_layer_with_weights_of_its_own_is_not_passed_over() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(4, 4))

    network = built("llama")
    network.model.layers[1].extra = Mixer()
    assert count_flops(network, seq_len=T).not_understood == ("Mixer",)
    network.model.layers[1].extra = nn.Bilinear(2, 2, 2)
    assert count_flops(network, seq_len=T).not_understood == ("Bilinear",)


def test_the_sum_is_that_of_the_kinds() -> None:
    assert TokenFLOPs({}, {"a": 2.0, "b": 3.0}).per_trained_token == 5
