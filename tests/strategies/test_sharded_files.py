"""Shards on disk: put together as they were, and nothing pickled is ever loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

from roots.errors import CheckpointError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import Run
from roots.strategies import sharded_files
from roots.strategies.sharded_files import PLAIN, read_file, read_whole, sizes, write_shards


class Bomb:
    """What a pickle can do to whoever loads it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def a_tree(cut: Any) -> dict[str, Any]:
    """A checkpoint whose tensors are cut unevenly over two ranks: one gets nothing of the last."""
    tied = cut(torch.arange(15.0).view(5, 3))
    return {
        "state_dict": {"embedding": tied, "head": tied, "buffer": torch.ones(2)},
        "optimizer_states": [
            {
                "state": {
                    0: {"step": torch.tensor(3.0), "mean": cut(torch.arange(15.0).view(5, 3) / 7)},
                    1: {"step": torch.tensor(3.0), "mean": cut(torch.ones(1, 2).bfloat16())},
                },
                "param_groups": [{"name": "decayed", "params": [0, 1]}],
            }
        ],
        "global_step": 3,
        "hyper_parameters": {"state_dict.embedding": "a name that only looks like a shard's"},
    }


def write(folder: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    tree = a_tree(lambda whole: distribute_tensor(whole, mesh, [Shard(0)]))
    write_shards(tree, folder, first=mesh.get_rank() == 0)
    sharded_files._ShardWriter = HuggingFaceStorageWriter  # type: ignore[misc, assignment]
    write_shards(tree, folder.with_name("by torch"), first=mesh.get_rank() == 0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "trainer.ckpt"
    run_ranks(write, folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "trainer.ckpt"))


def assert_equal(tree: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert tree.dtype == expected.dtype
        assert torch.equal(tree, expected)
    elif isinstance(expected, dict):
        assert tree.keys() == expected.keys()
        for key, value in expected.items():
            assert_equal(tree[key], value)
    elif isinstance(expected, list):
        for one, other in zip(tree, expected, strict=True):
            assert_equal(one, other)
    else:
        assert tree == expected


def test_one_process_puts_them_together_bitwise(folder: Path) -> None:
    assert_equal(read_whole(folder), a_tree(lambda whole: whole))


def test_a_tied_weight_is_written_once(folder: Path) -> None:
    assert len(sizes(folder)) == 3
    whole = read_whole(folder)["state_dict"]
    assert whole["embedding"] is whole["head"]


def test_each_rank_writes_a_file_without_pickle_and_no_index_is_pickled(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert [Path(name).suffix for name in names] == [".pt", ".safetensors", ".safetensors"]


def test_the_files_are_those_that_torch_writes(written: Path) -> None:
    for file in written.iterdir():
        ours, theirs = file.read_bytes(), (written.with_name("by torch") / file.name).read_bytes()
        if file.name == PLAIN:
            assert ours == theirs
            continue
        ends = [8 + int.from_bytes(whole[:8], "little") for whole in (ours, theirs)]
        assert ours[ends[0] :] == theirs[ends[1] :]
        heads = [json.loads(w[8:end]) for w, end in zip((ours, theirs), ends, strict=True)]
        assert heads[0] == heads[1]  # in an order that is by chance


def test_an_index_that_was_planted_beside_them_is_not_read(folder: Path, tmp_path: Path) -> None:
    for name in (".metadata", "__0_0.distcp", "meta.pt"):
        (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert_equal(read_whole(folder), a_tree(lambda whole: whole))
    assert not (tmp_path / "exploded").exists()


def test_a_missing_shard_is_told_and_works_once_it_is_back(folder: Path, tmp_path: Path) -> None:
    file = next(folder.glob("shard-00002*.safetensors"))
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(
        CheckpointError, match=rf"{file.name} is missing; [\d,]+ bytes were written"
    ):
        read_whole(folder)
    (tmp_path / "elsewhere").rename(file)
    read_whole(folder)


def test_a_shard_that_was_cut_short_is_told(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    n = len(whole)
    with pytest.raises(CheckpointError, match=f"has {n - 5:,} bytes; {n:,} bytes were written"):
        read_whole(folder)


def test_a_shard_with_a_damaged_header_is_told(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(b"\xff" * 16 + file.read_bytes()[16:])
    with pytest.raises(CheckpointError, match=r"A shard in .* is damaged .*another checkpoint"):
        read_whole(folder)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_planted_pickle_is_refused_and_does_nothing(
    folder: Path, tmp_path: Path, how: str
) -> None:
    bomb = {"global_step": 3, "state_dict": Bomb(tmp_path / "exploded")}
    if how == "torch":
        torch.save(bomb, folder / PLAIN)
    else:
        (folder / PLAIN).write_bytes(pickle.dumps(bomb))
    for read in (lambda: read_whole(folder), lambda: read_file(folder / PLAIN, mapped=True)):
        with pytest.raises(CheckpointError, match=r"plain\.pt cannot be read as plain values"):
            read()
    assert not (tmp_path / "exploded").exists()


def goes_on(run: Path, strategy: str) -> int:
    """Takes the run up again; gives its last step."""
    flags = ["--trainer.max_steps=4", f"--trainer.strategy={strategy}"]
    return resumed(str(run), {}, flags)[0].fit().last().step


@pytest.mark.parametrize("strategy", ["single_device", "fsdp"])
def test_a_run_does_not_go_on_from_a_planted_pickle(
    config: dict, tmp_path: Path, strategy: str
) -> None:
    run: Run = compose(config, {"trainer.max_steps": 3}).fit()
    file = run.last().trainer_file
    whole, book = file.read_bytes(), file.parent / "checkpoint.json"
    kept = book.read_text()
    torch.save({"global_step": 3, "state_dict": Bomb(tmp_path / "exploded")}, file)
    book.write_text(json.dumps({**json.loads(kept), "files": {}}))  # its sum is planted, too

    with pytest.raises(AssertionError, match=r"CheckpointError.*trainer\.ckpt cannot be read"):
        run_ranks(goes_on, run.path, strategy, ranks=1)
    assert not (tmp_path / "exploded").exists()
    file.write_bytes(whole)
    book.write_text(kept)
    assert run_ranks(goes_on, run.path, strategy, ranks=1) == [4]
