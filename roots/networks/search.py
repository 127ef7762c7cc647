"""What an encoder-decoder makes of sources: greedy and beam search by transformers' `generate`."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from roots.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a target is looked for, with a key-value cache and without chance.

    What a network's own `generation_config` asks for beside these (a first token, tokens that are
    forbidden) holds.

    Args:
        beams: Beginnings that are followed at once; 1 is greedy.
        length_penalty: Power of the length by which the sum of log-probabilities of a finished
            target is divided: more prefers longer ones, 0 does not care.
        max_tokens: Tokens of a target at most, the one that ends it included.
        n_best: Targets of each source that are given, the best first; at most `beams`.

    Raises:
        ConfigError: A number is not positive, there are fewer beams than targets, or
            `length_penalty` is no number.

    Source:
        The score is that of Wu et al., arXiv:1609.08144, section 7, with length**p in place of
        their lp(Y), as transformers has it.
    """

    beams: int = 1
    length_penalty: float = 1.0
    max_tokens: int = 128
    n_best: int = 1

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("beams", "max_tokens", "n_best"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name}={getattr(self, name)} finds nothing. Set it to 1 or more."
                )
        if self.n_best > self.beams:
            raise ConfigError(
                f"n_best={self.n_best} are more targets than beams={self.beams} find. Set beams to"
                f" {self.n_best} or more."
            )
        if not math.isfinite(self.length_penalty):
            raise ConfigError(
                f"length_penalty={self.length_penalty:g} leaves no order among targets. Set it to a"
                " number; 1.0 compares the means of their tokens, 0 their sums."
            )

    @torch.no_grad()
    def __call__(
        self,
        network: PreTrainedModel,
        inputs: Mapping[str, Int[Tensor, "B T"]],
        *,
        together: bool = False,
    ) -> list[list[int]]:
        """Gives the tokens of each target, without the one that ends it, `n_best` of each source.

        Args:
            network: An encoder-decoder in evaluation mode.
            inputs: What the encoder reads; rows of like length waste little.
            together: Whether all ranks are needed to run the network: all of them come here, each
                with rows of its own, and go on until the last one is done.
        """
        settings = self._settings(network)
        found = network.generate(**inputs, generation_config=settings, synced_gpus=together)
        ends = network.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        return [_until(row, ends) for row in found[:, 1:].tolist()]

    def _settings(self, network: PreTrainedModel) -> Any:
        settings = copy.deepcopy(network.generation_config)
        settings.update(
            num_beams=self.beams,
            length_penalty=self.length_penalty,
            max_length=1 + self.max_tokens,  # behind the token that the decoder starts with
            max_new_tokens=None,
            do_sample=False,
            num_return_sequences=self.n_best,
            use_cache=True,
            return_dict_in_generate=False,
        )
        return settings


def sources_of(ids: Sequence[Sequence[int]], pad_id: int) -> dict[str, Int[Tensor, "B T"]]:
    """Lays sources under each other, as an encoder reads them."""
    rows = [torch.tensor(row) for row in ids]
    padded = pad_sequence(rows, batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(row) for row in ids])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
    return {"input_ids": padded, "attention_mask": mask}


def _until(row: list[int], ends: set[int]) -> list[int]:
    return next((row[:place] for place, id_ in enumerate(row) if id_ in ends), row)
