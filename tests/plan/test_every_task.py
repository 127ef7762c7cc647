"""Every kind of module is planned, and for what it is: kept bytes against the real forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import pairs_config, write_pairs
from preferred import preference_config, preferences
from quizzes import quiz_config, quiz_files
from test_activations import ROWS, empty, plugin, profiled_peak
from tiny import LLAMA, tiny_config
from tiny_chat import write_chat_network
from tiny_tasks import (
    classes,
    tagged,
    tagging_config,
    task_config,
    words_data,
    write_bert,
    write_jsonl,
)
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker
from transformers.models.llama.modeling_llama import LlamaModel

from roots.fit import compose
from roots.networks import CAUSAL_LM, Scratch, Trainable
from roots.objectives import NextToken
from roots.plan.activations import Conditions, Unknown, _presume_forward, passage
from roots.plan.widest import widest_batch


def classifier(folder: Path, encoder: Path) -> dict[str, Any]:
    rows = classes(32, seed=1)
    arguments = {"train": str(write_jsonl(folder / "t.jsonl", rows)), "sequences_per_step": 8}
    spec = {"class_path": "roots.data.LabelledTexts", "init_args": {**arguments, "seq_len": 64}}
    return task_config("SequenceClassifier", spec, encoder, folder / "runs")


def config_of(kind: str, folder: Path, encoder: Path, shards: Path) -> dict[str, Any]:
    if kind == "classes":
        return classifier(folder, encoder)
    if kind == "tags":
        data = words_data(folder, tagged(40, seed=1))
        return tagging_config(write_bert(folder / "bert"), folder / "runs", data)
    if kind == "questions":
        return quiz_config(quiz_files(folder), folder / "runs")
    if kind == "pairs":
        return pairs_config(write_pairs(folder), folder / "runs")
    config = tiny_config(shards, folder / "runs")
    config["data"]["init_args"]["attend_across_documents"] = kind != "packed"
    return config


@pytest.mark.parametrize("kind", ["classes", "tags", "questions", "pairs", "packed", "windows"])
def test_a_task_needs_what_its_real_pass_needs(
    kind: str, encoder: Path, shards: Path, tmp_path: Path
) -> None:
    composed = compose(config_of(kind, tmp_path, encoder, shards))
    model, data = composed.model, composed.data
    model.learn_of(data)
    found = passage(model, data, empty(model), ROWS, Conditions("mps", plugin("32")))
    trainable = model.build(seed=1, device=torch.device("cpu"))
    batch = widest_batch(model, data, ROWS)
    for parameter in trainable.parameters():
        parameter.grad = torch.zeros_like(parameter)
    tracker = MemTracker()
    tracker.track_external(trainable)
    with tracker:
        trainable(batch).loss.backward()
    measured = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    weights: list[Tensor] = [*trainable.parameters(), *trainable.buffers()]
    gradients = sum(p.nbytes for p in trainable.parameters())
    total = sum(t.nbytes for t in weights) + gradients + sum(found.at_peak.values())
    assert total == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("adapts", [False, True])
def test_pairs_need_what_their_real_pass_and_that_of_the_reference_need(
    adapts: bool, tmp_path: Path
) -> None:
    network = write_chat_network(tmp_path / "chat", hidden_size=64, intermediate_size=192)
    config = preference_config(network, tmp_path, preferences(30, 1))
    adapter = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 4}}
    if adapts:
        config["model"]["init_args"]["network"]["init_args"]["adapter"] = adapter
    composed = compose(config)
    model, data = composed.model, composed.data
    model.learn_of(data)
    how = Conditions("cpu", plugin("32"), gradients_there=False)
    found = sum(passage(model, data, empty(model), ROWS, how).at_peak.values())
    trainable = model.build(seed=1, device=torch.device("cpu"))
    second = None if adapts else model.builder.build(None, seed=1, device=torch.device("cpu"))
    model.companion.join(trainable, second, _presume_forward)
    batch = widest_batch(model, data, ROWS)
    assert found == pytest.approx(profiled_peak(trainable, batch, "32"), rel=0.1)


FAMILIES = {
    "gemma2": {"num_key_value_heads": 1, "head_dim": 16},
    "cohere": {},
    "granite": {"logits_scaling": 8.0},
    "qwen3": {"head_dim": 16, "num_key_value_heads": 2},
    "llama": {},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_presumed_forward_is_the_one_that_is_proved_right(family: str) -> None:
    config = {**LLAMA, **FAMILIES[family], "model_type": family, "vocab_size": 300}
    builder = Scratch(config=config, attention="eager")
    built = Trainable(builder.build(None, seed=1, device=torch.device("cpu")), NextToken())
    presumed = Trainable(builder.empty(builder.network_config(None), CAUSAL_LM), NextToken())
    _presume_forward(presumed)
    assert bool(presumed.own_forward_because) == bool(built.check())


def test_a_network_that_looks_at_numbers_is_said_to_be_unknown(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = LlamaModel.forward

    def looks(self: Any, input_ids: Any, **others: Any) -> Any:
        assert int(input_ids.max()) >= 0
        return theirs(self, input_ids, **others)

    monkeypatch.setattr(LlamaModel, "forward", looks)
    composed = compose(tiny_config(shards, tmp_path))
    composed.model.learn_of(composed.data)
    how = Conditions("cpu", plugin("32"))
    with pytest.raises(Unknown, match=r"LlamaForCausalLM cannot be run without numbers"):
        passage(composed.model, composed.data, empty(composed.model), ROWS, how)
