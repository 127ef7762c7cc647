"""Which attention a run takes: measured once for its shapes, remembered, and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from test_tiled import VOCABULARY, network

from roots.fit import compose
from roots.networks import Choice, Scratch, Shapes, choose_attention
from roots.networks.attention import _a_layer, candidates, fastest
from roots.networks.timing import key_of, measure


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing was measured yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "roots" / "attention.json"


def shapes(**other) -> Shapes:
    usual = {"rows": 2, "seq_len": 16, "dtype": torch.float32, "compiled": False}
    return Shapes(**{**usual, "device": torch.device("cpu"), **other})


@pytest.mark.parametrize(
    ("family", "heads", "widths"),
    [("llama", (4, 2), (8, 8)), ("gpt2", (4, 4), (8, 8)), ("qwen3", (4, 1), (8, 8))],
)
def test_the_layers_shapes_are_those_that_the_network_asks_for(family, heads, widths) -> None:
    net = network(family, "sdpa").train()
    layer = _a_layer(net)
    assert layer is not None
    assert (layer.heads, layer.widths) == (heads, widths)
    assert net.config._attn_implementation == "sdpa"
    assert net.training


def test_a_network_that_names_its_mask_is_asked_too() -> None:
    config = {
        "model_type": "doge",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    net = Scratch(config=config).build(VOCABULARY, seed=1, device=torch.device("cpu"))
    layer = _a_layer(net)
    assert layer is not None
    assert (layer.heads, layer.widths) == ((4, 2), (8, 8))


def test_every_candidate_is_measured_and_the_network_is_left_as_it_was(home: Path) -> None:
    net = network("llama", "sdpa")
    choice = choose_attention(net, shapes())
    assert list(choice.milliseconds) == ["sdpa", "eager"]
    assert all(ms > 0 for ms in choice.milliseconds.values())
    assert choice.name == fastest("sdpa", choice.milliseconds)
    assert net.config._attn_implementation == "sdpa"
    assert all(p.grad is None for p in net.parameters())


def test_tiled_attention_is_a_candidate_where_layers_are_compiled_on_a_cpu() -> None:
    net = network("llama", "sdpa")
    layer = _a_layer(net)
    assert layer is not None
    assert candidates(net, layer, shapes(compiled=True)) == ["sdpa", "eager", "tiled"]
    on_gpu = shapes(compiled=True, device=torch.device("cuda"))
    assert "tiled" not in candidates(net, layer, on_gpu)


def test_attention_that_keeps_all_scores_is_not_tried_on_long_rows() -> None:
    net = network("llama", "sdpa")
    layer = _a_layer(net)
    assert layer is not None
    assert candidates(net, layer, shapes(seq_len=32_768)) == ["sdpa"]


def test_the_choice_is_remembered(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network("llama", "sdpa")
    first = choose_attention(net, shapes())
    monkeypatch.setattr("roots.networks.attention.measure", None)  # it would be called in vain
    again = choose_attention(net, shapes())
    assert again == Choice(first.name, first.milliseconds, remembered=True)
    assert "measured in an earlier run" in str(again)
    with pytest.raises(TypeError):
        choose_attention(net, shapes(rows=3))


def test_all_that_decides_the_times_is_in_the_key() -> None:
    net = network("llama", "sdpa")
    layer, other_layer = _a_layer(net), _a_layer(network("qwen3", "sdpa"))
    assert layer is not None
    assert other_layer is not None
    keys = {key_of(layer, shapes(), ["sdpa"]), key_of(other_layer, shapes(), ["sdpa"])}
    for other in ({"rows": 1}, {"seq_len": 8}, {"dtype": torch.bfloat16}, {"compiled": True}):
        keys.add(key_of(layer, shapes(**other), ["sdpa"]))
    keys.add(key_of(layer, shapes(), ["sdpa", "eager"]))
    assert len(keys) == 7


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
def test_a_damaged_memory_is_made_anew(home: Path, text: str) -> None:
    home.parent.mkdir(parents=True)
    home.write_text(text)
    choice = choose_attention(network("llama", "sdpa"), shapes())
    assert not choice.remembered
    assert choice.milliseconds in json.loads(home.read_text()).values()


def test_a_home_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose_attention(network("llama", "sdpa"), shapes()).milliseconds


def test_the_usual_one_stays_unless_another_is_clearly_faster() -> None:
    assert fastest("sdpa", {"sdpa": 1.0, "eager": 0.95}) == "sdpa"
    assert fastest("sdpa", {"sdpa": 1.0, "tiled": 0.85}) == "tiled"
    assert fastest("sdpa", {"sdpa": 1.0, "eager": 0.65, "tiled": 0.5}) == "tiled"
    assert fastest("eager", {"sdpa": 1.0, "eager": 0.95}) == "eager"
    assert fastest("eager", {"sdpa": 0.85, "eager": 1.0}) == "sdpa"


def test_one_that_keeps_its_scores_must_be_much_faster() -> None:
    assert fastest("sdpa", {"sdpa": 1.0, "eager": 0.81}) == "sdpa"
    assert fastest("sdpa", {"sdpa": 1.0, "eager": 0.65}) == "eager"
    assert fastest("sdpa", {"sdpa": 1.0, "eager": 0.75, "tiled": 0.85}) == "tiled"


def test_deterministic_runs_measure_nothing(home: Path) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert choose_attention(network("llama", "sdpa"), shapes()) == Choice("sdpa", {})
    finally:
        torch.use_deterministic_algorithms(False)


def test_eager_attention_is_measured_with_a_causal_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.models.llama.modeling_llama as family

    masks, eager = [], family.eager_attention_forward

    def seen(module, query, key, value, mask, **others):
        masks.append(mask)
        return eager(module, query, key, value, mask, **others)

    layer = _a_layer(network("llama", "sdpa"))
    assert layer is not None
    monkeypatch.setattr(family, "eager_attention_forward", seen)
    measure(layer, shapes(), ["eager"])
    assert all(torch.equal(mask[0, 0] == 0, torch.ones(16, 16).tril().bool()) for mask in masks)


# -- in a run -------------------------------------------------------------------------------------


def test_a_run_writes_down_what_it_chose(config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Choice("eager", {"sdpa": 2.0, "eager": 1.0})
    monkeypatch.setattr("roots.modules.make_fast.choose_attention", lambda *_: chosen)
    composed = compose(config)
    run = composed.fit()
    assert composed.model.trainable.network.config._attn_implementation == "eager"
    written = yaml.safe_load(run.config_file.read_text())
    assert written["model"]["init_args"]["network"]["init_args"]["attention"] == "eager"
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["remarks"][0] == "attention: eager, 1 ms per layer (sdpa 2)"


def test_a_named_attention_is_taken_unmeasured(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.modules.make_fast.choose_attention", None)
    composed = compose(config, {"model.network.init_args.attention": "eager"})
    composed.fit()
    assert composed.model.trainable.network.config._attn_implementation == "eager"
    assert not any("attention" in remark for remark in composed.model.remarks)


def test_a_network_whose_own_forward_is_run_says_so(config: dict) -> None:
    gemma = {"model_type": "gemma2", "hidden_size": 32, "intermediate_size": 48, "head_dim": 8}
    gemma |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config["model"]["init_args"]["network"]["init_args"]["config"] = gemma
    composed = compose(config, {"trainer.max_steps": 3})
    composed.fit()
    assert any("loss: plain" in remark for remark in composed.model.remarks)
