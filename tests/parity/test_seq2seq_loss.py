"""Loss and gradients of pairs equal those of transformers' own `labels=`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pairs import NETWORKS
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel

from roots.batch import IGNORE, PairBatch
from roots.errors import ConfigError
from roots.networks import SEQ2SEQ, Scratch, Seq2SeqTrainable
from roots.objectives import NextToken
from roots.records import Vocabulary

VOCABULARY = Vocabulary(size=50, eos_id=2, bos_id=0, pad_id=1)


def network_of(name: str) -> PreTrainedModel:
    builder = Scratch(config=NETWORKS[name], attention="eager")
    network = builder.build(VOCABULARY, seed=1, device=torch.device("cpu"), head=SEQ2SEQ)
    with torch.no_grad():
        for parameter in network.parameters():  # logits of a few nats, so that a scale would show
            parameter.mul_(3 if parameter.dim() > 1 and "t5" not in name else 1)
    return network.eval()  # some families drop by default


def ragged(seed: int = 1) -> PairBatch:
    """Three pairs of 7, 4 and 2 source tokens and 3, 6 and 1 target tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths, target_lengths = torch.tensor([7, 4, 2]), torch.tensor([3, 6, 1])
    ids = torch.randint(3, 50, (3, 7), generator=generator)
    labels = torch.randint(3, 50, (3, 6), generator=generator)
    mask = torch.arange(7) < lengths[:, None]
    labelled = torch.arange(6) < target_lengths[:, None]
    labels[torch.arange(3), target_lengths - 1] = VOCABULARY.eos_id
    return PairBatch(
        inputs={"input_ids": ids.where(mask, 1), "attention_mask": mask.long()},
        labels=labels.where(labelled, IGNORE),
        lengths=lengths,
        target_lengths=target_lengths,
        samples=torch.arange(3),
        step=0,
    )


def gradients(network: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def own_loss(network: PreTrainedModel, batch: PairBatch) -> Tensor:
    loss: Tensor = network(**batch.inputs, labels=batch.labels, use_cache=False).loss
    return loss * batch.n_labels


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_loss_and_gradients_are_those_of_the_networks_own_labels(name: str) -> None:
    network, batch = network_of(name), ragged()
    trainable = Seq2SeqTrainable(network, NextToken())
    trainable.check()
    score = trainable(batch)
    own = own_loss(network, batch)
    assert int(score.n_labels) == 10
    torch.testing.assert_close(score.loss, own, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(score.nats, own.detach(), rtol=1e-5, atol=1e-5)
    ours, theirs = gradients(network, score.loss), gradients(network, own)
    assert ours.keys() == theirs.keys()
    for key, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_projection_is_fused_for_every_family(name: str) -> None:
    assert Seq2SeqTrainable(network_of(name), NextToken()).check() == ""


def test_a_scale_that_nobody_announces_is_found() -> None:
    network, batch = network_of("t5"), ragged()
    trainable = Seq2SeqTrainable(network, NextToken())
    trainable.scale = 1.0
    assert "its logits differ from those of its head by" in trainable.check()
    torch.testing.assert_close(trainable(batch).loss, own_loss(network, batch))


def test_a_bias_that_a_published_marian_brings_is_in_the_loss() -> None:
    network, batch = network_of("marian"), ragged()
    network.final_logits_bias.uniform_(-1e-3, 1e-3, generator=torch.Generator().manual_seed(1))
    trainable = Seq2SeqTrainable(network, NextToken())
    assert "final_logits_bias" in trainable.check()
    torch.testing.assert_close(trainable(batch).loss, own_loss(network, batch))


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_label_smoothing_is_its_definition_in_float64(name: str) -> None:
    network, batch = network_of(name).double(), ragged()
    trainable = Seq2SeqTrainable(network, NextToken(label_smoothing=0.1))
    trainable.check()
    score = trainable(batch)
    log_p = network(**batch.inputs, labels=batch.labels, use_cache=False).logits.log_softmax(-1)
    expected = torch.zeros((), dtype=torch.float64)
    for row, length in enumerate(batch.target_lengths):
        for place in range(int(length)):
            own = log_p[row, place, batch.labels[row, place]]
            expected -= 0.9 * own + 0.1 * log_p[row, place].mean()
    torch.testing.assert_close(score.loss, expected)


@pytest.mark.parametrize("name", ["bart", "t5", "mbart"])
def test_rows_cut_apart_score_what_they_score_together(name: str) -> None:
    trainable = Seq2SeqTrainable(network_of(name), NextToken())
    trainable.check()
    whole = trainable(ragged())
    parts = [trainable(part) for part in ragged().split(1)]
    torch.testing.assert_close(sum(part.loss for part in parts), whole.loss)
    assert sum(int(part.n_labels) for part in parts) == int(whole.n_labels)


def test_a_micro_batch_is_cut_to_the_longest_of_either_side() -> None:
    first, second, third = ragged().split(1)
    assert [tuple(p.inputs["input_ids"].shape) for p in (first, second, third)] == [
        (1, 7),
        (1, 4),
        (1, 2),
    ]
    assert [tuple(p.labels.shape) for p in (first, second, third)] == [(1, 3), (1, 6), (1, 1)]
    some = ragged().only(torch.tensor([False, True, True]))
    assert tuple(some.inputs["attention_mask"].shape) == (2, 4)
    assert some.samples.tolist() == [1, 2]


def test_a_network_that_fills_nothing_up_is_refused_and_the_cure_works() -> None:
    network = network_of("bart")
    network.config.pad_token_id = None
    with pytest.raises(ConfigError, match=r"pad_token_id None and decoder_start_token_id 0") as why:
        Seq2SeqTrainable(network, NextToken()).check()
    assert "Set them in network.config" in str(why.value)
    network.config.pad_token_id = 1
    assert Seq2SeqTrainable(network, NextToken()).check() == ""


def test_a_router_loss_that_would_be_left_out_is_refused() -> None:
    network = network_of("bart")
    network.config.output_router_logits = True
    with pytest.raises(ConfigError, match=r"output_router_logits is true.*Set it to false"):
        Seq2SeqTrainable(network, NextToken()).check()


def test_a_decoder_that_reads_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("m2m_100")

    def other(labels: Any) -> Any:
        return labels.roll(1, dims=1)

    monkeypatch.setattr(network, "prepare_decoder_input_ids_from_labels", other, raising=False)
    with pytest.raises(ConfigError, match=r"reads \[0, 3, 2, 1\].*where \[4, 3, 2, 1\]"):
        Seq2SeqTrainable(network, NextToken()).check()
    monkeypatch.undo()
    assert Seq2SeqTrainable(network, NextToken()).check() == ""


@pytest.mark.parametrize("name", ["mbart", "plbart"])
def test_a_decoder_that_would_write_on_an_unknown_token_is_refused_and_the_cure_works(
    name: str,
) -> None:
    network = network_of(name)
    assert network.config.decoder_start_token_id == VOCABULARY.eos_id
    network.config.decoder_start_token_id = 0
    message = r"reads token 2 first .* decoder_start_token_id 0 to write on.* Set .*: 2 in network"
    with pytest.raises(ConfigError, match=message) as why:
        Seq2SeqTrainable(network, NextToken()).check()
    assert "t5, bart, marian or pegasus" in str(why.value)
    network.config.decoder_start_token_id = 2
    trainable = Seq2SeqTrainable(network, NextToken())
    assert trainable.check() == ""
    written = network.generate(
        input_ids=ragged().inputs["input_ids"][:1],
        decoder_start_token_id=network.config.decoder_start_token_id,
        max_new_tokens=1,
    )
    assert written[0, 0] == trainable.shifted(ragged().labels[:1])[0, 0]


def test_a_decoder_that_takes_its_input_by_place_is_refused_in_words() -> None:
    sizes = {k: v for k, v in NETWORKS["bart"].items() if k != "model_type"}
    vocabularies = {"src_vocab_size": 50, "tgt_vocab_size": 50, "pad_token_id": 1}
    config = AutoConfig.for_model("fsmt", **sizes, **vocabularies, decoder_start_token_id=2)
    network = AutoModelForSeq2SeqLM.from_config(config).eval()
    with pytest.raises(ConfigError, match=r"decoder of FSMTForConditionalGeneration reads"):
        Seq2SeqTrainable(network, NextToken()).check()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_filler_row_counts_for_nothing(name: str) -> None:
    network, batch = network_of(name), ragged()
    trainable = Seq2SeqTrainable(network, NextToken())
    trainable.check()
    batch.labels[2] = IGNORE
    with torch.no_grad():
        score = trainable(batch)
        log_p = trainable.logits(batch.inputs, trainable.shifted(batch.labels)).log_softmax(-1)
    known = batch.labels != IGNORE
    assert int(score.n_labels) == int(known.sum()) == 9
    expected = -log_p[known].gather(1, batch.labels[known][:, None]).sum()
    torch.testing.assert_close(score.loss, expected, rtol=1e-5, atol=1e-5)
