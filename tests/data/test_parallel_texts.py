"""Pairs of texts: framing, cutting, batches of like length, and rows that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pairs import pairs_config, write_pairs
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.processors import TemplateProcessing

from roots.batch import IGNORE
from roots.corpus import BytePairs
from roots.data import ParallelTexts
from roots.data.splits import TaskEvaluation
from roots.data.steps import Share
from roots.errors import DataError
from roots.fit import compose
from roots.sources.rows import ParallelText
from roots.tokenizer import EndedFraming, Tokenizer

PLAN = BytePairs(vocab_size=300, extra_tokens=("<pad>",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pairs(tmp_path)


def pairs_of(folder: Path, **changes: Any) -> ParallelTexts:
    files = {
        name: ParallelText(source=str(folder / f"{name}.en"), target=str(folder / f"{name}.de"))
        for name in ("train", "val")
    }
    settings = {"max_source_tokens": 32, "max_target_tokens": 32, "sequences_per_step": 8}
    return ParallelTexts(**{**files, "tokenizer": PLAN, **settings, **changes})


def test_both_sides_end_with_the_token_that_ends_a_text(folder: Path) -> None:
    data = pairs_of(folder)
    split, tokenizer = data.split("train"), data.tokenizer
    assert tokenizer.pad_id != tokenizer.eos_id
    for row, (source, target) in enumerate(data.pairs("train")):
        assert split.input_ids[row].tolist() == [*tokenizer.encode(source), tokenizer.eos_id]
        assert split.labels[row].tolist() == [*tokenizer.encode(target), tokenizer.eos_id]


@pytest.mark.parametrize("frame", ["$A <|endoftext|>", "<pad> $A <|endoftext|>", "<pad> $A"])
def test_a_frame_that_ends_a_text_gets_no_second_end(frame: str) -> None:
    trained = PLAN.make(["the cat sat"] * 4)
    rust = RustTokenizer.from_str(trained.definition)
    ids = [("<pad>", trained.pad_id), ("<|endoftext|>", trained.eos_id)]
    rust.post_processor = TemplateProcessing(single=frame, special_tokens=ids)
    framed = Tokenizer(definition=rust.to_str(), settings=trained.settings)
    start = [trained.pad_id] if frame.startswith("<pad>") else []
    text = trained.encode("the cat sat")
    ((whole, was_cut),) = EndedFraming(framed, max_tokens=32).ids(["the cat sat"])
    assert (whole, was_cut) == ([*start, *text, trained.eos_id], False)
    ((cut, was_cut),) = EndedFraming(framed, max_tokens=len(whole) - 1).ids(["the cat sat"])
    assert (cut, was_cut) == ([*start, *text[:-1], trained.eos_id], True)


def test_a_batch_has_the_lengths_of_both_sides(folder: Path) -> None:
    split = pairs_of(folder).split("train")
    batch = split.batch(np.array([3, 7, -1, 0]), step=5)
    assert batch.lengths.tolist()[2] == batch.lengths.tolist()[3]  # it reads that of the last one
    assert batch.target_lengths.tolist()[2] == 1
    assert batch.inputs["attention_mask"].sum(1).tolist() == batch.lengths.tolist()
    assert (batch.labels != IGNORE).sum(1).tolist() == [
        split.targets.lengths[3],
        split.targets.lengths[7],
        0,
        split.targets.lengths[0],
    ]
    assert int(batch.n_labels) == split.targets.lengths[[3, 7, 0]].sum()
    assert split.lengths.tolist() == (split.sides[0] + split.sides[1]).tolist()


def test_the_same_rows_give_the_same_tokenizer_and_fingerprint(folder: Path) -> None:
    first, second = pairs_of(folder), pairs_of(folder)
    assert first.tokenizer.definition == second.tokenizer.definition
    assert first.fingerprint == second.fingerprint
    (folder / "train.de").write_text((folder / "train.de").read_text().replace("Cat", "Cow"))
    assert pairs_of(folder).fingerprint != first.fingerprint


def test_sources_that_are_too_long_are_cut_and_counted(folder: Path) -> None:
    data = pairs_of(folder, max_source_tokens=8)
    split, whole = data.split("train"), pairs_of(folder).split("train")
    assert split.n_cut == (whole.input_ids.lengths > 8).sum() > 0
    assert f"{split.n_cut} sources cut to 8 tokens" in data.describe()
    longest = int(whole.input_ids.lengths.argmax())
    cut = [*whole.input_ids[longest][:7], data.tokenizer.eos_id]
    assert split.input_ids[longest].tolist() == cut


def test_padding_is_measured_on_both_sides(folder: Path) -> None:
    class Fixed:
        seed, strategy, lightning_module = 1, type("S", (), {"data_parallel_size": 1})(), None

    data = pairs_of(folder, like_lengths=False)
    data.trainer = Fixed()
    places = filled = 0
    for step in (0, 1):
        for part in data.split("train").batch(data.order.samples(step), step).split(4):
            filled += int(part.lengths.sum() + part.target_lengths.sum())
            places += part.inputs["input_ids"].numel() + part.labels.numel()
    measured = data.step_metrics(0, 2, 4)["train/padding_fraction"]
    assert measured == pytest.approx(1 - filled / places)


def test_every_row_is_evaluated_once_over_two_ranks(folder: Path) -> None:
    split = pairs_of(folder).split("val")
    seen = []
    for rank in (0, 1):
        batches = list(TaskEvaluation(split, share=Share(rank, 5, 2)))
        assert len(batches) == 2
        seen += [int(n) for batch in batches for n in batch.samples if n >= 0]
    assert sorted(seen) == list(range(12))


def test_a_target_that_is_too_long_is_refused_and_each_cure_works(folder: Path) -> None:
    longest = int(pairs_of(folder).split("train").targets.lengths.max())
    with pytest.raises(DataError, match=r"train\.en:\d+: 'target' has \d+ tokens, more") as why:
        pairs_of(folder, max_target_tokens=longest - 1).split("train")
    assert f"max_target_tokens={longest - 1}. Set it to {longest}" in str(why.value)
    assert len(pairs_of(folder, max_target_tokens=longest).split("train")) == 48
    skipping = {"on_bad_row": "skip", "max_bad_fraction": 0.5}
    data = pairs_of(folder, max_target_tokens=longest - 1, **skipping)
    assert len(data.split("train")) < 48
    assert "target too long" in data.remarks[0]


def test_an_empty_line_is_refused_by_its_place_and_the_cure_works(folder: Path) -> None:
    lines = (folder / "train.de").read_text().splitlines()
    text = "\n".join([*lines[:4], "", *lines[5:]]) + "\n"
    (folder / "train.de").write_text(text)
    with pytest.raises(DataError, match=r"train\.en:5: 'target' is empty. Fill it in"):
        pairs_of(folder).split("train")
    (folder / "train.de").write_text(text.replace("\n\n", "\nCat\n"))
    assert len(pairs_of(folder).split("train")) == 48


def test_files_of_different_length_are_refused(folder: Path) -> None:
    with (folder / "val.de").open("a") as file:
        file.write("Cat\n")
    with pytest.raises(DataError, match=r"val\.en has 12 lines and .*val\.de 13"):
        pairs_of(folder).split("val")
    with (folder / "val.en").open("a") as file:
        file.write("cat\n")
    assert len(pairs_of(folder).split("val")) == 13


def test_rows_of_jsonl_with_other_names_hold_out_copies_together(tmp_path: Path) -> None:
    rows = [{"en": f"cat {n // 2}", "de": f"Cat {n}"} for n in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ParallelTexts(
        train=str(path),
        tokenizer=PLAN,
        columns={"source": "en", "target": "de"},
        val_fraction=0.25,
        prefix="turn: ",
    )
    train, val = ({source for source, _ in data.pairs(name)} for name in ("train", "val"))
    assert len(data.split("val")) == 10
    assert not train & val
    ids = data.split("val").input_ids[0].tolist()[:-1]
    assert data.tokenizer.decode(ids) == "turn: " + data.pairs("val")[0][0]


def test_several_files_are_read_in_turn(folder: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for path in paths:
        path.write_text(json.dumps({"source": f"cat {path.stem}", "target": "Cat"}) + "\n")
    config = pairs_config(folder, tmp_path / "runs")
    config["data"]["init_args"].update(train=[str(path) for path in paths], val="", val_fraction=0)
    found = compose(config).data
    assert [source for source, _ in found.pairs("train")] == ["cat a", "cat b"]
