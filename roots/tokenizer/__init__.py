"""Text to token ids and back, on the `tokenizers` library alone; imports no torch.

tokenizer.py  one face for every tokenizer: literal text, special ids, fingerprint
fetching.py   a tokenizer by its folder, or by a name on the Hugging Face hub
framed.py     texts and pairs of texts with the special tokens that a network expects around them
chat.py       conversations, and which of their tokens are the assistant's
chat_template.py  conversations as text, by the tokenizer's template
"""

from roots.tokenizer.chat import Chat, Rendered, Turns
from roots.tokenizer.chat_template import Message, TemplateRefusal
from roots.tokenizer.fetching import fetch_tokenizer
from roots.tokenizer.framed import Framed, Framing
from roots.tokenizer.tokenizer import Tokenizer

__all__ = [
    "Chat",
    "Framed",
    "Framing",
    "Message",
    "Rendered",
    "TemplateRefusal",
    "Tokenizer",
    "Turns",
    "fetch_tokenizer",
]
