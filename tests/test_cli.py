"""The command line as a whole: its verbs, its exit codes, and how it tells an error."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from made_runs import make_run

import roots.cli
from roots import __main__ as entry
from roots.callbacks.stop_signals import Interrupted
from roots.cli import VERBS, run
from roots.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MissingExtra,
    RootsError,
    TrainingError,
    UserError,
)

EXIT_CODES = {
    RootsError: 1,
    UserError: 2,
    ConfigError: 2,
    DataError: 2,
    CheckpointError: 2,
    MissingExtra: 2,
    TrainingError: 1,
    Interrupted: 130,
}


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_verb(args: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run(args) == 0
    said = capsys.readouterr().out
    for verb, words in VERBS.items():
        assert f"  {verb:<9} {words}" in said
    assert "roots --version" in said


def test_the_command_finds_a_class_of_the_present_folder_and_hides_nothing_by_it(
    tmp_path: Path,
) -> None:
    """As the script that an installation makes: Python then looks beside it, and not here."""
    script, here = tmp_path / "bin" / "roots", tmp_path / "here"
    script.parent.mkdir()
    here.mkdir()
    script.write_text(
        "import sys, roots.cli; from roots.__main__ import main\n"
        "def looks(args):\n    import own_classes, yaml; print(own_classes.FOUND, yaml.__file__)\n"
        "roots.cli.run = looks; main()\n"
    )
    (here / "own_classes.py").write_text("FOUND = 'found'\n")
    (here / "yaml.py").write_text("raise SystemExit('it hides what is installed')\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for safe, code in (([], 0), (["-P"], 1)):
        command = [sys.executable, *safe, str(script), "--version"]
        done = subprocess.run(
            command, cwd=here, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith("found ") == (code == 0)


@pytest.mark.parametrize(("encoding", "e"), [("ascii", "\\xe9"), ("latin-1", "é")])
def test_letters_that_a_terminal_has_not_are_written_out(
    tmp_path: Path, encoding: str, e: str
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    make_run(tmp_path / "runs" / "café → 你" / "0001")
    for args, found in (
        (["--help"], 'RUN --prompt "\\u2026"'),
        (["list"], rf"caf{e} \u2192 \u4f60"),
    ):
        command = [sys.executable, "-m", "roots", *args]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert found in done.stdout.decode(encoding)


def test_help_imports_nothing_heavy_and_the_module_is_the_command() -> None:
    """Another process, because this one has torch already."""
    code = (
        "import sys; import roots, roots.cli; roots.cli.run(['--help']);"
        "heavy = {'torch', 'lightning', 'transformers', 'numpy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    module = [sys.executable, "-m", "roots", "frobnicate"]
    done = subprocess.run(module, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("roots: There is no verb 'frobnicate'. The verbs are corpus,")


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_the_installed_one(flag: str, capsys: pytest.CaptureFixture) -> None:
    try:
        installed = version("roots-lm")
    except PackageNotFoundError:
        installed = "0.0.0+checkout"
    assert run([flag]) == 0
    assert capsys.readouterr().out == f"roots {installed}\n"


def test_an_unknown_verb_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no verb 'trian'\. The verbs are corpus, fit, .*export"
    ) as refused:
        run(["trian"])
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_somebody_who_answers(verb: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        run([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: roots {verb}" in capsys.readouterr().out


# -- errors ---------------------------------------------------------------------------------------


def ended_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def raises(args: list[str]) -> int:
        raise error

    monkeypatch.setattr(roots.cli, "run", raises)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES.items())
def test_our_own_errors_end_with_their_code_and_without_a_traceback(
    kind: type[RootsError],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    assert ended_with(kind("What was wrong. " * 20), monkeypatch) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("roots: What was wrong.")
    assert "Traceback" not in said.err
    assert max(map(len, said.err.splitlines())) <= 107


def test_a_rank_that_leaves_telling_to_the_first_ends_with_its_code_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    error = Interrupted("Stopped at step 3 by another rank.")
    error.is_told = False
    assert ended_with(error, monkeypatch) == Interrupted.exit_code
    assert capsys.readouterr().err == ""


def test_a_long_path_in_an_error_is_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = "/".join(["a-long-folder"] * 12)
    ended_with(DataError(f"Cannot read {path}. Correct it."), monkeypatch)
    assert path in capsys.readouterr().err


def test_every_class_of_the_tree_has_its_documented_code() -> None:
    import roots.errors

    named = [c for c in vars(roots.errors).values() if isinstance(c, type)]
    classes = {c for c in named if c.__module__ == "roots.errors"}
    assert classes | {Interrupted} == set(EXIT_CODES)
    assert all(kind.exit_code == code for kind, code in EXIT_CODES.items())
    users = (ConfigError, DataError, CheckpointError, MissingExtra)
    assert all(issubclass(kind, UserError) for kind in users)
    assert not issubclass(TrainingError, UserError)


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(args: list[str]) -> int:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(roots.cli, "run", raises)
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        entry.main()


def test_ctrl_c_outside_a_run_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert ended_with(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == ""


def test_success_is_exit_code_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["roots", "--version"])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal of a closed pipe")
@pytest.mark.parametrize("args", [["--help"], ["list", "."]])
def test_a_reader_that_has_left_ends_any_verb_quietly(args: list[str], tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "roots", *args]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_pipe_of_something_else_that_broke_keeps_its_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: list[str]) -> int:
        raise BrokenPipeError("a worker's")

    monkeypatch.setattr(roots.cli, "run", broken)
    monkeypatch.setattr(sys, "argv", ["roots", "list"])
    with pytest.raises(BrokenPipeError, match="a worker's"):
        entry.main()
