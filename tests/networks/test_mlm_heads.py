"""Only the labelled positions meet the vocabulary: same loss, same gradients as all logits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel

from roots.batch import IGNORE
from roots.networks import MLMHead, split_mlm_head
from roots.objectives import MaskedToken, flat_places, row_places

V = 60
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": V,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTIL = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2, "vocab_size": V}
SPLIT = {
    "bert": SIZES,
    "roberta": SIZES,
    "distilbert": {**DISTIL, "dropout": 0.0, "attention_dropout": 0.0},
    "electra": {**SIZES, "embedding_size": 16},
    "albert": {**SIZES, "embedding_size": 16},
    "deberta": SIZES,
    "deberta-v2": SIZES,
    "modernbert": {k: v for k, v in SIZES.items() if "dropout" not in k},
    "eurobert": {**SIZES, "num_key_value_heads": 1},  # no transform
    "bert, not tied": {**SIZES, "tie_word_embeddings": False},
}
WHOLE = {
    "deberta-v2": {**SIZES, "legacy": False},  # multiplies by its embeddings itself
    "esm": {**SIZES, "emb_layer_norm_before": False},  # adds its bias behind the projection
    "mobilebert": {**SIZES, "embedding_size": 16, "intra_bottleneck_size": 16},
}


def build(name: str, settings: dict[str, Any], dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(name.partition(",")[0], **settings)
    network = AutoModelForMaskedLM.from_config(config).to(dtype)
    for parameter in network.parameters():  # biases and norms too, which begin as 0 and 1
        nn.init.normal_(parameter, std=0.2)
    return network


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    input_ids = torch.randint(2, V, (3, 12), generator=generator)
    labels = torch.randint(2, V, (3, 12), generator=generator)
    labels[torch.rand(3, 12, generator=generator) > 0.25] = IGNORE
    return input_ids, labels


def own(network: PreTrainedModel) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's own mean loss, and its gradients; some make it in float32 at all times."""
    input_ids, labels = batch()
    network.zero_grad()
    mask = torch.ones_like(input_ids)
    output = network(input_ids=input_ids, attention_mask=mask, labels=labels)
    loss = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
    torch.testing.assert_close(loss.float(), output.loss.float())
    loss.backward()
    return loss.detach(), gradients(network)


def gathered(
    network: PreTrainedModel, head: MLMHead, places: Tensor | None, kernel: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean loss of the labelled positions alone, and its gradients."""
    input_ids, labels = batch()
    network.zero_grad()
    mask = torch.ones_like(input_ids)
    hidden = network.base_model(input_ids=input_ids, attention_mask=mask).last_hidden_state
    score = MaskedToken(kernel=kernel).from_hidden(hidden, head, labels, places)
    assert score.n_labels == (labels != IGNORE).sum()
    loss = score.loss / score.n_labels
    loss.backward()
    return loss.detach(), gradients(network)


def gradients(network: PreTrainedModel) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def check_equal(network: Any, head: MLMHead, *, exact: bool, kernel: str = "fused") -> None:
    close = {"rtol": 1e-9, "atol": 1e-11} if exact else {"rtol": 2e-5, "atol": 2e-6}
    loss, expected = own(network)
    given = flat_places(torch.from_numpy(row_places(batch()[1].numpy())), 12)
    for places in (None, given):
        ours, found = gathered(network, head, places, kernel)
        torch.testing.assert_close(ours, loss, **close)
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], **close)


@pytest.mark.parametrize("kernel", ["fused", "plain"])
@pytest.mark.parametrize("name", SPLIT)
def test_split_heads_give_the_networks_own_loss_and_gradients(name: str, kernel: str) -> None:
    network = build(name, SPLIT[name], torch.float64)
    head, reason = split_mlm_head(network)
    assert head is not None, reason
    assert reason == ""
    assert type(head.projection) is nn.Linear
    assert head.projection.weight.shape[0] == V
    check_equal(network, head, exact=True, kernel=kernel)


@pytest.mark.parametrize("name", SPLIT)
def test_in_float32_too(name: str) -> None:
    network = build(name, SPLIT[name])
    head, reason = split_mlm_head(network)
    assert head is not None, reason
    check_equal(network, head, exact=False)


@pytest.mark.parametrize("name", WHOLE)
def test_where_the_projection_cannot_be_told_apart_the_whole_head_is_run(name: str) -> None:
    network = build(name, WHOLE[name], torch.float64)
    head, reason = split_mlm_head(network)
    assert head is not None, reason
    assert reason
    assert type(head.projection) is not nn.Linear
    check_equal(network, head, exact=True)


def test_a_network_without_a_body_of_its_own_is_not_split() -> None:
    network = build("bert", SIZES)
    network.base_model_prefix = "none"  # base_model is the network itself then
    head, reason = split_mlm_head(network)
    assert head is None
    assert reason == "it has no body apart from its head"


def test_a_head_that_looks_at_other_positions_is_not_run_on_some() -> None:
    network = build("bert", SIZES)
    network.cls.predictions.transform.register_forward_hook(
        lambda _module, _args, out: out + out.mean(1, keepdim=True)
    )
    head, reason = split_mlm_head(network)
    assert head is None
    assert reason.startswith("its logits differ from those of its head by ")


def test_the_network_is_left_as_it_was() -> None:
    network = build("bert", SIZES).train()
    names, keys = [n for n, _ in network.named_modules()], list(network.state_dict())
    head, _ = split_mlm_head(network)
    assert network.training
    assert [n for n, _ in network.named_modules()] == names
    assert list(network.state_dict()) == keys
    holder = nn.Module()
    holder.network, holder.parts = network, head
    assert len(holder.state_dict()) == len(keys)  # the parts are no modules of their holder


def test_the_parts_follow_the_network_when_it_moves_or_is_copied() -> None:
    holder = nn.Module()
    holder.network = build("bert", SIZES)
    holder.parts, _ = split_mlm_head(holder.network)
    moved = copy.deepcopy(holder).double()
    check_equal(moved.network, moved.parts, exact=True)
    with torch.no_grad():
        moved.network.cls.predictions.transform.dense.weight.zero_()
        moved.network.cls.predictions.decoder.bias.fill_(3.0)
    check_equal(moved.network, moved.parts, exact=True)
    check_equal(holder.network, holder.parts, exact=False)


# -- places ---------------------------------------------------------------------------------------


def test_places_can_be_cut_off_with_their_rows() -> None:
    labels = batch()[1]
    places = torch.from_numpy(row_places(labels.numpy(), multiple=4))
    assert places.shape[1] % 4 == 0
    for part in (slice(0, 1), slice(1, 3)):
        flat = flat_places(places[part], 12)
        expected = (labels[part].flatten() != IGNORE).nonzero().squeeze(1)
        torch.testing.assert_close(flat[flat >= 0], expected)


def test_rows_without_labels_have_no_places() -> None:
    labels = np.full((2, 5), IGNORE)
    assert row_places(labels, multiple=2).tolist() == [[-1, -1], [-1, -1]]
    labels[1, 3] = 7
    assert row_places(labels, multiple=2).tolist() == [[-1, -1], [3, -1]]


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_a_batch_without_labels_costs_nothing_and_reaches_every_weight(kernel: str) -> None:
    network = build("bert", SIZES)
    head, _ = split_mlm_head(network)
    assert head is not None
    hidden = network.base_model(input_ids=batch()[0]).last_hidden_state
    labels = torch.full((3, 12), IGNORE)
    score = MaskedToken(kernel=kernel).from_hidden(hidden, head, labels)
    assert (score.loss.item(), score.n_labels.item()) == (0.0, 0)
    score.loss.backward()
    assert all((grad == 0).all() for grad in gradients(network).values())
    assert len(gradients(network)) == len(list(network.parameters()))


def test_labels_outside_the_places_and_states_without_labels_change_nothing() -> None:
    network = build("bert", SIZES)
    head, _ = split_mlm_head(network)
    assert head is not None
    _, labels = batch()
    hidden = torch.randn(3, 12, 32, generator=torch.Generator().manual_seed(0))
    other = hidden.clone()
    other[labels == IGNORE] = 1e6
    objective = MaskedToken(label_smoothing=0.1, z_loss=1e-3)
    torch.testing.assert_close(
        objective.from_hidden(hidden, head, labels), objective.from_hidden(other, head, labels)
    )


def test_smoothing_and_z_loss_are_those_of_all_logits() -> None:
    network = build("bert", SIZES, torch.float64)
    head, _ = split_mlm_head(network)
    input_ids, labels = batch()
    hidden = network.base_model(input_ids=input_ids).last_hidden_state
    objective = MaskedToken(label_smoothing=0.1, z_loss=1e-3)
    ours = objective.from_hidden(hidden, head, labels)
    theirs = objective.from_logits(network(input_ids=input_ids).logits, labels)
    torch.testing.assert_close(ours, theirs)
    whole = objective.from_hidden(hidden, network.cls, labels)  # a head in one piece
    torch.testing.assert_close(whole, theirs)
