"""Loss and gradients of a micro-batch equal those of transformers' own loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roots.batch import IGNORE, TokenBatch
from roots.networks import Scratch, Trainable
from roots.objectives import NextToken

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 32,
    "pad_token_id": None,
    "initializer_range": 0.2,  # logits of a few nats, so that a wrong cap or scale would show
    "attention_dropout": 0.0,
}
CONFIGS = {
    "llama": LLAMA,
    "llama tied": {**LLAMA, "tie_word_embeddings": True},
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": 50,
        "initializer_range": 0.2,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    },
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 8},
    "gemma2": {**LLAMA, "model_type": "gemma2", "head_dim": 8, "final_logit_softcapping": 2.0},
    "granite": {**LLAMA, "model_type": "granite", "logits_scaling": 8.0},
    "mixtral": {
        **LLAMA,
        "model_type": "mixtral",
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "output_router_logits": True,
        "router_aux_loss_coef": 0.5,
    },
}


def trainable(name: str) -> Trainable:
    network = Scratch(config=CONFIGS[name]).build(None, seed=1, device=torch.device("cpu"))
    made = Trainable(network, NextToken())
    made.check()
    return made.train()


def tokens() -> Tensor:
    return torch.randint(0, 50, (3, 16), generator=torch.Generator().manual_seed(0))


def a_batch(ids: Tensor) -> TokenBatch:
    """Labels by hand: that of position t is the token at t + 1; the last has none."""
    labels = torch.full_like(ids, IGNORE)
    labels[:, :-1] = ids[:, 1:]
    n_rows = len(ids)
    return TokenBatch(
        input_ids=ids,
        labels=labels,
        samples=torch.arange(n_rows),
        step=0,
        n_bytes=torch.zeros(n_rows, dtype=torch.long),
    )


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_and_gradients_are_transformers_own(name: str) -> None:
    module, ids = trainable(name), tokens()
    score = module(a_batch(ids))
    (score.loss / score.n_labels).backward()
    ours = gradients(module.network)
    module.zero_grad()

    output: Any = module.network(input_ids=ids, labels=ids)
    output.loss.backward()
    theirs = gradients(module.network)

    assert score.n_labels.item() == 3 * 15
    expected = output.loss.item() * 3 * 15
    assert score.loss.item() == pytest.approx(expected, rel=1e-6)
    assert ours.keys() == theirs.keys() == dict(module.network.named_parameters()).keys()
    for key in ours:
        scale = theirs[key].abs().max().item()
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-5 * scale, msg=key)


def test_the_routers_loss_is_in_the_loss_and_not_in_the_nats() -> None:
    module, ids = trainable("mixtral"), tokens()
    score = module(a_batch(ids))
    output: Any = module.network(input_ids=ids, labels=ids)
    aux = 0.5 * output.aux_loss.item()
    assert aux > 0.1
    mean_loss, mean_nats = (x.item() / 45 for x in (score.loss, score.nats))
    assert mean_loss - mean_nats == pytest.approx(aux, rel=1e-5)
    assert mean_nats == pytest.approx(output.loss.item() - aux, rel=1e-5)


def test_the_cap_of_gemma2_is_its_definition() -> None:
    module, ids = trainable("gemma2"), tokens()
    hidden = module.body(ids)
    capped = 2.0 * torch.tanh(module.head(hidden).double() / 2.0)
    nats = -capped.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None]).sum()
    assert module(a_batch(ids)).nats.item() == pytest.approx(nats.item(), rel=1e-6)
    assert capped.abs().max() > 1  # the cap is felt


def test_labels_left_out_are_left_out_of_transformers_mean() -> None:
    module, ids = trainable("llama"), tokens()
    theirs = ids.clone()
    theirs[0, 5:] = theirs[2, 1:9] = IGNORE
    batch = a_batch(ids)
    batch.labels[:, :-1][theirs[:, 1:] == IGNORE] = IGNORE
    score = module(batch)
    mean = module.network(input_ids=ids, labels=theirs).loss.item()
    assert (score.loss / score.n_labels).item() == pytest.approx(mean, rel=1e-6)
