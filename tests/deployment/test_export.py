"""roots.deployment.export: transformers opens it, the books balance, nothing is lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from roots.deployment import export
from roots.deployment.command import main
from roots.errors import CheckpointError, ConfigError
from roots.inference import load
from roots.runs import file_sums, written_files
from roots.tokenizer import Tokenizer

IDS = torch.arange(20)[None]
FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "manifest.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def test_transformers_opens_an_export_with_bitwise_equal_logits(
    run_folder: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    folder = export(run_folder, tmp_path / "out")
    network = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(network(IDS).logits, load(run_folder, device="cpu").network(IDS).logits)
    text = "cats 你好 <|endoftext|>"
    opened = AutoTokenizer.from_pretrained(folder)
    assert opened.decode(opened(text)["input_ids"]) == text
    assert opened("cats")["input_ids"] == tokenizer.encode("cats")
    assert opened.eos_token_id == tokenizer.eos_id
    assert {path.name for path in folder.iterdir()} == FILES


def test_transformers_generates_from_an_export_and_ends_at_its_eos(
    run_folder: Path, tmp_path: Path
) -> None:
    network = AutoModelForCausalLM.from_pretrained(export(run_folder, tmp_path / "out"))
    assert network.generation_config.eos_token_id == 0
    assert network.config.use_cache is True
    assert network.generate(IDS, max_new_tokens=3, pad_token_id=0).shape[1] > 20


def test_the_configuration_names_dtype_architecture_and_special_tokens(
    run_folder: Path, tmp_path: Path
) -> None:
    config = json.loads((export(run_folder, tmp_path / "out") / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert config["architectures"][0].endswith(("LlamaForCausalLM", "GPT2LMHeadModel"))
    assert (config["eos_token_id"], config["bos_token_id"]) == (0, 0)


def test_bfloat16_weights_are_those_of_the_source_rounded(run_folder: Path, tmp_path: Path) -> None:
    folder = export(run_folder, tmp_path / "out", dtype="bfloat16")
    exact = load(run_folder, device="cpu").network.state_dict()
    rounded = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert {tensor.dtype for tensor in rounded.values()} == {torch.bfloat16}
    assert all(torch.equal(exact[name].bfloat16(), rounded[name]) for name in exact)


def test_the_manifest_holds_the_sums_and_where_the_network_comes_from(
    run_folder: Path, tmp_path: Path
) -> None:
    folder = export(run_folder, tmp_path / "out", checkpoint="last")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == "roots-export"
    assert manifest["source"] == "tiny/0001"
    assert manifest["step"] == 20
    assert manifest["metrics"] == {"val/loss": 3.5}
    assert manifest["trained_by"] == "abc123"
    assert set(manifest["sha256"]) == FILES - {"manifest.json"}
    step_folder = run_folder / "checkpoints" / "step-000020"
    for where, sums in ((folder, manifest["sha256"]), (step_folder, manifest["input_sha256"])):
        for name, expected in sums.items():
            assert hashlib.sha256((where / name).read_bytes()).hexdigest() == expected
    assert {"model.safetensors", "config.json", "tokenizer.json"} == set(manifest["input_sha256"])
    assert str(tmp_path) not in (folder / "manifest.json").read_text()


def test_the_card_tells_source_step_metrics_and_how_to_load_but_no_path(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export(run_folder, tmp_path / "out")
    card = (folder / "README.md").read_text()
    for fact in ("`tiny/0001`", "Optimizer steps: 10 (640 tokens)", "val/loss: 2.5000"):
        assert fact in card
    assert str(tmp_path) not in card
    code = card.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 3
    names: dict[str, object] = {}
    exec(code.replace("path/to/this/folder", str(folder)), names)
    assert {"network", "tokenizer"} <= set(names)


def test_two_exports_of_one_checkpoint_are_equal(run_folder: Path, tmp_path: Path) -> None:
    first, second = export(run_folder, tmp_path / "a"), export(run_folder, tmp_path / "b")
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in FILES)


def test_an_export_can_be_loaded_and_exported_again(run_folder: Path, tmp_path: Path) -> None:
    first = export(run_folder, tmp_path / "a")
    second = export(first, tmp_path / "b")
    name = "model.safetensors"
    assert (first / name).read_bytes() == (second / name).read_bytes()


def test_tokens_are_those_that_the_checkpoint_counted_and_none_are_guessed(
    run_folder: Path, tmp_path: Path
) -> None:
    record = run_folder / "checkpoints" / "step-000010" / "checkpoint.json"
    told = json.loads(record.read_text())
    del told["tokens"]  # as older versions wrote it; the rows may be of any length
    record.write_text(json.dumps(told))
    card = (export(run_folder, tmp_path / "out") / "README.md").read_text()
    assert "Optimizer steps: 10\n" in card


def test_a_metric_that_is_not_finite_is_null_in_the_manifest_and_told_on_the_card(
    run_folder: Path, tmp_path: Path
) -> None:
    record = run_folder / "checkpoints" / "step-000010" / "checkpoint.json"
    told = json.loads(record.read_text()) | {"metrics": {"val/loss": 1.0, "val/mcc": None}}
    record.write_text(json.dumps(told))
    folder = export(run_folder, tmp_path / "out")
    assert json.loads((folder / "manifest.json").read_text())["metrics"]["val/mcc"] is None
    assert "val/mcc: nan" in (folder / "README.md").read_text()


# -- what is never replaced ----------------------------------------------------------------------


def test_an_earlier_export_is_replaced_only_when_asked(run_folder: Path, tmp_path: Path) -> None:
    out = export(run_folder, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"holds an export already\. Add --overwrite"):
        export(run_folder, out, checkpoint="last")
    export(run_folder, out, checkpoint="last", overwrite=True)
    assert json.loads((out / "manifest.json").read_text())["step"] == 20


def test_a_folder_of_something_else_is_never_replaced(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(run_folder, out)  # an empty one is
    (out / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"7 entries .* is never replaced"):
        export(run_folder, out, overwrite=True)
    export(run_folder, tmp_path / "other")


def test_a_file_that_the_user_put_into_an_export_is_not_removed(
    run_folder: Path, tmp_path: Path
) -> None:
    out = export(run_folder, tmp_path / "out")
    (out / "my_notes.txt").write_text("important")
    with pytest.raises(ConfigError, match=r"holds my_notes\.txt"):
        export(run_folder, out, overwrite=True)
    (out / "my_notes.txt").rename(tmp_path / "my_notes.txt")
    export(run_folder, out, overwrite=True)


def test_the_source_is_never_replaced(run_folder: Path, tmp_path: Path) -> None:
    out = export(run_folder, tmp_path / "out")
    for source, to in ((out, out), (run_folder, run_folder), (run_folder, tmp_path / "runs")):
        with pytest.raises(ConfigError, match="holds the network that is exported"):
            export(source, to, overwrite=True)


def test_a_file_in_the_way_is_told(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="out is a file"):
        export(run_folder, tmp_path / "out")


def test_a_failure_leaves_nothing_behind(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr("roots.deployment.exporting.card", fail)
    with pytest.raises(OSError, match="No space"):
        export(run_folder, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_what_cannot_be_exported_is_told(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dtype 'int3'"):
        export(run_folder, tmp_path / "out", dtype="int3")
    with pytest.raises(CheckpointError, match="no checkpoint '15'"):
        export(run_folder, tmp_path / "out", checkpoint="15")
    assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_not_exported_until_it_is_brought_back(
    run_folder: Path, tmp_path: Path
) -> None:
    folder = run_folder / "checkpoints" / "step-000010"
    record = json.loads((folder / "checkpoint.json").read_text())
    sums = file_sums(folder, written_files(folder))
    (folder / "checkpoint.json").write_text(json.dumps({**record, "files": sums}))
    (folder / "trainer.ckpt").write_bytes(b"an export does not read it")
    weights = folder / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-3] + bytes([good[-3] ^ 0xFF]) + good[-2:])
    for path in (run_folder, folder):
        with pytest.raises(CheckpointError, match=r"model\.safetensors has another sha256"):
            export(path, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"another sha256.*--checkpoint"):
        main(["--run", str(run_folder), "--to", str(tmp_path / "out"), "--dry-run"])
    weights.write_bytes(good)
    export(run_folder, tmp_path / "out")


def test_a_place_below_a_file_is_refused_before_anything_is_done(
    run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a file")
    for to in (tmp_path / "a" / "out", tmp_path / "a" / "b" / "out"):
        with pytest.raises(ConfigError, match=rf"would lie in {tmp_path / 'a'}, which is a file"):
            export(run_folder, to)
        with pytest.raises(ConfigError, match="Give --to another place"):
            main(["--run", str(run_folder), "--to", str(to), "--dry-run"])
    (tmp_path / "a").unlink()
    assert export(run_folder, tmp_path / "a" / "b" / "out").is_dir()
