"""Text to token ids and back, on the `tokenizers` library alone; imports no torch.

tokenizer.py  one face for every tokenizer: literal text, special ids, fingerprint
fetching.py   a tokenizer by its folder, or by a name on the Hugging Face hub
framed.py     texts and pairs of texts with the special tokens that a network expects around them
sentences.py  sentences that are divided into words, and the token that begins each word
"""

from roots.tokenizer.fetching import fetch_tokenizer
from roots.tokenizer.framed import Framed, Framing
from roots.tokenizer.sentences import UNREAD, Sentence, first_tokens, words_of
from roots.tokenizer.tokenizer import Tokenizer

__all__ = [
    "UNREAD",
    "Framed",
    "Framing",
    "Sentence",
    "Tokenizer",
    "fetch_tokenizer",
    "first_tokens",
    "words_of",
]
