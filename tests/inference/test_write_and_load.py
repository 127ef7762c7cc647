"""roots.inference: what write_folder writes, load and transformers open."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from roots.errors import CheckpointError, ConfigError, DataError
from roots.inference import load, write_folder
from roots.networks import MASKED_LM, Trainable
from roots.networks.reading import dtype_of_files
from roots.objectives import NextToken
from roots.tokenizer import Tokenizer

Make = Callable[..., PreTrainedModel]
IDS = torch.arange(12)[None]


@pytest.fixture(autouse=True)
def _no_bars() -> None:
    logging.disable_progress_bar()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_transformers_opens_what_is_written_with_the_same_logits(
    kind: str, make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make(kind).eval()
    write_folder(network, tokenizer, tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(opened(IDS).logits, network(IDS).logits)
    text = "Hello 你好 😀"
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == tokenizer.encode(text)


def test_what_is_written_uses_the_cache_while_the_live_network_stays_as_it_was(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make("llama")
    Trainable(network, NextToken())
    network.config.eos_token_id = None
    before = network.config.to_dict(), network.generation_config.to_dict()
    write_folder(network, tokenizer, tmp_path)
    assert before == (network.config.to_dict(), network.generation_config.to_dict())
    config = json.loads((tmp_path / "config.json").read_text())
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    for written in (config, generation):
        assert written["use_cache"] is True
        assert written["eos_token_id"] == tokenizer.eos_id
        assert written["bos_token_id"] == tokenizer.bos_id
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "float32"
    assert logging.is_progress_bar_enabled() is False


def test_a_list_of_eos_ids_that_has_the_tokenizers_is_kept(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make("llama")
    network.config.eos_token_id = [tokenizer.eos_id, 9]
    write_folder(network, tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == [0, 9]


@pytest.mark.parametrize("drop_head", [False, True])
def test_tied_weights_that_were_gathered_apart_are_written_once(
    drop_head: bool, make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make("llama", tie_word_embeddings=True).eval()
    gathered = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if drop_head:
        del gathered["lm_head.weight"]
    names = list(gathered)
    write_folder(network, tokenizer, tmp_path, gathered)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118
    assert list(gathered) == names
    assert torch.equal(load(tmp_path, device="cpu").network(IDS).logits, network(IDS).logits)


def test_gathered_weights_of_another_dtype_are_named_so_in_the_configuration(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make("llama")
    gathered = {name: tensor.bfloat16() for name, tensor in network.state_dict().items()}
    write_folder(network, tokenizer, tmp_path, gathered)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert load(tmp_path, device="cpu").network.dtype == torch.bfloat16
    assert load(tmp_path, device="cpu", dtype="float32").network.dtype == torch.float32


def test_weights_under_other_names_are_refused(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make("llama")
    prefixed = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"21 are missing.*21 are foreign \(network\.lm_head"):
        write_folder(network, tokenizer, tmp_path, prefixed)
    cured = {name.removeprefix("network."): tensor for name, tensor in prefixed.items()}
    write_folder(network, tokenizer, tmp_path, cured)


def test_generation_settings_that_transformers_would_not_save_are_mended(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = make("llama")
    network.generation_config.temperature = 0.6  # as in folders of Llama 2, without do_sample
    write_folder(network, tokenizer, tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text())["do_sample"] is True


# -- load ----------------------------------------------------------------------------------------


def test_a_run_gives_its_best_its_last_or_any_checkpoint(run_folder: Path) -> None:
    steps = {"best": 10, "last": 20, "10": 10, "20": 20}
    for which, step in steps.items():
        loaded = load(run_folder, checkpoint=which, device="cpu")
        assert loaded.path == run_folder / "checkpoints" / f"step-{step:06d}"
        assert loaded.network.config.tie_word_embeddings == (step == 20)
        assert not loaded.network.training
    with pytest.raises(CheckpointError, match=r"no checkpoint '30'.*10, 20"):
        load(run_folder, checkpoint="30")


def test_a_checkpoint_folder_and_a_hugging_face_folder_are_opened(
    run_folder: Path, tmp_path: Path
) -> None:
    checkpoint = run_folder / "checkpoints" / "step-000020"
    plain = shutil.copytree(checkpoint, tmp_path / "plain")
    (plain / "checkpoint.json").unlink()
    first, second = load(checkpoint, device="cpu"), load(str(plain), device="cpu")
    assert torch.equal(first.network(IDS).logits, second.network(IDS).logits)
    assert first.tokenizer.fingerprint == second.tokenizer.fingerprint


def test_loading_draws_no_progress_bar(run_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging.enable_progress_bar()
    load(run_folder, device="cpu")
    assert logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_not_there_is_told_with_its_whole_path() -> None:
    with pytest.raises(CheckpointError, match=r"no folder '\./nowhere'.*/nowhere"):
        load("./nowhere")


def test_a_folder_of_runs_names_its_newest(run_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 1 runs") as caught:
        load(run_folder.parent)
    assert str(run_folder) in str(caught.value)


def test_the_checkpoints_folder_names_its_run(run_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=f"Give the run's directory, {run_folder}"):
        load(run_folder / "checkpoints")


def test_a_folder_that_is_neither_run_nor_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither a run .* nor a Hugging Face folder"):
        load(tmp_path)


def test_a_file_is_told_apart_from_its_folder(run_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        load(run_folder / "checkpoints" / "step-000010" / "model.safetensors")


def test_a_name_that_is_no_folder_and_not_on_the_hub_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_args: object, **_named: object) -> str:
        raise ConnectionError("Name or service not known\nand so on")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(CheckpointError, match=r"'somebody/model' is neither.*not known\. Correct"):
        load("somebody/model")


def test_a_name_on_the_hub_is_fetched_without_pickles(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def fetch(name: str, **named: object) -> str:
        asked.update(named, name=name)
        return str(run_folder / "checkpoints" / "step-000010")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    load("somebody/model", device="cpu")
    assert asked["name"] == "somebody/model"
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])  # type: ignore[attr-defined]


@pytest.fixture
def folder(run_folder: Path) -> Path:
    return run_folder / "checkpoints" / "step-000010"


def test_pickled_weights_are_refused_with_the_reason_and_the_cure(folder: Path) -> None:
    weights = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only as pytorch_model\.bin.*can run code"):
        load(folder)
    cured = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=False)
    cured.save_pretrained(folder)
    load(folder, device="cpu")


def test_a_folder_without_weights_is_told(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        load(folder)


def test_a_folder_without_a_tokenizer_is_told(folder: Path, tokenizer: Tokenizer) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"holds no tokenizer\.json"):
        load(folder)
    tokenizer.save(folder)
    load(folder, device="cpu")


def test_a_tokenizer_with_more_ids_than_embeddings_is_told(
    folder: Path, tokenizer: Tokenizer
) -> None:
    small = AutoModelForCausalLM.from_pretrained(folder)
    small.resize_token_embeddings(100)
    small.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=f"{tokenizer.vocab_size} ids .* 100 embeddings"):
        load(folder)


def test_damaged_weights_are_told(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="holds no network that can be read"):
        load(folder)


def test_weights_that_are_not_there_are_not_drawn_at_random(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match=r"no fitting weights for 9 parameters.*layers\.2"):
        load(folder)


def test_a_folder_that_brings_its_own_code_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "their_own", "auto_map": {"AutoModelForCausalLM": "code.Theirs"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(CheckpointError, match="holds no network that can be read"):
        load(folder)


def test_a_device_or_dtype_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no device 'abacus' here; there is cpu"):
        load(folder, device="abacus")
    with pytest.raises(ConfigError, match=r"no dtype 'int3'.*float32, bfloat16"):
        load(folder, dtype="int3")


def test_a_damaged_checkpoint_record_is_told(folder: Path) -> None:
    (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json is damaged.*step"):
        load(folder)


OTHERS = ("LlamaForSequenceClassification", "BartForConditionalGeneration")


@pytest.mark.parametrize("name", OTHERS)
def test_a_network_that_does_not_continue_texts_is_refused_with_what_opens_it(
    name: str, run_folder: Path
) -> None:
    folder = run_folder / "checkpoints" / "step-000010"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
    with pytest.raises(CheckpointError, match=rf"no causal language model but {name}.*roots\.load"):
        load(run_folder, device="cpu")
    copy = Path(shutil.copytree(folder, run_folder.parents[1] / "copy"))
    with pytest.raises(CheckpointError, match=rf"{name}.*class of transformers"):
        load(copy, device="cpu")
    with pytest.raises(CheckpointError, match=rf"no masked language model but {name}"):
        load(copy, device="cpu", head=MASKED_LM)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_that_looks_ahead_is_refused_until_it_is_told_not_to(
    dtype: str, make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write_folder(make("bert"), tokenizer, tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "is_decoder": False}))
    with pytest.raises(CheckpointError, match=r"BertLMHeadModel whose tokens see those behind"):
        load(tmp_path, device="cpu", dtype=dtype)
    path.write_text(json.dumps({**config, "is_decoder": True}))
    assert load(tmp_path, device="cpu", dtype=dtype).network.config.is_decoder


@pytest.mark.parametrize("named", [None, [], ["FSDPLlamaForCausalLM"], ["LLaMAForCausalLM"]])
def test_a_causal_network_is_known_under_its_other_names(named: object, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": named}))
    assert type(load(folder, device="cpu").network).__name__ == "LlamaForCausalLM"


def test_a_damaged_configuration_is_told(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        load(folder)


def test_the_dtype_of_the_file_is_taken_and_not_that_of_its_configuration(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert load(folder, device="cpu").network.dtype == torch.float32
    found = load(folder, device="cpu").network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    halves = {name: tensor.half() for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    assert load(folder, device="cpu").network.dtype == torch.float16
    mixed = {n: t.bfloat16() if i % 2 else t.half() for i, (n, t) in enumerate(weights.items())}
    save_file(mixed, folder / "model.safetensors", {"format": "pt"})
    found = load(folder, device="cpu").network.state_dict()
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in mixed.items())


def test_of_shards_those_that_the_index_names_tell_the_dtype(folder: Path) -> None:
    network = load(folder, device="cpu").network
    network.half().save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    (folder / "model.safetensors").unlink(missing_ok=True)
    save_file({"another": torch.ones(2)}, folder / "another.safetensors")
    assert dtype_of_files(folder) == torch.float16
    save_file({"weight": torch.ones(2, dtype=torch.uint8)}, folder / "model.safetensors")
    assert dtype_of_files(folder) is None  # quantised
