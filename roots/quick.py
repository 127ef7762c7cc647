"""The three-line start: a text file in, a language model out, on the same machinery as `roots fit`.

    from roots import Model, DataLoader, Trainer
    data_loader = DataLoader('data.txt')
    model = Model()
    trainer = Trainer(model, data_loader)
    trainer.train()
    print(model.generate("Once upon a time"))

Each class holds a part of a run file; `Trainer` puts them together and calls `roots.compose`.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roots.errors import ConfigError

if TYPE_CHECKING:
    from roots.fit.compose import Composed
    from roots.runs import Run
    from roots.tokenizer import TokenizerPlan

SIZES = {
    "tiny": {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2},
    "small": {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 4},
    "medium": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4},
    "large": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6},
}
"""Llama shapes: 0.4, 1.3, 4 and 12 million parameters with 4,096 tokens; heads of 64 values."""
POSITIONS = 1024
"""Of a network that is trained from scratch, at least: what it may be asked to continue."""


class DataLoader:
    """A text, made ready to train on: tokenizer, token shards, sequences.

    Args:
        path: A text file, or a folder of .txt files.
        seq_len: Tokens in a sequence; 0 takes 256, or what a small text can fill.
        sequences_per_step: Sequences of one optimizer step.
        vocab_size: Tokens of the tokenizer, at most; 0 decides by the size of the text.
        tokenizer: The tokenizer to take, a folder or hub name, as a pretrained model needs its own;
            empty trains one.
        val_fraction: Share of the text kept for validation: its end, or its last documents.

    Raises:
        DataError: The file is missing, empty or not a text, or there is no such tokenizer.
        ConfigError: `vocab_size` beside a tokenizer, or a number that cannot work.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        seq_len: int = 0,
        sequences_per_step: int = 16,
        vocab_size: int = 0,
        tokenizer: str | Path = "",
        val_fraction: float = 0.1,
    ) -> None:
        from roots.corpus import Corpus
        from roots.sources import Text

        if tokenizer and vocab_size:
            raise ConfigError(
                f"vocab_size={vocab_size:,} beside tokenizer={str(tokenizer)!r}, which brings its"
                " own. Leave out one of the two."
            )
        _check_shape(seq_len, sequences_per_step, val_fraction)
        self.path = str(path)
        digest = hashlib.sha256(f"{Path(path).resolve()}{tokenizer}".encode()).hexdigest()[:8]
        source = Text(paths=[self.path])
        n_bytes = sum(file.stat().st_size for file in source.files())
        self.corpus = Corpus(
            source=source,
            tokenizer=_plan(str(tokenizer), vocab_size or vocabulary_for(n_bytes)),
            out=f"corpora/{Path(path).stem}-{digest}",
            val_fraction=0.0,
        )
        self.corpus.prepare()
        self.seq_len = seq_len or min(256, self._fitting_length(val_fraction))
        self.sequences_per_step = sequences_per_step
        self.val_fraction = val_fraction

    @property
    def config(self) -> dict[str, Any]:
        """The `data` part of a run file."""
        from roots.records import plain

        arguments = {
            "shards": plain(self.corpus),
            "seq_len": self.seq_len,
            "sequences_per_step": self.sequences_per_step,
            "val_fraction": self.val_fraction,
        }
        return {"class_path": "roots.data.TokenCorpus", "init_args": arguments}

    def check_tokens_of(self, pretrained: str) -> None:
        """Raises ConfigError when a pretrained model knows other tokens than the text has."""
        from roots.runs import network_folder
        from roots.shards import ShardFolder
        from roots.tokenizer import Tokenizer, fetch_tokenizer, other_tokens

        ours = Tokenizer.load(ShardFolder.open(self.corpus.folder).tokenizer_path)
        if unlike := other_tokens(fetch_tokenizer(network_folder(pretrained)), ours):
            raise ConfigError(
                f"The model {pretrained} knows other tokens than the text is made of: {unlike}."
                " Give the text its tokenizer:"
                f" DataLoader({self.path!r}, tokenizer={pretrained!r})."
            )

    def _fitting_length(self, val_fraction: float) -> int:
        """The longest sequence of which the training part holds at least four."""
        from roots.shards import ShardFolder

        n_tokens = ShardFolder.open(self.corpus.folder).shard("train").n_tokens
        return max(int(n_tokens * (1 - val_fraction)) // 4, 2)


class Model:
    """A small Llama with random weights, or the weights of a Hugging Face folder or hub name.

    Args:
        size: `tiny`, `small`, `medium` or `large`; empty takes `small`.
        pretrained: A folder or hub name to go on from; it brings its own size.
        learning_rate: Peak learning rate.

    Raises:
        ConfigError: There is no such size, or a pretrained model is to have one.
    """

    def __init__(
        self, *, size: str = "", pretrained: str = "", learning_rate: float = 2e-3
    ) -> None:
        if size and pretrained:
            raise ConfigError(
                f"size={size!r} beside pretrained={pretrained!r}, which brings its own."
                " Leave one out."
            )
        size = size or "small"
        if size not in SIZES:
            raise ConfigError(f"There is no size {size!r}. Take {', '.join(SIZES)}.")
        self.size = size
        self.pretrained = pretrained
        self.learning_rate = learning_rate
        self.composed: Composed | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The `model` part of a run file, the schedule aside."""
        optimizer = {"learning_rate": self.learning_rate}
        arguments = {
            "network": self._network(),
            "optimizer": {"class_path": "roots.optim.AdamW", "init_args": optimizer},
            "micro_batch_size": 16,
        }
        return {"class_path": "roots.modules.CausalLM", "init_args": arguments}

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 100,
        temperature: float = 0.8,
        top_p: float = 0.95,
        seed: int = 1,
    ) -> str:
        """Continues a text.

        Args:
            prompt: The beginning.
            max_tokens: Tokens to write at most.
            temperature: Sharpness of the choice; 0 takes the likeliest token.
            top_p: Choose among the likeliest tokens that hold this share of the probability.
            seed: The same seed gives the same text.

        Returns:
            The continuation, without the prompt.

        Raises:
            ConfigError: The model has no weights yet.
        """
        if self.composed is None or self.composed.model.trainable is None:
            raise ConfigError("The model is not trained yet. Call Trainer(model, data).train().")
        return self.composed.generate(
            prompt, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
        )

    def _network(self) -> dict[str, Any]:
        if self.pretrained:
            return {
                "class_path": "roots.networks.Pretrained",
                "init_args": {"path": self.pretrained},
            }
        shape = SIZES[self.size]
        heads = {"num_attention_heads": shape["hidden_size"] // 64, "tie_word_embeddings": True}
        config = {"model_type": "llama", **shape, **heads, "max_position_embeddings": POSITIONS}
        return {"class_path": "roots.networks.Scratch", "init_args": {"config": config}}


class Trainer:
    """Trains a model on a text.

    Args:
        model: The model.
        data_loader: The text.
        steps: Optimizer steps.
        name: Names the run's directory, runs/<name>/<number>.
        precision: `32`, `bf16-mixed` or `bf16-true`; `auto` takes what is fastest here.
        seed: The same seed gives the same run.
        overrides: More settings by their dotted names, as on the command line.

    Raises:
        ConfigError: `steps` is none.
    """

    def __init__(
        self,
        model: Model,
        data_loader: DataLoader,
        *,
        steps: int = 300,
        name: str = "quick",
        precision: str = "auto",
        seed: int = 1,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise ConfigError(f"steps={steps!r} is no number of steps. Set it to 1 or more.")
        self.model = model
        self.data_loader = data_loader
        self.steps = steps
        self.name = name
        self.precision = precision
        self.seed = seed
        self.overrides = overrides or {}

    @property
    def config(self) -> dict[str, Any]:
        """The whole run file."""
        warmup = {"warmup_steps": min(20, self.steps // 10)}
        schedule = {"class_path": "roots.optim.WarmupCosine", "init_args": warmup}
        model = self.model.config
        model["init_args"]["schedule"] = schedule
        shape = model["init_args"]["network"]["init_args"].get("config")
        if shape and self.data_loader.seq_len > POSITIONS:
            shape["max_position_embeddings"] = self.data_loader.seq_len
        return {
            "name": self.name,
            "seed": self.seed,
            "model": model,
            "data": self.data_loader.config,
            "trainer": {
                "max_steps": self.steps,
                "val_every_steps": max(self.steps // 5, 1),
                "precision": self.precision,
            },
        }

    def train(self) -> Run:
        """Trains from the beginning; the model can then generate. Gives the run's directory.

        Raises:
            ConfigError: A pretrained model knows other tokens than the text is made of.
        """
        from roots.fit import compose

        if self.model.pretrained:
            self.data_loader.check_tokens_of(self.model.pretrained)
        if self.model.composed and (before := self.model.composed.trainer.run):
            on = f"roots.resume({str(before.path)!r}, {{'trainer.max_steps': …}}).fit()"
            sys.stderr.write(f"This model was trained before, and starts anew. To go on: {on}\n")
        self.model.composed = compose(self.config, self.overrides)
        return self.model.composed.fit()


def _check_shape(seq_len: int, sequences_per_step: int, val_fraction: float) -> None:
    """Raises ConfigError for a number that cannot work, before the text is read."""
    if seq_len != 0 and seq_len < 2:
        raise ConfigError(
            f"seq_len={seq_len} is no length of a sequence. Set it to 2 or more, or to 0 for what"
            " fits the text."
        )
    if sequences_per_step < 1:
        raise ConfigError(
            f"sequences_per_step={sequences_per_step} is too small. Set it to 1 or more."
        )
    if not 0 <= val_fraction < 1:
        raise ConfigError(
            f"val_fraction={val_fraction:g} is no share. Set it to at least 0 and less than 1."
        )


def _plan(tokenizer: str, vocab_size: int) -> TokenizerPlan:
    from roots.corpus import BytePairs, Existing
    from roots.runs import network_folder
    from roots.tokenizer import tokenizer_folder

    if not tokenizer:
        return BytePairs(vocab_size=vocab_size)
    return Existing(path=str(tokenizer_folder(network_folder(tokenizer))))


def vocabulary_for(n_bytes: int) -> int:
    """Chooses a vocabulary size: about one token per 250 bytes of text, 300 to 4,096."""
    return min(max(n_bytes // 250, 300), 4096)
