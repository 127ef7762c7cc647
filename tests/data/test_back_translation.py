"""Texts in other words: as transformers' own search says them, kept, gone on with, read in runs."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import NETWORKS
from tiny import WORDS
from tiny_tasks import classes, task_config, write_jsonl, write_wordpiece
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from roots.cli import run as roots
from roots.data import Augment, BackTranslation, back_translation
from roots.errors import CheckpointError, ConfigError, DataError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.networks import SEQ2SEQ, Scratch
from roots.objectives import Key
from roots.tokenizer import EndedFraming, Tokenizer

MOST = 24
TEXTS = [" ".join(random.Random(n).choices(WORDS[::2], k=2 + n % 5)) for n in range(20)]


def write_translator(folder: Path, shift: int) -> Path:
    """Writes a small T5 that was taught for seconds to put another word for each."""
    write_wordpiece(folder)
    tokenizer = Tokenizer.load(folder)
    builder = Scratch(config=NETWORKS["t5"], attention="eager")
    device = torch.device("cpu")
    network = builder.build(tokenizer.vocabulary, seed=shift, device=device, head=SEQ2SEQ).train()
    optimizer, known = torch.optim.Adam(network.parameters(), 5e-3), WORDS[::2]
    framing, chance = EndedFraming(tokenizer, max_tokens=MOST), random.Random(shift)
    for _ in range(400):
        n = chance.randint(2, 6)
        sources = [chance.choices(range(len(known)), k=n) for _ in range(32)]
        targets = [[(word + shift) % len(known) for word in row] for row in sources]
        read, written = (
            torch.tensor(
                [
                    ids
                    for ids, _ in framing.ids(
                        [" ".join(map(known.__getitem__, row)) for row in rows]
                    )
                ]
            )
            for rows in (sources, targets)
        )
        loss = network(input_ids=read, labels=written).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_translator(tmp_path_factory.mktemp("translators") / "en-de", 1)


@pytest.fixture(scope="module")
def back(there: Path) -> Path:
    return write_translator(there.with_name("de-en"), 2)


@pytest.fixture
def settings(there: Path, back: Path, tmp_path: Path) -> dict[str, Any]:
    both = {
        name: str(shutil.copytree(folder, tmp_path / name))
        for name, folder in (("there", there), ("back", back))
    }
    return {**both, "out": f"{tmp_path}/wordings", "rows": 4, "max_tokens": MOST}


@torch.no_grad()
def translated(folder: Path, text: str, n: int) -> list[str]:
    """The best translations of one text, by transformers' tokenizer and search alone."""
    tokenizer, decoded = PreTrainedTokenizerFast.from_pretrained(folder), Tokenizer.load(folder)
    network = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    length = {"max_length": MOST + 1, "max_new_tokens": None}
    found = network.generate(**ids, num_beams=4, num_return_sequences=n, **length)
    whole = [row.tolist()[1:] for row in found if tokenizer.sep_token_id in row[1:MOST]]
    return [decoded.decode([i for i in row if i not in tokenizer.all_special_ids]) for row in whole]


def test_wordings_are_the_best_translations_translated_back(
    settings: dict[str, Any], there: Path, back: Path
) -> None:
    said = BackTranslation(**settings, n=4)
    said.make(TEXTS)
    assert sum(map(bool, said.wordings.values())) > len(TEXTS) / 2
    for text in TEXTS[:8]:
        home = [one for abroad in translated(there, text, 4) for one in translated(back, abroad, 1)]
        expected = [one for one in dict.fromkeys(home) if one not in ("", text)]
        assert said.wordings[text] == expected


def test_only_what_is_lacking_is_translated_and_who_was_interrupted_goes_on(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BackTranslation(**settings)
    whole.make(TEXTS)
    around, seen = back_translation._around, []

    def stops(texts: list[str], *networks: Any) -> Any:
        seen.append(list(texts))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return around(texts, *networks)

    monkeypatch.setattr(back_translation, "_around", stops)
    settings["out"] += "-again"
    with pytest.raises(KeyboardInterrupt):
        BackTranslation(**settings).make(TEXTS)
    path = Path(settings["out"]) / back_translation.WORDINGS
    path.write_bytes(path.read_bytes()[:-9] + "é".encode()[:1])  # the last of eight is torn
    seen.append([])
    said = BackTranslation(**settings)
    assert len(said.lacking(TEXTS)) == len(TEXTS) - 7
    said.make(TEXTS)
    assert sum(map(len, seen[4:])) == len(TEXTS) - 7
    assert said.wordings == whole.wordings
    BackTranslation(**settings).make(TEXTS[::-1] + TEXTS)
    assert sum(map(len, seen[4:])) == len(TEXTS) - 7


def test_what_is_empty_or_too_long_stays_as_it_is(settings: dict[str, Any]) -> None:
    long = " ".join([WORDS[0]] * MOST)
    said = BackTranslation(**settings)
    said.make(["", long, TEXTS[3]])
    assert said.wordings[""] == said.wordings[long] == []
    augment = Augment(rows=1.0, back_translation=said)
    assert augment(f"{long}", Key(1, 2, 3)) == long


def test_a_row_that_is_changed_is_one_of_its_wordings(settings: dict[str, Any]) -> None:
    said = BackTranslation(**settings, n=4)
    said.make(TEXTS)
    text, wordings = next(each for each in said.wordings.items() if len(each[1]) > 1)
    augment = Augment(rows=0.75, back_translation=said)
    drawn = [augment(text, Key(1, row, 0)) for row in range(600)]
    shares = [drawn.count(one) / 600 for one in (text, *wordings)]
    each = 0.75 / len(wordings)
    assert shares == pytest.approx([0.25, *[each] * len(wordings)], abs=0.06)  # three deviations
    assert [augment(text, Key(1, row, 0)) for row in range(600)] == drawn
    beside = Augment(rows=1.0, drop=0.5, back_translation=said)
    found = beside(text, Key(1, 2, 3)).split()
    assert any(set(found) <= set(one.split()) for one in said.wordings[text])


# -- in a run --------------------------------------------------------------------------------------


@pytest.fixture
def config(encoder: Path, tmp_path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    rows = classes(40, 0)
    said = {"class_path": "roots.data.BackTranslation", "init_args": settings}
    augment = {"rows": 1.0, "back_translation": said}
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:-8])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[-8:])),
        "sequences_per_step": 8,
        "seq_len": 48,
        "augment": {"class_path": "roots.data.Augment", "init_args": augment},
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    return task_config("SequenceClassifier", data, encoder, tmp_path / "runs", max_steps=6)


def test_a_run_makes_the_wordings_trains_on_them_and_goes_on(
    config: dict[str, Any], settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(config))
    flags = ["--config", f"{tmp_path}/run.json"]
    assert roots(["fit", *flags, "--dry-run"]) == 0
    assert "0 of 32 texts have other wordings" in (said := capsys.readouterr().out)
    assert "32 still to be translated" in said
    assert not Path(settings["out"]).exists()
    whole = compose(config).fit()
    told = capsys.readouterr().err
    assert "back translation: 32 of 32 texts" in told
    composed = compose(config, {"trainer.max_steps": 3})
    seen: list[Any] = []
    composed.model.on_train_batch_start = lambda batch, *_: seen.append(batch)
    half = composed.fit()
    assert "back translation" not in capsys.readouterr().err
    wordings, split = BackTranslation(**settings).wordings, composed.data.split("train")
    for batch in seen:
        steps = composed.data.train_dataloader().dataset
        for row, text in zip(batch.samples.tolist(), steps.texts(batch.step), strict=True):
            original = split.texts[row]
            assert text in (wordings[original] or [original])
    on = resumed(str(half.path), {}, ["--trainer.max_steps=6"])[0].fit()
    losses = [
        [line.split(",")[1] for line in run.metrics_file.read_text().splitlines()[-2:]]
        for run in (on, whole)
    ]
    assert losses[0] == losses[1]
    shutil.rmtree(settings["out"])  # it is made again, and is the same
    resumed(str(on.path), {}, ["--trainer.max_steps=7"])[0].fit()
    assert BackTranslation(**settings).wordings == wordings
    shutil.rmtree(settings["out"])  # who only measures needs none of it
    for name in ("there", "back"):
        shutil.rmtree(settings[name])
    assert roots(["validate", "--run", str(whole.path)]) == 0
    assert not Path(settings["out"]).exists()


def test_a_run_does_not_go_on_with_other_wordings(
    config: dict[str, Any], settings: dict[str, Any]
) -> None:
    run = compose(config, {"trainer.max_steps": 3, "trainer.val_every_steps": 0}).fit()
    path = Path(settings["out"]) / back_translation.WORDINGS
    head, *lines = path.read_text().splitlines()
    kept = json.loads(lines[0])
    kept["wordings"] = ["quite another one"]
    path.write_text("\n".join([head, json.dumps(kept), *lines[1:], ""]))
    with pytest.raises(CheckpointError, match=r"not those that .* was trained on \(fingerprint"):
        resumed(str(run.path), {"trainer.max_steps": 4}, [])[0].fit()


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n": 0}, r"back_translation\.n=0: set it to 1 or more"),
        ({"beams": 2, "n": 3}, r"beams=2 finds no n=3 translations\. Set beams to 3"),
        ({"out": ""}, "out is empty"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        BackTranslation(**{**settings, **changed})


def test_what_other_settings_made_is_not_taken(settings: dict[str, Any]) -> None:
    BackTranslation(**settings).make(TEXTS[:2])
    other = BackTranslation(**{**settings, "max_tokens": 20})
    with pytest.raises(ConfigError, match=r"made by max_tokens=24, and max_tokens=20 is asked"):
        other.make(TEXTS[:2])
    path = Path(settings["out"]) / back_translation.WORDINGS
    path.write_text(path.read_text().replace('"text"', '"txet"', 1))
    with pytest.raises(DataError, match=r"wordings\.jsonl is damaged.*Remove it"):
        BackTranslation(**settings).make(TEXTS[:2])


def test_networks_that_cannot_translate_are_refused_before_anything_is_written(
    settings: dict[str, Any], encoder: Path, tmp_path: Path
) -> None:
    short = write_wordpiece(tmp_path / "short")
    network = {**NETWORKS["bart"], "vocab_size": 99}
    (short / "config.json").write_text(json.dumps(network))
    for changed, words in (
        ({"there": str(short), "max_tokens": 33}, r"33 is more than the 32 positions .*at most 32"),
        ({"back": str(tmp_path / "none")}, "none"),
        ({"there": str(encoder)}, "bert"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            BackTranslation(**{**settings, **changed}).make(TEXTS)
        assert not Path(settings["out"]).exists()


def test_a_network_that_lacks_weights_is_refused(
    settings: dict[str, Any], there: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(there, tmp_path / "part")
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.block.0.layer.2.DenseReluDense.wo.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ConfigError, match=r"no weights for 1 parameters of T5.*they would be random"
    ):
        BackTranslation(**{**settings, "there": str(folder)}).make(TEXTS)


def test_texts_that_were_not_translated_are_told_where_a_run_begins(
    settings: dict[str, Any],
) -> None:
    said = BackTranslation(**settings)
    said.make(TEXTS[:3])
    with pytest.raises(DataError, match=r"lacks other wordings of 17 training texts"):
        said.check(TEXTS)
    other = BackTranslation(**settings)
    assert len(other.wordings) == 3
    said.make(TEXTS)
    other.check(TEXTS)  # it looks again
    assert np.all([text in other.wordings for text in TEXTS])


def test_a_folder_that_cannot_be_written_to_is_told(settings: dict[str, Any]) -> None:
    Path(settings["out"]).write_text("a file")
    with pytest.raises(DataError, match=r"wordings cannot be written to \(.*Make room, or set"):
        BackTranslation(**settings).make(TEXTS)


def test_a_translation_that_was_cut_is_none(settings: dict[str, Any], tmp_path: Path) -> None:
    """A published BART or Marian puts the end at the last place, whatever it was about to say."""
    folder = Path(settings["there"])
    config = json.loads((folder / "generation_config.json").read_text())
    ends = config["eos_token_id"]
    config |= {"forced_eos_token_id": ends, "sequence_bias": [[[ends], -100.0]]}
    (folder / "generation_config.json").write_text(json.dumps(config))
    said = BackTranslation(**settings)
    said.make(TEXTS[:6])
    assert not any(said.wordings.values())


def test_what_a_network_raises_is_not_told_as_a_full_disk(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError("the hub went away")

    monkeypatch.setattr("roots.networks.Pretrained.build", broken)
    with pytest.raises(ConnectionError, match="the hub went away"):
        BackTranslation(**settings).make(TEXTS)
