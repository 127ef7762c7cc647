"""Preferences: which positions are labelled, what is left out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preferred import preferences
from tiny_chat import CHATML, turns, write_chat_tokenizer
from tiny_tasks import write_jsonl

from roots.batch import IGNORE, PreferenceBatch
from roots.data import Preferences
from roots.data.like_lengths import LikeLengths, padding_fraction
from roots.errors import DataError


def data(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Preferences:
    tokenizer = write_chat_tokenizer(folder / "tokenizer")
    file = write_jsonl(folder / "rows.jsonl", rows)
    arguments = {"train": str(file), "tokenizer": str(tokenizer), "val_fraction": 0.0}
    return Preferences(**{**arguments, **settings})


def said(found: Preferences, row: int) -> list[str]:
    """What is labelled, and all that is read, of a row."""
    split = found.split("train")
    ids, labels = split.input_ids[row], split.labels[row]
    assert len(ids) == len(labels)
    known = np.flatnonzero(labels != IGNORE)
    inside = known[known + 1 < len(ids)]
    assert (labels[inside] == ids[inside + 1]).all()
    decode = found.tokenizer.decode
    return [decode(labels[known].tolist()), decode(ids.tolist())]


TEXTS = {"prompt": "the cat", "chosen": "sat on", "rejected": "ran"}
TURNS = {
    "prompt": turns("the cat"),
    "chosen": [{"role": "assistant", "content": "sat on"}],
    "rejected": [{"role": "assistant", "content": "ran"}],
}
WHOLE = {"chosen": turns("the cat", "sat on"), "rejected": turns("the cat", "ran")}


@pytest.mark.parametrize("row", [TEXTS, TURNS, WHOLE, {**WHOLE, "prompt": "the cat"}])
def test_every_form_is_the_same_pair_and_the_answers_alone_are_labelled(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    found = data(tmp_path, [row])
    asked = "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
    assert said(found, 0) == ["sat on<|im_end|>", f"{asked}sat on"]
    assert said(found, 1) == ["ran<|im_end|>", f"{asked}ran"]
    assert len(found.split("train")) == 1


def test_answers_within_the_prompt_are_not_labelled_and_later_turns_of_an_answer_are(
    tmp_path: Path,
) -> None:
    row = {
        "prompt": turns("the", "cat", "sat"),
        "chosen": turns("", "on", "the", "mat")[1:],
        "rejected": [{"role": "assistant", "content": "under"}],
    }
    found = data(tmp_path, [row])
    assert said(found, 0)[0] == "on<|im_end|>mat<|im_end|>"
    assert said(found, 1)[0] == "under<|im_end|>"
    whole = {
        "chosen": turns("the", "cat", "sat", "on", system="be"),
        "rejected": turns("the", "cat", "sat", "under", system="be"),
    }
    assert said(data(tmp_path, [whole]), 0)[0] == "on<|im_end|>"
    assert said(data(tmp_path, [whole]), 1)[0] == "under<|im_end|>"


def test_columns_have_other_names_and_a_system_prompt_comes_first(tmp_path: Path) -> None:
    row = {"question": "the cat", "better": "sat", "worse": "ran", "system": "be"}
    columns = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    found = data(tmp_path, [row], columns=columns)
    assert said(found, 0)[1].startswith("<|im_start|>system\nbe<|im_end|>\n<|im_start|>user\nthe")
    wholes = data(tmp_path, [{**WHOLE, "system": "be"}])
    assert said(wholes, 0)[1].startswith("<|im_start|>system\nbe<|im_end|>\n<|im_start|>user\nthe")
    for blank in ("", " \n"):
        assert "system" not in said(data(tmp_path, [{**TEXTS, "system": blank}]), 0)[1]


def test_tables_hold_pairs_too(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = said(data(tmp_path, [TEXTS]), 0)
    table = tmp_path / "rows.csv"
    table.write_text("prompt,chosen,rejected\nthe cat,sat on,ran\n")
    assert said(data(tmp_path, [], train=str(table)), 0) == expected
    for number, row in enumerate((TURNS, WHOLE)):
        file = tmp_path / f"rows-{number}.parquet"
        pq.write_table(pa.Table.from_pylist([row]), file)
        assert said(data(tmp_path, [], train=str(file)), 0) == expected


def test_a_batch_has_pairs_cut_to_their_longest_row_and_fillers_count_for_nothing(
    tmp_path: Path,
) -> None:
    split = data(tmp_path, preferences(12, 0)).split("train")
    batch = split.batch(np.array([0, 1, 2, -1]), 3)
    assert isinstance(batch, PreferenceBatch)
    assert (len(batch), int(batch.n_labels)) == (4, 3)
    longest = split.input_ids.lengths.reshape(-1, 2).max(1)
    parts = list(batch.split(2))
    assert [tuple(p.input_ids.shape) for p in parts] == [
        (4, max(longest[0], longest[1])),
        (4, longest[2]),
    ]
    assert [int(p.n_labels) for p in parts] == [2, 1]
    assert (parts[1].labels[1] == IGNORE).all()
    for pair in range(3):
        for side in range(2):
            ids = split.input_ids[2 * pair + side]
            assert batch.tokens[pair, side, : len(ids)].tolist() == ids.tolist()


def test_tokens_and_padding_are_those_of_the_rows(tmp_path: Path) -> None:
    split = data(tmp_path, preferences(24, 0)).split("train")
    order = LikeLengths(split.lengths, rows_per_step=8, seed=1)
    batch = split.batch(order.samples(0), 0)
    filled = sum(int((split.input_ids.lengths.reshape(-1, 2)[n]).sum()) for n in order.samples(0))
    places = sum(part.input_ids.numel() for part in batch.split(3))
    found = padding_fraction(order, 0, 1, rows=3, ranks=1, sides=split.sides)
    assert found == pytest.approx(1 - filled / places)
    assert order.tokens_until(1) == filled


def test_pairs_of_which_a_side_is_too_long_are_left_out_and_told(tmp_path: Path) -> None:
    long = {**TEXTS, "rejected": "ran " * 40}
    whole = data(tmp_path, [TEXTS, long]).split("train")
    fits = int(whole.input_ids.lengths[:2].max())
    found = data(tmp_path, [long, TEXTS], seq_len=fits)
    split = found.split("train")
    assert len(split) == 1
    assert split.where[0].endswith("rows.jsonl:2")
    longest = int(whole.input_ids.lengths.max())
    assert found.remarks == [
        "1 of 2 pairs were left out, because a prompt with an answer has more than"
        f" seq_len={fits} tokens (the longest {longest})"
    ]
    assert "1 pairs, prompt and answer of" in found.describe()
    with pytest.raises(DataError, match=r"No pair fits into seq_len=3 tokens; .* needs (\d+)") as e:
        data(tmp_path, [TEXTS], seq_len=3).split("train")
    needed = int(str(e.value).split("needs ")[1].split(".")[0])
    assert len(data(tmp_path, [TEXTS], seq_len=needed).split("train")) == 1


def test_pairs_of_a_prompt_are_held_out_together_and_shared_prompts_are_told(
    tmp_path: Path,
) -> None:
    rows = [
        {"prompt": f"the cat {n}", "chosen": f"sat {m}", "rejected": "ran"}
        for n in range(10)
        for m in range(3)
    ]
    found = data(tmp_path, rows, val_fraction=0.3)
    train, val = (
        {rows[int(where.rsplit(":", 1)[1]) - 1]["prompt"] for where in found.split(name).where}
        for name in ("train", "val")
    )
    assert train
    assert val
    assert not train & val
    by_fold = [set(data(tmp_path, rows, fold=n, folds=2).split("val").where) for n in (1, 2)]
    assert by_fold[0] | by_fold[1] == {f"{tmp_path / 'rows.jsonl'}:{n + 1}" for n in range(30)}
    held = write_jsonl(tmp_path / "val.jsonl", [{**rows[0], "chosen": "was in it"}, TEXTS])
    found = data(tmp_path, rows, val=str(held))
    found.split("val")
    assert any(remark.startswith("1 of the 2 rows of val") for remark in found.remarks)


ANSWER = {"role": "assistant", "content": "sat"}
USER = {"role": "user", "content": "the"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**TEXTS, "chosen": "ran"}, "'chosen' and 'rejected' are the same text"),
        ({**WHOLE, "chosen": WHOLE["rejected"]}, "alike in all of the first 2 turns"),
        ({**TEXTS, "chosen": " "}, "'chosen' is empty. Fill it in"),
        ({**TEXTS, "prompt": ""}, "'prompt' is empty. Fill it in"),
        ({**TEXTS, "rejected": None}, "'rejected' is null, neither a text nor a list"),
        ({**TEXTS, "rejected": 3}, "'rejected' is a number, neither a text nor a list"),
        ({"chosen": "sat", "rejected": "ran"}, "no 'prompt', and the answers begin with the"),
        ({"prompt": "the", "chosen": "sat"}, "has no column 'rejected' for the field"),
        ({**TURNS, "chosen": [USER]}, "turn 1 of 'chosen' is the user's, behind one of the user"),
        ({**TURNS, "chosen": [ANSWER, USER]}, "the last turn of 'chosen' is the user's. End it"),
        ({**TURNS, "prompt": [USER, ANSWER]}, "the last turn of 'prompt' is the assistant's"),
        ({**TURNS, "prompt": [ANSWER]}, "turn 1 of 'prompt' is the assistant's, the first"),
        ({**TURNS, "rejected": []}, "'rejected' is empty. Give a list of"),
        ({**TURNS, "rejected": ["ran"]}, "turn 1 of 'rejected' is a string, not an object"),
        (
            {"chosen": turns("the", "cat"), "rejected": turns("a", "cat")},
            "part at turn 1, which is no answer",
        ),
        (
            {"chosen": turns("a", "b", "c", "d"), "rejected": turns("a", "b", "e", "f")},
            "part at turn 3, which is no answer",
        ),
        ({**WHOLE, "prompt": "another"}, "'prompt' is none of the user's turns"),
        ({**WHOLE, "system": 3}, "'system' is a number, not a text"),
        ({**TEXTS, "chosen": "sat\ufdd0"}, "U.FDD0, which is no character"),
    ],
)
def test_bad_pairs_are_refused_by_row_or_left_out(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    rows = [TEXTS, row]
    with pytest.raises(DataError, match=rf"rows\.jsonl:2.*{words}.*on_bad_row"):
        data(tmp_path, rows).split("train")
    found = data(tmp_path, rows, on_bad_row="skip", max_bad_fraction=0.5)
    assert len(found.split("train")) == 1
    assert "1 of 2 rows were left out" in found.remarks[0]


def test_answers_that_the_template_makes_alike_are_refused(tmp_path: Path) -> None:
    trims = tmp_path / "trims.jinja"
    trims.write_text(CHATML.replace("m['content']", "m['content'] | trim"))
    row = {**TEXTS, "chosen": "ran  "}
    with pytest.raises(DataError, match="'chosen' and 'rejected' are the same text"):
        data(tmp_path, [row], template=str(trims)).split("train")
    assert len(data(tmp_path, [row]).split("train")) == 1


def test_a_template_that_marks_an_answer_twice_is_refused(tmp_path: Path) -> None:
    twice = tmp_path / "twice.jinja"
    twice.write_text(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] }}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}{% endgeneration %} {% generation %}{{ '<|im_end|>' }}"
        "{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    with pytest.raises(DataError, match=r"rows\.jsonl:1: .* marks 2 answers of 1 turns of .*plain"):
        data(tmp_path, [TEXTS], template=str(twice)).split("train")
    assert len(data(tmp_path, [TEXTS], template="plain").split("train")) == 1


def test_the_data_change_their_fingerprint_with_either_answer(tmp_path: Path) -> None:
    prints = {
        data(tmp_path, [{**TEXTS, **other}]).fingerprint
        for other in ({}, {"chosen": "sat in"}, {"rejected": "was"}, {"prompt": "the dog"})
    }
    assert len(prints) == 4
    spec = data(tmp_path, [TEXTS], template="plain").spec
    assert json.loads(json.dumps(spec))["init_args"]["template"] == "plain"
