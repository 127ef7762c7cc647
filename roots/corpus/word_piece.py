"""WordPiece: BERT's tokenizer, trained on the documents of the train split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tokenizers import (
    AddedToken,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import Tokenizer as RustTokenizer

from roots.corpus.special_tokens import check_frequency
from roots.errors import ConfigError, DataError
from roots.tokenizer import Tokenizer, TokenizerPlan

PADDING, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PADDING, UNKNOWN, BEGIN, END, MASK)
PREFIX = "##"
_REPEATED = 1000


class WordPiece(TokenizerPlan):
    """Trains a WordPiece: words are cut into pieces, and those inside a word begin with `##`.

    The special tokens are BERT's: `[PAD]`, `[UNK]`, `[CLS]` (bos), `[SEP]` (eos) and `[MASK]`, with
    the ids 0 to 4. A text is framed as `[CLS] a [SEP]`, a pair as `[CLS] a [SEP] b [SEP]`. Spaces
    are not kept, so a text does not decode to itself.

    Args:
        vocab_size: Tokens in all: special tokens, characters and pieces. A small text gives fewer.
        min_frequency: How often two pieces must stand together in the text to be joined.
        lowercase: Write all letters small.
        strip_accents: Leave accents away: `é` becomes `e`.
        split_chinese: Make each Chinese character a word of its own.
        max_characters: Characters to have at most, the most frequent ones; the others are `[UNK]`.
            0 takes all of the text.

    Raises:
        ConfigError: `vocab_size` has no room for a character beside the special tokens, or a number
            is below 0.

    Source:
        Wu et al., arXiv:1609.08144, section 4.1, as BERT has it: pieces are joined by frequency,
        like byte pairs, and a word is encoded by its longest pieces, from the left.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 8192,
        min_frequency: int = 2,
        lowercase: bool = True,
        strip_accents: bool = True,
        split_chinese: bool = True,
        max_characters: int = 0,
    ) -> None:
        if vocab_size <= len(SPECIAL):
            raise ConfigError(
                f"vocab_size={vocab_size:,} has no room for a character beside the {len(SPECIAL)}"
                f" special tokens. Set vocab_size to at least {len(SPECIAL) + 1}."
            )
        check_frequency(min_frequency)
        if max_characters < 0:
            raise ConfigError(
                f"max_characters={max_characters} is no number of characters. Set it to 0 for all,"
                " or above."
            )
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.split_chinese = split_chinese
        self.max_characters = max_characters

    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Trains on `texts`; the same texts give the same tokenizer.

        The library's trainer numbers the characters in an order that changes from process to
        process, and settles ties between pieces by their numbers: so it is told them beforehand.

        Raises:
            DataError: `vocab_size` has no room for the characters of the text, or it has none.
        """
        words = self._count_words(texts)
        alphabet = self._alphabet(words)
        trained = RustTokenizer(models.WordPiece(unk_token=UNKNOWN))
        trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trained.train_from_iterator(_repeated(words), trainer=self._trainer(alphabet))
        pieces = trained.get_vocab()
        return self._tokenizer(sorted(pieces, key=lambda piece: pieces[piece]))

    def planned_vocab_size(self) -> int:
        """Tells `vocab_size`."""
        return self.vocab_size

    def _normalizer(self) -> normalizers.Normalizer:
        return normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.split_chinese,
            strip_accents=self.strip_accents,
            lowercase=self.lowercase,
        )

    def _count_words(self, texts: Iterable[str]) -> Counter[str]:
        normalizer, splitter = self._normalizer(), pre_tokenizers.BertPreTokenizer()
        words: Counter[str] = Counter()
        for text in texts:
            split = splitter.pre_tokenize_str(normalizer.normalize_str(text))
            words.update(word for word, _ in split)
        if not words:
            raise DataError("The text has no word. Give at least one text for training.")
        return words

    def _alphabet(self, words: Counter[str]) -> list[str]:
        """Lists the characters, as they begin a word and as they stand inside one."""
        seen, inside = _characters(words)
        most = self.max_characters or len(seen)
        kept = sorted(seen, key=lambda character: (-seen[character], character))[:most]
        alphabet = sorted(kept) + [f"{PREFIX}{c}" for c in sorted(inside.intersection(kept))]
        needed = len(SPECIAL) + len(alphabet)
        if needed > self.vocab_size:
            raise DataError(
                f"The text has {len(seen):,} characters, which as pieces that begin a word and that"
                f" stand inside one are {len(alphabet):,}, and vocab_size={self.vocab_size:,} has"
                f" room for {self.vocab_size - len(SPECIAL):,}. Set vocab_size to at least"
                f" {needed:,}, or max_characters to fewer, such as"
                f" {max(self.vocab_size // 4, 1):,}."
            )
        return alphabet

    def _trainer(self, alphabet: Sequence[str]) -> trainers.WordPieceTrainer:
        return trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=[*SPECIAL, *alphabet],
            limit_alphabet=0,  # what is not in the list above is left out
            continuing_subword_prefix=PREFIX,
            show_progress=False,
        )

    def _tokenizer(self, pieces: Sequence[str]) -> Tokenizer:
        vocabulary = {piece: id_ for id_, piece in enumerate(pieces)}
        rust = RustTokenizer(
            models.WordPiece(vocabulary, unk_token=UNKNOWN, continuing_subword_prefix=PREFIX)
        )
        rust.normalizer = self._normalizer()
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix=PREFIX, cleanup=False)
        rust.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
        rust.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A {END}",
            pair=f"{BEGIN} $A {END} $B:1 {END}:1",
            special_tokens=[(BEGIN, vocabulary[BEGIN]), (END, vocabulary[END])],
        )
        settings = {
            "pad_token": PADDING,
            "unk_token": UNKNOWN,
            "cls_token": BEGIN,
            "bos_token": BEGIN,
            "sep_token": END,
            "eos_token": END,
            "mask_token": MASK,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        }
        return Tokenizer(definition=rust.to_str(), settings=settings)


class _Characters(NamedTuple):
    """How often each character was seen, and which ones inside a word."""

    seen: Counter[str]
    inside: set[str]


def _characters(words: Counter[str]) -> _Characters:
    found = _Characters(Counter(), set())
    for word, count in words.items():
        for character in word:
            found.seen[character] += count
        found.inside.update(word[1:])
    return found


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Writes each word as often as it was counted."""
    for word, count in sorted(words.items()):
        for start in range(0, count, _REPEATED):
            yield f"{word} " * min(_REPEATED, count - start)
