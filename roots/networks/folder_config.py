"""The configuration of a network in a folder or on the hub, checked before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from roots.errors import ConfigError, DataError
from roots.networks.base_weights import adapter_base
from roots.networks.builder import text_part
from roots.networks.checks import check_keys
from roots.networks.head import Head
from roots.networks.registered import import_classes_of
from roots.records import expanded
from roots.runs import Run, network_folder


def read_config(
    path: str,
    keys: Mapping[str, Any],
    head: Head,
    *,
    revision: str,
    trust_remote_code: bool,
    few_bits: bool,
) -> PretrainedConfig:
    """Reads the configuration of a network, of one for texts and images its part for texts.

    Args:
        path: As in `Pretrained`.
        keys: Of the configuration, to change.
        head: What is on top of the body; what it says is changed too.
        revision: As in `Pretrained`.
        trust_remote_code: As in `Pretrained`; then keys are not checked.
        few_bits: Whether weights of few bits are asked for.

    Raises:
        ConfigError: Keys that the architecture lacks or that the head decides, another head, or
            weights of few bits that were not asked for.
        DataError: There is no configuration that can be read.
        CheckpointError: It is a run's, of a class of somebody's own that cannot be imported.
    """
    folder = network_folder(path)
    _check_folder(Path(folder), expanded(path))
    run = Run(Path(folder).resolve().parent.parent)
    if run.is_one:
        import_classes_of(run, Path(folder))
    if decided := sorted({*keys} & {*head.config}):
        raise ConfigError(
            f"network.config.{decided[0]} is what the task decides: the labels of the data say it"
            f" of a {head.kind}. Leave it out."
        )
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder,
            revision=revision,
            trust_remote_code=trust_remote_code,
            **keys,
            **head.config,
        )
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if getattr(config, "quantization_config", None):
        if adapter_base(folder):  # it fits the whole weights as well
            del config.quantization_config
        elif not few_bits:
            raise ConfigError(
                f"The weights in {path} are of few bits already (quantization_config in"
                " config.json), and have no gradient. Bring the whole weights; or, where"
                " bitsandbytes made them, set network.quantise and network.adapter."
            )
    if trust_remote_code:
        return config
    head.check(type(config))
    check_keys(keys, type(config))
    return text_part(config, head)


def unreadable(path: str, error: Exception) -> ConfigError | DataError:
    """Says why a network cannot be loaded: by what lies there, or for want of a package."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    if isinstance(error, ImportError):
        return ConfigError(
            f"Cannot load a network from {path} for want of a package: {first_line} Install it; one"
            " for attention is not needed where network.attention is auto."
        )
    return DataError(
        f"Cannot load a network from {path}: {first_line}"
        " Check the path or hub name (network.path) and that it holds *.safetensors."
    )


def _check_folder(folder: Path, name: str) -> None:
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise DataError(
            f"{folder} has no config.json. Give a Hugging Face folder, such as one that"
            " `roots export` wrote."
        )
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not folder.is_dir():
        raise DataError(
            f"There is no folder {folder}. Correct network.path; where a network has moved,"
            " the runs that began with it go on by its new path."
        )
