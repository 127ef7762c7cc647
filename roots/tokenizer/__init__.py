"""Text to token ids and back, on the `tokenizers` library alone; imports no torch.

tokenizer.py         one face for every tokenizer: literal text, special ids, fingerprint
fast_pairs.py        byte-level BPE through tiktoken, where that is proved to give the same ids
settings.py          what the files beside tokenizer.json say
roles.py             which special token has which role, where those files do not say it
token_bytes.py       how many bytes of text a token stands for
fetching.py          a tokenizer by its folder, or by a name on the Hugging Face hub
comparing.py         whether two tokenizers give a text the same ids, and end it alike
framed.py            texts and pairs of texts with the special tokens that a network expects around
sentences.py         sentences that are divided into words, and the token that begins each word
question_windows.py  questions with long texts, in rows that overlap
chat.py              conversations, and which of their tokens are the assistant's
chat_template.py     conversations as text, by the tokenizer's template
plan.py              TokenizerPlan: trains a tokenizer, or takes one
"""

from roots.tokenizer.chat import Chat, Rendered, Turns
from roots.tokenizer.chat_template import Message, TemplateRefusal
from roots.tokenizer.comparing import other_end, other_tokens
from roots.tokenizer.fetching import fetch_tokenizer, tokenizer_folder
from roots.tokenizer.framed import EndedFraming, Framed, Framing
from roots.tokenizer.plan import TokenizerPlan
from roots.tokenizer.question_windows import FRAMED_BY, QuestionFraming, answer_places
from roots.tokenizer.sentences import UNREAD, Sentence, first_tokens, words_of
from roots.tokenizer.tokenizer import Tokenizer

__all__ = [
    "FRAMED_BY",
    "UNREAD",
    "Chat",
    "EndedFraming",
    "Framed",
    "Framing",
    "Message",
    "QuestionFraming",
    "Rendered",
    "Sentence",
    "TemplateRefusal",
    "Tokenizer",
    "TokenizerPlan",
    "Turns",
    "answer_places",
    "fetch_tokenizer",
    "first_tokens",
    "other_end",
    "other_tokens",
    "tokenizer_folder",
    "words_of",
]
