"""Text to token ids and back, on the `tokenizers` library alone; imports no torch.

tokenizer.py  one face for every tokenizer: literal text, special ids, fingerprint
fetching.py   a tokenizer by its folder, or by a name on the Hugging Face hub
framed.py     texts and pairs of texts with the special tokens that a network expects around them
plan.py       TokenizerPlan: trains a tokenizer, or takes one
"""

from roots.tokenizer.fetching import fetch_tokenizer
from roots.tokenizer.framed import EndedFraming, Framed, Framing
from roots.tokenizer.plan import TokenizerPlan
from roots.tokenizer.tokenizer import Tokenizer

__all__ = ["EndedFraming", "Framed", "Framing", "Tokenizer", "TokenizerPlan", "fetch_tokenizer"]
