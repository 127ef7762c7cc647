"""Greedy and beam search: beside a loop without a cache, beside every target that there is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pairs import NETWORKS
from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.networks import SEQ2SEQ, Scratch, Search
from roots.records import Vocabulary

EOS, START = 2, 0


def network_of(name: str, size: int) -> PreTrainedModel:
    vocabulary = Vocabulary(size=size, eos_id=EOS, bos_id=START, pad_id=1)
    builder = Scratch(config=NETWORKS[name], attention="eager")
    network = builder.build(vocabulary, seed=2, device=torch.device("cpu"), head=SEQ2SEQ)
    with torch.no_grad():
        network.get_input_embeddings().weight.mul_(8)
    return network.eval()


def sources(size: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(3, size, (4, 6), generator=generator)
    mask = (torch.arange(6) < torch.tensor([[6], [5], [3], [2]])).long()
    return {"input_ids": ids.where(mask == 1, 1), "attention_mask": mask}


@torch.no_grad()
def argmax_loop(network: PreTrainedModel, ids: torch.Tensor, limit: int) -> list[int]:
    """Takes the likeliest token again and again, without padding and without a cache."""
    found = [START]
    while len(found) <= limit:
        read = torch.tensor([found])
        logits = network(input_ids=ids, decoder_input_ids=read, use_cache=False).logits
        found.append(int(logits[0, -1].argmax()))
        if found[-1] == EOS:
            return found[1:-1]
    return found[1:]


@pytest.mark.parametrize("name", ["bart", "t5", "marian"])
def test_greedy_is_the_argmax_of_each_row_alone(name: str) -> None:
    network, given = network_of(name, 20), sources(20)
    found = Search(beams=1, max_tokens=9)(network, given)
    for row, length in enumerate(given["attention_mask"].sum(1).tolist()):
        alone = given["input_ids"][row : row + 1, :length]
        assert found[row] == argmax_loop(network, alone, 9)


@torch.no_grad()
def best_of_all(network: PreTrainedModel, ids: torch.Tensor, size: int) -> list[int]:
    """Scores every target of one or two tokens by its whole log-probability."""
    ended = [[EOS], *([first, EOS] for first in range(size) if first != EOS)]
    scores = {}
    for target in ended:
        read = torch.tensor([[START, *target[:-1]]])
        log_p = network(input_ids=ids, decoder_input_ids=read).logits[0].log_softmax(-1)
        scores[tuple(target)] = sum(float(log_p[n, token]) for n, token in enumerate(target))
    for first, second in itertools.product(range(size), repeat=2):
        if first != EOS and second != EOS:
            read = torch.tensor([[START, first]])
            log_p = network(input_ids=ids, decoder_input_ids=read).logits[0].log_softmax(-1)
            scores[first, second] = float(log_p[0, first] + log_p[1, second])
    best = max(scores, key=lambda target: scores[target])
    return [token for token in best if token != EOS]


def test_beams_as_many_as_tokens_find_the_best_of_all_short_targets() -> None:
    size = 7
    network, given = network_of("bart", size), sources(size)
    found = Search(beams=size, length_penalty=0.0, max_tokens=2)(network, given)
    for row, length in enumerate(given["attention_mask"].sum(1).tolist()):
        alone = given["input_ids"][row : row + 1, :length]
        assert found[row] == best_of_all(network, alone, size)


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_beams_of_a_padded_batch_are_transformers_own_of_each_row(name: str) -> None:
    network, given = network_of(name, 20), sources(20)
    found = Search(beams=4, length_penalty=0.8, max_tokens=9)(network, given)
    for row, length in enumerate(given["attention_mask"].sum(1).tolist()):
        own = network.generate(
            given["input_ids"][row : row + 1, :length],
            num_beams=4,
            length_penalty=0.8,
            max_length=10,
            do_sample=False,
            use_cache=False,
        )[0, 1:].tolist()
        assert found[row] == (own[: own.index(EOS)] if EOS in own else own)


@pytest.mark.parametrize("setting", ["beams", "max_tokens"])
def test_a_search_for_nothing_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting}=0 finds nothing"):
        Search(**{setting: 0})
    Search(**{setting: 1})


@pytest.mark.parametrize("penalty", [math.nan, math.inf, -math.inf])
def test_a_penalty_that_orders_nothing_is_refused(penalty: float) -> None:
    with pytest.raises(ConfigError, match=f"length_penalty={penalty:g} leaves no order"):
        Search(beams=2, length_penalty=penalty)
    for cure in (1.0, 0.0, -0.5):
        assert Search(beams=2, length_penalty=cure).length_penalty == cure
