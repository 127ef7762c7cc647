"""The plan says what the run will be, with numbers that can be counted otherwise."""

from __future__ import annotations

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from roots.errors import ConfigError
from roots.fit import compose
from roots.optim import Constant, WarmupLinear
from roots.plan import Plan, plan_run
from roots.plan.plan import rate_curve, short


def planned(config: dict, overrides: dict | None = None) -> dict[str, str]:
    composed = compose(config, overrides)
    return dict(plan_run(composed.trainer, composed.model, composed.data).lines)


def test_the_parameters_are_those_of_the_built_network(config: dict) -> None:
    keys = dict(config["model"]["init_args"]["network"]["init_args"]["config"])
    kind = keys.pop("model_type")
    built = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=300, **keys))
    n = sum(p.numel() for p in built.parameters())
    assert f"({n:,}; {300 * 32:,} of them the 300 embeddings)" in planned(config)["network"]


def test_a_plan_takes_no_memory_for_weights(config: dict) -> None:
    large = {"model.network.config.hidden_size": 16384, "model.network.config.num_hidden_layers": 9}
    large["model.network.config.intermediate_size"] = 65536
    assert " B parameters" in planned(config, large)["network"]


@pytest.mark.parametrize(
    ("micro", "words"),
    [
        (1, "8 forward passes of 1"),
        (3, "3 forward passes of 3"),
        (8, "1 forward pass of 8"),
        (99, "1 forward pass of 8"),
    ],
)
def test_the_step_says_how_it_is_cut(config: dict, micro: int, words: str) -> None:
    step = planned(config, {"model.micro_batch_size": micro})["step"]
    assert step == f"8 sequences of 16 = 128 tokens, in {words}"


def test_tokens_and_epochs_add_up(config: dict) -> None:
    composed = compose(config, {"trainer.max_steps": 1000})
    lines = dict(plan_run(composed.trainer, composed.model, composed.data).lines)
    epochs = 1000 * 8 / len(composed.data.sequences("train"))
    assert lines["run"] == f"1,000 steps = 128 k tokens (128,000), {epochs:.2f} epochs"
    assert f"{len(composed.data.sequences('val')):,} to validate on" in lines["data"]


def test_a_corpus_that_is_not_there_yet_is_described_and_not_made(config: dict, tmp_path) -> None:
    corpus = {
        "class_path": "roots.corpus.Corpus",
        "init_args": {
            "source": {"class_path": "roots.sources.StandardLibrary"},
            "tokenizer": {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 512}},
            "out": str(tmp_path / "later"),
        },
    }
    config["data"]["init_args"]["shards"] = corpus
    lines = planned(config)
    assert "the 512 embeddings" in lines["network"]
    assert "epochs" not in lines["run"]
    assert str(tmp_path / "later") in lines["data"]
    assert not (tmp_path / "later").exists()


def test_where_checkpoints_come_from_is_told(config: dict) -> None:
    assert "(every 3 steps" in planned(config)["writes"]
    assert "(every 2 steps" in planned(config, {"trainer.checkpoint_every_steps": 2})["writes"]
    assert "(every 6 steps" in planned(config, {"trainer.val_every_steps": 0})["writes"]


def test_a_warm_up_without_end_is_refused(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"warmup_steps=6 .*at most 5"):
        planned(config, {"model.schedule.warmup_steps": 6})
    planned(config, {"model.schedule.warmup_steps": 5})


def test_the_curve_shows_the_rates(config: dict) -> None:
    assert rate_curve(Constant(), 100, width=4) == "████"
    assert rate_curve(WarmupLinear(floor=0.0), 8, width=8) == "█▇▆▅▄▃▂▁"
    assert len(rate_curve(WarmupLinear(), 1)) == 32


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (4_123_456, "4.12 M"),
        (999_999, "1 M"),
        (7 * 10**9, "7 B"),
    ],
)
def test_a_large_number_is_worded(n: int, words: str) -> None:
    assert short(n) == words
    assert short(15 * 10**12) == "15 T"


def test_a_plan_reads_as_two_columns() -> None:
    assert str(Plan([("a", "one"), ("long", "two")])) == "  a     one\n  long  two"
