"""Turning ids that come one by one into text, in pieces that never have to be taken back."""

from __future__ import annotations

from collections.abc import Sequence

from roots.tokenizer import Tokenizer

_BROKEN = "\ufffd"
_KEPT = 4
"""Ids that stay as context: a character spans at most four, a decoder looks back at one."""
_LONGEST = 16
"""Ids in the window before it is cut."""


class TextStream:
    """Decodes a growing sequence of ids; all pieces together are `tokenizer.decode` of all ids.

    Ids cannot be decoded one by one: a character may be spread over several, and a sentencepiece
    decoder drops the space before its first. So a short window of ids is decoded again with each
    new one, and what its text has gained is given out, except for what a later id may change:

    - a last U+FFFD, which may be the beginning of a character. No more than one is held back,
      since an unfinished character decodes to exactly one;
    - tokens such as `<0xE4>`. Their decoder turns a whole run of them into U+FFFD when the last
      one does not fit, so the run is held back until it ends.

    Args:
        tokenizer: Decodes.
        after: Ids whose text is known already, such as those of a prompt.
    """

    def __init__(self, tokenizer: Tokenizer, *, after: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._window = list(after)
        self._given = len(tokenizer.decode(after)) if after else 0
        self._bytes = {tokenizer.token_id(f"<0x{byte:02X}>") for byte in range(256)} - {None}
        self._cut()

    def push(self, id_: int) -> str:
        """Takes the next id; gives the text that is certain now, often none."""
        self._window.append(id_)
        if id_ in self._bytes:
            return ""
        text = self.tokenizer.decode(self._window)
        certain = len(text) - text.endswith(_BROKEN)
        piece = text[self._given : certain]
        self._given = max(self._given, certain)
        if len(self._window) > _LONGEST:
            self._cut()
        return piece

    def finish(self) -> str:
        """Gives what was held back."""
        text = self.tokenizer.decode(self._window)
        piece = text[self._given :]
        self._given = max(self._given, len(text))
        return piece

    def _cut(self) -> None:
        """Forgets the ids that no later one can touch."""
        kept = min(_KEPT, len(self._window))
        while kept < len(self._window) and self._window[-kept] in self._bytes:
            kept += 1  # a run of bytes is decoded together
        head, tail = self._window[:-kept], self._window[-kept:]
        whole = len(self.tokenizer.decode(self._window))
        length = len(self.tokenizer.decode(tail))
        # while something is held back, no character may lie across the cut
        apart = whole == self._given or len(self.tokenizer.decode(head)) + length == whole
        if head and length and apart:
            self._window = tail
            self._given -= whole - length


def pieces_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """Gives the text that is whole with each id; together they are the decoded text.

    A character of several ids is with its last one; those before have an empty piece.
    """
    stream = TextStream(tokenizer)
    pieces = [stream.push(id_) for id_ in ids]
    if pieces:
        pieces[-1] += stream.finish()
    return pieces
