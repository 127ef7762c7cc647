"""A run that is killed again and again ends bitwise where the quiet run ends.

One process of Python spends ten seconds on imports, so the runs are forks of this one.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fit.test_damaged_checkpoints import flipped, torn
from ranks import run_ranks, start_ranks
from safetensors.torch import load_file
from tiny import tiny_config

from roots.cli import run as roots
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import Run, read_metrics

pytestmark = pytest.mark.heavy

STEPS, EVERY = 100, 4
PATIENCE = 280  # seconds, on a machine that is busy with other things
IN_SAVES = 3  # kills, at least


def a_config(shards: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    return tiny_config(
        shards,
        runs,
        max_steps=STEPS,
        val_every_steps=5,
        checkpoint_every_steps=EVERY,
        keep_best=3,
        deterministic=True,
        **trainer,
    )


def fit_quietly(arguments: list[str]) -> None:
    """What a child does: the command, without its output."""
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for its whole life
    torch.set_num_threads(1)
    sys.exit(roots(["fit", *arguments]))


def start(arguments: list[str]) -> Any:
    process = multiprocessing.get_context("fork").Process(target=fit_quietly, args=(arguments,))
    process.start()
    return process


def killed(arguments: list[str], due: Callable[[], bool], delay: float) -> bool:
    """Starts the command and kills it `delay` seconds after it is due; tells whether it lived."""
    process, deadline = start(arguments), time.monotonic() + PATIENCE
    while process.is_alive() and not due():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.0005)
    time.sleep(delay)
    process.kill()
    process.join()
    return bool(process.exitcode == -signal.SIGKILL)


def steps_written(run: Run) -> int:
    if not run.metrics_file.exists():
        return 0
    rows = read_metrics(run.metrics_file)
    return int(rows[-1]["step"]) if rows else 0


def is_saving(run: Run) -> bool:
    return any(run.checkpoints_folder.glob(".step-*"))


class Killer:
    """Kills a run at seeded moments, resumes it, and keeps the books.

    Args:
        file: The run file.
        run: The run's directory, which the first start makes.
        rng: The moments.
    """

    def __init__(self, file: Path, run: Run, rng: random.Random) -> None:
        self.file = file
        self.run = run
        self.rng = rng
        self.inside_a_save = 0
        self.kills = 0

    @property
    def arguments(self) -> list[str]:
        if self.run.path.exists():
            return ["--resume", str(self.run.path)]
        return ["--config", str(self.file)]

    def kill(self, *, in_save: bool, within: int) -> None:
        """Kills once, up to `within` steps further on, in a save or anywhere."""
        swept = {path.name for path in self.run.checkpoints_folder.glob(".step-*")}
        first = max(steps_written(self.run), EVERY) + self.rng.randint(within // 2, within)
        delay = self.rng.random() * (0.02 if in_save else 0.05)

        def due() -> bool:
            if steps_written(self.run) < first:
                return False
            now = {path.name for path in self.run.checkpoints_folder.glob(".step-*")}
            return not in_save or bool(now - swept)

        assert killed(self.arguments, due, delay), "it ended before it could be killed"
        self.kills += 1
        self.inside_a_save += is_saving(self.run)

    def damage(self, how: Callable[[Path], None]) -> int:
        """Damages the newest checkpoint; gives the step of the one before."""
        *_, before, newest = self.run.checkpoints()
        how(newest.path)
        return before.step


def resumed_from(run: Run) -> set[int]:
    files = run.path.glob("environment-from-*.json")
    return {int(file.stem.rpartition("-")[2]) for file in files}


def numbers(run: Run) -> list[tuple[str, ...]]:
    names = ("step", "train/loss", "optim/grad_norm", "optim/learning_rate", "val/loss")
    return [tuple(row[name] for name in names) for row in read_metrics(run.metrics_file)]


@pytest.fixture(scope="module")
def quiet(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nobody disturbs, and that writes its checkpoints within the step."""
    folder = tmp_path_factory.mktemp("quiet")
    config = a_config(shards, folder, save_in_background=False)
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    process = start(["--config", str(folder / "run.yaml")])
    process.join(PATIENCE)
    assert process.exitcode == 0
    return Run(folder / "tiny" / "0001")


def assert_ends_where_the_quiet_run_ends(run: Run, quiet: Run) -> None:
    assert numbers(run) == numbers(quiet)
    ours, theirs = run.last(), quiet.last()
    assert ours.step == theirs.step == STEPS
    ours_weights, theirs_weights = (load_file(c.path / "model.safetensors") for c in (ours, theirs))
    for name, weight in theirs_weights.items():
        assert torch.equal(ours_weights[name], weight), name
    states = [torch.load(c.trainer_file, weights_only=True) for c in (ours, theirs)]
    moments, expected = (state["optimizer_states"][0]["state"] for state in states)
    for number, state in expected.items():
        for name, value in state.items():
            assert torch.equal(moments[number][name], value), (number, name)


def disturbed(
    shards: Path, folder: Path, seed: int, moments: list[bool], within: int
) -> tuple[Killer, set[int]]:
    """Kills a run at each of the moments, damages two checkpoints, and lets it end.

    It writes its checkpoints behind the steps, so that a kill in a save comes in a later step.

    Args:
        shards: The corpus.
        folder: Where the run is.
        seed: Of the moments.
        moments: For each kill, whether it is inside a save.
        within: Steps from a start to a kill, at most.

    Returns:
        The books, and the steps that the run must have gone on from.
    """
    (folder / "run.yaml").write_text(yaml.safe_dump(a_config(shards, folder)))
    killer = Killer(folder / "run.yaml", Run(folder / "tiny" / "0001"), random.Random(seed))
    starts, damages = set(), [torn, flipped]
    for number, in_save in enumerate(moments):
        killer.kill(in_save=in_save, within=within)
        if damages and number % 2 and len(killer.run.checkpoints()) > 1:
            starts.add(killer.damage(damages.pop(0)))
        else:
            starts.add(killer.run.last().step)
    while killer.inside_a_save < IN_SAVES:  # a save that was over before the kill came
        killer.kill(in_save=True, within=2)
        starts.add(killer.run.last().step)
    assert not damages
    process = start(killer.arguments)
    process.join(PATIENCE)
    assert process.exitcode == 0
    return killer, starts


def test_five_kills_three_in_a_save_and_two_damaged_checkpoints_change_nothing(
    shards: Path, tmp_path: Path, quiet: Run
) -> None:
    moments = [False, True, True, True, False]
    killer, starts = disturbed(shards, tmp_path, 1, moments, within=18)
    assert killer.kills >= 5
    assert killer.inside_a_save >= IN_SAVES
    assert_ends_where_the_quiet_run_ends(killer.run, quiet)
    assert resumed_from(killer.run) == starts  # nothing lost but the steps since
    assert not is_saving(killer.run)  # what was half written is gone
    assert len(list(killer.run.checkpoints_folder.glob("damaged-*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_twenty_kills_change_nothing(shards: Path, tmp_path: Path, quiet: Run, seed: int) -> None:
    moments = [False, *(n % 3 == 0 for n in range(19))]
    killer, starts = disturbed(shards, tmp_path, seed, moments, within=5)
    assert killer.kills >= 20
    assert killer.inside_a_save >= IN_SAVES
    assert_ends_where_the_quiet_run_ends(killer.run, quiet)
    assert resumed_from(killer.run) == starts


# -- several processes ----------------------------------------------------------------------------


def fit_here(shards: Path, runs: Path) -> None:
    """Starts the run of two ranks, or goes on with it."""
    path = runs / "tiny" / "0001"
    if path.exists():
        resumed(str(path), {}, [])[0].fit()
    else:
        compose(a_config(shards, runs)).fit()


@pytest.fixture(scope="module")
def quiet_two(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of two ranks that nobody disturbs."""
    folder = tmp_path_factory.mktemp("quiet_two")
    run_ranks(fit_here, shards, folder, timeout=PATIENCE)
    return Run(folder / "tiny" / "0001")


@pytest.mark.slow
@pytest.mark.parametrize("victims", [(0,), (1,), (0, 1)])
def test_killing_one_or_all_ranks_changes_nothing(
    shards: Path, tmp_path: Path, quiet_two: Run, victims: tuple[int, ...]
) -> None:
    run = Run(tmp_path / "tiny" / "0001")
    processes, _ = start_ranks(fit_here, shards, tmp_path)
    deadline = time.monotonic() + PATIENCE
    while steps_written(run) < 30 and time.monotonic() < deadline:
        time.sleep(0.001)
    for rank in victims:
        processes[rank].kill()
    for process in processes:
        process.join(PATIENCE)
        assert not process.is_alive()  # a rank whose peer is gone ends by itself
    assert 24 <= run.last().step < STEPS  # that of step 28 may have been on its way
    run_ranks(fit_here, shards, tmp_path, timeout=PATIENCE)
    assert_ends_where_the_quiet_run_ends(run, quiet_two)
