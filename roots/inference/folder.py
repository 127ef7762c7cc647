"""Writing a network and its tokenizer as a folder that Hugging Face's own classes open."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel

from roots.errors import CheckpointError
from roots.inference.chatting import ends_of_answers
from roots.inference.generation import eos_ids
from roots.networks import is_adapted
from roots.networks.lora import adapter_writer
from roots.networks.quiet import without_progress_bars
from roots.runs import redact_values
from roots.tokenizer import Tokenizer

CONFIGURATIONS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "adapter_base.json",
    "tokenizer_config.json",
)
C = TypeVar("C", PretrainedConfig, GenerationConfig)


def write_folder(
    network: PreTrainedModel,
    tokenizer: Tokenizer,
    folder: Path,
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes config.json, generation_config.json, *.safetensors and the tokenizer's files.

    Of a network with adapters, those alone are written, in peft's form, without its weights.

    The network is read only: a run that goes on with it finds its configuration as it was. What is
    written uses the key-value cache and names the tokenizer's eos and bos, whatever the run used;
    generation ends at the tokens that end an answer of the chat template as well.

    Args:
        network: Of any kind; it may be sharded when `state_dict` is given.
        tokenizer: What the network reads.
        folder: Filled; made if it is not there.
        state_dict: The whole weights under the network's own names, gathered from all ranks and
            perhaps of another dtype; None takes those that the network holds.

    Raises:
        CheckpointError: `state_dict` lacks weights of the network, or has others.
    """
    draft_folder(network, tokenizer, state_dict).write(folder)


@dataclass
class Draft:
    """A folder that is still to be written; of the network only its kind is asked then.

    Args:
        weights: What is written. They may be the network's own, which training changes; a copy of
            them can be put in their place.
        fill: Writes them, and what belongs to them, into a folder.
    """

    weights: dict[str, Tensor]
    fill: Callable[[dict[str, Tensor], Path], None]

    def write(self, folder: Path) -> None:
        """Fills a folder, from any thread; it is made if it is not there."""
        self.fill(self.weights, folder)
        _hide_secrets(folder)


def draft_folder(
    network: PreTrainedModel,
    tokenizer: Tokenizer,
    state_dict: Mapping[str, Tensor] | None = None,
) -> Draft:
    """Takes of a network what `write_folder` writes.

    Raises:
        CheckpointError: `state_dict` lacks weights of the network, or has others.
    """
    if is_adapted(network):
        return _draft_adapted(network, tokenizer)
    return _draft_whole(network, tokenizer, state_dict)


def _draft_whole(
    network: PreTrainedModel, tokenizer: Tokenizer, state_dict: Mapping[str, Tensor] | None
) -> Draft:
    weights = dict(network.state_dict() if state_dict is None else state_dict)
    _check_names(network, weights)
    _tie(network, weights)
    config = _told_of_tokens(copy.deepcopy(network.config), tokenizer)
    dtypes = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    # the weights may have been cast while they were gathered
    dtype = dtypes.pop() if len(dtypes) == 1 else network.dtype
    view = _view(network, config, _generation(network, tokenizer))

    def fill(weights: dict[str, Tensor], folder: Path) -> None:
        with without_progress_bars():
            view.save_pretrained(folder, state_dict=dict(weights))
        config.dtype = dtype
        config.save_pretrained(folder)
        tokenizer.save(folder)

    return Draft(weights, fill)


def _draft_adapted(network: PreTrainedModel, tokenizer: Tokenizer) -> Draft:
    write, weights = adapter_writer(network)
    config = _told_of_tokens(copy.deepcopy(network.config), tokenizer)
    config.architectures = [type(network).__name__]
    if hasattr(config, "quantization_config"):  # the adapter fits whole weights as well
        del config.quantization_config
    generation = _generation(network, tokenizer)

    def fill(weights: dict[str, Tensor], folder: Path) -> None:
        write(weights, folder)
        config.save_pretrained(folder)
        if generation is not None:
            generation.save_pretrained(folder)
        tokenizer.save(folder)

    return Draft(weights, fill)


def _hide_secrets(folder: Path) -> None:
    """Replaces secrets that came into a configuration as a path, an address or a label."""
    for name in CONFIGURATIONS:
        file = folder / name
        if not file.is_file():
            continue
        told = json.loads(file.read_text(encoding="utf-8"))
        if (hidden := redact_values(told)) != told:
            text = json.dumps(hidden, indent=2, ensure_ascii=False) + "\n"
            file.write_text(text, encoding="utf-8")


def _view(
    network: PreTrainedModel, config: PretrainedConfig, generation: GenerationConfig | None
) -> PreTrainedModel:
    """Makes a network of the same weights with other configurations.

    `save_pretrained` writes into the configuration of what it saves. Not `copy.copy`: the class
    that FSDP2 puts on a network calls its constructor then.
    """
    view: PreTrainedModel = object.__new__(type(network))
    view.__dict__.update(network.__dict__, config=config, generation_config=generation)
    return view


def _generation(network: PreTrainedModel, tokenizer: Tokenizer) -> GenerationConfig | None:
    """Gives the settings of transformers' own `generate`, in a form that can be saved.

    It ends where roots does: at an answer's end too, and where the network's own settings say.
    """
    if not network.can_generate():
        return None
    generation = _told_of_tokens(copy.deepcopy(network.generation_config), tokenizer)
    ends = sorted(eos_ids(network, tokenizer) | ends_of_answers(tokenizer))
    generation.eos_token_id = ends if len(ends) > 1 else ends[0]
    try:
        generation.validate(strict=True)
    except ValueError:  # published folders name a temperature and forget to say that they sample
        generation.do_sample = True
    return generation


def _told_of_tokens(config: C, tokenizer: Tokenizer) -> C:
    """Sets the special tokens; keeps a list of eos ids that has the tokenizer's among them."""
    config.use_cache = True
    ends = config.eos_token_id
    if not (isinstance(ends, list) and tokenizer.eos_id in ends):
        config.eos_token_id = tokenizer.eos_id
    config.bos_token_id = tokenizer.bos_id
    return config


def _check_names(network: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    own = set(network.state_dict())
    tied = {name for names in _tied(network) for name in names}
    missing, foreign = sorted(own - set(weights) - tied), sorted(set(weights) - own)
    if missing or foreign:
        raise CheckpointError(
            f"The gathered weights do not belong to this {type(network).__name__}: {len(missing):,}"
            f" are missing ({', '.join(missing[:3]) or 'none'}), {len(foreign):,} are foreign"
            f" ({', '.join(foreign[:3]) or 'none'}). Give them under the names that"
            " network.state_dict() uses, without the prefix of a wrapper."
        )


def _tie(network: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Makes weights that are one in the network one again; gathering copies each of its names."""
    for names in _tied(network):
        given = [name for name in names if name in weights]
        for name in given:
            weights[name] = weights[given[0]]


def _tied(network: PreTrainedModel) -> list[list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return [group for group in names.values() if len(group) > 1]
