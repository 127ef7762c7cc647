"""A run over a mixture: its metrics add up, it goes on exactly, and it is planned."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from ranks import run_ranks
from tiny_mixture import mixed_config

from roots.errors import CheckpointError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.plan import plan_run
from roots.runs import Run

NAMES = ("train/loss", "val/loss", "val/news/loss", "val/plays/bits_per_byte")


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def fitted(news: Path, plays: Path, runs: Path) -> list[dict[str, str]]:
    return rows_of(compose(mixed_config(news, plays, runs)).fit())


@pytest.fixture(scope="module")
def whole(shards: Path, plays: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return compose(mixed_config(shards, plays, tmp_path_factory.mktemp("whole"))).fit()


def series(rows: list[dict[str, str]], name: str) -> torch.Tensor:
    return torch.tensor([float(row[name]) for row in rows if row[name]], dtype=torch.float64)


def test_the_validation_of_all_is_the_mean_of_all_labels(
    whole: Run, shards: Path, plays: Path
) -> None:
    last = rows_of(whole)[-1]
    n_labels = {}
    for name, folder in (("news", shards), ("plays", plays)):
        split = json.loads((folder / "manifest.json").read_text())["splits"]["val"]
        n_labels[name] = split["tokens"] - split["documents"]  # all but the first of each document
    for metric in ("loss", "nats_per_token"):
        total = sum(n * float(last[f"val/{name}/{metric}"]) for name, n in n_labels.items())
        mean = total / sum(n_labels.values())
        assert float(last[f"val/{metric}"]) == pytest.approx(mean, rel=1e-12)
    assert last["val/news/loss"] != last["val/plays/loss"]


def test_a_corpus_costs_in_a_mixture_what_it_costs_alone(
    whole: Run, shards: Path, plays: Path, tmp_path: Path
) -> None:
    config = mixed_config(shards, plays, tmp_path)
    config["data"]["init_args"]["shards"] = str(plays)
    composed = compose(config)
    checkpoint = whole.checkpoint("last").trainer_file
    composed.trainer.validate(
        composed.model, datamodule=composed.data, ckpt_path=str(checkpoint), weights_only=True
    )
    alone = float(composed.trainer.callback_metrics["val/loss"])
    assert alone == pytest.approx(float(rows_of(whole)[-1]["val/plays/loss"]), rel=1e-6)


def test_what_was_drawn_is_in_the_metrics(whole: Run) -> None:
    for row in rows_of(whole):
        tokens = [float(row[f"train/{name}/tokens_seen"]) for name in ("news", "plays")]
        assert tokens == [float(row["train/tokens_seen"]) * share for share in (0.75, 0.25)]


def test_two_ranks_make_the_same_steps_and_validations(
    whole: Run, shards: Path, plays: Path, tmp_path: Path
) -> None:
    first, _ = run_ranks(fitted, shards, plays, tmp_path)
    for name in NAMES:
        expected = series(rows_of(whole), name)
        torch.testing.assert_close(series(first, name), expected, rtol=1e-5, atol=0)


def stopped(config: dict[str, Any]) -> Run:
    """A run that ended before its fourth step, behind a checkpoint."""

    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                raise RuntimeError("power cut")

    composed = compose(config, {"trainer.checkpoint_every_steps": 3})
    composed.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        composed.fit()
    assert composed.trainer.run is not None
    return composed.trainer.run


def test_it_goes_on_bit_by_bit_and_other_shares_are_refused(
    whole: Run, shards: Path, plays: Path, tmp_path: Path
) -> None:
    run = stopped(mixed_config(shards, plays, tmp_path))
    other = {"data": {"init_args": {"shards": {"init_args": {"weights": {"plays": 3}}}}}}
    with pytest.raises(CheckpointError, match=r"draws news 12, plays 12 .* drew news 18, plays 6"):
        resumed(str(run.path), other, [])
    composed, changes = resumed(str(run.path), {}, [])
    assert changes == []
    composed.fit()
    assert [[row[name] for name in NAMES] for row in rows_of(run)] == [
        [row[name] for name in NAMES] for row in rows_of(whole)
    ]


@pytest.mark.parametrize(
    "mix",
    [
        {},
        {"weights": {}, "temperature": 2.0},
        {"phases": [{"weights": {"news": 1}, "until_fraction": 0.25}, {"weights": {"plays": 1}}]},
    ],
)
def test_the_way_to_other_weights_goes_as_it_is_printed(
    shards: Path, plays: Path, tmp_path: Path, mix: dict[str, Any]
) -> None:
    run = stopped(mixed_config(shards, plays, tmp_path, mix=mix))
    asked = ["--data.shards.phases=[]", "--data.shards.weights={news: 1, plays: 5}"]
    with pytest.raises(CheckpointError, match=r"Until step 3 this mixture draws") as refused:
        resumed(str(run.path), {}, asked)
    cure = shlex.split(str(refused.value).partition("resume with ")[2])
    composed, _ = resumed(str(run.path), {}, cure)
    composed.data.trainer = composed.trainer
    drawn = composed.data.mixing.drawn
    assert drawn(3) == run.last().data["drawn"]
    to_come = drawn(6)["plays"] - drawn(3)["plays"]
    ratio = 5 ** (1 / mix.get("temperature", 1))
    assert to_come == pytest.approx(24 * ratio / (1 + ratio), abs=1)


def test_a_changed_corpus_is_refused(shards: Path, plays: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(plays, tmp_path / "copied"))
    run = stopped(mixed_config(shards, copied, tmp_path / "runs"))
    manifest = copied / "manifest.json"
    before = manifest.read_text()
    tokens = json.loads(before)["splits"]["train"]["files"][0]["sha256"]
    manifest.write_text(before.replace(tokens, "e" * 64))
    with pytest.raises(CheckpointError, match=rf"{shards}, {copied} are not those"):
        resumed(str(run.path), {}, [])
    manifest.write_text(before)
    resumed(str(run.path), {}, [])


def test_the_plan_has_the_table(shards: Path, plays: Path, tmp_path: Path) -> None:
    composed = compose(mixed_config(shards, plays, tmp_path), {"trainer.max_steps": 4000})
    told = str(plan_run(composed.trainer, composed.model, composed.data))
    assert f"{4000 * 8 * 16 // 4:,}" in told  # a quarter of the tokens
    assert "more than 4 epochs" in told
    assert not list(tmp_path.iterdir())


def test_weights_are_set_by_a_flag(shards: Path, plays: Path, tmp_path: Path) -> None:
    config = mixed_config(shards, plays, tmp_path)
    composed = compose(config, {"data.shards.weights.plays": 1.5, "data.shards.temperature": 2})
    assert composed.data.shards.weights == {"news": 3, "plays": 1.5}
    assert composed.config["data"]["init_args"]["shards"]["init_args"]["temperature"] == 2
    phases = [{"weights": {"news": 1}, "until_step": 2}, {"weights": {"plays": 1}}]
    composed = compose(mixed_config(shards, plays, tmp_path, mix={"phases": phases}))
    again = compose(composed.config)
    assert again.config == composed.config
    assert (
        compose({**config, "data": again.data.spec}).data.shards.phases
        == composed.data.shards.phases
    )


def test_a_run_of_packed_mixed_documents_goes_on_bit_by_bit(
    shards: Path, plays: Path, tmp_path: Path
) -> None:
    config = mixed_config(shards, plays, tmp_path)
    config["data"]["init_args"] |= {"packing": "best_fit", "attend_across_documents": False}
    whole = rows_of(compose(config).fit())
    run = stopped(config)
    with pytest.raises(CheckpointError, match=r"cannot change data\.init_args\.packing"):
        resumed(str(run.path), {}, ["--data.packing=chop"])
    resumed(str(run.path), {}, [])[0].fit()
    assert [[row[name] for name in NAMES] for row in rows_of(run)] == [
        [row[name] for name in NAMES] for row in whole
    ]
