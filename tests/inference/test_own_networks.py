"""A network that a module of the user's own registers is found again by its run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import roots
from roots.cli import run as command
from roots.deployment import export
from roots.deployment.card import how_to_load
from roots.errors import CheckpointError
from roots.fit import compose
from roots.inference.finding import find
from roots.runs import Run

NETS = """
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from roots.networks import Scratch


class BagConfig(PretrainedConfig):
    model_type = "own_bag"

    def __init__(self, vocab_size=300, hidden_size=16, **others):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**others)


class BagBody(PreTrainedModel):
    config_class, base_model_prefix = BagConfig, "model"

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids=None, **others):
        seen = self.embed(input_ids)
        return BaseModelOutput(last_hidden_state=seen + 0.1 * seen.cumsum(1))


class BagLM(PreTrainedModel, GenerationMixin):
    config_class, base_model_prefix = BagConfig, "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = BagBody(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids=None, **others):
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))


AutoConfig.register("own_bag", BagConfig)
AutoModelForCausalLM.register(BagConfig, BagLM)


class Bag(Scratch):
    def __init__(self, *, hidden_size: int = 16) -> None:
        super().__init__(config={"model_type": "own_bag", "hidden_size": hidden_size})
        self.hidden_size = hidden_size
        self.attention = "eager"
"""


def forget() -> None:
    """Leaves transformers as a new process finds it."""
    sys.modules.pop("own_nets", None)
    family = CONFIG_MAPPING._extra_content.pop("own_bag", None)
    AutoModelForCausalLM._model_mapping._extra_content.pop(family, None)
    importlib.invalidate_caches()


@pytest.fixture
def fitted(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """A run of an own network, as a new process finds it."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "own_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(code))
    config["model"]["init_args"]["network"] = {"class_path": "own_nets.Bag"}
    run = compose(config).fit()
    forget()
    yield run
    forget()


def test_it_writes_is_exported_and_opened(
    fitted: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--prompt", "the cat", "--max-tokens", "4", "--temperature", "0"]
    assert command(["generate", "--run", str(fitted.path), *words]) == 0
    assert "the cat" in capsys.readouterr().out
    forget()
    exported = export(fitted.path, tmp_path / "exported")
    forget()
    module = roots.load(fitted.path, "last")
    other = AutoModelForCausalLM.from_pretrained(exported)
    ids = torch.arange(10)[None]
    assert type(other).__name__ == "BagLM"
    assert torch.equal(module.trainable.logits(ids), other(input_ids=ids).logits)


def test_its_card_says_what_to_import(fitted: Run, tmp_path: Path) -> None:
    code = how_to_load(export(fitted.path, tmp_path / "exported"))
    forget()
    names: dict[str, Any] = {}
    exec(code, names)
    assert type(names["network"]).__name__ == "BagLM"


@pytest.mark.parametrize("which", ["run", "checkpoint"])
def test_its_weights_are_trained_further(
    fitted: Run, config: dict[str, Any], tmp_path: Path, which: str
) -> None:
    last = fitted.last()
    path = str(fitted.path if which == "run" else last.path)
    init_args = {"path": path, "attention": "eager"}
    config["model"]["init_args"]["network"] = {
        "class_path": "roots.networks.Pretrained",
        "init_args": init_args,
    }
    assert compose(config).fit().last().step == last.step
    forget()
    (tmp_path / "code" / "own_nets.py").unlink()
    with pytest.raises(CheckpointError, match=r"own_nets\.Bag cannot be imported"):
        compose(config).fit()


def test_a_class_that_cannot_be_imported_is_told(fitted: Run, tmp_path: Path) -> None:
    file = tmp_path / "code" / "own_nets.py"
    file.rename(tmp_path / "own_nets.py")
    for opened in (find, roots.load):
        with pytest.raises(
            CheckpointError,
            match=r"own_nets\.Bag cannot be imported: ModuleNotFoundError.*PYTHONPATH",
        ):
            opened(fitted.path)
    (tmp_path / "own_nets.py").rename(file)
    importlib.invalidate_caches()
    assert find(fitted.path).run is not None


def test_no_code_that_lies_in_a_run_is_imported(
    fitted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code" / "own_nets.py").unlink()
    (fitted.path / "own_nets.py").write_text("raise SystemExit('code of a run was run')")
    monkeypatch.syspath_prepend(str(fitted.path))
    with pytest.raises(CheckpointError, match=r"own_nets\.Bag lies in the run's directory"):
        find(fitted.path)


def test_a_known_network_needs_no_class_of_its_run(config: dict[str, Any]) -> None:
    """It is opened by transformers alone, also where the code that trained it is gone."""
    run = compose(config).fit()
    told = run.config_file.read_text().replace("roots.networks.Scratch", "gone_nets.Mine")
    run.config_file.write_text(told)
    assert find(run.path).run is not None
