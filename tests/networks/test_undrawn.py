"""What a class leaves out of its own initialisation is drawn by its constructor, not by chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from roots.errors import ConfigError
from roots.networks import CAUSAL_LM, MASKED_LM, Head, Scratch
from roots.networks.drawing import draw_by_blocks, named_tensors

CPU = torch.device("cpu")
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 120,
    "max_position_embeddings": 66,
}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 120}
FNET = {key: value for key, value in SHAPE.items() if key != "num_attention_heads"}
LEFT: dict[str, tuple[Head, dict[str, Any], str]] = {
    "openai-gpt": (CAUSAL_LM, GPT, "transformer.h.1.attn.c_attn.weight"),
    "apertus": (CAUSAL_LM, {**SHAPE, **IDS}, "model.layers.1.mlp.act_fn.alpha_p"),
    "data2vec-text": (CAUSAL_LM, {**SHAPE, "is_decoder": True}, "lm_head.bias"),
    "longformer": (MASKED_LM, {**SHAPE, "attention_window": [8, 8]}, "lm_head.bias"),
    "fnet": (MASKED_LM, {**FNET, **IDS}, "cls.predictions.bias"),
    "nystromformer": (MASKED_LM, {**SHAPE, **IDS}, "cls.predictions.bias"),
}
"""A family, and one of the tensors that its `_init_weights` does not touch."""
BIASES = ("longformer", "data2vec-text", "fnet", "nystromformer")


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds another junk with every allocation, as it may on a machine that is in use."""
    numbers = iter(range(1, 10**9))
    empty_like = torch.empty_like

    def with_junk(*args: Any, **how: Any) -> Tensor:
        made = empty_like(*args, **how)
        if not made.is_meta:
            made.data.fill_(next(numbers) % 97)  # uncounted, as memory that was there before
        return made

    monkeypatch.setattr(torch, "empty_like", with_junk)


def whole(family: str, head: Head, config: dict[str, Any], seed: int = 3) -> dict[str, Tensor]:
    builder = Scratch(config={"model_type": family, **config})
    return dict(named_tensors(builder.build(None, seed=seed, device=CPU, head=head)))


@pytest.mark.parametrize("family", LEFT)
def test_what_the_initialisation_leaves_out_is_drawn_equal_twice(family: str) -> None:
    head, config, name = LEFT[family]
    first, again = whole(family, head, config), whole(family, head, config)
    assert name in first
    assert all(torch.isfinite(t).all() for t in first.values())
    assert all(torch.equal(first[n], again[n]) for n in first)


def test_what_is_left_out_has_the_values_of_the_class() -> None:
    """By their definitions: biases of 0; the activation's learned slopes start at 0.8."""
    for family in BIASES:
        head, config, name = LEFT[family]
        assert not whole(family, head, config)[name].any(), family
    slopes = whole("apertus", *LEFT["apertus"][:2])
    for kind, target in (("alpha_p", 0.8), ("alpha_n", 0.8 - 0.5)):
        found = slopes[f"model.layers.1.mlp.act_fn.{kind}"]
        assert found.item() == pytest.approx(math.log(math.expm1(target)), rel=1e-2)
    weights = whole("openai-gpt", *LEFT["openai-gpt"][:2])
    drawn = weights["transformer.h.1.attn.c_attn.weight"]
    assert drawn.std().item() == pytest.approx(0.02, rel=5 / drawn.numel() ** 0.5)
    other = whole("openai-gpt", *LEFT["openai-gpt"][:2], seed=4)
    assert not torch.equal(other["transformer.h.1.attn.c_attn.weight"], drawn)


@pytest.mark.parametrize("family", LEFT)
def test_what_is_sharded_starts_from_the_same_weights(family: str) -> None:
    head, config, _ = LEFT[family]
    builder = Scratch(config={"model_type": family, **config})
    given: dict[str, Tensor] = {}
    keep = lambda name, tensor: given.__setitem__(name, tensor.clone())  # noqa: E731
    assert not draw_by_blocks(builder.skeleton(None, head=head), seed=3, give=keep)
    builder.fill(None, keep, seed=3, head=head)
    expected = whole(family, head, config)
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)


# -- a class of one's own -----------------------------------------------------------------------


class OwnConfig(PretrainedConfig):
    model_type = "own_recurrent"

    def __init__(
        self, vocab_size: int = 20, hidden_size: int = 8, forgets: bool = False, **others: Any
    ) -> None:
        self.vocab_size, self.hidden_size, self.forgets = vocab_size, hidden_size, forgets
        super().__init__(**others)


class OwnRecurrent(PreTrainedModel):
    """As its author would write it: torch's layers, and buffers from its constructor."""

    config_class = OwnConfig

    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.recurrent = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.register_buffer("places", torch.arange(5), persistent=False)
        self.register_buffer("seen", torch.ones(3, dtype=torch.bool))
        if config.forgets:
            self.gate = nn.Parameter(torch.empty(3))
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=self.head(self.recurrent(self.embed(input_ids))[0]))


@pytest.fixture
def _registered() -> Iterator[None]:
    AutoConfig.register(OwnConfig.model_type, OwnConfig)
    AutoModelForCausalLM.register(OwnConfig, OwnRecurrent)
    yield
    AutoModelForCausalLM._model_mapping._extra_content.pop(OwnConfig)
    CONFIG_MAPPING._extra_content.pop(OwnConfig.model_type)


@pytest.mark.usefixtures("_registered")
def test_layers_of_torch_are_drawn_as_torch_draws_them() -> None:
    """A GRU's weights are uniform within one over the root of its width."""
    first, again = (whole("own_recurrent", CAUSAL_LM, {}) for _ in range(2))
    assert all(torch.equal(first[n], again[n]) for n in first)
    recurrent = torch.cat([t.flatten() for n, t in first.items() if n.startswith("recurrent")])
    limit = 1 / 8**0.5
    assert recurrent.abs().max() <= limit
    assert recurrent.std().item() == pytest.approx(limit / 3**0.5, rel=0.1)
    assert first["places"].tolist() == [0, 1, 2, 3, 4]
    assert first["seen"].tolist() == [True, True, True]


@pytest.mark.usefixtures("_registered")
def test_a_weight_that_nobody_draws_is_refused_by_its_name() -> None:
    message = r"OwnRecurrent gives 1 of its weights no values \(gate\).* Draw them in"
    with pytest.raises(ConfigError, match=message):
        whole("own_recurrent", CAUSAL_LM, {"forgets": True})
    assert torch.get_deterministic_debug_mode() == 0
    whole("own_recurrent", CAUSAL_LM, {"forgets": False})
