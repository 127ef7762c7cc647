"""Conversations: which positions are labelled, what is cut, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_chat import conversations, turns, write_chat_tokenizer
from tiny_tasks import write_jsonl

from roots.batch import IGNORE, RaggedTokenBatch
from roots.data import Conversations
from roots.errors import ConfigError, DataError


def data(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Conversations:
    tokenizer = write_chat_tokenizer(folder / "tokenizer")
    file = write_jsonl(folder / "rows.jsonl", rows)
    arguments = {"train": str(file), "tokenizer": str(tokenizer), "val_fraction": 0.0}
    return Conversations(**{**arguments, **settings})


def test_each_label_is_the_next_token_where_the_assistant_writes_it(tmp_path: Path) -> None:
    found = data(tmp_path, [{"messages": turns("the cat", "sat on", "it", "ran")}])
    split, decode = found.split("train"), found.tokenizer.decode
    ids, labels = split.input_ids[0], split.labels[0]
    assert len(ids) == len(labels)
    known = np.flatnonzero(labels != IGNORE)
    assert decode(labels[known].tolist()) == "sat on<|im_end|>ran<|im_end|>"
    inside = known[known + 1 < len(ids)]
    assert (labels[inside] == ids[inside + 1]).all()
    before = [n for n in known if n - 1 not in known]  # the first label stands behind the prompt
    assert [decode(ids[: n + 1].tolist())[-10:] for n in before] == ["assistant\n"] * 2


def test_a_batch_is_cut_to_its_longest_row_and_fillers_have_no_labels(tmp_path: Path) -> None:
    found = data(tmp_path, conversations(12, 0))
    split = found.split("train")
    rows = np.array([0, 1, 2, -1])
    batch = split.batch(rows, 3)
    assert isinstance(batch, RaggedTokenBatch)
    labels = [int((split.labels[n] != IGNORE).sum()) for n in range(3)]
    assert int(batch.n_labels) == sum(labels)
    parts = list(batch.split(2))
    assert [p.input_ids.shape[1] for p in parts] == [
        max(split.lengths[0], split.lengths[1]),
        split.lengths[2],
    ]
    text = found.tokenizer.decode(split.labels[0][split.labels[0] != IGNORE].tolist())
    assert int(batch.n_bytes[0]) == len(text.replace("<|im_end|>", "").encode())
    assert int((parts[1].labels[1] != IGNORE).sum()) == 0


def test_long_conversations_are_cut_behind_an_answer_or_left_out_and_both_are_told(
    tmp_path: Path,
) -> None:
    rows = [
        {"messages": turns("the", "cat", "sat", "on")},
        {"messages": turns("the", "cat")},
        {"messages": turns("the " * 40, "cat")},
    ]
    whole = data(tmp_path, rows).split("train")
    found = data(tmp_path, rows, seq_len=int(whole.lengths[1]))
    split = found.split("train")
    assert len(split) == 2
    assert split.input_ids[0].tolist() == split.input_ids[1].tolist()
    assert split.n_cut == 1
    assert "1 of 3 conversations were left out" in found.remarks[0]
    assert "1 of them cut" in found.describe()
    with pytest.raises(DataError, match=r"within seq_len=3 tokens; the shortest needs (\d+)") as e:
        data(tmp_path, rows, seq_len=3).split("train")
    needed = int(str(e.value).split("needs ")[1].split(".")[0])
    assert len(data(tmp_path, rows, seq_len=needed).split("train")) == 2


def test_prompts_and_responses_are_conversations_too(tmp_path: Path) -> None:
    as_turns = data(tmp_path, [{"messages": turns("the cat", "sat", system="on")}]).split("train")
    columns = {"prompt": "question", "response": "answer"}
    row = {"question": "the cat", "answer": "sat", "system": "on"}
    split = data(tmp_path, [row], columns=columns).split("train")
    assert split.input_ids[0].tolist() == as_turns.input_ids[0].tolist()
    assert split.labels[0].tolist() == as_turns.labels[0].tolist()
    without = data(tmp_path, [{**row, "system": ""}], columns=columns).split("train")
    assert "system" not in data(tmp_path, []).tokenizer.decode(without.input_ids[0].tolist())


def test_copies_of_a_conversation_are_held_out_together_and_leaks_are_told(tmp_path: Path) -> None:
    rows = conversations(10, 0) * 2
    found = data(tmp_path, rows, val_fraction=0.3)
    train, val = (
        {s.input_ids[n].tobytes() for n in range(len(s))}
        for s in map(found.split, ("train", "val"))
    )
    assert train
    assert val
    assert not train & val
    held = write_jsonl(tmp_path / "val.jsonl", [*conversations(2, 0), *conversations(3, 9)])
    found = data(tmp_path, rows, val=str(held))
    found.split("val")
    assert found.quoted("val", 0, 0) == {}  # its rows are not those of the file
    assert any(remark.startswith("2 of the 5 rows of val") for remark in found.remarks)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "'messages' is empty"),
        ("hello", "'messages' is a string"),
        ([{"role": "user"}], "turn 1 is an object with role, not an object with role and content"),
        (turns("the"), "the last of 1 turns is the user's. End it with an answer"),
        (turns("the", "cat")[1:], "turn 1 is the assistant's, the first. Put system or user"),
        ([*turns("a", "b"), *turns("c", "d")[1:]], "turn 3 is the assistant's, behind one of the"),
        (turns("the", "  "), "turn 2, the assistant's, is empty"),
        ([{"role": "tool", "content": "x"}], "the role 'tool', which is none of system, user"),
        ([{"role": "user", "content": [1]}], "the content of turn 1 is "),
        (turns("the", "cat\ufdd0"), "U.FDD0, which is no character"),
    ],
)
def test_bad_conversations_are_refused_by_row_or_left_out(
    tmp_path: Path, messages: Any, words: str
) -> None:
    rows = [{"messages": turns("the", "cat")}, {"messages": messages}]
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{words}.*on_bad_row"):
        data(tmp_path, rows).split("train")
    found = data(tmp_path, rows, on_bad_row="skip", max_bad_fraction=0.5)
    assert len(found.split("train")) == 1
    assert "1 of 2 rows were left out" in found.remarks[0]


def test_a_row_without_any_conversation_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither 'messages' nor 'prompt'.*data\.columns"):
        data(tmp_path, [{"text": "the"}]).split("train")


def test_the_template_that_is_used_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    found = data(tmp_path, conversations(3, 0), template="plain")
    found.tokenizer.save(tmp_path / "saved")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    told = theirs.apply_chat_template(turns("the", "cat"), tokenize=False)
    assert told == "User: the\nAssistant: cat<|im_end|>\n"
    assert found.spec["init_args"]["template"] == "plain"


def test_lines_of_text_are_no_conversations_and_what_is_one_is_told(tmp_path: Path) -> None:
    found = data(tmp_path, conversations(4, 0))
    asked = tmp_path / "asked.txt"
    asked.write_text("the cat\n")
    found.predict_from = str(asked)
    with pytest.raises(
        ConfigError,
        match=r"asked\.txt: .*reads messages, system, prompt, response\. Give a \.jsonl file",
    ):
        found.split("predict")
    found.predict_from = str(write_jsonl(tmp_path / "asked.jsonl", conversations(3, 1)))
    assert len(found.split("predict")) == 3
