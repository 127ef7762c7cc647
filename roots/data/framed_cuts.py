"""Framed rows, cut into shorter ones that have a frame of their own.

Shape letters: B rows, T tokens in a row, C pieces of a row, L = T / C tokens of a piece, W tokens
of a piece in its own frame.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from roots.batch import IGNORE
from roots.data.framed_rows import NO_DOCUMENT, Frame, Laid


def framed_length(seq_len: int, cuts: int) -> int:
    """Counts the tokens of a piece in its own frame, W.

    Two are added to those in the middle, and one to the outer ones, which have the row's.
    """
    return seq_len // cuts + min(cuts - 1, 2)


def cut(
    laid: Laid, labels: Int64[np.ndarray, "B T"], cuts: int, frame: Frame
) -> tuple[Laid, Int64[np.ndarray, "BC W"]]:
    """Cuts each row into equal pieces, and frames what a cut tears apart on both sides of it.

    So every token stays, in its order and with its label; only special ones are added.

    Args:
        laid: Full rows: the first token is a `begin`.
        labels: What was hidden in them.
        cuts: Pieces of a row, C, a divisor of T.
        frame: The special tokens.

    Returns:
        The pieces, those of a row one behind the other, and their labels. Of what is a token short,
        the outer pieces and documents that end at a cut: where documents are kept apart it is
        filled up, elsewhere it ends with two `end`, so that every row is full.
    """
    if cuts == 1:
        return laid, labels
    apart = laid.document_ids is not None
    documents = laid.document_ids if apart else np.zeros_like(labels)
    assert documents is not None
    numbers, ids, hidden = (
        values.reshape(len(labels), cuts, -1) for values in (documents, laid.input_ids, labels)
    )  # B C L
    at = _places(numbers)
    ids = _taken(at, ids, frame.begin, frame.end, frame.filler if apart else frame.end)
    hidden = _taken(at, hidden, IGNORE, IGNORE, IGNORE)
    numbers = _taken(at, numbers, numbers[..., :1], numbers[..., -1:], NO_DOCUMENT)
    if apart:
        return Laid(ids, (numbers != NO_DOCUMENT).sum(1), numbers), hidden
    return Laid(ids, np.full(len(ids), ids.shape[1])), hidden


def _places(documents: Int64[np.ndarray, "B C L"]) -> Int64[np.ndarray, "B C W"]:
    """Tells where a piece's tokens are taken from: 1 to L are its own, around them its frame.

    A 0 is its begin, L + 1 its end, L + 2 what fills it up.
    """
    _, cuts, length = documents.shape
    torn = documents[:, 1:, 0] == documents[:, :-1, -1]  # B C-1
    torn &= documents[:, 1:, 0] != NO_DOCUMENT
    begins = np.pad(torn, ((0, 0), (1, 0)))[..., None]  # B C 1
    ends = np.pad(torn, ((0, 0), (0, 1)))[..., None]
    places: Int64[np.ndarray, "B C W"]
    places = np.arange(1, framed_length(cuts * length, cuts) + 1) - begins
    places[places > length + ends] = length + 2
    return places


def _taken(
    places: Int64[np.ndarray, "B C W"],
    pieces: Int64[np.ndarray, "B C L"],
    *frame: int | Int64[np.ndarray, "B C 1"],
) -> Int64[np.ndarray, "BC W"]:
    """Takes the tokens of pieces, or what belongs to them, with begin, end and filler."""
    begin, end, filler = (np.broadcast_to(side, (*pieces.shape[:2], 1)) for side in frame)
    wide = np.concatenate([begin, pieces, end, filler], axis=2)
    taken: Int64[np.ndarray, "B C W"] = np.take_along_axis(wide, places, axis=2)
    return taken.reshape(-1, places.shape[2])
