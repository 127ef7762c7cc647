"""Opening the module of a run, of every kind of language model, and using it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from taught import taught
from tiny_masked import masked_config
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

import roots
from roots.batch import IGNORE
from roots.fit import compose
from roots.fit.compose import Composed
from roots.inference import generate
from roots.modules import CausalLM, MaskedLM

LORA = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 2}}


def trained(config: dict[str, Any], overrides: dict[str, Any] | None = None) -> Composed:
    short = {"trainer.max_steps": 4, "trainer.val_every_steps": 4}
    composed = compose(config, {**short, **(overrides or {})})
    composed.fit()
    return composed


def a_batch(composed: Composed) -> Any:
    loader = composed.data.val_dataloader()
    return next(iter(loader[0] if isinstance(loader, list) else loader))


@torch.no_grad()
def nats_of(network: Any, batch: Any) -> float:
    """What a network that transformers opened makes of a batch, by the definition in float64."""
    asked = {"input_ids": batch.input_ids}
    if getattr(batch, "attention_mask", None) is not None:
        asked["attention_mask"] = batch.attention_mask
    logits = network.eval()(**asked).logits.double().flatten(0, 1)
    labels = batch.labels.flatten()
    return float(cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum"))


@torch.no_grad()
def check_loaded(composed: Composed, kind: type) -> Any:
    """The module of the run's folder scores rows as that does which was trained."""
    run = composed.trainer.run
    assert run is not None
    module = roots.load(run.path, "last")
    assert type(module) is kind
    assert not module.training
    batch, was = a_batch(composed), composed.model.eval()
    mine, own = module.trainable(batch), was.trainable(batch)
    assert int(mine.n_labels) == int(own.n_labels) > 0
    torch.testing.assert_close(float(mine.nats), float(own.nats), rtol=1e-5, atol=0)
    return module


def test_a_causal_module_opens_from_its_run_and_writes(config: dict[str, Any]) -> None:
    composed = trained(config)
    module = check_loaded(composed, CausalLM)
    folder = composed.trainer.run.last().path
    batch = a_batch(composed)
    with torch.no_grad():
        nats = float(module.trainable(batch).nats)
    theirs = nats_of(AutoModelForCausalLM.from_pretrained(folder), batch)
    assert nats == pytest.approx(theirs, rel=1e-5)
    text = generate(module.trainable.network, module.tokenizer, "the cat", max_tokens=4, seed=2)
    assert text == composed.generate("the cat", max_tokens=4, temperature=0.8, seed=2)
    assert module.seq_len == 16


@pytest.mark.parametrize("rows", ["windows", "documents", "packed"])
def test_a_masked_module_opens_from_its_run(masked_shards: Path, tmp_path: Path, rows: str) -> None:
    composed = trained(masked_config(masked_shards, tmp_path / "runs", rows=rows))
    module = check_loaded(composed, MaskedLM)
    if rows == "packed":  # transformers' own forward does not keep documents apart
        return
    folder, batch = composed.trainer.run.last().path, a_batch(composed)
    with torch.no_grad():
        nats = float(module.trainable(batch).nats)
    theirs = nats_of(AutoModelForMaskedLM.from_pretrained(folder), batch)
    assert nats == pytest.approx(theirs, rel=1e-5)


def test_a_causal_module_opens_whatever_it_was_trained_with(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """An adapter, documents kept apart, a teacher, and compilation, which a text would wait for."""
    first = trained(config).trainer.run
    network = {"path": str(first.path), "adapter": LORA}
    config["model"]["init_args"]["network"] = {
        "class_path": "roots.networks.Pretrained",
        "init_args": network,
    }
    check_loaded(trained(config), CausalLM)
    del network["adapter"]
    composed = trained(taught(config, first.path), {"data.attend_across_documents": False})
    run = composed.trainer.run
    said = yaml.safe_load(run.config_file.read_text())
    said["model"]["init_args"]["compile"] = "network"
    run.config_file.write_text(yaml.safe_dump(said))
    module = check_loaded(composed, CausalLM)
    assert module.compiled == "none"
    assert module.trainable.companion is None
