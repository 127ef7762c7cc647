"""Between two logged steps the host waits for nothing; at a logged step it waits once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config
from waits import Waits, counted_waits

from roots.batch import IGNORE
from roots.callbacks import Checkpoints, Samples, stability
from roots.fit import compose
from roots.objectives import NextToken

pytestmark = pytest.mark.heavy

STEPS, EVERY = 7, 3  # logged after 1, 3, 6 and 7


class Watches(L.Callback):
    """Counts the waits from the beginning of one step to the beginning of the next."""

    def __init__(self) -> None:
        self.by_step: dict[int, list[str]] = {}
        self.stack = ExitStack()
        self.waits: Waits | None = None
        self.tail = 0

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        self._turn_the_page(trainer.global_step)
        if self.waits is None:
            self.waits = self.stack.enter_context(counted_waits())
        self.waits.keep_on_host(batch.samples)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self._turn_the_page(trainer.global_step)
        self.stack.close()

    def on_exception(self, *_: Any) -> None:
        self.stack.close()

    def _turn_the_page(self, done: int) -> None:
        if self.waits is not None:
            self.by_step[done] = self.waits.found[self.tail :]
            self.tail = len(self.waits.found)


def waits_of(shards: Path, runs: Path, overrides: dict[str, Any]) -> dict[int, list[str]]:
    """Trains as on an accelerator, without validation and checkpoints; gives the waits by step."""
    stability.reading_is_free = lambda device: False
    config = tiny_config(shards, runs, max_steps=STEPS, log_every_steps=EVERY, val_every_steps=0)
    composed = compose(config, overrides)
    trainer, watches = composed.trainer, Watches()
    trainer.limit_val_batches = 0
    left_out = (Checkpoints, Samples)  # they wait, and say so: what they cost is not training
    kept = [c for c in trainer.callbacks if not isinstance(c, left_out)]
    trainer.callbacks = [watches, *kept]
    composed.fit()
    return watches.by_step


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = stability.reading_is_free
    yield
    stability.reading_is_free = before


def assert_one_wait_per_logged_step(by_step: dict[int, list[str]]) -> None:
    assert list(by_step) == list(range(1, STEPS + 1))
    expected = {step: int(step in (1, 3, 6, 7)) for step in by_step}
    assert {step: len(found) for step, found in by_step.items()} == expected, by_step
    assert {name for found in by_step.values() for name in found} <= {by_step[1][0]}
    assert "numbers" in by_step[1][0]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"trainer.precision": "bf16-true"},
        {"trainer.precision": "bf16-mixed", "model.z_loss": 1e-4},
        {"model.loss": "plain", "model.label_smoothing": 0.1, "model.z_loss": 1e-4},
        {"model.clip_norm": ".inf", "trainer.progress": True},
        {"trainer.precision": "16-mixed"},
        {"trainer.on_non_finite": "skip", "trainer.precision": "bf16-true"},
        {"trainer.callbacks": [{"class_path": "roots.callbacks.LossSpikes"}]},
    ],
)
def test_the_host_waits_once_per_logged_step_and_never_between(
    shards: Path, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    assert_one_wait_per_logged_step(waits_of(shards, tmp_path, overrides))


def test_two_ranks_wait_once_per_logged_step_too(shards: Path, tmp_path: Path) -> None:
    for by_step in run_ranks(waits_of, shards, tmp_path, {}):
        assert_one_wait_per_logged_step(by_step)


# -- the counter ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wait",
    [
        lambda t: t.sum().item(),
        lambda t: float(t[0]),
        lambda t: int(t[0]),
        lambda t: bool(t[0] > 0),
        lambda t: [0][t[0].long()],
        lambda t: t.tolist(),
        lambda t: t.numpy(),
        lambda t: t.cpu(),
        lambda t: t[t > 0],
        lambda t: t.nonzero(),
        lambda t: t.masked_select(t > 0),
        lambda t: torch.equal(t, t),
        torch.unique,
        lambda t: f"{t.sum()}",
        lambda t: torch.tensor(1.0, device=t.device),
    ],
)
def test_the_counter_finds_each_kind_of_wait_once(wait: Any) -> None:
    tensor = torch.zeros(4)
    with counted_waits() as waits:
        wait(tensor)
    assert len(waits.found) == 1, waits.found
    with counted_waits() as waits:
        waits.keep_on_host(tensor)
        tensor[0].item()
        int(tensor[1:][0])
        (tensor * 2).sum()
        torch.full_like(tensor, 1.0)
    assert waits.found == []


# -- on a real device -------------------------------------------------------------------------


class Forbids(L.Callback):
    """Makes torch raise where the host waits, from a step to the next; logged ones may."""

    def __init__(self) -> None:
        self.forbidden = 0

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        logged = trainer.logs_after(trainer.global_step + 1)
        torch.cuda.set_sync_debug_mode("default" if logged else "error")
        self.forbidden += not logged

    def on_train_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")

    on_exception = on_train_end


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_torch_finds_no_wait_between_logged_steps(shards: Path, tmp_path: Path) -> None:
    config = tiny_config(shards, tmp_path, max_steps=30, log_every_steps=10, val_every_steps=0)
    composed = compose(config, {"trainer.accelerator": "gpu", "trainer.devices": 1})
    forbids = Forbids()
    composed.trainer.callbacks = [forbids, *composed.trainer.callbacks]
    composed.fit()
    assert forbids.forbidden == 26  # of 30, all but 1, 10, 20 and 30


# -- a loss that counts nothing ---------------------------------------------------------------


def test_the_plain_loss_with_regularisers_is_that_of_the_labelled_positions() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 11, dtype=torch.float64)
    labels = torch.randint(0, 11, (3, 5))
    labels[1, 2:] = IGNORE
    logits[1, 3] = torch.inf  # what is not labelled counts for nothing, whatever it is
    objective = NextToken(label_smoothing=0.1, z_loss=1e-2, kernel="plain")
    kept = labels != IGNORE
    whole = objective.from_logits(logits, labels)
    alone = objective.from_logits(logits[kept][None], labels[kept][None])
    torch.testing.assert_close(whole.loss, alone.loss)
    assert whole.n_labels == alone.n_labels == int(kept.sum())
