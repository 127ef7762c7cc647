"""Low layers learn slower, by their distance from the head, and frozen ones not at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from roots.errors import CheckpointError, ConfigError
from roots.networks.freezing import freeze
from roots.networks.lora import heads_of
from roots.optim import AdamW, Muon, OptimizerBuilder
from roots.optim.layers import distances_from_the_top

SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}


def network(model_type: str, auto: Any = AutoModelForSequenceClassification) -> PreTrainedModel:
    keys = {"intermediate_size": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(model_type, **SMALL, **keys)
    return auto.from_config(config)


@pytest.mark.parametrize(
    "model_type", ["bert", "roberta", "modernbert", "electra", "llama", "gpt2"]
)
def test_distances_count_layers_from_the_head_down(model_type: str) -> None:
    net = network(model_type)
    distances = distances_from_the_top(net)
    assert set(distances) == {id(p) for p in net.parameters()}
    for name, parameter in net.named_parameters():
        parts = name.split(".")
        number = next((int(part) for part in parts if part.isdigit()), None)
        embedding = "embed" in name or ".wte" in name or ".wpe" in name
        if number is not None and number < 3:
            assert distances[id(parameter)] == 3 - number, name
        elif embedding:
            assert distances[id(parameter)] == 4, name
        elif not name.startswith(net.base_model_prefix):
            assert distances[id(parameter)] == 0, name
        else:
            assert distances[id(parameter)] == 1, name


def test_of_t5_the_blocks_count_and_not_the_parts_within_them() -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 3, "num_heads": 2}
    config = AutoConfig.for_model("t5", **sizes, vocab_size=40, pad_token_id=0)
    net = AutoModelForSeq2SeqLM.from_config(config)
    distances = distances_from_the_top(net)
    for name, parameter in net.named_parameters():
        if found := re.match(r"(?:encoder|decoder)\.block\.(\d)\.layer\.\d\.", name):
            assert distances[id(parameter)] == 3 - int(found[1]), name
    assert distances[id(net.shared.weight)] == 4


BART = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 32}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 40}


def test_encoder_and_decoder_count_their_own_layers_however_deep_the_other_is() -> None:
    config = AutoConfig.for_model("bart", encoder_layers=6, decoder_layers=2, **BART)
    net = AutoModelForSeq2SeqLM.from_config(config)
    distances = distances_from_the_top(net)
    named = {name: distances[id(parameter)] for name, parameter in net.named_parameters()}
    fc2 = "model.{}.layers.{}.fc2.weight".format
    assert [named[fc2("encoder", n)] for n in range(6)] == [6, 5, 4, 3, 2, 1]
    assert [named[fc2("decoder", n)] for n in range(2)] == [2, 1]
    assert named["model.encoder.embed_positions.weight"] == 7
    assert named["model.decoder.embed_positions.weight"] == 3
    assert named["model.shared.weight"] == 7  # of both, and below the deeper
    builder = AdamW(learning_rate=1.0, layer_decay=0.8)
    rates = {
        id(p): builder.peak_rate(group)
        for group in builder.build(net).param_groups
        for p in group["params"]
    }
    assert rates[id(net.model.decoder.layers[1].fc2.weight)] == pytest.approx(0.8)


def test_each_layer_has_its_share_of_the_rate() -> None:
    net, builder = network("bert"), AdamW(learning_rate=0.1, weight_decay=0.0, layer_decay=0.5)
    optimizer = builder.build(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = builder.peak_rate(group)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # Adam's first step is the rate itself
    for name, rate in (
        ("classifier.weight", 0.1),
        ("bert.encoder.layer.2.output.dense.weight", 0.05),
        ("bert.encoder.layer.0.output.dense.bias", 0.0125),
        ("bert.embeddings.word_embeddings.weight", 0.00625),
    ):
        moved = (before[name] - dict(net.named_parameters())[name]).mean().item()
        assert moved == pytest.approx(rate, rel=1e-3), name


def test_muon_moves_the_matrices_of_a_layer_and_the_rest_by_its_share_of_the_rate() -> None:
    moved = []
    for layer_decay in (1.0, 0.5):
        torch.manual_seed(0)
        net = network("bert")
        builder = Muon(
            learning_rate=0.1,
            adamw_learning_rate=0.01,
            weight_decay=0.0,
            layer_decay=layer_decay,
        )
        optimizer = builder.build(net)
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        for group in optimizer.param_groups:
            group["lr"] = builder.peak_rate(group)
        generator = torch.Generator().manual_seed(1)
        for parameter in net.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        after = dict(net.named_parameters())
        moved.append({name: (before[name] - after[name]).abs().mean().item() for name in before})
    alike, falling = moved
    for name, share in (
        ("classifier.weight", 1.0),
        ("bert.encoder.layer.2.output.dense.weight", 0.5),  # Muon's
        ("bert.encoder.layer.2.output.dense.bias", 0.5),  # AdamW's
        ("bert.encoder.layer.0.output.dense.weight", 0.125),
        ("bert.embeddings.word_embeddings.weight", 0.0625),
    ):
        assert falling[name] == pytest.approx(share * alike[name], rel=1e-3), name


def test_muons_groups_by_layer_keep_their_settings_and_take_their_own_state_alone() -> None:
    net, builder = network("bert"), Muon(weight_decay=0.3, layer_decay=0.9)
    optimizer = builder.build(net)
    groups = optimizer.param_groups
    kinds = {group["name"].split("@")[0] for group in groups}
    assert kinds == {"matrices", "decayed", "undecayed"}
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    for group in groups:
        settings = builder.settings(group)
        assert {name: group[name] for name in settings} == settings
        assert group["weight_decay"] == (0.0 if group["name"].startswith("undecayed") else 0.3)
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(CheckpointError, match=r"one rate .*own.*layer_decay as the run"):
        optimizer.load_state_dict(Muon().build(net).state_dict())


def test_decay_falls_on_matrices_alone_in_each_layer() -> None:
    net, builder = network("bert"), AdamW(weight_decay=0.3, layer_decay=0.9)
    groups = builder.build(net).param_groups
    assert {group["name"].split("@")[0] for group in groups} == {"decayed", "undecayed"}
    for group in groups:
        decay = 0.3 if group["name"].startswith("decayed") else 0.0
        assert group["weight_decay"] == builder.settings(group)["weight_decay"] == decay
        assert all((p.ndim >= 2) == bool(decay) or "@4" in group["name"] for p in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))


def test_one_trains_all_alike_in_the_groups_of_old_checkpoints() -> None:
    names = [group["name"] for group in AdamW().build(network("bert")).param_groups]
    assert names == ["decayed", "undecayed"]


@pytest.mark.parametrize("layer_decay", [0.0, 1.5, -1])
@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_what_is_no_fraction_is_refused(kind: type[OptimizerBuilder], layer_decay: float) -> None:
    said = rf"layer_decay={layer_decay:g} is no fraction of the rate.*0\.9 is usual"
    with pytest.raises(ConfigError, match=said):
        kind(layer_decay=layer_decay)  # type: ignore[call-arg]


def test_a_module_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layer_decay needs a network of transformers.*to 1"):
        AdamW(layer_decay=0.9).build(torch.nn.Linear(2, 2))


# -- frozen -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_layers", "trained"),
    [
        (0, {"encoder.layer.0", "encoder.layer.1", "encoder.layer.2", "pooler", "classifier"}),
        (2, {"encoder.layer.2", "pooler", "classifier"}),
        (-1, {"classifier"}),
    ],
)
def test_frozen_layers_get_no_gradient(n_layers: int, trained: set[str]) -> None:
    net = network("bert")
    said = freeze(net, n_layers)
    with_gradient = {name for name, p in net.named_parameters() if p.requires_grad}
    assert all(any(part in name for part in trained) for name in with_gradient)
    assert all(any(part in name for name in with_gradient) for part in trained)
    n_kept = sum(p.numel() for p in net.parameters() if not p.requires_grad)
    assert f"({n_kept:,} parameters)" in said
    net(input_ids=torch.arange(6)[None]).logits.sum().backward()
    AdamW().build(net).step()


@pytest.mark.parametrize("model_type", ["gpt2", "t5"])
def test_where_the_head_is_the_embeddings_a_frozen_body_leaves_nothing_to_train(
    model_type: str,
) -> None:
    if model_type == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 3, "num_heads": 2}
        net = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **sizes, vocab_size=40))
    else:
        net = network(model_type, AutoModelForCausalLM)
    with pytest.raises(ConfigError, match=r"frozen_layers=-1 .*tied.* nothing is left.*at most"):
        freeze(net, -1)


def test_a_tied_head_is_told_to_be_kept_with_the_embeddings() -> None:
    net = network("gpt2", AutoModelForCausalLM)
    assert "1 of 3 layers, with them the head, which is tied, are kept" in freeze(net, 1)
    assert not net.lm_head.weight.requires_grad
    assert "tied" not in freeze(network("bert"), 1)


def test_more_frozen_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"frozen_layers=4.* has 3 layers.*from 0 to 3, or to -1"):
        freeze(network("llama", AutoModelForCausalLM), 4)


@pytest.mark.parametrize("kind", ["untied", "answers"])
def test_a_head_within_its_own_body_is_at_the_top_and_is_trained_alone(kind: str) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2}
    config = AutoConfig.for_model("t5", **sizes, vocab_size=40, tie_word_embeddings=False)
    auto = AutoModelForSeq2SeqLM if kind == "untied" else AutoModelForQuestionAnswering
    net = auto.from_config(config)
    if kind == "untied":  # as T5 1.1's files make it
        net.lm_head.weight = torch.nn.Parameter(net.lm_head.weight.detach().clone())
    head = net.lm_head if kind == "untied" else net.qa_outputs
    name = "lm_head" if kind == "untied" else "qa_outputs"
    distances = distances_from_the_top(net)
    assert {n for n, p in net.named_parameters() if distances[id(p)] == 0} == {
        n for n, _ in net.named_parameters() if n.startswith(name)
    }
    assert list(heads_of(net)) == [name]
    freeze(net, -1)
    trained = {id(p) for p in net.parameters() if p.requires_grad}
    assert trained == {id(p) for p in head.parameters()}


def test_what_is_frozen_as_embeddings_is_below_the_lowest_layer() -> None:
    from roots.networks import freezing
    from roots.optim import layers

    assert freezing._EMBEDS.__self__ == layers._EMBEDS.__self__


def test_a_projection_between_embeddings_and_layers_is_below_them_and_a_last_norm_above() -> None:
    sizes = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    opt = AutoConfig.for_model("opt", **sizes, vocab_size=40, word_embed_proj_dim=16)
    lfm2 = AutoConfig.for_model(
        "lfm2", **sizes, vocab_size=40, num_key_value_heads=2, intermediate_size=48
    )
    for config, name, expected in (
        (opt, "model.decoder.project_in.weight", 4),
        (opt, "model.decoder.project_out.weight", 1),
        (lfm2, "model.embedding_norm.weight", 1),
    ):
        network = AutoModelForCausalLM.from_config(config)
        distances = distances_from_the_top(network)
        assert distances[id(network.get_parameter(name))] == expected, name
        assert distances[id(network.get_input_embeddings().weight)] == 4
