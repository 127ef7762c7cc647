"""The loss and gradients of hidden tokens are those of transformers' own masked models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_masked import ENCODERS, encoder
from torch import Tensor

from roots.batch import IGNORE, MaskedBatch, TokenBatch
from roots.networks import CAUSAL_LM, MASKED_LM, MaskedTrainable, Scratch, Trainable
from roots.networks.packing import check_packing
from roots.objectives import MaskedToken, NextToken, row_places
from roots.records import Vocabulary

VOCABULARY = Vocabulary(size=60, eos_id=3, bos_id=2, pad_id=1, mask_id=4)
T = 16


def built(kind: str, attention: str = "auto") -> MaskedTrainable:
    config = {**encoder(kind), "initializer_range": 0.2}
    network = Scratch(config=config, attention=attention).build(
        VOCABULARY, seed=1, device=torch.device("cpu"), head=MASKED_LM
    )
    trainable = MaskedTrainable(network, MaskedToken())
    assert trainable.check() == ""
    return trainable.train()


def masked_batch(
    *, lengths: list[int] | None = None, document_ids: Tensor | None = None
) -> MaskedBatch:
    generator = torch.Generator().manual_seed(3)
    lengths = lengths or [T] * 4
    ids = torch.randint(5, 60, (len(lengths), T), generator=generator)
    labels = torch.full_like(ids, IGNORE)
    for row, n in enumerate(lengths):
        hidden = torch.randperm(n, generator=generator)[: row + 1]  # ragged
        labels[row, hidden] = ids[row, hidden]
        ids[row, hidden[:1]] = 4
        ids[row, n:] = 1
    mask = (torch.arange(T) < torch.tensor(lengths)[:, None]).long()
    return MaskedBatch(
        input_ids=ids,
        labels=labels,
        samples=torch.arange(len(lengths)),
        step=0,
        n_bytes=torch.ones(len(lengths), dtype=torch.long),
        places=torch.from_numpy(row_places(labels.numpy())),
        lengths=torch.tensor(lengths),
        attention_mask=None if document_ids is not None else mask,
        document_ids=document_ids,
        is_cut=False,
    )


def gradients(trainable: Any, loss: Tensor) -> dict[str, Tensor]:
    trainable.zero_grad()
    loss.backward()
    named = trainable.network.named_parameters()
    return {n: p.grad.clone() for n, p in named if p.grad is not None}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("lengths", [[T] * 4, [16, 9, 12, 5]], ids=["full", "filled up"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_loss_and_gradients_are_transformers_own(kind: str, lengths: list[int]) -> None:
    trainable, batch = built(kind), masked_batch(lengths=lengths)
    score = trainable(batch)
    ours = gradients(trainable, score.loss / score.n_labels)
    own = trainable.network(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    )
    torch.testing.assert_close(score.nats / score.n_labels, own.loss.detach(), rtol=1e-5, atol=0)
    assert_same(ours, gradients(trainable, own.loss))


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_hits_are_the_labels_that_the_largest_logit_names(kind: str) -> None:
    trainable, batch = built(kind), masked_batch()
    logits = trainable.network(input_ids=batch.input_ids).logits
    wanted = (logits.argmax(-1) == batch.labels)[batch.labels != IGNORE].sum()
    assert trainable(batch).outputs is None  # a training step does not ask
    with torch.no_grad():
        outputs = trainable(batch).outputs
        batch.labels[batch.labels != IGNORE] = logits.argmax(-1)[batch.labels != IGNORE]
        assert trainable(batch).outputs.sum() == (batch.labels != IGNORE).sum()
    assert outputs.sum() == wanted


def test_only_hidden_tokens_go_through_the_projection() -> None:
    trainable, batch = built("bert"), masked_batch()
    seen: list[int] = []
    transform = trainable.network.cls.predictions.transform
    transform.register_forward_hook(lambda _m, _a, output: seen.append(output.shape[-2]))
    trainable.head = None
    trainable.check()
    seen.clear()
    hidden = trainable(batch)
    assert seen == [batch.places.numel()]
    assert batch.places.numel() < batch.labels.numel()
    assert hidden.n_labels == (batch.labels != IGNORE).sum()


def test_a_network_whose_head_is_not_found_runs_its_own_forward() -> None:
    trainable, batch = built("bert"), masked_batch(lengths=[16, 9, 12, 5])
    apart = trainable(batch)
    trainable.head = None
    whole = trainable(batch)
    torch.testing.assert_close(apart.nats, whole.nats, rtol=1e-5, atol=0)
    with torch.no_grad():
        assert trainable(batch).outputs.sum() == built("bert")(batch).outputs.sum()


def test_the_ids_of_a_small_vocabulary_are_in_it() -> None:
    for kind in ENCODERS:
        config = built(kind).network.config
        for key, id_ in (("pad", 1), ("bos", 2), ("eos", 3), ("cls", 2), ("sep", 3)):
            found = getattr(config, f"{key}_token_id", None)
            assert found in (id_, None), (kind, key, found)
    modern = built("modernbert").network.config
    assert (modern.cls_token_id, modern.sep_token_id, modern.pad_token_id) == (2, 3, 1)


# -- packed, as a run packs -----------------------------------------------------------------------

DOCUMENTS = torch.tensor(
    [
        [0] * 7 + [1] * 5 + [2] * 4,
        [0] * 16,
        [0] * 3 + [1] * 11 + [-1] * 2,
        [0] * 8 + [1] * 8,
    ]
)


def pieces() -> list[tuple[int, slice]]:
    found = []
    for row, numbers in enumerate(DOCUMENTS):
        for number in numbers.unique().tolist():
            if number >= 0:
                at = (numbers == number).nonzero().ravel()
                found.append((row, slice(int(at[0]), int(at[-1]) + 1)))
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_packed_rows_cost_what_their_documents_cost_alone(kind: str, attention: str) -> None:
    trainable, batch = built(kind, attention), masked_batch(document_ids=DOCUMENTS)
    batch.labels[DOCUMENTS < 0] = IGNORE
    batch = replace(batch, places=torch.from_numpy(row_places(batch.labels.numpy())))
    score = trainable(batch)
    ours = gradients(trainable, score.loss)
    alone = torch.zeros(())
    for row, part in pieces():
        ids, labels = batch.input_ids[row, part][None], batch.labels[row, part][None]
        if (labels != IGNORE).any():
            own = trainable.network(input_ids=ids, labels=labels).loss
            alone = alone + own * (labels != IGNORE).sum()
    torch.testing.assert_close(score.loss, alone, rtol=1e-5, atol=0)
    assert_same(ours, gradients(trainable, alone))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3"])
def test_documents_of_a_causal_model_cost_what_they_cost_alone(kind: str) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"intermediate_size": 48, "num_key_value_heads": 1, "head_dim": 16}
    drop = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    config = {"model_type": kind, **sizes, **(drop if kind == "gpt2" else more)}
    network = Scratch(config={**config, "initializer_range": 0.2}).build(
        VOCABULARY, seed=1, device=torch.device("cpu"), head=CAUSAL_LM
    )
    trainable = Trainable(network, NextToken())
    assert trainable.check() == ""
    check_packing(network)
    ids = masked_batch().input_ids
    labels = ids.roll(-1, 1)
    labels[:, -1] = IGNORE
    labels[:, :-1][DOCUMENTS[:, 1:] != DOCUMENTS[:, :-1]] = IGNORE
    labels[DOCUMENTS < 0] = IGNORE
    batch = TokenBatch(
        input_ids=ids,
        labels=labels,
        samples=torch.arange(4),
        step=0,
        n_bytes=torch.ones(4, dtype=torch.long),
        document_ids=DOCUMENTS,
    )
    score = trainable(batch)
    ours = gradients(trainable, score.loss)
    alone = torch.zeros(())
    for row, part in pieces():
        logits = trainable.logits(ids[row, part][None])
        alone = alone + NextToken().from_logits(logits, labels[row, part][None]).loss
    torch.testing.assert_close(score.loss, alone, rtol=1e-5, atol=0)
    assert_same(ours, gradients(trainable, alone))
