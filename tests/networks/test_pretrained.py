"""Networks from a folder: the same weights, or a clear refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import write_t5_with_a_head
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedModel,
)

from roots.errors import ConfigError, DataError
from roots.networks import (
    NF4,
    SEQ2SEQ,
    Head,
    LoRA,
    Pretrained,
    Scratch,
    Trainable,
    write_adapter,
)
from roots.objectives import NextToken
from roots.records import Labels, Vocabulary

CPU = torch.device("cpu")
ROOMY = Vocabulary(size=64, eos_id=0, bos_id=0)
KEYS = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


def saved(folder: Path, kind: type[PreTrainedModel] = LlamaForCausalLM, **keys: Any) -> Path:
    torch.manual_seed(0)
    kind(LlamaConfig(**{**KEYS, **keys})).save_pretrained(folder)
    return folder


def build(folder: Path | str, vocabulary: Vocabulary | None = ROOMY) -> PreTrainedModel:
    return Pretrained(path=str(folder)).build(vocabulary, seed=0, device=CPU)


def edit_config(folder: Path, **keys: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("networks") / "llama")


@pytest.fixture
def folder(_shared: Path, tmp_path: Path) -> Path:
    """A saved network that the test may damage."""
    return Path(shutil.copytree(_shared, tmp_path / "llama"))


@pytest.mark.parametrize("tied", [False, True])
def test_the_weights_are_those_that_were_saved(tmp_path: Path, tied: bool) -> None:
    original = LlamaForCausalLM.from_pretrained(saved(tmp_path, tie_word_embeddings=tied))
    network = build(tmp_path)
    ours, theirs = network.state_dict(), original.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    same = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert same is tied


def test_bfloat16_weights_are_loaded_as_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = LlamaForCausalLM(LlamaConfig(**KEYS)).to(torch.bfloat16)
    original.save_pretrained(tmp_path)
    for key, value in build(tmp_path).state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, original.state_dict()[key].float())


def test_the_global_random_state_stays_as_it_was(folder: Path) -> None:
    before = torch.get_rng_state()
    build(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_data_the_networks_own_vocabulary_is_taken(folder: Path) -> None:
    assert build(folder, None).config.vocab_size == 64


def test_a_missing_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=rf"no folder {tmp_path}/nowhere\. Correct network\.path"):
        build(tmp_path / "nowhere")
    build(folder)


def test_a_folder_without_a_config_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no config\.json\. Give a Hugging Face folder"):
        build(tmp_path / "empty")
    build(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    weights = folder / "model.safetensors"
    state = build(folder).state_dict()
    weights.unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(
        DataError, match=r"no file named model\.safetensors .* holds \*\.safetensors"
    ):
        build(folder)
    from safetensors.torch import save_file

    save_file(state, weights, metadata={"format": "pt"})  # the cure
    build(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"Cannot load a network from {folder}: .*deserializing"):
        build(folder)


def test_damaged_weights_are_refused_before_a_network_is_cut(tmp_path: Path) -> None:
    folder = write_t5_with_a_head(tmp_path)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    builder = Pretrained(path=str(folder))
    with pytest.raises(DataError, match=r"Cannot load a network from .* Check the path"):
        builder.skeleton(None, head=SEQ2SEQ)
    with pytest.raises(DataError, match=r"Cannot load a network from .* Check the path"):
        builder.empty(builder.network_config(None, SEQ2SEQ), SEQ2SEQ)


def test_a_damaged_config_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"Cannot load .* not a valid JSON file"):
        build(folder)


def test_an_architecture_that_transformers_does_not_know_is_refused(folder: Path) -> None:
    edit_config(folder, model_type="bogus")
    with pytest.raises(DataError, match=r"Cannot load .* model type `bogus`"):
        build(folder)


def test_missing_weights_are_refused_and_not_drawn(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=3)
    message = r"no weights for 9 parameters of LlamaForCausalLM, .*model\.layers\.2\..*random"
    with pytest.raises(ConfigError, match=message):
        build(folder)
    edit_config(folder, num_hidden_layers=2)
    build(folder)


def test_a_body_without_a_head_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, LlamaModel)
    with pytest.raises(ConfigError, match=r"no weights for 1 parameters .* lm_head\.weight"):
        build(tmp_path)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit_config(folder, intermediate_size=96)
    message = r"another shape for 6 parameters .*\(32, 48\) where config\.json asks for \(32, 96\)"
    with pytest.raises(ConfigError, match=message):
        build(folder)
    edit_config(folder, intermediate_size=48)
    build(folder)


def test_a_vocabulary_smaller_than_the_datas_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"has 64 embeddings and the data 65 .* at least 65"):
        build(folder, Vocabulary(size=65, eos_id=0, bos_id=0))
    build(folder, Vocabulary(size=63, eos_id=0, bos_id=0))


def test_more_positions_than_the_network_has_are_refused(folder: Path) -> None:
    pretrained = Pretrained(path=str(folder))
    with pytest.raises(ConfigError, match=r"seq_len=65 .* 64 positions .* at most 64"):
        pretrained.check_seq_len(pretrained.network_config(ROOMY), 65)
    pretrained.check_seq_len(pretrained.network_config(ROOMY), 64)


# -- what the task, the machine or the folder decide ---------------------------------------------


CLASSES = Head("sequence classifier", Labels(kind="one", names=("a", "b", "c")).config)


@pytest.mark.parametrize("keys", [{"num_labels": 3}, {"problem_type": "regression"}])
def test_keys_that_the_labels_decide_are_refused(folder: Path, keys: dict[str, Any]) -> None:
    (key,) = keys
    with pytest.raises(ConfigError, match=rf"network\.config\.{key} is what the task decides.*out"):
        Pretrained(path=str(folder), config=keys).network_config(ROOMY, CLASSES)
    config = Pretrained(path=str(folder)).network_config(ROOMY, CLASSES)
    assert config.num_labels == 3


@pytest.mark.parametrize("way", ["build", "skeleton"])
def test_an_attention_whose_package_is_missing_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("the package flash_attn seems to be not installed.")

    monkeypatch.setattr(PreTrainedModel, "_flash_attn_can_dispatch", missing)
    builder = Pretrained(path=str(folder), attention="flash_attention_2")
    message = r"for want of a package: .*flash_attn.* not needed where network\.attention is auto"
    arguments = {"seed": 0, "device": CPU} if way == "build" else {}
    with pytest.raises(ConfigError, match=message):
        getattr(builder, way)(ROOMY, **arguments)
    build(folder)


@pytest.mark.filterwarnings("ignore:You passed `quantization_config`:UserWarning")
def test_weights_that_are_of_few_bits_already_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "whole", hidden_size=64, intermediate_size=128)
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    network = LlamaForCausalLM.from_pretrained(
        tmp_path / "whole", quantization_config=four, device_map={"": "cpu"}
    )
    network.save_pretrained(tmp_path / "four")
    message = r"in .*four are of few bits already .*network\.quantise and network\.adapter"
    for adapter in (None, LoRA()):
        with pytest.raises(ConfigError, match=message):
            Pretrained(path=str(tmp_path / "four"), adapter=adapter).build(
                ROOMY, seed=0, device=CPU
            )
    cured = Pretrained(path=str(tmp_path / "four"), adapter=LoRA(), quantise=NF4())
    cured.build(ROOMY, seed=0, device=CPU)
    assert "14 linear layers in nf4" in cured.remarks[0]


def test_an_adapter_on_weights_of_few_bits_lies_on_the_whole_ones_as_well(tmp_path: Path) -> None:
    saved(tmp_path / "whole", hidden_size=64, intermediate_size=128)
    builder = Pretrained(path=str(tmp_path / "whole"), adapter=LoRA(), quantise=NF4())
    network = builder.build(ROOMY, seed=0, device=CPU)
    write_adapter(network, tmp_path / "run")
    network.config.save_pretrained(tmp_path / "run")
    assert "quantization_config" in (tmp_path / "run" / "config.json").read_text()
    again = build(tmp_path / "run")
    whole = build(tmp_path / "whole")  # of a fresh adapter nothing is added
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in whole.state_dict().items())


# -- networks that read more than texts -----------------------------------------------------------

TEXT = {
    **KEYS,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
    "num_local_experts": 2,
    "intermediate_size_mlp": 32,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "vision_output_dim": 32,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
}


def of_images_and_texts(kind: str, folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, text_config=dict(TEXT), vision_config=dict(VISION))
    network = AutoModelForImageTextToText.from_config(config)
    network.save_pretrained(folder)
    return network.eval()


def test_of_a_network_for_images_and_texts_the_part_for_texts_is_trained(tmp_path: Path) -> None:
    whole = of_images_and_texts("llama4", tmp_path)
    network = build(tmp_path)
    assert network.config.model_type == "llama4_text"
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(ids).logits, whole(ids).logits)
    why = Trainable(network, NextToken()).check()
    assert why == "it has no body apart from its head"
    with pytest.raises(ConfigError, match=r"has 64 embeddings and the data 65"):
        build(tmp_path, Vocabulary(size=65, eos_id=0, bos_id=0))
    pretrained = Pretrained(path=str(tmp_path))
    with pytest.raises(ConfigError, match=r"seq_len=65 is longer than the 64 positions"):
        pretrained.check_seq_len(pretrained.network_config(ROOMY), 65)


def test_one_that_is_built_whole_is_refused_and_its_part_for_texts_is_not(tmp_path: Path) -> None:
    whole = of_images_and_texts("gemma3", tmp_path / "whole")
    message = r"A gemma3 reads more than texts, .* Take a network of model_type gemma3_text"
    with pytest.raises(ConfigError, match=message):
        build(tmp_path / "whole")
    part = AutoModelForCausalLM.from_config(whole.config.text_config)
    part.save_pretrained(tmp_path / "part")
    assert build(tmp_path / "part").config.model_type == "gemma3_text"


def test_from_scratch_only_the_part_for_texts_can_be_built() -> None:
    with pytest.raises(ConfigError, match=r"gemma3 reads more .*model_type to gemma3_text"):
        Scratch(config={"model_type": "gemma3", "text_config": TEXT})
    keys = {k: v for k, v in TEXT.items() if k in vars(Gemma3TextConfig())}
    Scratch(config={"model_type": "gemma3_text", **keys}).network_config(ROOMY)
