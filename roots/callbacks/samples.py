"""Texts that the network writes while it is trained."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import lightning as L

from roots.callbacks.told import told_if_it_fails
from roots.callbacks.weight_average import weights_to_use
from roots.errors import ConfigError
from roots.inference import Sampling, generate
from roots.inference.generation import check_prompt
from roots.inference.sampling import check_amount, check_seed
from roots.runs import redact_values


class Samples(L.Callback):
    """Continues prompts every so many steps and when the run ends; prints and keeps the texts.

    Where a `WeightAverage` is used, it writes with that, as validations and what is saved do.

    Args:
        prompts: The beginnings to continue.
        every_steps: Optimizer steps between samples; 0 samples only at the end.
        max_tokens: Tokens to write for each prompt.
        temperature: Sharpness of the choice; 0 takes the likeliest token.
        top_p: Choose among the likeliest tokens that hold this share of the probability.
        seed: Decides the choices.

    Raises:
        ConfigError: There is no prompt, or a value is out of its range.
    """

    def __init__(
        self,
        *,
        prompts: list[str],
        every_steps: int = 0,
        max_tokens: int = 64,
        temperature: float = 0.8,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> None:
        if not prompts:
            raise ConfigError("Samples has no prompts. Give it at least one, or leave it out.")
        check_amount(max_tokens)
        check_seed(seed, len(prompts))
        Sampling(temperature=temperature, top_p=top_p)
        self.prompts = prompts
        self.every_steps = every_steps
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p
        self.seed = seed
        self._sampled_after = -1

    def check_module(self, module: Any) -> None:
        """Raises ConfigError when a module's network does not write texts from left to right."""
        if not module.causal:
            raise ConfigError(
                f"roots.callbacks.Samples continues prompts, and {type(module).__name__} trains no"
                " network that does. Leave it out of trainer.callbacks, or train a"
                " roots.modules.CausalLM."
            )

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises ConfigError when network or tokenizer cannot take a prompt, before a step."""
        ours: Any = trainer
        module: Any = pl_module
        for prompt in self.prompts:
            tokenizer = ours.datamodule.tokenizer
            check_prompt(module.trainable.network, tokenizer, prompt, self.max_tokens)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Samples when it is due."""
        if self.every_steps and trainer.global_step % self.every_steps == 0:
            self._sample(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Samples once more."""
        self._sample(trainer, pl_module)

    def _sample(self, trainer: Any, pl_module: Any) -> None:
        alone = trainer.strategy.builds_whole  # else all ranks are needed to run the network
        if self._sampled_after == trainer.global_step or (alone and not trainer.is_global_zero):
            return
        self._sampled_after = trainer.global_step
        trainer.strategy.reshard()  # a whole copy is of the weights that are trained
        with trainer.throughput.aside(), weights_to_use(trainer):
            texts: list[str] = []
            with told_if_it_fails(trainer, "no samples were written"):  # on all ranks, or on none
                texts = self._texts(trainer, pl_module)
            if trainer.is_global_zero and texts:
                with told_if_it_fails(trainer, "the samples were not kept"):
                    self._keep(trainer, texts)
            trainer.strategy.reshard()  # and here, perhaps, of their average

    def _texts(self, trainer: Any, pl_module: Any) -> list[str]:
        return [
            pl_module.trainable.within(
                partial(self._continue, trainer, pl_module, prompt, self.seed + index)
            )
            for index, prompt in enumerate(self.prompts)
        ]

    def _continue(self, trainer: Any, pl_module: Any, prompt: str, seed: int) -> str:
        return generate(
            pl_module.trainable.network,
            trainer.datamodule.tokenizer,
            prompt,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=seed,
        )

    def _keep(self, trainer: Any, texts: list[str]) -> None:
        step = trainer.global_step
        for prompt, text in zip(self.prompts, texts, strict=True):
            record = {"step": step, **redact_values({"prompt": prompt, "text": text})}
            trainer.run.samples.add([record])
            sys.stderr.write(f"\nsample after step {step:,}: {record['prompt']}{record['text']}\n")
