"""Modules, data and builders as somebody who reads the README would write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from roots.batch import Score, StepBatch, TokenBatch
from roots.data import TokenCorpus
from roots.modules import CausalLM
from roots.networks import NetworkBuilder, Trainable
from roots.optim import OptimizerBuilder


class Projected(Trainable):
    """A loss with a layer of its own: the states shall be told from nothing but their sum."""

    def __init__(self, network: Any, objective: Any) -> None:
        super().__init__(network, objective)
        self.proj = nn.Linear(32, 8)
        self.register_buffer("target", torch.rand(8))

    def forward(self, batch: TokenBatch) -> Score:
        score = super().forward(batch)
        apart = self.proj(self.body(batch.input_ids)) - self.target
        return score._replace(loss=score.loss + apart.pow(2).sum())


class HeadInside(CausalLM):
    """A layer where it belongs."""

    def trainable_of(self, network: Any) -> Trainable:
        return Projected(network, self.objective())


class Copied(Trainable):
    def __init__(self, network: Any, objective: Any) -> None:
        super().__init__(network, objective)
        self.proj = nn.Linear(32, 8).to("meta" if network.device.type == "meta" else "cpu")


class HeadCopied(CausalLM):
    """A layer made where the network is: on no device where that is cut."""

    def trainable_of(self, network: Any) -> Trainable:
        return Copied(network, self.objective())


class HeadOutside(CausalLM):
    """A layer where Lightning's examples have it; it may stay there where it is not trained."""

    def __init__(self, *, frozen: bool = False, **others: Any) -> None:
        super().__init__(**others)
        self.frozen = frozen
        self.proj = nn.Linear(32, 8).requires_grad_(not frozen)


class OfRows(Trainable):
    def forward(self, batch: TokenBatch) -> Score:
        """Costs 1 for each row."""
        loss = (self.body(batch.input_ids) * 0).sum() + len(batch)
        n_rows = torch.full((), len(batch), device=loss.device)
        return Score(loss=loss, nats=loss.detach(), n_labels=n_rows)


class RowLoss(CausalLM):
    """A loss of rows; `by_rows` divides a step by their number too."""

    def __init__(self, *, by_rows: bool = True, **others: Any) -> None:
        super().__init__(**others)
        self.by_rows = by_rows

    def trainable_of(self, network: Any) -> Trainable:
        return OfRows(network, self.objective())

    def n_labels_of(self, batch: StepBatch) -> Tensor:
        if not self.by_rows:
            return super().n_labels_of(batch)
        return torch.full((), len(batch), device=batch.labels.device)


class SomeParts(CausalLM):
    """A part in every other micro-batch, or in each."""

    def __init__(self, *, always: bool = False, part: str = "rare", **others: Any) -> None:
        super().__init__(**others)
        self.always = always
        self.part = part

    def trainable_of(self, network: Any) -> Trainable:
        always, part, seen = self.always, self.part, []

        class Sometimes(Trainable):
            def forward(self, batch: TokenBatch) -> Score:
                score = super().forward(batch)
                seen.append(batch)
                has = always or len(seen) % 2
                return score._replace(parts={part: score.nats} if has else {})

        return Sometimes(network, self.objective())


class Scaled(CausalLM):
    """An argument of its own."""

    def __init__(self, *, alpha: float = 1.0, **others: Any) -> None:
        super().__init__(**others)
        self.alpha = alpha


class Forgetful(CausalLM):
    """An argument that is kept under another name."""

    def __init__(self, *, alpha: float = 1.0, **others: Any) -> None:
        super().__init__(**others)
        self.beta = alpha


class Asks(TokenCorpus):
    asks = "pairs to contrast"


class Lists(TokenCorpus):
    """Pairs of tensors, as Lightning's examples have them."""

    def train_dataloader(self) -> DataLoader[Any]:
        rows = torch.arange(17).repeat(64, 1)
        return DataLoader(torch.utils.data.TensorDataset(rows[:, :-1], rows[:, 1:]), batch_size=8)


class FourBatches(TokenCorpus):
    """The right batches in a plain loader, which begins again after four."""

    def train_dataloader(self) -> DataLoader[Any]:
        ours = iter(super().train_dataloader())
        return DataLoader([next(ours) for _ in range(4)], batch_size=None)  # type: ignore[arg-type]


class NoRate(OptimizerBuilder):
    def __init__(self, *, lr: float = 0.1) -> None:
        self.lr = lr

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), lr=self.lr)

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {}

    def state_bytes(self, network: nn.Module) -> int:
        return 0


class Rate(NoRate):
    def __init__(self, *, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.learning_rate = learning_rate


class PlainModule(NetworkBuilder):
    """A network that is none of transformers'."""

    attention = "sdpa"

    def network_config(self, vocabulary: Any, head: Any = None) -> Any:
        return None

    def build(self, vocabulary: Any, *, seed: int, device: Any, head: Any = None) -> Any:
        return nn.Embedding(vocabulary.size, vocabulary.size)
