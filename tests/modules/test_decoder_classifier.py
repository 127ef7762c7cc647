"""Decoders that classify: what is said of a text is the same beside any other text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from taught import taught
from tiny_tasks import classes, task_config, write_jsonl, write_tokenizer
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
    XLNetForTokenClassification,
)

from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.networks.task import TaskTrainable
from roots.tokenizer import Tokenizer

SHORT, LONG = "the cat", "the cat sat on the mat and then it ran"
LABELS = {0: "cat", 1: "dog", 2: "none"}


def decoder(folder: Path, pad_id: int | None) -> Path:
    """Writes a decoder with a classifier on top, whose files name a padding token or none."""
    size = Tokenizer.load(write_tokenizer(folder)).vocab_size
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
        pad_token_id=pad_id,
        num_labels=3,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder


def config_of(network: Path, folder: Path) -> dict[str, Any]:
    rows = classes(36, 0)
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    return task_config("SequenceClassifier", data, network, folder / "runs", max_steps=3)


@pytest.mark.parametrize("pad_id", [None, 9])
def test_the_neighbours_of_a_text_do_not_change_what_is_said_of_it(
    tmp_path: Path, pad_id: int | None
) -> None:
    composed = compose(config_of(decoder(tmp_path / "decoder", pad_id), tmp_path))
    model = composed.model
    model.learn_of(composed.data)
    model.build(seed=0, device=torch.device("cpu"))
    with pytest.raises(DataError, match=r"Text 1 \(\('a', 'b'\)\) is a pair, .*single texts"):
        model.predict([SHORT, ("a", "b")])
    alone, beside = model.predict([SHORT])[0], model.predict([SHORT, LONG])[0]
    assert beside["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    # by definition: the logits of the last token of the text
    tokenizer = Tokenizer.load(tmp_path / "decoder")
    network = LlamaForSequenceClassification.from_pretrained(tmp_path / "decoder").eval()
    ids = torch.tensor([model.batch_of([SHORT]).inputs["input_ids"][0].tolist()])
    assert tokenizer.pad_id not in ids
    logits = network.score(network.model(input_ids=ids).last_hidden_state)[0, -1]
    expected = dict(zip(LABELS.values(), logits.softmax(-1).tolist(), strict=True))
    assert alone["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_a_text_without_a_token_is_told_by_its_number(tmp_path: Path) -> None:
    """Also where its row is empty, as of a tokenizer that adds no special tokens."""
    network = decoder(tmp_path / "decoder", 9)
    definition = json.loads((network / "tokenizer.json").read_text())
    for frame in (definition["post_processor"], None):
        (network / "tokenizer.json").write_text(json.dumps({**definition, "post_processor": frame}))
        composed = compose(config_of(network, tmp_path))
        model = composed.model
        model.learn_of(composed.data)
        model.build(seed=0, device=torch.device("cpu"))
        for texts, number in ((["", SHORT], 0), ([SHORT, ""], 1)):
            with pytest.raises(DataError, match=rf"Text {number} \(''\) has no token\. Fill it in"):
                model.predict(texts)
        assert len(model.predict([SHORT, LONG])) == 2


def test_a_decoder_teaches_and_learns_without_a_padding_token_of_its_own(tmp_path: Path) -> None:
    network = decoder(tmp_path / "decoder", None)
    composed = compose(taught(config_of(network, tmp_path), network))
    run = composed.fit()
    assert run.last().step == 3
    assert composed.model.trainable.network.config.pad_token_id == 0


def test_a_head_that_reads_the_last_place_whatever_stands_there_is_refused() -> None:
    config = XLNetConfig(vocab_size=30, d_model=8, n_layer=1, n_head=2, d_inner=8, num_labels=2)
    with pytest.raises(ConfigError, match=r"XLNetForSequenceClassification reads the last place"):
        TaskTrainable(XLNetForSequenceClassification(config), lambda *_: None)
    TaskTrainable(XLNetForTokenClassification(config), lambda *_: None)
