"""Reading ahead: in order, no more than is worth it, by a thread that ends."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config
from torch.utils.data import Dataset

from roots.data import read_ahead as module
from roots.data.read_ahead import AheadLoader, read_ahead
from roots.data.steps import StepsFrom, TrainSteps
from roots.errors import DataError
from roots.fit import compose

PATIENCE = 20  # seconds until a test gives up


_OTHERS: set[threading.Thread] = set()  # of what ran in this process before, and may still be held


def readers() -> list[threading.Thread]:
    named = [t for t in threading.enumerate() if t.name.startswith("read-ahead")]
    return [thread for thread in named if thread not in _OTHERS]


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    _OTHERS.clear()
    _OTHERS.update(readers())
    yield
    assert readers() == []


class Source(Iterator[int]):
    """Counts up, and lets a test wait until an item has been asked for."""

    def __init__(self, stop: int) -> None:
        self.stop = stop
        self.asked = [threading.Event() for _ in range(stop + 1)]
        self.threads: set[int] = set()
        self.n_asked = 0

    def __next__(self) -> int:
        number, self.n_asked = self.n_asked, self.n_asked + 1
        self.threads.add(threading.get_ident())
        self.asked[number].set()
        if number == self.stop:
            raise StopIteration
        return number


# -- the iterator -----------------------------------------------------------------------------


def test_the_items_come_in_order_and_the_thread_ends_with_them() -> None:
    source = Source(5)
    assert list(read_ahead(source)) == [0, 1, 2, 3, 4]
    assert readers() == []
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_the_next_item_is_asked_for_while_the_present_one_is_used() -> None:
    source = Source(5)
    for item in read_ahead(source):
        assert source.asked[item + 1].wait(PATIENCE)  # nothing else was taken meanwhile


def test_exactly_one_item_is_ahead_where_reading_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 0.0)  # so each read has taken longer
    source = Source(5)
    items = read_ahead(source)
    assert source.n_asked == 0  # nothing is read before the first is asked for
    assert readers() == []
    for taken in range(1, 5):
        next(items)
        assert source.asked[taken].wait(PATIENCE)
        assert not source.asked[taken + 1].wait(0.02)
    items.close()  # type: ignore[attr-defined]


def test_quick_items_are_read_until_it_was_worth_waking_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count()  # a second goes by with each look at it
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(module, "AT_ONCE", 3.0)
    source = Source(20)
    items = read_ahead(source)
    for taken, asked in ((0, 6), (1, 6), (2, 6), (3, 9), (4, 9), (5, 9), (6, 12)):
        assert next(items) == taken  # three at once, and as many ahead
        assert source.asked[asked - 1].wait(PATIENCE)
        assert not source.asked[asked].wait(0.02)
    items.close()  # type: ignore[attr-defined]


def test_the_items_before_an_error_come_although_it_was_met_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 60.0)  # so all are read at once
    items = read_ahead(1 // (3 - n) for n in range(9))
    assert [next(items) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_an_item_is_freed_when_its_user_lets_it_go() -> None:
    class Item:
        pass

    items = read_ahead(Item() for _ in range(3))
    item = next(items)
    freed = weakref.ref(item)
    del item
    kept = next(items)
    assert freed() is None
    assert kept is not None
    items.close()  # type: ignore[attr-defined]


def damaged() -> Iterator[int]:
    yield 0
    raise DataError("the shard is damaged at byte 7")


def test_an_error_comes_where_its_item_would_have_as_it_was() -> None:
    items = read_ahead(damaged())
    assert next(items) == 0
    with pytest.raises(DataError, match="damaged at byte 7") as raised:
        next(items)
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert names[-1] == "damaged"  # where in the source it happened
    assert list(items) == []


@pytest.mark.parametrize("leave", [lambda items: items.close(), lambda items: None])
def test_who_stops_early_leaves_no_thread(leave: Callable[[Any], None]) -> None:
    items = read_ahead(Source(5))
    next(items)
    assert len(readers()) == 1
    leave(items)
    del items
    gc.collect()
    assert readers() == []


def test_a_fork_while_the_thread_lives_does_not_hang_the_child() -> None:
    items = read_ahead(Source(5))
    next(items)
    assert run_ranks(_reads_for_itself, ranks=1, timeout=PATIENCE) == [[0, 1, 2]]
    assert list(items) == [1, 2, 3, 4]


def _reads_for_itself() -> list[int]:
    return list(read_ahead(Source(3)))


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_the_interpreter_ends_while_an_iterator_is_open(end: str) -> None:
    code = (
        "import importlib.util, itertools, sys\n"
        f"spec = importlib.util.spec_from_file_location('ahead', {str(source_file())!r})\n"
        "ahead = importlib.util.module_from_spec(spec); spec.loader.exec_module(ahead)\n"
        "items = ahead.read_ahead(itertools.count())\n"
        f"print(next(items), next(items), flush=True)\n{end}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["0", "1"]
    assert done.returncode == {"": 0, "raise SystemExit(3)": 3}.get(end, -2)
    assert "Traceback" not in done.stderr or "KeyboardInterrupt" in done.stderr


def source_file() -> Path:
    import roots.data

    return Path(roots.data.__file__).parent / "read_ahead.py"


# -- the loader -------------------------------------------------------------------------------


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise DataError("no row 3")
        return index


def test_a_loader_starts_over_and_counts_as_torchs_does() -> None:
    loader = AheadLoader(Numbers(), batch_size=None, sampler=StepsFrom(lambda: 1, 3))
    assert len(loader) == 3
    assert list(loader) == [1, 2]
    assert list(loader) == [1, 2]


def test_a_loader_hands_on_the_errors_of_its_dataset() -> None:
    items = iter(AheadLoader(Numbers(), batch_size=None, sampler=StepsFrom(lambda: 2, 4)))
    assert next(items) == 2
    with pytest.raises(DataError, match="no row 3"):
        next(items)


# -- a run ------------------------------------------------------------------------------------


class WaitsForTheNext(L.Callback):
    """Ends a step only after the next one has been asked for."""

    def __init__(self, asked: dict[int, threading.Event]) -> None:
        self.asked = asked
        self.waited = 0

    def on_before_optimizer_step(self, trainer: Any, module: Any, *_: Any) -> None:
        following = trainer.global_step + 1
        if following < trainer.max_steps:
            assert self.asked[following].wait(PATIENCE), following
            self.waited += 1


def test_a_step_is_read_before_the_one_before_it_ends(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {step: threading.Event() for step in range(6)}
    read = TrainSteps.__getitem__

    def noted(self: TrainSteps, step: int) -> Any:
        asked[step].set()
        return read(self, step)

    monkeypatch.setattr(TrainSteps, "__getitem__", noted)
    composed = compose(config)
    waits = WaitsForTheNext(asked)
    composed.trainer.callbacks.insert(0, waits)
    composed.fit()  # with a validation after step 3
    assert waits.waited == 5


def test_what_cannot_be_read_ends_the_run_with_its_own_error(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = TrainSteps.__getitem__

    def failing(self: TrainSteps, step: int) -> Any:
        if step == 2:
            raise DataError("the shard is damaged")
        return read(self, step)

    monkeypatch.setattr(TrainSteps, "__getitem__", failing)
    composed = compose(config)
    with pytest.raises(DataError, match="the shard is damaged"):
        composed.fit()
    assert composed.trainer.global_step == 2  # the steps before it are done


class StopsEarly(L.Callback):
    def __init__(self, how: str) -> None:
        self.how = how

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 2 and self.how == "raises":
            raise KeyError("of a callback")
        trainer.should_stop |= trainer.global_step == 2


@pytest.mark.parametrize("how", ["raises", "asks"])
def test_a_run_that_stops_early_leaves_no_thread(config: dict, how: str) -> None:
    composed = compose(config)
    composed.trainer.callbacks.append(StopsEarly(how))
    if how == "raises":
        with pytest.raises(KeyError, match="of a callback"):
            composed.fit()
    else:
        composed.fit()
    assert composed.trainer.global_step == 2
    assert readers() == []


def threads_after_a_run(shards: Path, runs: Path) -> list[str]:
    compose(tiny_config(shards, runs)).fit()
    return [thread.name for thread in readers()]


def test_two_ranks_leave_no_thread(shards: Path, tmp_path: Path) -> None:
    assert run_ranks(threads_after_a_run, shards, tmp_path) == [[], []]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_what_is_pinned_is_pinned_by_the_thread_and_arrives() -> None:
    items = AheadLoader(
        [torch.arange(5) + n for n in range(3)],  # type: ignore[arg-type]
        batch_size=None,
        pin_memory=True,
    )
    for n, item in enumerate(items):
        assert item.is_pinned()
        assert item.to("cuda", non_blocking=True).tolist() == [n + i for i in range(5)]


@pytest.mark.parametrize("seconds", [0.0, 0.002])
def test_who_would_only_wait_for_the_thread_reads_by_itself(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 0.0)  # an item at once
    monkeypatch.setattr(module, "WORTH", 0.001 if seconds else 10.0)
    readers_of: list[int] = []

    def items() -> Iterator[int]:
        for number in range(8):
            readers_of.append(threading.get_ident())
            yield number

    found = []
    for number in read_ahead(items()):
        found.append(number)
        time.sleep(seconds)
    assert found == list(range(8))
    mine = [reader == threading.get_ident() for reader in readers_of]
    assert mine == ([False] * 8 if seconds else [False] * 2 + [True] * 6)


def test_who_begins_to_take_time_is_read_ahead_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 0.0)
    monkeypatch.setattr(module, "WORTH", 0.05)
    readers_of: list[int] = []

    def items() -> Iterator[int]:
        for number in range(8):
            readers_of.append(threading.get_ident())
            yield number

    for number in read_ahead(items()):
        time.sleep(0.1 if number == 4 else 0.0)
    mine = [reader == threading.get_ident() for reader in readers_of]
    assert mine == [False, False, True, True, True, True, False, True]
