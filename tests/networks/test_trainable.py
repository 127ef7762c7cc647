"""Which forward is run, and why: body and head apart only where that is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.batch import IGNORE, TokenBatch
from roots.errors import ConfigError
from roots.networks import Scratch, Trainable
from roots.objectives import NextToken

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 32,
    "pad_token_id": None,
}
GROUPED = {**LLAMA, "num_key_value_heads": 1}
APART = {
    "llama": LLAMA,
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50},
    "qwen3": {**GROUPED, "model_type": "qwen3", "head_dim": 16},
    "llama tied": {**LLAMA, "tie_word_embeddings": True},
}
ITS_LOGITS_DIFFER = {
    "gemma2": {**GROUPED, "model_type": "gemma2", "head_dim": 16, "final_logit_softcapping": 30.0},
    "cohere": {**LLAMA, "model_type": "cohere", "logit_scale": 0.0625},
    "granite": {**LLAMA, "model_type": "granite", "logits_scaling": 8.0},
}
MIXTRAL = {
    **GROUPED,
    "model_type": "mixtral",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "output_router_logits": True,
    "router_aux_loss_coef": 0.1,
}


def network(config: dict[str, Any]) -> PreTrainedModel:
    return Scratch(config=config).build(None, seed=1, device=torch.device("cpu"))


def a_batch() -> TokenBatch:
    tokens = torch.arange(48).view(3, 16) % 50
    labels = tokens.roll(-1, 1)
    labels[:, -1] = IGNORE
    return TokenBatch(
        input_ids=tokens,
        labels=labels,
        samples=torch.arange(3),
        step=0,
        n_bytes=torch.zeros(3, dtype=torch.long),
    )


class Spy(NextToken):
    """Remembers how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def from_hidden(self, hidden: Tensor, head: nn.Module, labels: Tensor) -> Any:
        self.asked.append("hidden")
        return super().from_hidden(hidden, head, labels)

    def from_logits(self, logits: Tensor, labels: Tensor) -> Any:
        self.asked.append("logits")
        return super().from_logits(logits, labels)


@pytest.mark.parametrize("name", APART)
def test_where_the_logits_are_the_heads_body_and_head_are_run_apart(name: str) -> None:
    spy = Spy()
    trainable = Trainable(network(APART[name]), spy)
    assert trainable.check() == trainable.own_forward_because == ""
    trainable(a_batch())
    assert spy.asked[0] == "hidden"


@pytest.mark.parametrize("name", ITS_LOGITS_DIFFER)
def test_where_the_logits_are_capped_or_scaled_the_own_forward_is_run(name: str) -> None:
    spy = Spy()
    trainable = Trainable(network(ITS_LOGITS_DIFFER[name]), spy)
    reason = trainable.check()
    assert reason == trainable.own_forward_because
    assert reason.startswith("its logits differ from those of its head by ")
    trainable(a_batch())
    assert spy.asked == ["logits"]


def test_without_its_cap_gemma2_needs_no_forward_of_its_own() -> None:
    config = {**ITS_LOGITS_DIFFER["gemma2"], "final_logit_softcapping": None}
    assert Trainable(network(config), NextToken()).check() == ""


def test_a_mixture_that_adds_a_router_loss_uses_its_own_forward() -> None:
    said = Trainable(network(MIXTRAL), NextToken()).check()
    assert said.startswith("its router adds a loss of its own, that of each micro-batch: another")
    without = network({**MIXTRAL, "output_router_logits": False})
    assert Trainable(without, NextToken()).check() == ""


def test_the_router_loss_counts_as_much_as_the_networks_own_says() -> None:
    sizes = {**GROUPED, "kv_channels": 16, "num_local_experts": 4, "num_experts_per_tok": 2}
    said = {"model_type": "jetmoe", "output_router_logits": True, "aux_loss_coef": 0.3}
    net = network({**sizes, **said}).eval()
    trainable = Trainable(net, NextToken())
    trainable.check()
    batch = a_batch()
    shifted = {"labels": batch.labels, "shift_labels": batch.labels}
    own = net(input_ids=batch.input_ids, use_cache=False, **shifted)
    score = trainable(batch)
    assert (score.loss / score.n_labels).item() == pytest.approx(own.loss.item(), rel=1e-5)
    assert own.aux_loss.item() > 0.1


def test_a_router_loss_that_a_network_does_not_have_is_refused() -> None:
    net = network(LLAMA)
    net.config.output_router_logits = True
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM has no loss that balances.*Leave it"):
        Trainable(net, NextToken()).check()


def test_a_head_of_another_width_uses_its_own_forward() -> None:
    # ELECTRA's head takes a projection of the hidden states
    config = {**LLAMA, "model_type": "electra", "embedding_size": 16, "is_decoder": True}
    trainable = Trainable(network(config), NextToken())
    assert trainable.check() == "its head does not take what its base_model gives"
    assert trainable(a_batch()).loss.isfinite()


@pytest.mark.parametrize("config", [*APART.values(), *ITS_LOGITS_DIFFER.values()])
def test_the_score_is_that_of_the_networks_own_logits(config: dict[str, Any]) -> None:
    trainable = Trainable(network(config), NextToken(z_loss=1e-3)).eval()
    trainable.check()
    batch = a_batch()
    own = NextToken(z_loss=1e-3).from_logits(
        trainable.network(batch.input_ids).logits, batch.labels
    )
    for ours, theirs in zip(trainable(batch), own, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("training", [True, False])
def test_checking_leaves_mode_weights_and_random_state(training: bool) -> None:
    trainable = Trainable(network(APART["gpt2"]), NextToken())
    trainable.train(training)
    before = {k: v.clone() for k, v in trainable.state_dict().items()}
    state = torch.get_rng_state()
    trainable.check()
    assert all(module.training is training for module in trainable.modules())
    assert all(torch.equal(before[k], v) for k, v in trainable.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not trainable.network.base_model._forward_hooks


def test_filler_rows_add_nothing() -> None:
    trainable = Trainable(network(LLAMA), NextToken())
    trainable.check()
    batch = a_batch()
    filled = replace(
        batch,
        input_ids=torch.cat([batch.input_ids, torch.zeros(2, 16, dtype=torch.long)]),
        labels=torch.cat([batch.labels, torch.full((2, 16), IGNORE)]),
        samples=torch.tensor([0, 1, 2, -1, -1]),
        n_bytes=torch.zeros(5, dtype=torch.long),
    )
    for ours, theirs in zip(trainable(filled), trainable(batch), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_no_key_value_cache_is_kept() -> None:
    trainable = Trainable(network(LLAMA), NextToken())
    assert trainable.network.config.use_cache is False
