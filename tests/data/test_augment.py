"""Training texts are changed as a row's key says, at the rates asked for; no others are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tasks import classes, task_config, write_jsonl

from roots.data import Augment
from roots.errors import CheckpointError, ConfigError, DataError
from roots.fit import compose
from roots.fit.compose import Composed, resumed
from roots.objectives import Key
from roots.runs import Run

TEXT = " ".join(f"w{n}" for n in range(50))


def many(augment: Augment, text: str = TEXT, n: int = 400) -> list[str]:
    return [augment(text, Key(1, row, 0)) for row in range(n)]


def test_words_are_left_out_at_the_rate() -> None:
    words = [len(text.split()) for text in many(Augment(rows=1.0, drop=0.2))]
    assert np.mean(words) == pytest.approx(40, abs=0.5)  # 3 deviations of the mean: 0.42
    for text in many(Augment(rows=1.0, drop=0.2), n=20):
        kept = text.split()
        assert kept == [word for word in TEXT.split() if word in kept]  # in their order


def test_one_word_always_stays() -> None:
    found = many(Augment(rows=1.0, drop=1.0), "a b c")
    assert set(found) == {"a", "b", "c"}
    assert Augment(rows=1.0, drop=1.0)("", Key(1, 0, 0)) == ""


def test_so_many_pairs_of_words_change_places() -> None:
    augment = Augment(rows=1.0, swap=0.05)  # 2.5 exchanges of 50 words: 2 or 3
    moved = []
    for text in many(augment):
        words = text.split()
        assert sorted(words) == sorted(TEXT.split())
        moved.append(sum(a != b for a, b in zip(words, TEXT.split(), strict=True)))
    assert set(moved) <= {2, 3, 4, 5, 6, 0}
    assert np.mean(moved) == pytest.approx(4.8, abs=0.15)  # two exchanges may share a word
    assert many(augment, "alone", n=9) == ["alone"] * 9


def test_words_are_replaced_by_their_synonyms_alone(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("w1, big, large\nw2\tsmall\n")
    found = many(Augment(rows=1.0, replace=0.5, synonyms=str(file)))
    for place, others in {1: {"w1", "big", "large"}, 2: {"w2", "small"}}.items():
        words = [text.split()[place] for text in found]
        assert set(words) == others
        assert np.mean([word == f"w{place}" for word in words]) == pytest.approx(0.5, abs=0.08)
    assert {tuple(text.split()[3:]) for text in found} == {tuple(TEXT.split()[3:])}


def test_characters_of_a_script_without_spaces_are_words() -> None:
    augment = Augment(rows=1.0, drop=0.1, swap=0.1, unit="character")
    text = "自然语言处理很有意思但是需要数据"
    found = augment(text, Key(1, 2, 3))
    assert found != text
    assert set(found) <= set(text)
    assert len(found) <= len(text)


def test_only_a_share_of_the_rows_is_changed() -> None:
    changed = [text != TEXT for text in many(Augment(rows=0.3, drop=0.2), n=1000)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.05)


def test_the_same_key_gives_the_same_text_and_each_part_of_it_another() -> None:
    augment = Augment(rows=1.0, drop=0.2, swap=0.1)
    first = augment(TEXT, Key(1, 2, 3))
    assert augment(TEXT, Key(1, 2, 3)) == first
    others = {augment(TEXT, key) for key in (Key(2, 2, 3), Key(1, 3, 3), Key(1, 2, 4))}
    assert len({first, *others}) == 4


# -- in a run --------------------------------------------------------------------------------------


@pytest.fixture
def config(encoder: Path, tmp_path: Path) -> dict[str, Any]:
    rows = classes(72, 0)
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
        "augment": {
            "class_path": "roots.data.Augment",
            "init_args": {"rows": 0.8, "drop": 0.2, "swap": 0.2},
        },
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    return task_config("SequenceClassifier", data, encoder, tmp_path / "runs", max_steps=10)


def numbers(run: Run) -> list[tuple[str, ...]]:
    names = ("step", "train/loss", "optim/grad_norm", "val/loss", "val/accuracy")
    with run.metrics_file.open() as file:
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


def watched(composed: Composed) -> list[Any]:
    """The batches that a run trains on, as they come."""
    seen: list[Any] = []
    composed.model.on_train_batch_start = lambda batch, *_: seen.append(batch)
    return seen


def test_a_row_keeps_its_label_and_is_another_text_in_each_epoch(config: dict[str, Any]) -> None:
    composed = compose(config, {"trainer.max_steps": 24})  # three epochs of 60 rows
    seen = watched(composed)
    composed.fit()
    split = composed.data.split("train")
    texts: dict[int, set[tuple[int, ...]]] = {}
    for batch in seen:
        for row, sample in enumerate(batch.samples.tolist()):
            ids = batch.inputs["input_ids"][row, : batch.lengths[row]].tolist()
            texts.setdefault(sample, set()).add(tuple(ids))
            assert batch.labels[row] == split.labels[sample]
    changed = [tuple(split.input_ids[s].tolist()) not in found for s, found in texts.items()]
    assert 0.3 < np.mean(changed) < 0.9
    assert max(map(len, texts.values())) == 4  # of four readings, the last epoch has begun


def test_validation_rows_are_never_changed(config: dict[str, Any]) -> None:
    composed = compose(config)
    composed.fit()
    rows = classes(72, 0)[-12:]
    batch = composed.data.val_dataloader().dataset[0]
    framed = composed.model.batch_of([row["text"] for row in rows])
    order = batch.samples[batch.samples >= 0].tolist()
    for here, sample in enumerate(order):
        there = framed.samples.tolist().index(sample)
        ours = batch.inputs["input_ids"][here, : batch.lengths[here]]
        assert ours.tolist() == framed.inputs["input_ids"][there, : batch.lengths[here]].tolist()


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(config: dict[str, Any]) -> None:
    whole = compose(config, {"trainer.checkpoint_every_steps": 3}).fit()
    half = compose(config, {"trainer.checkpoint_every_steps": 3})

    class Killed(Exception):
        pass

    def stop(*_: Any) -> None:
        if half.trainer.global_step == 8:  # in the second epoch
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    composed, _ = resumed(str(half.trainer.run.path), {}, [])
    assert numbers(composed.fit()) == numbers(whole)


def test_a_run_does_not_go_on_with_other_synonyms(config: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("cat, dog\n")
    config["data"]["init_args"]["augment"]["init_args"] |= {"replace": 0.5, "synonyms": str(file)}
    run = compose(config, {"trainer.max_steps": 3, "trainer.val_every_steps": 0}).fit()
    further = {"trainer.max_steps": 4}
    file.write_text("cat, tree\n")
    with pytest.raises(CheckpointError, match=r"not those that .* was trained on \(fingerprint"):
        resumed(str(run.path), further, [])[0].fit()
    file.write_text("\n dog\tcat\ncat, dog\n")  # the same groups
    assert resumed(str(run.path), further, [])[0].fit().last().step == 4


def test_both_texts_of_a_pair_are_changed_each_by_itself(
    config: dict[str, Any], tmp_path: Path
) -> None:
    rows = [{**row, "text_pair": row["text"]} for row in classes(72, 0)]
    write_jsonl(tmp_path / "train.jsonl", rows[:-12])
    write_jsonl(tmp_path / "val.jsonl", rows[-12:])
    composed = compose(config)
    composed.fit()
    steps = composed.data.train_dataloader().dataset
    assert any(first != second for first, second in steps.texts(0))
    whether = [
        (first != original, second != original)
        for step in range(60)
        for (first, second), row in zip(steps.texts(step), steps.order.samples(step), strict=True)
        for original in [steps.split.texts[row][0]]
    ]
    assert np.mean([any(each) for each in whether]) == pytest.approx(0.8, abs=0.06)
    assert np.mean([all(each) for each in whether]) > 0.65


def test_while_no_row_is_changed_the_run_is_the_plain_one(config: dict[str, Any]) -> None:
    config["data"]["init_args"]["augment"]["init_args"]["rows"] = 1e-12
    beside = compose(config).fit()
    del config["data"]["init_args"]["augment"]
    assert numbers(beside) == numbers(compose(config).fit())


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"drop": 1.5}, r"augment\.drop=1\.5 is no share.*0\.05 to 0\.1"),
        ({"rows": -1.0, "drop": 0.1}, r"augment\.rows=-1 is no share"),
        ({"rows": 0.0, "drop": 0.1}, r"augment\.rows=0 changes nothing\. Set it above 0"),
        ({}, r"changes nothing: drop, swap and replace are 0"),
        ({"replace": 0.1}, r"replace=0\.1 beside augment\.synonyms='' does nothing.*both"),
        ({"synonyms": "a.txt", "drop": 0.1}, r"replace=0 beside augment\.synonyms='a\.txt'"),
        (
            {"replace": 0.1, "synonyms": "a.txt", "unit": "character"},
            r"unit: character knows none.*unit to word",
        ),
        ({"drop": 0.1, "unit": "letter"}, r"unit='letter' is neither word nor character"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Augment(**settings)


def test_synonyms_that_cannot_be_read_are_told_before_the_run(
    config: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "synonyms.txt"
    config["data"]["init_args"]["augment"]["init_args"] |= {"replace": 0.1, "synonyms": str(file)}
    with pytest.raises(DataError, match=r"synonyms\.txt cannot be read.*data\.augment\.synonyms"):
        compose(config).data.describe()
    file.write_text("cat\n")
    with pytest.raises(DataError, match=r"no line with two words.*big, large, huge"):
        compose(config).data.describe()
    file.write_text("cat, dog\n")
    compose(
        config, {"data.tokenizer": config["model"]["init_args"]["network"]["init_args"]["path"]}
    )
