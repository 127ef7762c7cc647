"""The lines of the card open the tokenizer with the ids that the network was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from roots.corpus import BytePairs, Characters
from roots.deployment import export
from roots.deployment.card import how_to_load
from roots.deployment.command import main
from roots.inference import write_folder
from roots.networks import Scratch
from roots.tokenizer import Tokenizer

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
}
TEXTS = ["in 2023\n\n  it rained on 1999 cats\n\n\n    and they don't   mind"] * 4
TEXT = "in 2023\n\n  it"


def source(folder: Path, model_type: str, tokenizer: Tokenizer) -> Path:
    scratch = Scratch(config={"model_type": model_type, **SIZES})
    network = scratch.build(tokenizer.vocabulary, seed=1, device=torch.device("cpu"))
    write_folder(network, tokenizer, folder)
    return folder


@pytest.mark.parametrize(
    ("model_type", "opens"),
    [("qwen2", "PreTrainedTokenizerFast"), ("qwen3", "AutoTokenizer"), ("llama", "AutoTokenizer")],
)
def test_the_lines_of_the_card_give_the_same_ids(
    model_type: str, opens: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = BytePairs(vocab_size=300).make(TEXTS)
    folder, out = source(tmp_path / "source", model_type, tokenizer), tmp_path / "out"
    assert main(["--model", str(folder), "--to", str(out)]) == 0
    lines = how_to_load(out)
    assert lines in capsys.readouterr().out
    assert f"tokenizer = {opens}.from_pretrained" in lines
    assert ("not AutoTokenizer: it cuts texts by the rules of qwen2" in lines) == (
        model_type == "qwen2"
    )
    names: dict[str, object] = {}
    exec(lines, names)
    opened = names["tokenizer"]
    assert opened(TEXT, add_special_tokens=False)["input_ids"] == tokenizer.encode(TEXT)  # type: ignore[operator]


def test_that_qwen2_is_opened_with_other_ids_by_auto_tokenizer_is_still_so(tmp_path: Path) -> None:
    """Once it is not, `roots.deployment.opening` can go."""
    tokenizer = BytePairs(vocab_size=300).make(TEXTS)
    out = export(source(tmp_path / "source", "qwen2", tokenizer), tmp_path / "out")
    opened = AutoTokenizer.from_pretrained(out)
    assert opened(TEXT, add_special_tokens=False)["input_ids"] != tokenizer.encode(TEXT)


def test_a_tokenizer_that_has_tokens_for_few_characters_is_looked_at_with_those(
    tmp_path: Path,
) -> None:
    tokenizer = Characters().make(["ACGT GATTACA\n"])
    for model_type, opens in (("llama", "AutoTokenizer"), ("qwen2", "PreTrainedTokenizerFast")):
        out = tmp_path / f"out-{model_type}"
        export(source(tmp_path / model_type, model_type, tokenizer), out)
        assert f"tokenizer = {opens}.from_pretrained" in how_to_load(out)
