"""An adapter and the weights below it: those that it was trained on, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from tiny_chat import write_chat_network
from transformers import AutoConfig, AutoModelForCausalLM

from roots.data import Conversations
from roots.deployment import export
from roots.errors import CheckpointError
from roots.inference import load
from roots.inference.folder import write_folder
from roots.networks import CAUSAL_LM, LoRA, Pretrained, merge_adapter
from roots.tokenizer import Tokenizer

IDS = torch.arange(3, 15)[None]
COMMITS = ("1" * 40, "2" * 40)
Opener = Callable[[Path], torch.Tensor]


def written(folder: Path, *, seed: int, layers: int = 2) -> Path:
    """A network whose weights tell the seed, and its tokenizer."""
    write_chat_network(folder, num_hidden_layers=layers)
    config = AutoConfig.from_pretrained(folder)
    config.initializer_range = 0.3
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def adapted(base: str, tokenizer: Path, to: Path, revision: str = "main") -> torch.Tensor:
    """Writes an adapter that changes the network, and gives the logits of the two together."""
    adapter = LoRA(rank=2, modules=["q_proj", "up_proj"])
    builder = Pretrained(path=base, adapter=adapter, revision=revision)
    network = builder.build(None, seed=1, device=torch.device("cpu"), head=CAUSAL_LM).eval()
    torch.manual_seed(3)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.5)
    write_folder(network, Tokenizer.load(tokenizer), to)
    logits: torch.Tensor = network(IDS).logits
    return logits


@torch.no_grad()
def built(folder: Path) -> torch.Tensor:
    builder = Pretrained(path=str(folder))
    network = builder.build(None, seed=1, device=torch.device("cpu"), head=CAUSAL_LM).eval()
    logits: torch.Tensor = network(IDS).logits
    return logits


@torch.no_grad()
def loaded(folder: Path) -> torch.Tensor:
    logits: torch.Tensor = load(folder, device="cpu").network(IDS).logits
    return logits


def merged(folder: Path) -> torch.Tensor:
    return loaded(export(folder, folder.with_name("merged"), merge=True, overwrite=True))


OPENERS = [built, loaded, merged]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two commits of `org/base`, of which `main` is the second."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    root = cache / "models--org--base"
    (root / "refs").mkdir(parents=True)
    for number, commit in enumerate(COMMITS):
        written(root / "snapshots" / commit, seed=number)
    (root / "refs" / "main").write_text(COMMITS[1])
    (root / "refs" / "v1").write_text(COMMITS[0])
    return root


def test_a_base_that_is_not_here_is_fetched_and_told_where_it_cannot_be(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, snapshots = tmp_path / "adapter", hub / "snapshots"
    expected = adapted("org/base", snapshots / COMMITS[1], folder)
    hidden = snapshots.rename(hub / "elsewhere")
    words = rf"weights of org/base \({COMMITS[1]}\), which are not on this machine and cannot be"
    with pytest.raises(
        CheckpointError, match=rf"{words}.*hf download org/base --revision {'2' * 40}"
    ):
        loaded(folder)
    asked = {}

    def fetch(name: str, *, revision: str, local_files_only: bool = False, **which: Any) -> str:
        if local_files_only and not snapshots.is_dir():
            raise LocalEntryNotFoundError("not here")
        if not local_files_only:
            asked.update(which, name=name, revision=revision)
            hidden.rename(snapshots)
        return str(snapshots / revision)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    torch.testing.assert_close(loaded(folder), expected, rtol=1e-4, atol=1e-4)
    assert (asked.pop("name"), asked.pop("revision")) == ("org/base", COMMITS[1])
    there = ["model.safetensors", "config.json", "chat_template.jinja", "more/a.jinja"]
    others = [
        "original/model-1.safetensors",
        "onnx/config.json",
        "consolidated.safetensors",
        "a.py",
    ]
    assert list(filter_repo_objects([*there, *others], **asked)) == there


@pytest.mark.parametrize("revision", [COMMITS[0], "v1"])
def test_an_adapter_lies_on_the_revision_that_it_was_trained_on(
    hub: Path, tmp_path: Path, revision: str
) -> None:
    folder = tmp_path / "adapter"
    expected = adapted("org/base", hub / "snapshots" / COMMITS[0], folder, revision)
    told = json.loads((folder / "adapter_config.json").read_text())
    assert (told["base_model_name_or_path"], told["revision"]) == ("org/base", COMMITS[0])
    (hub / "refs" / "v1").write_text(COMMITS[1])  # a branch moves, what was trained on stays
    for opened in OPENERS:
        torch.testing.assert_close(opened(folder), expected, rtol=1e-4, atol=1e-4)
    sums = json.loads((tmp_path / "merged" / "manifest.json").read_text())["input_sha256"]
    assert sums["base/model.safetensors"]
    exported = export(folder, tmp_path / "exported")
    assert f"from_pretrained('org/base', revision='{COMMITS[0]}')" in (
        (exported / "README.md").read_text()
    )
    torch.testing.assert_close(loaded(exported), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("opened", OPENERS)
def test_an_adapter_on_rewritten_weights_is_refused_with_both_sums(
    tmp_path: Path, opened: Opener
) -> None:
    base, folder = written(tmp_path / "base", seed=1), tmp_path / "adapter"
    expected = adapted(str(base), base, folder)
    torch.testing.assert_close(opened(folder), expected, rtol=1e-4, atol=1e-4)
    before = json.loads((folder / "adapter_base.json").read_text())["sha256"][:12]
    written(base, seed=2)
    with pytest.raises(CheckpointError, match=rf"other weights \({before}\).* now \(.*Bring"):
        opened(folder)
    moved = written(tmp_path / "moved", seed=1)
    config = folder / "adapter_config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps({**told, "base_model_name_or_path": str(moved)}))
    torch.testing.assert_close(opened(folder), expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_without_a_record_is_taken_as_it_is(tmp_path: Path) -> None:
    base, folder = written(tmp_path / "base", seed=1), tmp_path / "adapter"
    expected = adapted(str(base), base, folder)
    record = folder / "adapter_base.json"
    record.write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_base\.json is damaged"):
        loaded(folder)
    record.unlink()
    torch.testing.assert_close(loaded(folder), expected, rtol=1e-4, atol=1e-4)
    written(base, seed=2)
    assert (loaded(folder) - expected).abs().max() > 1


def test_files_that_are_not_read_do_not_count_as_other_weights(tmp_path: Path) -> None:
    base, folder = written(tmp_path / "base", seed=1), tmp_path / "adapter"
    expected = adapted(str(base), base, folder)
    (base / "consolidated.safetensors").write_bytes(b"the same once more")
    torch.testing.assert_close(built(folder), expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_of_fewer_layers_is_refused(tmp_path: Path) -> None:
    two, four = (written(tmp_path / str(n), seed=1, layers=n) for n in (2, 4))
    folder = tmp_path / "adapter"
    adapted(str(two), two, folder)
    network: Any = AutoModelForCausalLM.from_pretrained(four)
    with pytest.raises(CheckpointError, match=r"names differ, such as model\.layers\.2\..*\.lora_"):
        merge_adapter(network, folder)
    merge_adapter(AutoModelForCausalLM.from_pretrained(two), folder)


def test_the_tokenizer_of_a_network_is_that_of_its_revision(hub: Path) -> None:
    file = hub / "snapshots" / COMMITS[1] / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": "newer"}))
    for revision, is_newer in ((COMMITS[0], False), ("v1", False), ("main", True)):
        data = Conversations(train="none.jsonl")
        data.take_tokenizer_of(Pretrained(path="org/base", revision=revision))
        assert (data.read_tokenizer().settings["chat_template"] == "newer") is is_newer
        data = Conversations(train="none.jsonl", tokenizer="org/base")
        data.take_tokenizer_of(Pretrained(path="org/base", revision=revision))
        assert data.read_tokenizer().settings["chat_template"] == "newer"
