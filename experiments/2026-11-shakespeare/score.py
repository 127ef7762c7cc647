"""The loss of a checkpoint on the whole validation text: the same procedure for both projects.

Windows of 64 characters that do not overlap, the last one shorter; every character but the first is
predicted once, from what precedes it in its window. Character ids are nanoGPT's, which
`roots.corpus.Characters` gives too.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 64
ROWS = 128

Logits = Callable[[Tensor], Tensor]


def validation_ids() -> Tensor:
    """Gives the last tenth of the text, as nanoGPT's prepare.py encodes it."""
    text = (Path(os.environ["ROOTS_DATA"]) / "tinyshakespeare.txt").read_text(encoding="utf-8")
    ids = {character: number for number, character in enumerate(sorted(set(text)))}
    return torch.tensor([ids[character] for character in text[int(len(text) * 0.9) :]])


@torch.no_grad()
def nats_per_character(logits_of: Logits, ids: Tensor) -> float:
    """Averages the cross-entropy of all characters but the first."""
    inputs, labels = ids[:-1], ids[1:]
    whole = len(inputs) // WINDOW * WINDOW
    total = 0.0
    for part in (slice(0, whole), slice(whole, None)):
        rows = inputs[part].view(-1, min(WINDOW, len(inputs[part]) or 1))
        targets = labels[part].view(rows.shape)
        for some, wanted in zip(rows.split(ROWS), targets.split(ROWS), strict=True):
            logits = logits_of(some).float()
            total += F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum").item()
    return total / len(labels)


def open_nanogpt(checkpoint: Path, clone: Path) -> tuple[Logits, int]:
    """Opens a ckpt.pt; gives what makes logits, and the number of parameters."""
    sys.path.insert(0, str(clone))
    from model import GPT, GPTConfig  # nanoGPT's

    saved = torch.load(checkpoint, weights_only=True)
    with redirect_stdout(io.StringIO()):  # it prints its size
        network = GPT(GPTConfig(**saved["model_args"])).eval()
    network.load_state_dict({k.removeprefix("_orig_mod."): v for k, v in saved["model"].items()})
    # given targets, its forward makes the logits of every position and not just of the last
    return lambda rows: network(rows, rows)[0], sum(p.numel() for p in network.parameters())


def open_roots(checkpoint: Path) -> tuple[Logits, int]:
    """Opens a checkpoint of roots, which is a Hugging Face folder."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    network = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    return lambda rows: network(input_ids=rows, use_cache=False).logits, n_parameters
