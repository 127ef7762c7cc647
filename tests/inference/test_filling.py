"""Guesses of hidden tokens are those of transformers' own pipeline, and add up."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from tiny import tiny_config
from tiny_masked import masked_config
from transformers import pipeline

from roots.cli import run as command
from roots.errors import CheckpointError, ConfigError, TrainingError
from roots.fit import compose
from roots.inference import Loaded, fill, load
from roots.inference.fill_command import visible
from roots.inference.filling import framed
from roots.networks import MASKED_LM
from roots.runs import Run
from roots.tokenizer import Tokenizer

TEXT = "the [MASK] sat on the [MASK]."
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(masked_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = masked_config(masked_shards, tmp_path_factory.mktemp("runs"), max_steps=3)
    composed = compose(config)
    composed.fit()
    assert composed.trainer.run is not None
    return composed.trainer.run


@pytest.fixture
def loaded(run: Run) -> Loaded:
    return load(run.path, device="cpu", head=MASKED_LM)


def test_the_guesses_are_those_of_transformers_own_pipeline(loaded: Loaded) -> None:
    theirs = pipeline("fill-mask", model=str(loaded.path), top_k=7)(TEXT)
    found = fill(loaded.network, loaded.tokenizer, TEXT, k=7)
    assert len(found) == len(theirs) == 2
    for mine, own in zip(found, theirs, strict=True):
        assert [guess.id for guess in mine] == [each["token"] for each in own]
        probabilities = [each["score"] for each in own]
        assert [guess.probability for guess in mine] == pytest.approx(probabilities, rel=1e-4)
        assert [guess.text for guess in mine] == [each["token_str"] for each in own]


def test_the_guesses_of_the_whole_vocabulary_add_up_to_one(loaded: Loaded) -> None:
    n_tokens = loaded.tokenizer.vocab_size
    (found,) = fill(loaded.network, loaded.tokenizer, "a [MASK]", k=n_tokens)
    assert sum(guess.probability for guess in found) == pytest.approx(1, rel=1e-5)
    assert len({guess.id for guess in found}) == n_tokens


def test_a_mask_hides_the_space_before_it(loaded: Loaded) -> None:
    spaced = fill(loaded.network, loaded.tokenizer, "the  [MASK] sat")
    assert fill(loaded.network, loaded.tokenizer, "the[MASK] sat") == spaced


def test_a_line_end_before_a_mask_is_read() -> None:
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import decoders, models, pre_tokenizers

    pre = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    rust = RustTokenizer(models.BPE(vocab=letters, merges=[]))
    rust.pre_tokenizer, rust.decoder = pre, decoders.ByteLevel()
    rust.add_special_tokens(["<mask>", "<end>"])
    settings = {"mask_token": "<mask>", "eos_token": "<end>"}  # no post-processor: nothing frames
    tokenizer = Tokenizer(definition=rust.to_str(), settings=settings)
    read = framed(tokenizer, "a\n <mask>")
    begin, *ids, end = read
    assert begin == end == tokenizer.eos_id  # as MaskedCorpus puts both around each row
    assert ids == [*tokenizer.encode("a\n"), tokenizer.mask_id]


def test_a_network_that_diverged_is_told(loaded: Loaded) -> None:
    loaded.network.get_input_embeddings().weight.data.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"largest logit is nan.*an earlier checkpoint"):
        fill(loaded.network, loaded.tokenizer, TEXT)


def test_a_guess_of_white_space_is_seen() -> None:
    assert [visible(text) for text in (" cat", "\n", " ")] == ["cat", r"'\n'", "' '"]


def test_the_network_is_left_as_it_was(loaded: Loaded) -> None:
    loaded.network.train()
    found = fill(loaded.network, loaded.tokenizer, TEXT)
    assert loaded.network.training
    assert torch.is_grad_enabled()
    assert fill(loaded.network, loaded.tokenizer, TEXT) == found  # no dropout


@pytest.mark.parametrize(
    ("text", "k", "words"),
    [
        ("the cat", 5, r"hides no token\. Write \[MASK\] where"),
        ("the [MASK]" + " cat" * 600, 5, r"and the network \d+ positions\. Cut it"),
        ("the [MASK]", 0, r"k=0 is no number of guesses\. Set it to 1 to 67,"),
        ("the [MASK]", 121, r"k=121 is no number"),
    ],
)
def test_what_cannot_be_guessed_is_told(loaded: Loaded, text: str, k: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fill(loaded.network, loaded.tokenizer, text, k=k)


def test_a_tokenizer_without_a_mask_is_told(loaded: Loaded, shards: Path) -> None:
    other = Tokenizer.load(shards / "tokenizer")
    with pytest.raises(ConfigError, match=r"no mask token: .* a run of roots\.modules\.MaskedLM"):
        fill(loaded.network, other, "the [MASK] sat")


# -- the verb ---------------------------------------------------------------------------------


def test_the_verb_prints_a_line_for_each_mask(run: Run, loaded: Loaded, capsys: Capture) -> None:
    assert command(["fill", "--run", str(run.path), TEXT, "-k", "2", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first, second = fill(loaded.network, loaded.tokenizer, TEXT, k=2)
    told = [f"{guess.text} {guess.probability:.3f}" for guess in first]
    assert lines[0] == f"1  {told[0]}  {told[1]}"
    assert lines[1].startswith(f"2  {second[0].text} ")


def test_the_verb_prints_json(run: Run, loaded: Loaded, capsys: Capture) -> None:
    assert command(["fill", "--run", str(run.path), TEXT, "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["text"] == TEXT
    found = fill(loaded.network, loaded.tokenizer, TEXT)
    assert [[each["token"] for each in mask] for mask in said["masks"]] == [
        [guess.text for guess in each] for each in found
    ]
    assert said["masks"][0][0]["probability"] == pytest.approx(found[0][0].probability)


def test_a_text_that_is_no_utf8_is_told(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"The text is not UTF-8: byte 4 is 0xff"):
        command(["fill", "--run", str(run.path), "the \udcff [MASK]"])


def test_a_network_of_another_kind_is_told_on_either_side(
    run: Run, shards: Path, tmp_path: Path
) -> None:
    causal = compose(tiny_config(shards, tmp_path, max_steps=3))
    causal.fit()
    assert causal.trainer.run is not None
    with pytest.raises(CheckpointError, match=r"no masked .* but Llama.* by `roots generate`"):
        command(["fill", "--run", str(causal.trainer.run.path), TEXT])
    with pytest.raises(CheckpointError, match=r"no causal .* but BertForMasked.* by `roots fill`"):
        command(["generate", "--run", str(run.path), "--prompt", "the"])


def test_a_run_closes_with_the_line_that_asks_it(
    masked_shards: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(masked_config(masked_shards, tmp_path / "runs", max_steps=3)))
    assert command(["fit", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "roots fill" in line)
    assert command(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out.startswith("1  ")
