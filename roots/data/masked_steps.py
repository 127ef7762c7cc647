"""Steps of rows with hidden tokens: what is hidden is a function of (seed, row, epoch)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import Dataset

from roots.batch import MaskedBatch
from roots.data.framed_cuts import cut
from roots.data.framed_rows import Frame, FramedRows, Laid
from roots.data.joined import Batches
from roots.data.lengthening import Lengthening
from roots.data.steps import Draws, LabelledBytes, Share
from roots.data.streams import Order, Stream
from roots.objectives import Key, Masker, row_places

VALIDATION_SEED = -1
"""What is hidden in a validation is the same in every run and at every step, of any seed."""


class Hider:
    """Reads rows, hides tokens of them, and makes a batch.

    Args:
        rows: The rows.
        masker: Hides.
        token_bytes: UTF-8 bytes of each token.
        frame: The special tokens around a row.
        is_cut: Whether micro-batches are cut down to their longest row.
    """

    def __init__(
        self,
        rows: FramedRows,
        masker: Masker,
        token_bytes: Int64[np.ndarray, " V"],
        *,
        frame: Frame,
        is_cut: bool,
    ) -> None:
        self.rows = rows
        self.masker = masker
        self.labelled_bytes = LabelledBytes(token_bytes)
        self.frame = frame
        self.is_cut = is_cut

    def batch(
        self,
        samples: Int64[np.ndarray, " B"],
        epochs: Int64[np.ndarray, " B"],
        *,
        seed: int,
        step: int,
        cuts: int = 1,
    ) -> MaskedBatch:
        """Makes the batch of some rows; one of -1 is filler, with nothing hidden.

        What is hidden is that of whole rows, into however many they are then cut.
        """
        laid = self.rows.lay(samples)
        filled = np.arange(laid.input_ids.shape[1]) < laid.lengths[:, None]  # B T
        filled &= samples[:, None] >= 0
        pairs = zip(samples.tolist(), epochs.tolist(), strict=True)
        keys = [Key(seed, sample, epoch) for sample, epoch in pairs]
        hidden = self.masker(laid.input_ids, keys, padding=~filled)
        multiple = self._multiple(laid, cuts)
        whole = laid._replace(input_ids=hidden.input_ids)
        laid, labels = cut(whole, hidden.labels, cuts, self.frame)
        places = row_places(labels.reshape(len(samples), -1), multiple=multiple)
        apart = laid.document_ids
        return MaskedBatch(
            input_ids=torch.from_numpy(laid.input_ids),
            labels=torch.from_numpy(labels),
            samples=torch.from_numpy(samples.repeat(cuts)),
            step=step,
            n_bytes=torch.from_numpy(self.labelled_bytes.of(labels)),
            document_ids=None if apart is None else torch.from_numpy(apart),
            cuts=cuts,
            places=torch.from_numpy(places.reshape(len(labels), -1)),
            lengths=torch.from_numpy(laid.lengths),
            attention_mask=None if apart is not None else torch.from_numpy(_mask(laid)),
            is_cut=self.is_cut,
        )

    def _multiple(self, laid: Laid, cuts: int) -> int:
        """Chooses to what the number of places is rounded, so that it rarely changes.

        Of single tokens at most `rate` of a row are hidden, and one: always the same number. Words
        vary in length, so that more may be: a quarter more is seldom reached. The pieces of a row
        share its places evenly: they are powers of two.
        """
        masking = self.masker.masking
        if self.is_cut:
            return 8
        room = laid.input_ids.shape[1] * masking.rate
        most = int(room) + 1 if masking.unit == "token" else int(1.25 * room) + 1
        step = max(8, cuts)
        return -(-most // step) * step


class MaskedSteps(Dataset[MaskedBatch]):
    """Item n is this rank's share of the n-th optimizer step, a pure function of (seed, n).

    Args:
        hider: Reads and hides.
        stream: Which row comes at which place.
        order: Which places a step has.
        share: This rank's part of them.
        seed: The run's.
        lengthening: Into how short ones the rows of a step are cut; None leaves them whole.
    """

    def __init__(
        self,
        hider: Hider,
        *,
        stream: Stream,
        order: Order,
        share: Share,
        seed: int,
        lengthening: Lengthening | None = None,
    ) -> None:
        self.hider = hider
        self.lengthening = lengthening
        self.draws = Draws(stream, order, share)
        self.seed = seed

    def samples(self, step: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a step."""
        return self.draws.of(step).samples

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""
        self.hider.rows.lay(samples)

    def __getitem__(self, step: int) -> MaskedBatch:
        """Reads the share of a step."""
        samples, epochs = self.draws.of(step)
        cuts = self.lengthening.cuts(step) if self.lengthening else 1
        return self.hider.batch(samples, epochs, seed=self.seed, step=step, cuts=cuts)


class MaskedEvaluation(Dataset[MaskedBatch]):
    """Rows of a split, in as many equal batches on every rank.

    Args:
        hider: Reads and hides.
        batches: The rows of each batch.
        share: This rank's part of one.
    """

    def __init__(self, hider: Hider, *, batches: Batches, share: Share) -> None:
        self.hider = hider
        self.batches = batches
        self.share = share

    def __len__(self) -> int:
        """Counts the batches, the same on every rank."""
        return len(self.batches)

    def samples(self, index: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a batch."""
        return np.ascontiguousarray(self.share.of(self.batches.rows(index)))

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""
        self.hider.rows.lay(samples)

    def __getitem__(self, index: int) -> MaskedBatch:
        """Reads this rank's share of a batch; rows past the end are filler."""
        mine = self.samples(index)
        epochs = np.zeros_like(mine)
        batch = self.hider.batch(mine, epochs, seed=VALIDATION_SEED, step=index)
        return replace(batch, n_read=self.batches.n_read(index))


def _mask(laid: Laid) -> Int64[np.ndarray, "B T"]:
    mask: Int64[np.ndarray, "B T"] = np.arange(laid.input_ids.shape[1]) < laid.lengths[:, None]
    return mask.astype(np.int64)
