"""ShardMaker: a folder appears whole or not at all, once, and nothing of others is removed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from roots.errors import DataError
from roots.shards import Manifest, ShardMaker, publishing


def manifest(recipe: str) -> str:
    return Manifest(
        dtype="uint16",
        vocab_size=9,
        eos_id=0,
        tokenizer_fingerprint="",
        input_fingerprint="",
        recipe={"name": recipe},
        splits={},
        documents_read=0,
        documents_dropped={},
    ).to_json()


class Trivial(ShardMaker):
    """Writes a manifest only."""

    def __init__(self, *, out: str, name: str = "a", fail: bool = False) -> None:
        self.out, self.name, self.fail, self.built = out, name, fail, 0

    def stale_because(self) -> str | None:
        if not self.folder.is_dir():
            return "it is not there yet"
        recipe = Manifest.read(self.folder).recipe
        return None if recipe == {"name": self.name} else "its name changed"

    def build(self, folder: Path, work: Path, progress: bool) -> None:
        self.built += 1
        time.sleep(0.05)
        (folder / "manifest.json").write_text(manifest(self.name))
        if self.fail:
            raise KeyboardInterrupt

    def describe(self) -> str:
        return "trivial"

    def planned_vocab_size(self) -> int:
        return 9


def test_a_second_prepare_does_nothing(tmp_path) -> None:
    maker = Trivial(out=str(tmp_path / "c"))
    assert not maker.is_ready()
    assert maker.prepare(progress=False) == tmp_path / "c"
    assert maker.is_ready()
    maker.prepare(progress=False)
    assert maker.built == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_build_that_is_broken_off_leaves_nothing(tmp_path) -> None:
    maker = Trivial(out=str(tmp_path / "c"), fail=True)
    with pytest.raises(KeyboardInterrupt):
        maker.prepare(progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_rebuild_leaves_the_old_folder(tmp_path) -> None:
    Trivial(out=str(tmp_path / "c"), name="old").prepare(progress=False)
    with pytest.raises(KeyboardInterrupt):
        Trivial(out=str(tmp_path / "c"), name="new", fail=True).prepare(progress=False)
    assert Manifest.read(tmp_path / "c").recipe == {"name": "old"}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_rebuild_says_why_and_removes_the_old_one(
    tmp_path, capsys, monkeypatch, at_once: bool
) -> None:
    if not at_once:  # as on NFS
        monkeypatch.setattr(publishing, "exchange", lambda *_: False)
    Trivial(out=str(tmp_path / "c"), name="old").prepare(progress=False)
    Trivial(out=str(tmp_path / "c"), name="new").prepare()
    assert Manifest.read(tmp_path / "c").recipe == {"name": "new"}
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/c: building, because its name changed"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_rebuild_keeps_what_roots_did_not_write(tmp_path, capsys) -> None:
    Trivial(out=str(tmp_path / "c"), name="old").prepare(progress=False)
    (tmp_path / "c" / "notes.txt").write_text("mine")
    Trivial(out=str(tmp_path / "c"), name="new").prepare()
    (kept,) = tmp_path.glob("c.old-*")
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    assert f"{kept}: kept" in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"holds 1 entries \(thesis\.tex.*Give another folder"):
        Trivial(out=str(tmp_path / "c")).prepare(progress=False)
    assert (tmp_path / "c" / "thesis.tex").read_text() == "years of work"
    Trivial(out=str(tmp_path / "d")).prepare(progress=False)


def test_a_file_is_not_replaced(tmp_path) -> None:
    (tmp_path / "c").write_text("x")
    with pytest.raises(DataError, match=r"is a file"):
        Trivial(out=str(tmp_path / "c")).prepare(progress=False)


@pytest.mark.parametrize("was", ["nothing", "an older build"])
def test_a_link_stays_and_is_built_where_it_leads(tmp_path, capsys, was: str) -> None:
    there = tmp_path / "disk" / "shards"
    if was == "an older build":
        Trivial(out=str(there), name="old").prepare(progress=False)
    (tmp_path / "c").symlink_to(there)
    maker = Trivial(out=str(tmp_path / "c"), name="new")
    assert maker.prepare() == tmp_path / "c"
    assert (tmp_path / "c").readlink() == there
    assert Manifest.read(there).recipe == {"name": "new"}
    assert "kept" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "disk"]
    assert [path.name for path in there.parent.iterdir()] == ["shards"]
    assert maker.is_ready()


def test_a_lock_is_nobodys_file(tmp_path) -> None:
    (tmp_path / "uv.lock").write_text("version = 1")
    Trivial(out=str(tmp_path / "uv")).prepare(progress=False)
    assert (tmp_path / "uv.lock").read_text() == "version = 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["uv", "uv.lock"]


def leave(tmp_path: Path, *names: str) -> Path:
    place = tmp_path / "c.building"
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("left")
    return place


def test_what_a_killed_build_left_without_notes_is_removed(tmp_path) -> None:
    leave(tmp_path, ".roots-building", "shards/half")
    Trivial(out=str(tmp_path / "c")).prepare(progress=False)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "c",
        "c/manifest.json",
    ]


def test_what_a_killed_build_left_with_notes_is_there_for_the_next(tmp_path) -> None:
    leave(tmp_path, ".roots-building", "shards/half", "work/journal.json")
    seen = []

    class Curious(Trivial):
        def build(self, folder: Path, work: Path, progress: bool) -> None:
            seen.extend([(folder / "half").read_text(), (work / "journal.json").read_text()])
            super().build(folder, work, progress)

    Curious(out=str(tmp_path / "c")).prepare(progress=False)
    assert seen == ["left", "left"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_build_that_ends_early_and_left_notes_says_that_the_next_goes_on(
    tmp_path, capsys
) -> None:
    class Noting(Trivial):
        def build(self, folder: Path, work: Path, progress: bool) -> None:
            (work / "journal.json").write_bytes(bytes(300_000))
            super().build(folder, work, progress)

    with pytest.raises(KeyboardInterrupt):
        Noting(out=str(tmp_path / "c"), fail=True).prepare()
    place = tmp_path / "c.building"
    said = capsys.readouterr().err
    assert f"{place}: kept, 0.3 MB. The same command goes on from there" in said
    assert (place / "work" / "journal.json").is_file()
    Trivial(out=str(tmp_path / "c")).prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_where_something_of_others_lies_nothing_is_built(tmp_path) -> None:
    place = leave(tmp_path, "thesis.tex")
    with pytest.raises(DataError, match=rf"{place} is there, and no build.*Move it away"):
        Trivial(out=str(tmp_path / "c")).prepare(progress=False)
    assert (place / "thesis.tex").read_text() == "left"
    place.rename(tmp_path / "elsewhere")
    Trivial(out=str(tmp_path / "c")).prepare(progress=False)


def test_who_waits_for_another_build_is_told(tmp_path, capsys) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Trivial):
        def build(self, folder: Path, work: Path, progress: bool) -> None:
            entered.set()
            go_on.wait(20)
            super().build(folder, work, progress)

    first, second = Slow(out=str(tmp_path / "c")), Trivial(out=str(tmp_path / "c"))
    threads = [threading.Thread(target=first.prepare, args=(False,))]
    threads[0].start()
    assert entered.wait(20)
    threads.append(threading.Thread(target=second.prepare))
    threads[1].start()
    said = ""
    while "waiting" not in said:
        said += capsys.readouterr().err
        time.sleep(0.01)
    go_on.set()
    for thread in threads:
        thread.join()
    assert said == f"{tmp_path}/c: another process builds it; waiting for that one\n"
    assert (first.built, second.built) == (1, 0)


def test_a_folder_that_may_not_be_written_is_told_with_its_cure(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be made.*Set out to a folder"):
        Trivial(out=str(tmp_path / "file" / "c")).prepare(progress=False)


def test_of_several_threads_one_builds(tmp_path) -> None:
    makers = [Trivial(out=str(tmp_path / "c")) for _ in range(4)]
    threads = [threading.Thread(target=maker.prepare, args=(False,)) for maker in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(maker.built for maker in makers) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_of_several_processes_one_builds(tmp_path) -> None:
    script = textwrap.dedent(
        f"""
        import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path.cwd())]!r}
        from test_maker import Trivial
        maker = Trivial(out={str(tmp_path / "c")!r})
        maker.prepare(progress=False)
        print(maker.built)
        """
    )
    command = [sys.executable, "-c", script]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    built = [int(process.communicate()[0]) for process in started]
    assert sorted(built) == [0, 1]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_folder_without_a_name_is_refused_and_the_cure_works(tmp_path, monkeypatch, name) -> None:
    (tmp_path / "empty" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "here")
    monkeypatch.setattr("roots.shards.maker.check_ours", lambda _: None)
    monkeypatch.setattr(Trivial, "stale_because", lambda _: "it is not there yet")
    with pytest.raises(
        DataError, match=rf"out={name} has no name of its own.* such as (\S+)\.$"
    ) as e:
        Trivial(out=name).prepare(progress=False)
    cure = str(e.value).removesuffix(".").rpartition(" ")[2]
    assert Trivial(out=cure).prepare(progress=False).resolve() == Path(name, "corpus").resolve()


def test_a_mounted_disk_is_refused_before_it_is_built_and_the_cure_works(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "disk")
    maker = Trivial(out=str(tmp_path / "disk"))
    monkeypatch.setattr(maker, "stale_because", lambda: "it is not there yet")
    with pytest.raises(DataError, match=r"disk is where a disk is mounted.* such as .*disk/corpus"):
        maker.prepare(progress=False)
    assert maker.built == 0
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    Trivial(out=str(tmp_path / "disk" / "corpus")).prepare(progress=False)


def test_what_a_build_left_that_was_killed_at_its_end_is_removed(tmp_path, monkeypatch) -> None:
    maker = Trivial(out=str(tmp_path / "c"))
    with monkeypatch.context() as killed:
        killed.setattr("roots.shards.publishing.shutil.rmtree", lambda *_, **__: None)
        maker.prepare(progress=False)
    (tmp_path / "c.building" / "work" / "spool").write_text("much")
    (tmp_path / "d.building").mkdir()
    maker.prepare(progress=False)
    assert maker.built == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "d.building"]
    (tmp_path / "c.building" / "shards").mkdir(parents=True)  # another build is at it
    (tmp_path / "c.building" / ".roots-building").touch()
    maker.prepare(progress=False)
    assert (tmp_path / "c.building" / "shards").is_dir()
