"""Characters: every character is a token, as in character-level language models."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as RustTokenizer

from roots.corpus.special_tokens import END_OF_TEXT
from roots.errors import ConfigError, DataError
from roots.tokenizer import Tokenizer, TokenizerPlan

_SPECIAL = 1  # END_OF_TEXT
_SHOWN = 10


class Characters(TokenizerPlan):
    """Takes the characters of the text as the vocabulary: one token per character.

    The ids count the characters in the order of their code points; the last id is
    `<|endoftext|>`, which is eos, bos and pad. A text with another character cannot be encoded, and
    the error names the character.

    Args:
        vocab_size: Tokens at most: characters and the special token. A text has fewer or is
            refused, so that a text of many characters does not make a huge vocabulary unnoticed.
        extra_characters: Characters to have beside those of the train split, such as the ones that
            only other texts hold.

    Raises:
        ConfigError: `vocab_size` has no room for a character beside the extra ones.
    """

    def __init__(self, *, vocab_size: int = 512, extra_characters: str = "") -> None:
        least = _SPECIAL + max(len(set(extra_characters)), 1)
        if vocab_size < least:
            raise ConfigError(
                f"vocab_size={vocab_size:,} has no room for {least - _SPECIAL:,} characters and"
                f" {_SPECIAL} special token. Set vocab_size to at least {least:,}."
            )
        self.vocab_size = vocab_size
        self.extra_characters = extra_characters

    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Collects the characters of `texts`.

        Raises:
            DataError: There are more of them than `vocab_size` has room for, or none.
        """
        found = set(self.extra_characters)
        for text in texts:
            found.update(text)
        self._check(found)
        rust = _one_token_per_character(sorted(found))
        roles = dict.fromkeys(("eos_token", "bos_token", "pad_token"), END_OF_TEXT)
        return Tokenizer(definition=rust.to_str(), settings=roles)

    def planned_vocab_size(self) -> int:
        """Tells `vocab_size`."""
        return self.vocab_size

    def _check(self, found: set[str]) -> None:
        if not found:
            raise DataError("The text has no character. Give at least one text for training.")
        needed = len(found) + _SPECIAL
        if needed > self.vocab_size:
            last = "".join(sorted(found)[-_SHOWN:])
            raise DataError(
                f"The text has {len(found):,} characters (among them {last!r}), and vocab_size="
                f"{self.vocab_size:,} has room for {self.vocab_size - _SPECIAL:,}. Set vocab_size"
                f" to at least {needed:,}, or take roots.corpus.BytePairs."
            )


def _one_token_per_character(characters: list[str]) -> RustTokenizer:
    """Builds a word-level model whose words are single characters, without an unknown one."""
    rust = RustTokenizer(models.WordLevel({each: id_ for id_, each in enumerate(characters)}))
    rust.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    rust.decoder = decoders.Fuse()
    rust.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return rust
