"""Runs whose masked rows get longer: the loss by definition, a resume, what is compiled."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from test_resume import interrupted, numbers, rows_of
from tiny_masked import masked_config

from roots.data import MaskedCorpus
from roots.data.masked_steps import MaskedSteps
from roots.fit import compose
from roots.fit.compose import resumed

pytestmark = pytest.mark.heavy

LENGTHENS = {"first_seq_len": 4, "lengthening_steps": 4}  # in 4, 4, 2, 2 pieces, then whole
CUTS = [4, 4, 2, 2, 1, 1]


def lengthening_config(
    shards: Path, runs: Path, kind: str = "bert", rows: str = "windows", **trainer: Any
) -> dict[str, Any]:
    config = masked_config(shards, runs, kind, rows, **trainer)
    config["data"]["init_args"] |= LENGTHENS
    return config


class ByDefinition(L.Callback):
    """Works out each step's loss: every piece, and every document in it, read alone in float64."""

    def __init__(self, data: MaskedCorpus) -> None:
        self.data = data
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, _: int) -> None:
        network = copy.deepcopy(module.trainable.network).double().eval()
        whole = self._whole_rows(trainer)[batch.step]
        nats, n_labels = 0.0, 0
        for row in range(len(whole)):
            documents = [0] * 16 if whole.document_ids is None else whole.document_ids[row].tolist()
            own = zip(whole.input_ids[row].tolist(), whole.labels[row].tolist(), strict=True)
            for text in self._texts(list(own), documents, CUTS[batch.step]):
                ids, labels = map(torch.tensor, zip(*text, strict=True))
                nats += self._nats(network, ids, labels)
                n_labels += int((labels != -100).sum())
        self.losses.append(nats / n_labels)

    def _whole_rows(self, trainer: Any) -> MaskedSteps:
        data = self.data
        stream: dict[str, Any] = {"stream": data.stream, "order": data.order, "share": data.share}
        return MaskedSteps(data._hider("train"), seed=trainer.seed, **stream)

    def _texts(
        self, row: list[tuple[int, int]], documents: list[int], cuts: int
    ) -> list[list[tuple[int, int]]]:
        """What sees nothing of each other, in its frame."""
        begin, end, _ = self.data.frame
        length, texts = 16 // cuts, []
        for start in range(0, 16, length):
            places = range(start, start + length)
            for document in {documents[place] for place in places} - {-1}:
                text = [row[place] for place in places if documents[place] == document]
                starts = documents.index(document) >= start
                ends = max(np.flatnonzero(np.array(documents) == document)) < start + length
                texts.append([(begin, -100)] * (not starts) + text + [(end, -100)] * (not ends))
            if self.data.rows == "windows" and cuts == 4 and start in (0, 12):
                texts[-1].append((end, -100))  # the outer pieces are a token short
        return texts

    @torch.no_grad()
    def _nats(self, network: Any, ids: torch.Tensor, labels: torch.Tensor) -> float:
        logs = network(input_ids=ids[None]).logits[0].log_softmax(-1)
        return -sum(float(logs[n, label]) for n, label in enumerate(labels.tolist()) if label >= 0)


@pytest.mark.parametrize("rows", ["windows", "packed"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_a_steps_loss_is_that_of_its_pieces_each_read_alone(
    masked_shards: Path, tmp_path: Path, kind: str, rows: str
) -> None:
    composed = compose(lengthening_config(masked_shards, tmp_path, kind, rows))
    assert composed.data.n_train > 48  # one epoch
    defined = ByDefinition(composed.data)
    composed.trainer.callbacks.append(defined)
    losses = [float(row["train/loss"]) for row in rows_of(composed.fit())]
    assert losses == pytest.approx(defined.losses, rel=2e-6)


def with_dropout(config: dict[str, Any]) -> dict[str, Any]:
    config["model"]["init_args"]["network"]["init_args"]["config"]["hidden_dropout_prob"] = 0.1
    return config


@pytest.fixture(scope="module", params=["windows", "packed"])
def whole(request: Any, masked_shards: Path, tmp_path_factory: Any) -> tuple[str, list[Any]]:
    """The numbers of the run that nobody interrupts."""
    runs = tmp_path_factory.mktemp("whole")
    run = compose(with_dropout(lengthening_config(masked_shards, runs, rows=request.param))).fit()
    return request.param, numbers(rows_of(run))


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
def test_resuming_within_and_between_lengths_gives_bitwise_the_uninterrupted_run(
    masked_shards: Path, tmp_path: Path, whole: Any, after: int
) -> None:
    rows, expected = whole
    config = lengthening_config(masked_shards, tmp_path, rows=rows, checkpoint_every_steps=1)
    run = interrupted(with_dropout(config), after)
    composed, changes = resumed(str(run.path), {}, [])
    assert changes == []
    composed.fit()
    assert numbers(rows_of(run)) == expected


def test_how_rows_get_longer_may_change_in_a_resumed_run(
    masked_shards: Path, tmp_path: Path
) -> None:
    """The text behind a step is the same at every length."""
    plain = compose(masked_config(masked_shards, tmp_path / "plain")).fit()
    config = lengthening_config(masked_shards, tmp_path / "cut", checkpoint_every_steps=1)
    run = interrupted(config, 3)
    flags = ["--data.first_seq_len=8", "--data.lengthening_steps=5"]
    composed, changes = resumed(str(run.path), {}, flags)
    assert len(changes) == 2
    composed.fit()
    rows = rows_of(run)
    assert [float(row["train/seq_len"]) for row in rows] == [6, 6, 9, 9, 9, 16]
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_each_length_is_compiled_once_and_is_no_surprise(
    quick: None, masked_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    longer = {"rows": "packed", "max_steps": 5, "val_every_steps": 4}
    plain = compose(lengthening_config(masked_shards, tmp_path / "plain", **longer)).fit()
    config = lengthening_config(masked_shards, tmp_path / "compiled", progress=True, **longer)
    run = compose(config, {"model.compile": "blocks"}).fit()
    assert "compiled again" not in capsys.readouterr().err
    logged = rows_of(run)
    counts = [float(r["compile/recompilations"]) for r in logged if r["compile/recompilations"]]
    assert counts == [0.0] * 4  # three lengths and the validation
    losses, expected = ([float(r["train/loss"]) for r in rs] for rs in (logged, rows_of(plain)))
    assert losses == pytest.approx(expected, rel=1e-5)
