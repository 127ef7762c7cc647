"""Data modules over token shards: their corpora, opened, and what those say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from roots.data.corpora import Corpora
from roots.data.lengthening_data import LengtheningData
from roots.data.mixture import Mixture
from roots.errors import ConfigError
from roots.records import Vocabulary
from roots.shards import Manifest, ShardFolder, ShardMaker, Streamed
from roots.tokenizer import Tokenizer


class CorpusData(LengtheningData):
    """Opens the corpora that are read, one or the several of a mixture.

    Args:
        shards: A folder of shards, what makes or streams one, or a mixture of them.
        seq_len: Tokens in a row.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation where a corpus has no validation
            split of its own.
        first_sequences_per_step: Rows of the first steps; 0 begins with all.
        growing_steps: Optimizer steps until then.
        first_seq_len: Tokens of a row in the first steps; 0 begins with all.
        lengthening_steps: Optimizer steps until then.

    Raises:
        ConfigError: A number that cannot work.
    """

    def __init__(
        self,
        *,
        shards: str | ShardMaker | Streamed | Mixture,
        seq_len: int,
        sequences_per_step: int,
        val_fraction: float,
        first_sequences_per_step: int,
        growing_steps: int,
        first_seq_len: int,
        lengthening_steps: int,
    ) -> None:
        super().__init__(
            seq_len=seq_len,
            sequences_per_step=sequences_per_step,
            first_sequences_per_step=first_sequences_per_step,
            growing_steps=growing_steps,
            first_seq_len=first_seq_len,
            lengthening_steps=lengthening_steps,
        )
        self.shards = shards
        if not 0 <= val_fraction < 1:
            raise ConfigError(
                f"val_fraction={val_fraction:g} is no share. Set it to at least 0 and less than 1."
            )
        self.val_fraction = val_fraction
        self.corpora = Corpora(shards, val_fraction)

    @property
    def mixture(self) -> Mixture | None:
        """What mixes several corpora; None where there is one."""
        return self.shards if isinstance(self.shards, Mixture) else None

    @property
    def path(self) -> Path:
        """The folder of shards, or the folders with commas between them."""
        return self.corpora.path

    @property
    def is_ready(self) -> bool:
        """Whether the shards are there."""
        return self.corpora.is_ready

    @property
    def made_folders(self) -> Sequence[Path]:
        """The folders of the corpora that are made of text when they are not there yet."""
        return [each.path for each in self.corpora.opened.values() if each.maker]

    @property
    def replaced(self) -> Mapping[str, tuple[Path, str]]:
        """The corpora that are there and would be made anew: by setting, with why."""
        return {
            f"data.shards.corpora.{name}" if name else "data.shards": (each.path, why)
            for name, each in self.corpora.opened.items()
            if each.maker and (why := each.maker.replaced_because())
        }

    @property
    def folder(self) -> ShardFolder:
        """The opened shards, of the first corpus where there are several."""
        return self.corpora.first.folder

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the shards were encoded with."""
        return self.corpora.tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that occur; for shards that are not there yet, as they are planned."""
        return self.corpora.vocabulary

    @property
    def fingerprint(self) -> str:
        """Changes when a token or the tokenizer changes."""
        return self.corpora.fingerprint

    @property
    def token_bytes(self) -> Int64[np.ndarray, " V"]:
        """UTF-8 bytes that each token stands for."""
        return np.asarray(self.tokenizer.byte_lengths(), dtype=np.int64)

    def card(self) -> dict[str, Any]:
        """Tells what the corpora are, from their manifests: those of a mixture by their names."""
        manifests = {name: each.folder.manifest for name, each in self.corpora.opened.items()}
        splits = {
            f"{name} {split}".strip(): {
                "documents": found.documents,
                "tokens": found.tokens,
                "bytes": found.bytes,
            }
            for name, manifest in manifests.items()
            for split, found in manifest.splits.items()
        }
        told = {name: _told(manifest) for name, manifest in manifests.items()}
        return {**super().card(), "splits": splits, "corpus": told if self.mixture else told[""]}

    def prepare_data(self) -> None:
        """Makes the shards where they are to be made; runs once per machine."""
        self.corpora.prepare()


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "source": manifest.recipe.get("source"),
        "vocab_size": manifest.vocab_size,
        "documents_read": manifest.documents_read,
        "documents_dropped": dict(manifest.documents_dropped),
    }
