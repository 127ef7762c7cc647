"""Whether two tokenizers give a text the same ids, and end it alike."""

from __future__ import annotations

from roots.tokenizer.tokenizer import Tokenizer


def other_tokens(theirs: Tokenizer, ours: Tokenizer) -> str:
    """Says how the tokens of a network differ from those of data; empty where they do not."""
    if ours.fingerprint == theirs.fingerprint or ours.tokens == theirs.tokens:
        return ""
    ids = range(max(ours.vocab_size, theirs.vocab_size))
    odd = next(id_ for id_ in ids if ours.tokens.get(id_) != theirs.tokens.get(id_))
    return (
        f"id {odd} is {theirs.tokens.get(odd)!r} for it and {ours.tokens.get(odd)!r} here"
        f" (fingerprints {theirs.fingerprint[:12]} of {theirs.vocab_size:,} ids,"
        f" {ours.fingerprint[:12]} of {ours.vocab_size:,})"
    )


def other_end(theirs: Tokenizer, ours: Tokenizer) -> str:
    """Says how what ends a document differs for tokenizers of the same tokens; else empty."""
    if ours.eos_id == theirs.eos_id:
        return ""
    return (
        f"a document ends with {theirs.tokens[theirs.eos_id]!r} (id {theirs.eos_id:,}) for it and"
        f" with {ours.tokens[ours.eos_id]!r} (id {ours.eos_id:,}) here"
    )
