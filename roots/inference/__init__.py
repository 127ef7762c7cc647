"""Using a network: load it, write it, continue a text.

`load` opens a run, a checkpoint or a Hugging Face folder; `tokens` is the loop with the key-value
cache; `stream` and `generate` put text around it, `chat` a conversation; `write_folder` writes what
`load` opens. `surprisals` and `attention_maps` tell how a network reads a text; `fill`
guesses its hidden tokens.
The names are imported when they are first used, because `roots --help` must not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roots.inference.attention import AttentionMaps, attention_maps
    from roots.inference.chatting import chat
    from roots.inference.filling import Guess, fill
    from roots.inference.folder import write_folder
    from roots.inference.generation import generate, stream, tokens
    from roots.inference.loading import Loaded, load
    from roots.inference.sampling import Sampling, next_token
    from roots.inference.streaming import TextStream
    from roots.inference.surprisal import ReadToken, surprisals

_HOMES = {
    "AttentionMaps": "attention",
    "Guess": "filling",
    "Loaded": "loading",
    "ReadToken": "surprisal",
    "Sampling": "sampling",
    "TextStream": "streaming",
    "attention_maps": "attention",
    "chat": "chatting",
    "fill": "filling",
    "generate": "generation",
    "load": "loading",
    "next_token": "sampling",
    "stream": "generation",
    "surprisals": "surprisal",
    "tokens": "generation",
    "write_folder": "folder",
}

__all__ = [
    "AttentionMaps",
    "Guess",
    "Loaded",
    "ReadToken",
    "Sampling",
    "TextStream",
    "attention_maps",
    "chat",
    "fill",
    "generate",
    "load",
    "next_token",
    "stream",
    "surprisals",
    "tokens",
    "write_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'roots.inference' has no attribute {name!r}")
    return getattr(import_module(f"roots.inference.{_HOMES[name]}"), name)
