"""Samples are kept, and leave the training alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_masked import masked_config

import roots
from roots.callbacks import Samples, WeightAverage
from roots.errors import ConfigError
from roots.fit import compose
from roots.runs import Run


def untimed(run: Run) -> list[str]:
    lines = run.metrics_file.read_text().splitlines()
    of_time = ("per_second", "fraction_of_matmul_peak", "_seconds")
    names = enumerate(lines[0].split(","))
    keep = [n for n, name in names if not any(t in name for t in of_time)]
    return [",".join(line.split(",")[n] for n in keep) for line in lines]


def samples_of(run: Run) -> list[dict]:
    lines = (run.path / "samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_samples_are_kept_at_their_steps_and_at_the_end_and_change_no_number(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    sampling = {"prompts": ["the cat", "a"], "every_steps": 4, "max_tokens": 5}
    callback = {"class_path": "roots.callbacks.Samples", "init_args": sampling}
    config["model"]["init_args"]["network"]["init_args"]["config"] = {
        **config["model"]["init_args"]["network"]["init_args"]["config"],
        "attention_dropout": 0.2,  # random numbers that sampling could disturb
    }
    plain = compose(config).fit()
    sampled = compose(config, {"trainer.callbacks": [callback]}).fit()
    assert untimed(sampled) == untimed(plain)
    records = samples_of(sampled)
    assert [(r["step"], r["prompt"]) for r in records] == [
        (4, "the cat"),
        (4, "a"),
        (6, "the cat"),
        (6, "a"),
    ]
    assert all(isinstance(record["text"], str) for record in records)
    said = capsys.readouterr().err
    assert f"sample after step 4: the cat{records[0]['text']}\n" in said
    assert not (plain.path / "samples.jsonl").exists()


def test_samples_are_taken_once_where_the_interval_ends_with_the_run(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(-2, Samples(prompts=["a"], every_steps=3, max_tokens=2))
    run = composed.fit()
    assert [record["step"] for record in samples_of(run)] == [3, 6]


def test_a_run_that_goes_on_has_each_sample_once(config: dict) -> None:
    config["trainer"]["checkpoint_every_steps"] = 3
    half, rest = compose(config), Samples(prompts=["a"], every_steps=1, max_tokens=2)
    half.trainer.callbacks.insert(-2, rest)

    class Killed(Exception):
        pass

    def stop(*_: object) -> None:
        if half.trainer.global_step == 5:
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    run = half.trainer.run
    assert run is not None
    assert [record["step"] for record in samples_of(run)] == [1, 2, 3, 4, 5]
    with (run.path / "samples.jsonl").open("a") as file:
        file.write('{"step": 2, "prom')  # torn by the kill
    on = roots.resume(run.path)
    on.trainer.callbacks.insert(-2, Samples(prompts=["a"], every_steps=1, max_tokens=2))
    on.fit()
    assert [record["step"] for record in samples_of(run)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("use", [True, False])
def test_texts_are_written_with_the_weights_that_are_used(
    config: dict, monkeypatch: pytest.MonkeyPatch, *, use: bool
) -> None:
    seen = []

    def generate(network: Any, *_: Any, **__: Any) -> str:
        seen.append(network.model.norm.weight.detach().clone())
        return ""

    monkeypatch.setattr("roots.callbacks.samples.generate", generate)
    composed, average = compose(config), WeightAverage(decay=0.9, use=use)
    composed.trainer.callbacks[:0] = [average, Samples(prompts=["a"])]
    composed.fit()
    name = "trainable.network.model.norm.weight"
    averaged, trained = average._average[name], composed.model.get_parameter(name).detach()
    assert not torch.equal(averaged, trained)
    assert torch.equal(seen[-1], averaged if use else trained)


def test_the_same_seed_samples_the_same_text_whatever_the_random_state(config: dict) -> None:
    texts = []
    for state in (1, 2):
        torch.manual_seed(state)
        random.seed(state)
        callback = Samples(prompts=["the"], max_tokens=8, seed=5)
        composed = compose(config)
        composed.trainer.callbacks.insert(-2, callback)
        texts.append((composed.fit().path / "samples.jsonl").read_text())
    assert texts[0] == texts[1]


def test_no_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Samples has no prompts\. Give it at least one"):
        Samples(prompts=[])


def test_callbacks_that_let_a_network_write_are_refused_beside_one_that_does_not(
    config: dict, masked_shards: Path, tmp_path: Path
) -> None:
    sampling = {"class_path": "roots.callbacks.Samples", "init_args": {"prompts": ["the"]}}
    masked = masked_config(masked_shards, tmp_path, callbacks=[sampling])
    with pytest.raises(ConfigError, match=r"Samples continues prompts, and MaskedLM .* Leave it"):
        compose(masked)
    compose(masked, {"trainer.callbacks": []})

    config["trainer"]["callbacks"] = [{"class_path": "roots.callbacks.GeneratedTexts"}]
    with pytest.raises(
        ConfigError, match=r"GeneratedTexts measures .* CausalLM writes none\. Leave"
    ):
        compose(config)
    compose(config, {"trainer.callbacks": [sampling]})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_tokens": 0}, "max_tokens=0 adds nothing"),
        ({"top_p": 0.0}, "top_p=0"),
        ({"temperature": -1.0}, "temperature=-1"),
        ({"seed": 2**64}, "is no seed"),
    ],
)
def test_a_value_that_cannot_be_is_refused_when_the_run_is_put_together(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Samples(prompts=["a"], **values)


def test_a_prompt_that_does_not_fit_is_refused_before_the_first_step(config: dict) -> None:
    config["model"]["init_args"]["network"]["init_args"]["config"] = {
        "model_type": "gpt2",
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 64,
    }
    composed = compose(config)
    composed.trainer.callbacks.insert(-2, Samples(prompts=["the cat"], max_tokens=64))
    with pytest.raises(ConfigError, match=r"this network has 64 positions\. Set max_tokens to"):
        composed.fit()
    assert composed.trainer.global_step == 0


def test_a_sample_that_fails_costs_no_checkpoint(
    config: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise RuntimeError("no text today")

    monkeypatch.setattr("roots.callbacks.samples.generate", fails)
    composed = compose(config, {"trainer.progress": True})
    composed.trainer.callbacks.insert(-2, Samples(prompts=["a"], every_steps=3, max_tokens=2))
    run = composed.fit()
    assert run.last().step == 6
    assert "no samples were written (RuntimeError: no text today)" in capsys.readouterr().err
