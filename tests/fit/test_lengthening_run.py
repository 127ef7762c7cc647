"""Runs whose rows get longer: the loss by definition, a resume, what is compiled."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from test_resume import interrupted, numbers, rows_of
from tiny import tiny_config
from torch import Tensor

from roots.data import Windows
from roots.fit import compose
from roots.fit.compose import resumed

pytestmark = pytest.mark.heavy

LENGTHENS = {"first_seq_len": 4, "lengthening_steps": 4}  # 4, 4, 8, 8, then 16


def lengthening_config(shards: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    config = tiny_config(shards, runs, **trainer)
    config["data"]["init_args"] |= LENGTHENS
    return config


class ByDefinition(L.Callback):
    """Works out each step's loss: every short row read alone, in float64, from the whole rows."""

    def __init__(self, lengths: list[int], windows: Windows) -> None:
        self.lengths = lengths
        self.windows = windows
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, _: int) -> None:
        network = copy.deepcopy(module.trainable.network).double().eval()
        samples = batch.samples.unique().numpy()
        inputs, labels = map(torch.from_numpy, self.windows.read(samples))
        documents = torch.from_numpy(self.windows.document_ids(samples))
        nats, n_labels = 0.0, 0
        for row in range(len(samples)):
            for part in self._parts(self.lengths[batch.step], documents[row]):
                nats += self._nats(network, inputs[row, part], labels[row, part])
                n_labels += int((labels[row, part] != -100).sum())
        self.losses.append(nats / n_labels)

    def _parts(self, length: int, documents: Tensor) -> list[slice]:
        """The pieces of a row that see nothing of each other."""
        ends = {n for n in range(1, len(documents)) if n % length == 0}
        if self.windows.apart:
            ends |= {n for n in range(1, len(documents)) if documents[n] != documents[n - 1]}
        cuts = [0, *sorted(ends), len(documents)]
        return [slice(a, b) for a, b in pairwise(cuts)]

    @torch.no_grad()
    def _nats(self, network: Any, inputs: Tensor, labels: Tensor) -> float:
        logs = network(input_ids=inputs[None]).logits[0].log_softmax(-1)
        return -sum(float(logs[n, label]) for n, label in enumerate(labels.tolist()) if label >= 0)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_steps_loss_is_that_of_its_short_rows_each_read_alone(
    shards: Path, tmp_path: Path, together: bool, kind: str
) -> None:
    config = lengthening_config(shards, tmp_path)
    config["data"]["init_args"]["attend_across_documents"] = together
    if kind == "gpt2":  # learned positions, which begin anew in each row
        small = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
        dropout = dict.fromkeys(["attn_pdrop", "resid_pdrop", "embd_pdrop"], 0.0)
        network = {"model_type": "gpt2", **small, **dropout}
        config["model"]["init_args"]["network"]["init_args"]["config"] = network
    composed = compose(config)
    defined = ByDefinition([4, 4, 8, 8, 16, 16], composed.data.sequences("train"))
    composed.trainer.callbacks.append(defined)
    losses = [float(row["train/loss"]) for row in rows_of(composed.fit())]
    assert losses == pytest.approx(defined.losses, rel=2e-6)


@pytest.mark.parametrize(
    "after", [2, *(pytest.param(after, marks=pytest.mark.slow) for after in (1, 3, 4, 5))]
)
def test_resuming_across_a_change_gives_bitwise_the_uninterrupted_run(
    shards: Path, tmp_path: Path, after: int
) -> None:
    every = {"checkpoint_every_steps": 1}
    whole = compose(lengthening_config(shards, tmp_path / "whole", **every)).fit()
    run = interrupted(lengthening_config(shards, tmp_path / "cut", **every), after)
    composed, changes = resumed(str(run.path), {}, [])
    assert changes == []
    composed.fit()
    assert numbers(rows_of(run)) == numbers(rows_of(whole))


def test_how_rows_get_longer_may_change_in_a_resumed_run(shards: Path, tmp_path: Path) -> None:
    """The text behind a step is the same at every length."""
    plain = compose(tiny_config(shards, tmp_path / "plain")).fit()
    run = interrupted(lengthening_config(shards, tmp_path / "cut", checkpoint_every_steps=1), 3)
    flags = ["--data.first_seq_len=8", "--data.lengthening_steps=5"]
    composed, changes = resumed(str(run.path), {}, flags)
    assert len(changes) == 2
    composed.fit()
    rows = rows_of(run)
    assert [float(row["train/seq_len"]) for row in rows] == [4, 4, 8, 8, 8, 16]
    seen = [row["train/tokens_seen"] for row in rows]
    assert seen == [row["train/tokens_seen"] for row in rows_of(plain)]


# -- what is compiled -------------------------------------------------------------------------


@pytest.fixture
def quick():
    """Graphs and gradients are made by torch's compiler, and run without generated code."""
    torch.compiler.reset()
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_each_length_is_compiled_once_and_is_no_surprise(
    quick: None, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from torch._dynamo import config as limits

    longer = {"max_steps": 5, "val_every_steps": 4}
    plain = compose(lengthening_config(shards, tmp_path / "plain", **longer)).fit()
    config = lengthening_config(shards, tmp_path / "compiled", progress=True, **longer)
    with limits.patch(recompile_limit=8):
        run = compose(config, {"model.compile": "blocks"}).fit()
        assert limits.recompile_limit == 8 * 3
    assert "compiled again" not in capsys.readouterr().err
    rows = rows_of(run)
    counts = [float(row["compile/recompilations"]) for row in rows if row["compile/recompilations"]]
    assert counts == [0.0] * 4  # three lengths and the validation
    losses, expected = ([float(r["train/loss"]) for r in rs] for rs in (rows, rows_of(plain)))
    assert losses == pytest.approx(expected, rel=1e-5)
