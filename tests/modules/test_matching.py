"""A student whose blocks learn of its teacher's blocks, for every objective."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import pairs_config, write_pairs
from quizzes import quiz_config, quiz_files
from ranks import run_ranks
from taught import numbers, rows_of, taught
from tiny import LLAMA
from tiny_masked import masked_config
from tiny_tasks import (
    classes,
    sentence,
    tagged,
    tagging_config,
    task_config,
    words_data,
    write_bert,
    write_jsonl,
)
from torch import nn
from transformers import BartConfig, BartForConditionalGeneration

from roots.errors import ConfigError
from roots.fit import compose
from roots.modules import Distiller
from roots.modules.matching import Matching, _as_deep

pytestmark = pytest.mark.heavy

NAMES = ("train/loss", "train/hidden_loss", "optim/grad_norm", "val/loss", "val/hidden_loss")


@pytest.fixture
def teacher(config: dict[str, Any]) -> Path:
    """A run of a wider and deeper network on the tiny corpus."""
    larger = {**LLAMA, "hidden_size": 48, "num_hidden_layers": 3}
    settings = {"model.network.init_args.config": larger, "name": "teacher"}
    return compose(config, settings).fit().path


def test_the_loss_grows_by_the_weighted_unlikeness_which_is_learned_away(
    config: dict[str, Any], teacher: Path
) -> None:
    config["trainer"] |= {"max_steps": 40, "val_every_steps": 20}
    settings = {"alpha": 0.0, "hidden_weight": 2.0, "hidden_layers": "all"}
    composed = compose(taught(config, teacher, **settings))
    rows = rows_of(composed.fit())
    for row in rows:
        if row["train/loss"]:
            parts = float(row["train/hard_loss"]) + 2 * float(row["train/hidden_loss"])
            assert float(row["train/loss"]) == pytest.approx(parts, rel=1e-5)
    assert "2 of its blocks are compared" in " ".join(composed.model.remarks)
    validated = [float(row["val/hidden_loss"]) for row in rows if row["val/hidden_loss"]]
    alone = rows_of(compose(taught(config, teacher, alpha=0.0, hidden_weight=1e-9)).fit())
    assert validated[-1] < 0.7 * float(alone[-1]["val/hidden_loss"])


def test_the_hooks_are_gone_after_the_run(config: dict[str, Any], teacher: Path) -> None:
    composed = compose(taught(config, teacher, hidden_weight=1.0))
    composed.fit()
    trainable = composed.model.trainable
    assert trainable.companion is None
    assert not any(module._forward_hooks for module in trainable.modules())


def test_a_student_that_is_its_teacher_is_not_unlike_it(
    config: dict[str, Any], teacher: Path
) -> None:
    network = {"class_path": "roots.networks.Pretrained", "init_args": {"path": str(teacher)}}
    config["model"]["init_args"]["network"] = network
    run = compose(taught(config, teacher, hidden_weight=1.0, hidden_layers="all")).fit()
    assert float(rows_of(run)[0]["train/hidden_loss"]) == pytest.approx(0, abs=1e-5)


def test_recomputing_blocks_changes_nothing(config: dict[str, Any], teacher: Path) -> None:
    """Blocks that run again in the backward pass are not compared again."""
    from roots.networks import blocks_of, recompute

    config = taught(config, teacher, hidden_weight=1.0)
    plain = compose(config).fit()
    composed = compose(config)
    build = composed.model.build

    def recomputing(**arguments: Any) -> Any:
        trainable = build(**arguments)
        recompute(blocks_of(trainable.network), "full")
        return trainable

    composed.model.build = recomputing
    torch.testing.assert_close(
        numbers(composed.fit(), *NAMES), numbers(plain, *NAMES), rtol=0, atol=0, equal_nan=True
    )


def tokens(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    return masked_config(masked, folder / "runs")


def packed(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    config = masked_config(masked, folder / "runs")
    config["data"]["init_args"]["rows"] = "packed"
    return config


def tags(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    words = words_data(folder, tagged(60, 0))
    return tagging_config(write_bert(folder / "bert"), folder / "runs", words)


def texts_config(folder: Path, rows: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Texts of different lengths with one label each, a number for a row."""
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:48])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[48:])),
        "kind": kind,
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    bert = write_bert(folder / "bert")
    return task_config("SequenceClassifier", data, bert, folder / "runs")


def texts(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    return texts_config(folder, classes(60, 0), "one")


def values(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    rng = random.Random(0)
    some = [sentence(rng) for _ in range(60)]
    rows = [{"text": text, "label": len(text) / 20} for text in some]
    return texts_config(folder, rows, "value")


def quiz(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    return quiz_config(quiz_files(folder), folder / "runs")


def pairs(shards: Path, masked: Path, folder: Path) -> dict[str, Any]:
    return pairs_config(write_pairs(folder), folder / "runs", callbacks=[])


@pytest.mark.parametrize(
    "made",
    [
        tokens,
        texts,
        *(
            pytest.param(made, marks=pytest.mark.slow)
            for made in (values, packed, tags, quiz, pairs)
        ),
    ],
)
def test_steps_are_those_of_any_micro_batch_size_for_every_objective(
    made: Any, shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    """Rows are compared each by itself, whatever fills them up beside others."""
    config = made(shards, masked_shards, tmp_path)
    teacher = compose(
        config, {"seed": 2, "trainer.max_steps": 4, "trainer.val_every_steps": 4}
    ).fit()
    config = taught(config, teacher.path, hidden_weight=1.0, hidden_layers="all")
    found = {}
    for size in (3, 8):
        settings = {"model.micro_batch_size": size, "trainer.max_steps": 4}
        found[size] = numbers(compose(config, settings).fit(), *NAMES)
    assert found[3][:, 1].nan_to_num().max() > 1e-4
    torch.testing.assert_close(found[3], found[8], rtol=2e-5, atol=1e-6, equal_nan=True)


def losses_of(config: dict[str, Any], ranks: int) -> list[list[float]]:
    """Trains on so many ranks; gives the first one's numbers."""
    composed = compose(config, {"trainer.devices": ranks})
    run = composed.fit()
    return numbers(run, *NAMES).tolist() if composed.trainer.is_global_zero else []


def test_one_and_two_ranks_make_the_same_steps(config: dict[str, Any], teacher: Path) -> None:
    config = taught(config, teacher, hidden_weight=1.0, hidden_layers="all")

    together, _ = run_ranks(losses_of, config, 2)
    torch.testing.assert_close(
        torch.tensor(together).double(),
        torch.tensor(losses_of(config, 1)).double(),
        rtol=1e-5,
        atol=1e-6,
        equal_nan=True,
    )


def test_settings_that_cannot_work_are_refused(config: dict[str, Any], teacher: Path) -> None:
    with pytest.raises(ConfigError, match=r"hidden_weight=-1 is no weight"):
        Distiller(teacher="anywhere", hidden_weight=-1)
    with pytest.raises(ConfigError, match=r"hidden_layers=all compares nothing .*hidden_weight ab"):
        Distiller(teacher="anywhere", hidden_layers="all")
    with pytest.raises(ConfigError, match=r"hidden_layers: lats.*last or all"):
        Distiller(teacher="anywhere", hidden_layers="lats")
    config = taught(config, teacher, hidden_weight=0.5)
    with pytest.raises(ConfigError, match=r"compile: blocks .*hidden_weight=0\.5 .* to none"):
        compose(config, {"model.compile": "blocks"}).fit()
    compose(config, {"model.compile": "none", "trainer.max_steps": 3}).fit()  # the cure


@pytest.mark.parametrize(("mine", "theirs"), [(6, 12), (12, 6), (4, 4), (2, 3), (12, 4), (3, 12)])
def test_blocks_are_paired_evenly_up_to_the_last(mine: int, theirs: int) -> None:
    """Each block has the first of the teacher's that is not less deep."""
    pairs = _as_deep(mine, theirs, "all")
    for one, other in pairs:
        depth = Fraction(one + 1, mine)
        assert Fraction(other, theirs) < depth <= Fraction(other + 1, theirs)
    assert pairs[-1] == (mine - 1, theirs - 1)
    if mine % theirs == 0:
        assert set(Counter(other for _, other in pairs).values()) == {mine // theirs}


def beside(network: nn.Module) -> nn.Module:
    holder = nn.Module()
    holder.network = network
    return holder


@pytest.mark.parametrize("name", ["encoder_layerdrop", "decoder_layerdrop"])
def test_a_student_that_leaves_out_blocks_is_refused(name: str) -> None:
    sizes = {
        f"{side}_{what}": 2
        for side in ("encoder", "decoder")
        for what in ("layers", "attention_heads", "ffn_dim")
    }
    config = BartConfig(vocab_size=20, d_model=8, **sizes)
    teacher, student = (BartForConditionalGeneration(config) for _ in range(2))
    Matching(beside(student), teacher, layers="all", weight=1.0)
    setattr(student.config, name, 0.05)
    with pytest.raises(
        ConfigError, match=rf"{name}=0\.05\)\. Set network\.config\.{name} to 0, or"
    ):
        Matching(beside(student), teacher, layers="all", weight=1.0)
