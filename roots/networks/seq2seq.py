"""An encoder-decoder and its loss in one forward pass: the module that strategies wrap."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.batch import IGNORE, PairBatch, Score
from roots.errors import ConfigError
from roots.networks.large_states import logits_apart, logits_of_large_states
from roots.networks.root import Root
from roots.networks.task import inputs_of
from roots.networks.trainable import Objective
from roots.networks.unpacked import rows_are_unpacked

_SOME = "t5, bart, marian or pegasus"


class Seq2SeqTrainable(Root):
    """Runs encoder, decoder, head and loss inside one forward pass.

    What the decoder reads is made here and nowhere else, by the network's own rule: the labels, one
    place to the right, behind the token that the configuration names `decoder_start_token_id`.

    The loss takes the decoder's states (which a T5 with tied embeddings scales first) and the head,
    so that it may fuse the two. That is only right where the network's logits *are* head(states): a
    published Marian adds `final_logits_bias`. `check` finds out, and where they differ the
    network's own forward is used.

    Args:
        network: A `transformers` encoder-decoder with a language-model head.
        objective: Scores the labelled positions.
    """

    def __init__(self, network: PreTrainedModel, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        config = self.network.config
        config.use_cache = False
        scales = getattr(config, "scale_decoder_outputs", False)
        self.scale = config.d_model**-0.5 if scales else 1.0
        """What the network multiplies the decoder's states by before its head reads them."""
        self.own_forward_because = ""
        """Why the network's own forward is used; empty when its parts are run apart."""

    def forward(self, batch: PairBatch) -> Score:
        """Scores one micro-batch: summed loss, summed nats, number of labels."""
        objective: Objective = self.scoring(batch)
        read = self.shifted(batch.labels)  # B U
        inputs = {"attention_mask": None, **inputs_of(batch)}
        with rows_are_unpacked():
            if self.own_forward_because:
                return objective.from_logits(self.logits(inputs, read), batch.labels)
            states = self.states(inputs, read)  # B U D
        return objective.from_hidden(self.scaled(states), self.head, batch.labels)

    def shifted(self, labels: Int[Tensor, "B U"]) -> Int[Tensor, "B U"]:
        """Gives what the decoder reads so as to predict the labels."""
        padding = self.network.config.pad_token_id
        filled = labels.masked_fill(labels == IGNORE, padding)
        # mBART looks for the last token of each row: one that has none is given one, for nothing
        is_filler = (labels[:, :1] == IGNORE) & (labels == IGNORE).all(1, keepdim=True)
        filled[:, :1].masked_fill_(is_filler, int(padding == 0))
        if hasattr(self.network, "prepare_decoder_input_ids_from_labels"):
            own: Int[Tensor, "B U"] = self.network.prepare_decoder_input_ids_from_labels(filled)
            return own
        start = torch.full_like(filled[:, :1], self.network.config.decoder_start_token_id)
        return torch.cat((start, filled[:, :-1]), 1)

    def states(
        self, inputs: dict[str, Tensor | None], read: Int[Tensor, "B U"]
    ) -> Float[Tensor, "B U D"]:
        """Runs the network up to the vocabulary projection."""
        encoded = self.network.get_encoder()(**inputs).last_hidden_state  # B T D
        decoded: Float[Tensor, "B U D"] = self.network.get_decoder()(
            input_ids=read,
            encoder_hidden_states=encoded,
            encoder_attention_mask=inputs["attention_mask"],
            use_cache=False,
        ).last_hidden_state
        return decoded

    def scaled(self, states: Float[Tensor, "B U D"]) -> Float[Tensor, "B U D"]:
        """Gives what the head reads."""
        return states if self.scale == 1 else states * self.scale

    def logits(
        self, inputs: dict[str, Tensor | None], read: Int[Tensor, "B U"]
    ) -> Float[Tensor, "B U V"]:
        """Runs the network's own forward."""
        output = self.network(**inputs, decoder_input_ids=read, use_cache=False)
        logits: Float[Tensor, "B U V"] = output.logits
        return logits

    @property
    def head(self) -> nn.Module:
        """The vocabulary projection."""
        head: nn.Module = self.network.get_output_embeddings()
        return head

    @torch.no_grad()
    def check(self) -> str:
        """Compares the parts with the network's own logits, and decides which forward is run.

        As in `Trainable.check`, the states that reach the head are replaced by large ones, so that
        a scale or a cap shows with freshly drawn weights as well.

        Returns:
            Why the network's own forward is used, or an empty string.

        Raises:
            ConfigError: The network fills nothing up, or its decoder reads something else than
                `shifted` makes of the labels, or begins with another token when it writes.
        """
        config = self.network.config
        if config.pad_token_id is None or config.decoder_start_token_id is None:
            raise ConfigError(
                f"The configuration of this {config.model_type} has pad_token_id"
                f" {config.pad_token_id} and decoder_start_token_id"
                f" {config.decoder_start_token_id}, and both must be named. Set them in"
                " network.config."
            )
        if getattr(config, "output_router_logits", False):
            raise ConfigError(
                f"output_router_logits is true, and the loss that balances the experts of a"
                f" {config.model_type} is not among those that are trained here. Set it to false"
                " in network.config."
            )
        mode = self.network.training
        self.network.eval()
        try:
            self._check_shift()
            self._check_start()
            self.own_forward_because = self._difference()
        finally:
            self.network.train(mode)
        return self.own_forward_because

    def _check_start(self) -> None:
        """Compares what the decoder reads first in training with what it is given to write on."""
        config = self.network.config
        ends = config.eos_token_id
        end = ends[0] if isinstance(ends, list) else ends
        labels = torch.full((1, 2), end or 0, device=self.network.device)  # as labels end
        first = int(self.shifted(labels)[0, 0])
        if first != config.decoder_start_token_id:
            raise ConfigError(
                f"The decoder of {type(self.network).__name__} reads token {first} first while it"
                " learns, and would be given decoder_start_token_id"
                f" {config.decoder_start_token_id} to write on, which it never saw. Set"
                f" decoder_start_token_id: {first} in network.config, or take a {_SOME}."
            )

    def _check_shift(self) -> None:
        """Compares what the decoder reads with what the network's own loss lets it read."""
        labels = torch.tensor([[3, 2, 1, 4], [2, 3, IGNORE, IGNORE]], device=self.network.device)
        caught: list[Tensor] = []

        def keep(_module: nn.Module, args: tuple[Any, ...], arguments: dict[str, Any]) -> None:
            caught.append(arguments["input_ids"] if "input_ids" in arguments else args[0])

        hook = self.network.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
        try:
            self.network(input_ids=labels[:1], labels=labels[:1], use_cache=False)
            self.network(input_ids=labels[:1], labels=labels[1:], use_cache=False)
        finally:
            hook.remove()
        for own, row in zip(caught, labels, strict=True):
            ours = self.shifted(row[None])
            if not torch.equal(own, ours):
                raise ConfigError(
                    f"The decoder of {type(self.network).__name__} reads {own[0].tolist()} before"
                    f" it predicts {row.tolist()}, where {ours[0].tolist()} was expected. Take a"
                    f" {_SOME}."
                )

    def _difference(self) -> str:
        bias = getattr(self.network, "final_logits_bias", None)
        if bias is not None and bool(bias.any()):
            return "it adds a bias of its own to the logits (final_logits_bias)"
        device = self.network.get_input_embeddings().weight.device
        tokens = torch.arange(8, device=device).remainder(self.network.config.vocab_size)[None]
        mask = torch.tensor([[1] * 7 + [0]], device=device)
        inputs: dict[str, Tensor | None] = {"input_ids": tokens, "attention_mask": mask}
        own, states = logits_of_large_states(
            self.network.get_decoder(), lambda: self.logits(inputs, tokens)
        )
        if states is None:
            return "its forward does not run its decoder"
        if not torch.equal(states.received, self.states(inputs, tokens)):
            return "its forward gives its encoder or decoder other arguments"
        weight = self.head.weight  # V D
        assert isinstance(weight, Tensor)
        if weight.shape[-1] != states.given.shape[-1]:
            return "its head does not take what its decoder gives"
        return logits_apart(own, self.head(self.scaled(states.given)))
