"""The three-line start."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path
from typing import Any

import pytest

import roots
from roots import DataLoader, Model, Trainer
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.quick import SIZES, vocabulary_for
from roots.runs import Run
from roots.tokenizer import Tokenizer

SMALL = {"trainer.accelerator": "cpu", "trainer.progress": False}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_text(n_words: int = 400, name: str = "data.txt") -> str:
    rng = random.Random(3)
    words = [rng.choice(["the", "cat", "sat", "on", "a", "mat", "and"]) for _ in range(n_words)]
    Path(name).write_text(" ".join(words) + ".\n")
    return name


def test_the_start_as_it_is_printed_trains_and_generates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The lines are taken from the docstring of the package; only the number of steps is cut."""
    write_text()
    lines = [line[4:] for line in (roots.__doc__ or "").splitlines() if line.startswith("    ")]
    assert lines[0] == "from roots import Model, DataLoader, Trainer"
    program = "\n".join(lines).replace("(model, data_loader)", "(model, data_loader, steps=4)")
    names: dict = {}
    monkeypatch.setitem(SIZES, "small", SIZES["tiny"])  # the same program in less time
    exec(program, names)
    text = names["model"].generate("the cat", max_tokens=6)
    assert isinstance(text, str)
    assert text
    assert Run("runs/quick/0001").last().step == 4
    assert text == names["model"].generate("the cat", max_tokens=6)  # the same seed
    assert text != names["model"].generate("the cat", max_tokens=6, seed=2)


def test_a_second_training_says_that_it_starts_anew_and_how_to_go_on(
    capsys: pytest.CaptureFixture,
) -> None:
    model, text = Model(size="tiny"), DataLoader(write_text(), seq_len=16)
    trainer = Trainer(model, text, steps=2, overrides=SMALL)
    run = trainer.train()
    assert "trained before" not in capsys.readouterr().err
    assert trainer.train().path != run.path
    assert f"To go on: roots.resume('{run.path}', {{" in capsys.readouterr().err
    assert roots.resume(run.path, {"trainer.max_steps": 3}).fit().last().step == 3


def test_both_docstrings_print_the_same_start() -> None:
    from roots import quick

    def program(doc: str | None) -> list[str]:
        return [line.strip() for line in (doc or "").splitlines() if line.startswith("    ")]

    assert program(quick.__doc__)[:5] == program(roots.__doc__)[:5]


def test_a_text_of_a_hundred_bytes_is_enough() -> None:
    Path("data.txt").write_text("abcdefghi " * 10)
    model = Model(size="tiny")
    run = Trainer(model, DataLoader("data.txt"), steps=2, overrides=SMALL).train()
    assert run.last().step == 2
    assert isinstance(model.generate("abc", max_tokens=3), str)


def test_a_folder_of_texts_is_a_text() -> None:
    Path("texts").mkdir()
    for name in ("one", "two", "three"):
        write_text(60, f"texts/{name}.txt")
    run = Trainer(Model(size="tiny"), DataLoader("texts"), steps=2, overrides=SMALL).train()
    assert run.last().step == 2


def test_a_model_can_go_on_from_a_folder() -> None:
    data = DataLoader(write_text())
    first = Trainer(Model(size="tiny"), data, steps=3, overrides=SMALL).train()
    model = Model(pretrained=str(first.last().path), learning_rate=1e-5)
    second = Trainer(model, data, steps=1, name="on", overrides=SMALL).train()
    assert first_loss(second) < first_loss(first) - 0.1
    assert second.path.parent.name == "on"


def first_loss(run: Run) -> float:
    with run.metrics_file.open() as file:
        return float(next(csv.DictReader(file))["train/loss"])


def test_settings_reach_the_run() -> None:
    data = DataLoader(write_text(), seq_len=8, sequences_per_step=4, vocab_size=290)
    trainer = Trainer(Model(size="tiny"), data, steps=2, seed=7, precision="32", overrides=SMALL)
    run = trainer.train()
    config = run.config_file.read_text()
    for words in (
        "seed: 7",
        "seq_len: 8",
        "sequences_per_step: 4",
        "max_steps: 2",
        "hidden_size: 64",
    ):
        assert words in config


def test_a_pretrained_model_is_asked_in_its_own_tokens() -> None:
    """A new tokenizer would give it ids that mean something else to it, which trains, but noise."""
    first = Trainer(Model(size="tiny"), DataLoader(write_text()), steps=9, overrides=SMALL).train()
    Path("other.txt").write_text("quick brown foxes jump over lazy dogs the cat sat on a mat " * 60)
    model = Model(pretrained=str(first.path), learning_rate=1e-5)
    with pytest.raises(
        ConfigError, match=r"knows other tokens than the text is made of: id \d+ is .* for it and"
    ) as refused:
        Trainer(model, DataLoader("other.txt"), steps=1, overrides=SMALL).train()
    cure = re.search(r"DataLoader\(.*\)", str(refused.value))
    assert cure is not None
    data = eval(cure[0])
    second = Trainer(model, data, steps=1, name="on", overrides=SMALL).train()
    theirs, ours = (Tokenizer.load(run.last().path) for run in (first, second))
    assert ours.fingerprint == theirs.fingerprint
    with pytest.raises(ConfigError, match=r"vocab_size=300 beside tokenizer='runs/"):
        DataLoader("other.txt", tokenizer="runs/quick/0001", vocab_size=300)


def test_a_fit_remarks_that_a_network_was_trained_on_other_tokens() -> None:
    first = Trainer(Model(size="tiny"), DataLoader(write_text()), steps=2, overrides=SMALL).train()
    Path("other.txt").write_text("quick brown foxes jump over lazy dogs the cat sat on a mat " * 60)
    data = DataLoader("other.txt", vocab_size=265)  # fewer than the network has embeddings
    trainer = Trainer(Model(pretrained=str(first.path)), data, steps=1)
    composed = compose(trainer.config, SMALL)
    composed.fit()
    told = [r for r in composed.model.remarks if "trained on other tokens than the data" in r]
    assert len(told) == 1


# -- what it refuses ------------------------------------------------------------------------------


def test_a_missing_file_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        DataLoader("nowhere.txt")
    DataLoader(write_text(name="nowhere.txt"))


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_is_refused_with_what_to_do(content: bytes) -> None:
    Path("data.txt").write_bytes(content)
    with pytest.raises(
        DataError, match=r"(?i)data\.txt.*(empty|no text)|(empty|no text)"
    ) as refused:
        DataLoader("data.txt")
    assert refused.value.exit_code == 2
    assert re.search(r"\. (Give|Check|Take it off|Put)", str(refused.value))


def test_a_file_that_is_no_text_is_refused_with_what_to_do() -> None:
    Path("data.txt").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataError, match=r"data\.txt") as refused:
        DataLoader("data.txt")
    assert re.search("convert it to UTF-8 text", str(refused.value))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"seq_len": -3}, "seq_len=-3 is no length of a sequence. Set it to 2 or more, or to 0"),
        ({"seq_len": 1}, "seq_len=1 is no length"),
        ({"sequences_per_step": 0}, "sequences_per_step=0 is too small. Set it to 1 or more"),
        ({"val_fraction": 1.5}, "val_fraction=1.5 is no share. Set it to at least 0 and less"),
        ({"val_fraction": 1.0}, "val_fraction=1 is no share"),
        ({"val_fraction": -0.1}, "val_fraction=-0.1 is no share"),
        ({"val_fraction": float("nan")}, "val_fraction=nan is no share"),
    ],
)
def test_a_number_that_cannot_work_is_refused_before_the_text_is_read(
    setting: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        DataLoader("nowhere.txt", **setting)


@pytest.mark.parametrize("steps", [-1, 0, True, 2.5])
def test_steps_that_are_none_are_refused_as_such(steps: Any) -> None:
    data: Any = None
    with pytest.raises(ConfigError, match=rf"steps={steps} is no number of steps\. Set it to 1"):
        Trainer(Model(size="tiny"), data, steps=steps)


def test_a_text_that_fills_no_sequence_of_any_length_is_told_to_be_longer() -> None:
    Path("data.txt").write_text("a")
    with pytest.raises(ConfigError, match=r"has \d tokens: not one sequence of.*2\. Give more"):
        Trainer(Model(size="tiny"), DataLoader("data.txt"), steps=1, overrides=SMALL).train()


def test_a_size_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no size 'huge'\. Take tiny, small, medium, "
    ) as refused:
        Model(size="huge")
    assert refused.value.exit_code == 2
    assert all(Model(size=size).size == size for size in SIZES)


def test_a_model_that_is_not_trained_cannot_generate() -> None:
    model = Model(size="tiny")
    with pytest.raises(ConfigError, match=r"not trained yet\. Call Trainer\(model, data\)\.train"):
        model.generate("the")
    Trainer(model, DataLoader(write_text()), steps=1, overrides=SMALL).train()  # the cure
    assert isinstance(model.generate("the", max_tokens=1), str)


def test_a_setting_that_nobody_knows_is_refused() -> None:
    data = DataLoader(write_text())
    trainer = Trainer(Model(size="tiny"), data, steps=1, overrides={"trainer.stepz": 1})
    with pytest.raises(ConfigError, match="stepz"):
        trainer.train()


@pytest.mark.parametrize(
    ("n_bytes", "size"), [(0, 300), (100, 300), (250_000, 1000), (10**9, 4096)]
)
def test_the_vocabulary_grows_with_the_text(n_bytes: int, size: int) -> None:
    assert vocabulary_for(n_bytes) == size


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 0.4), ("small", 1.3), ("medium", 4), ("large", 12)]
)
def test_the_sizes_are_what_the_docstring_says(size: str, millions: float) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    keys = dict(Model(size=size).config["init_args"]["network"]["init_args"]["config"])
    config = AutoConfig.for_model(keys.pop("model_type"), vocab_size=4096, **keys)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    found = sum(p.numel() for p in network.parameters()) / 1e6
    assert found == pytest.approx(millions, rel=0.12)
    assert keys["hidden_size"] // keys["num_attention_heads"] == 64


def test_a_size_beside_pretrained_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"size='large' beside pretrained='folder', which brings"):
        Model(size="large", pretrained="folder")
    assert Model().size == "small"


@pytest.mark.parametrize(("seq_len", "positions"), [(64, 1024), (2048, 2048)])
def test_a_network_has_a_position_for_each_token_of_a_row(seq_len: int, positions: int) -> None:
    trainer = Trainer(Model(size="tiny"), DataLoader(write_text(), seq_len=seq_len), steps=1)
    network = trainer.config["model"]["init_args"]["network"]["init_args"]["config"]
    assert network["max_position_embeddings"] == positions
