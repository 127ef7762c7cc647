"""What a run saves it can read again, whatever a callback or data module of one's own keeps."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

import roots
from roots.data import TokenCorpus
from roots.errors import ConfigError
from roots.fit import compose
from roots.strategies.plain_state import plain_state


class Keeps(L.Callback):
    """Keeps what a class of tests' own says.

    Args:
        kind: Which.
    """

    values: dict[str, Any] = {
        "plain": {
            "best": np.float64(0.5),
            "steps": [np.int64(3), (np.float32(0.25), None)],
            "where": Path("a/b"),
            np.str_("key"): np.bool_(True),
            "tensor": torch.arange(3),
            "ordered": OrderedDict(a=np.int8(1)),
            "counted": Counter("aab"),
            "kind": torch.bfloat16,
        },
        "array": {"history": np.zeros(3)},
        "enum": {"mode": enum.Enum("Mode", "MIN MAX").MIN},  # type: ignore[attr-defined]
        "function": {"call": lambda: 1},
    }

    def __init__(self, *, kind: str) -> None:
        self.kind = kind
        self.loaded: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.values[self.kind]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = state_dict


class OwnData(TokenCorpus):
    """Remembers its arguments in Lightning's way."""

    def __init__(
        self, *, shards: str, seq_len: int, sequences_per_step: int, note: Path = Path("a/b")
    ) -> None:
        super().__init__(shards=shards, seq_len=seq_len, sequences_per_step=sequences_per_step)
        self.note = note
        self.save_hyperparameters()


def with_callback(config: dict[str, Any], kind: str) -> dict[str, Any]:
    config["trainer"] |= {"callbacks": [Keeps(kind=kind)], "max_steps": 3}
    return config


def test_numbers_of_numpy_and_paths_are_saved_plain_and_come_back(config: dict[str, Any]) -> None:
    run = compose(with_callback(config, "plain")).fit()
    torch.load(run.last().trainer_file, weights_only=True)
    again = roots.resume(run.path, {"trainer.max_steps": 4})
    again.fit()
    (loaded,) = [c.loaded for c in again.trainer.callbacks if isinstance(c, Keeps)]
    assert torch.equal(loaded.pop("tensor"), torch.arange(3))
    assert loaded == {
        "best": 0.5,
        "steps": [3, (0.25, None)],
        "where": "a/b",
        "key": True,
        "ordered": {"a": 1},
        "counted": {"a": 2, "b": 1},
        "kind": torch.bfloat16,
    }
    assert [type(loaded[name]) for name in ("best", "where", "key")] == [float, str, bool]


@pytest.mark.parametrize("kind", ["array", "enum", "function"])
@pytest.mark.parametrize("behind", [True, False])
def test_what_could_not_be_read_again_is_refused_at_the_first_save_by_its_callback(
    config: dict[str, Any], kind: str, behind: bool
) -> None:
    composed = compose(
        with_callback(config, kind),
        {"trainer.save_in_background": behind, "trainer.checkpoint_every_steps": 1},
    )
    with pytest.raises(
        ConfigError, match=r"The state of the callback .*Keeps.* holds what"
    ) as told:
        composed.fit()
    assert composed.trainer.global_step == 1
    assert "state_dict" in str(told.value)
    with pytest.raises(ConfigError, match=r"callback .*Keeps"):
        composed.trainer.save_checkpoint("own.ckpt")


def test_what_a_data_module_remembers_in_lightnings_way_is_not_saved(
    config: dict[str, Any],
) -> None:
    config["data"]["class_path"] = f"{__name__}.OwnData"
    config["trainer"]["max_steps"] = 3
    run = compose(config).fit()
    saved = torch.load(run.last().trainer_file, weights_only=True)
    assert not [name for name in saved if "datamodule" in name]
    assert roots.resume(run.path, {"trainer.max_steps": 4}).fit().last().step == 4


def test_tensors_are_left_as_they_are_and_names_of_parts_are_told() -> None:
    weight = torch.ones(2)
    found = plain_state({"state_dict": {"w": weight}, "mine": {"deep": [{"w": weight}]}})
    assert found["state_dict"]["w"] is weight
    assert found["mine"]["deep"][0]["w"] is weight
    with pytest.raises(ConfigError, match=r"^'mine' in the checkpoint holds .*: numpy"):
        plain_state({"mine": np.zeros(2)})


def test_a_checkpoint_is_saved_into_a_folder_that_is_not_there_yet(
    config: dict[str, Any], tmp_path: Path
) -> None:
    composed = compose(config, {"trainer.max_steps": 3})
    composed.fit()
    composed.trainer.save_checkpoint(tmp_path / "new" / "deep" / "x.ckpt")
    saved = torch.load(tmp_path / "new" / "deep" / "x.ckpt", weights_only=True)
    assert saved["global_step"] == 3
