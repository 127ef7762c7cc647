"""Memory of a micro-batch that is run without numbers, against the real one on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from taught import taught
from tiny import LLAMA, tiny_config
from tiny_masked import encoder, masked_config
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker

from roots.fit import compose
from roots.networks import blocks_of, recompute
from roots.plan.activations import Conditions, Recomputation, passage
from roots.plan.widest import widest_batch
from roots.precision import PRECISIONS

GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 64}
NETWORKS = {
    "llama": {**LLAMA, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3},
    "gpt2": GPT2,
    "bert": encoder("bert") | {"hidden_size": 64, "intermediate_size": 128},
    "qwen3_moe": {
        **LLAMA,
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "head_dim": 16,
    }
    | {"moe_intermediate_size": 32, "num_key_value_heads": 1},
}
ROWS = 4


def composed_of(family: str, shards: Path, masked_shards: Path, folder: Path, **more: Any) -> Any:
    if family == "bert":
        config = masked_config(masked_shards, folder)
    else:
        config = tiny_config(shards, folder)
    network = config["model"]["init_args"]["network"]["init_args"]
    network["config"] = {**NETWORKS[family], **more.pop("config", {})}
    config["data"]["init_args"]["seq_len"] = 64
    composed = compose(config, more)
    composed.model.learn_of(composed.data)
    return composed


def empty(model: Any) -> Any:
    config = model.builder.network_config(model.vocabulary, model.head)
    return model.builder.empty(config, model.head)


def plugin(name: str) -> Any:
    made = PRECISIONS[name]()
    made.use_device(torch.device("cpu"))
    return made


def planned(composed: Any, precision: str, mode: str = "none", **more: Any) -> Any:
    how = Conditions("cpu", plugin(precision), recomputation=Recomputation(mode), **more)
    return passage(composed.model, composed.data, empty(composed.model), ROWS, how)


def real_trainable(composed: Any, precision: str, mode: str) -> Any:
    model = composed.model
    trainable = model.build(seed=1, device=torch.device("cpu"))
    plugin(precision).convert_module(trainable)
    recompute(blocks_of(trainable.network), mode)
    return trainable


def saved_bytes(trainable: Any, batch: Any, precision: str) -> int:
    """Bytes of what autograd saves in the real forward pass, each storage once, weights aside."""
    own = [*trainable.parameters(), *trainable.buffers(), batch.input_ids, batch.labels]
    known = {t.untyped_storage().data_ptr() for t in own}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    context = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with plugin(precision).forward_context(), context:
        score = trainable(batch)
    del score
    return sum(kept.values())


@pytest.mark.parametrize("mode", ["none", "full"])
@pytest.mark.parametrize("family", NETWORKS)
def test_what_is_kept_is_what_autograd_saves(
    family: str, mode: str, shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    """`plain`: the fused loss keeps its gradients outside of autograd's sight."""
    composed = composed_of(family, shards, masked_shards, tmp_path, **{"model.loss": "plain"})
    batch = widest_batch(composed.model, composed.data, ROWS)
    saved = saved_bytes(real_trainable(composed, "32", mode), batch, "32")
    assert planned(composed, "32", mode).kept_bytes == pytest.approx(saved, rel=0.03)


def tracked_peak(trainable: Any, batch: Any, precision: str) -> int:
    """The peak of forward and backward as torch's own tracker sees it, gradients there before."""
    for parameter in trainable.parameters():
        parameter.grad = torch.zeros_like(parameter)
    tracker = MemTracker()
    tracker.track_external(trainable)
    with tracker, plugin(precision).forward_context():
        trainable(batch).loss.backward()
    return tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]


CASES = [
    ("llama", "32", "none", "fused"),
    ("llama", "bf16-mixed", "full", "plain"),
    ("llama", "bf16-true", "selective", "fused"),
    ("gpt2", "32", "selective", "plain"),
    ("gpt2", "bf16-mixed", "none", "fused"),
    ("bert", "32", "full", "fused"),
    ("bert", "bf16-mixed", "none", "plain"),
]


@pytest.mark.parametrize(("family", "precision", "mode", "loss"), CASES)
def test_the_peak_is_what_torchs_tracker_sees(
    family: str,
    precision: str,
    mode: str,
    loss: str,
    shards: Path,
    masked_shards: Path,
    tmp_path: Path,
) -> None:
    composed = composed_of(family, shards, masked_shards, tmp_path, **{"model.loss": loss})
    trainable = real_trainable(composed, precision, mode)
    batch = widest_batch(composed.model, composed.data, ROWS)
    measured = tracked_peak(trainable, batch, precision)
    weights = sum(t.nbytes for t in (*trainable.parameters(), *trainable.buffers()))
    gradients = sum(p.nbytes for p in trainable.parameters())
    found = planned(composed, precision, mode)
    total = weights + gradients + sum(found.at_peak.values())
    assert total == pytest.approx(measured, rel=0.03)
    assert measured > 1.1 * (weights + gradients)  # there is something to find


def profiled_peak(trainable: Any, batch: Any, precision: str) -> int:
    """The peak of forward and backward by what the host's allocator was asked for."""
    from torch.profiler import profile

    with profile(profile_memory=True) as profiled, plugin(precision).forward_context():
        trainable(batch).loss.backward()
    now = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


@pytest.mark.parametrize(("family", "precision"), [("llama", "32"), ("gpt2", "bf16-mixed")])
def test_the_peak_is_within_a_tenth_of_what_the_allocator_was_asked_for(
    family: str, precision: str, shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    """Scratch memory of kernels, which the books do not see, included."""
    composed = composed_of(family, shards, masked_shards, tmp_path)
    batch = widest_batch(composed.model, composed.data, ROWS)
    measured = profiled_peak(real_trainable(composed, precision, "none"), batch, precision)
    found = planned(composed, precision, gradients_there=False)
    assert sum(found.at_peak.values()) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("mode", ["none", "full"])
@pytest.mark.parametrize(
    "how", [{}, {"hidden_weight": 1.0, "hidden_layers": "all"}], ids=["logits", "states too"]
)
def test_what_a_teacher_says_of_a_batch_is_counted(
    how: dict[str, Any], mode: str, shards: Path, tmp_path: Path
) -> None:
    large = {**LLAMA, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4}
    teacher = tiny_config(shards, tmp_path, max_steps=3)
    teacher["model"]["init_args"]["network"]["init_args"]["config"] = large
    config = taught(tiny_config(shards, tmp_path), compose(teacher).fit().path, **how)
    composed = compose(config)
    composed.model.learn_of(composed.data)
    trainable = real_trainable(composed, "32", mode)
    distiller = composed.model.distiller
    network = distiller._builder().build(
        composed.model.vocabulary, seed=0, device=torch.device("cpu"), head=composed.model.head
    )
    distiller.join(trainable, network, lambda each: each.check())
    batch = widest_batch(composed.model, composed.data, ROWS)
    measured = profiled_peak(trainable, batch, "32")

    def found() -> int:
        return sum(planned(composed, "32", mode, gradients_there=False).at_peak.values())

    assert found() == pytest.approx(measured, rel=0.1)
    composed.model.companion = None
    assert found() < 0.8 * measured  # there is something to find


def test_twice_the_rows_keep_twice_as_much(
    shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    composed = composed_of("llama", shards, masked_shards, tmp_path)
    how = Conditions("cpu", plugin("32"))
    kept = [
        passage(composed.model, composed.data, empty(composed.model), rows, how).kept_bytes
        for rows in (32, 64, 128)
    ]
    assert kept[2] - kept[1] == pytest.approx(2 * (kept[1] - kept[0]), rel=0.01)


def test_no_memory_is_taken(shards: Path, masked_shards: Path, tmp_path: Path) -> None:
    large = {"hidden_size": 8192, "intermediate_size": 32768, "num_attention_heads": 64}
    composed = composed_of("llama", shards, masked_shards, tmp_path, config=large)
    composed.data.seq_len = 64
    found = planned(composed, "bf16-mixed")
    assert found.at_peak["weights in low precision"] > 5 * 2**30
