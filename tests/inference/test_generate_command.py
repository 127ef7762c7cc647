"""`roots generate`, as a function and as a process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roots.errors import CheckpointError, ConfigError
from roots.inference import generate, load
from roots.inference.command import main

Capture = pytest.CaptureFixture[str]


def test_the_prompt_and_what_generate_gives_are_printed(run_folder: Path, capsys: Capture) -> None:
    args = ["--run", str(run_folder), "--prompt", "Hello 你", "--max-tokens", "12", "--seed", "5"]
    assert main([*args, "--device", "cpu"]) == 0
    loaded = load(run_folder, device="cpu")
    text = generate(loaded.network, loaded.tokenizer, "Hello 你", max_tokens=12, seed=5)
    assert capsys.readouterr() == (f"Hello 你{text}\n", "")


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 300, "x" * 300 + "/y"])
@pytest.mark.parametrize("flag", ["--run", "--model"])
def test_a_name_that_can_be_no_path_is_told(flag: str, name: str) -> None:
    words = "does not exist" if flag == "--run" else r"no folder|neither a folder here"
    with pytest.raises(CheckpointError, match=words):
        main([flag, name, "--prompt", "a"])


@pytest.mark.parametrize("flag", ["--run", "--model"])
def test_a_variable_in_a_path_is_put_in(
    flag: str, run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("MINE", str(run_folder.parent))
    assert main([flag, "${MINE}/0001", "--prompt", "a", "--max-tokens", "1"]) == 0
    assert capsys.readouterr().out.startswith("a")
    monkeypatch.delenv("MINE")
    with pytest.raises(ConfigError, match="the variable MINE, which is not set"):
        main([flag, "${MINE}/0001", "--prompt", "a"])


def test_json_gives_one_record_per_text_each_with_its_seed(
    run_folder: Path, capsys: Capture
) -> None:
    args = ["--run", str(run_folder), "--prompt", "a", "--max-tokens", "4", "--n", "3", "--json"]
    assert main([*args, "--temperature", "0"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["seed"] for record in records] == [1, 2, 3]
    assert len({record["text"] for record in records}) == 1  # greedy: the seed decides nothing
    assert set(records[0]) == {"prompt", "text", "seed", "tokens", "ended_by"}
    assert records[0]["tokens"] == 4
    assert records[0]["ended_by"] == "max_tokens"


def test_the_checkpoint_is_chosen(run_folder: Path, capsys: Capture) -> None:
    texts = []
    for which in ("best", "10", "last", "20"):
        main(["--run", str(run_folder), "--checkpoint", which, "--max-tokens", "8"])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    assert texts[0] != texts[2]


def test_the_prompt_may_come_from_a_file_or_from_standard_input(
    run_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Hello\n你", encoding="utf-8")
    rest = ["--run", str(run_folder), "--max-tokens", "2"]
    main([*rest, "--prompt-file", str(file)])
    of_file = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    main([*rest, "--prompt-file", "-"])
    assert of_file.startswith("Hello\n你")
    assert capsys.readouterr().out == of_file


def test_a_network_without_a_chat_template_is_told_before_it_seems_to_listen(
    run_folder: Path, capsys: Capture
) -> None:
    with pytest.raises(ConfigError, match=r"0001 has no chat template.* a text by --prompt"):
        main(["--run", str(run_folder), "--chat", "Who?"])
    assert capsys.readouterr().out == ""
    few = ["--run", str(run_folder), "--max-tokens", "1"]
    assert main([*few, "--prompt", "Who?"]) == 0  # the cure
    capsys.readouterr()
    assert main([*few, "--chat", "Who?", "--template", "plain"]) == 0  # the other
    assert capsys.readouterr().out.startswith("Who?\n")
    with pytest.raises(ConfigError, match=r"--template writes a chat\. Add --chat TEXT"):
        main([*few, "--prompt", "Who?", "--template", "plain"])
    with pytest.raises(ConfigError, match=r"The template 'none\.jinja' is neither plain nor a"):
        main([*few, "--chat", "Who?", "--template", "none.jinja"])


def test_on_a_terminal_the_prompt_is_dim(
    run_folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main(["--run", str(run_folder), "--prompt", "Hello", "--max-tokens", "1"])
    assert capsys.readouterr().out.startswith("\x1b[2mHello\x1b[0m")


def test_ctrl_c_ends_quietly_with_130(
    run_folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roots.inference.generation.tokens", interrupted)
    assert main(["--run", str(run_folder), "--prompt", "Hello"]) == 130
    assert capsys.readouterr() == ("Hello", "\n")


def test_a_reader_that_leaves_ends_it_quietly(run_folder: Path) -> None:
    args = ["--run", str(run_folder), "--prompt", "Hello", "--n", "500"]
    process = subprocess.Popen(
        [sys.executable, "-m", "roots", "generate", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(5) == b"Hello"
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_terminal_that_is_not_utf8_gets_question_marks(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(screen, encoding="ascii"))
    assert main(["--run", str(run_folder), "--prompt", "a 你", "--max-tokens", "3"]) == 0
    assert screen.getvalue().startswith(b"a ?")


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom roots.inference.command import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for flag in ("--run", "--model", "--top-p", "--json", "--prompt-file"):
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--prompt", "a"], "One of the arguments --run --model is required"),
        (["--run", "x", "--model", "y"], "not allowed with"),
        (["--run", "x", "--prompt", "a", "--prompt-file", "b"], "not allowed with"),
        (["--run", "x", "--temperature", "hot"], "invalid float value: 'hot'.*--help"),
        (["--run", "x", "--no-such"], "--no-such"),
        (["--run", "x", "--n", "0"], "--n 0"),
        (["--model", "x", "--checkpoint", "last"], "--checkpoint last .* --run"),
        (["--run", "x", "--prompt-file", "nowhere.txt"], "nowhere.txt cannot be read: No such"),
        (["--run", "x", "--prompt", "a\udcff"], "--prompt is not UTF-8: byte 1 is 0xff"),
    ],
)
def test_a_wrong_argument_is_a_config_error(args: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(args)


def test_a_wrong_value_is_told_before_the_network_is_read(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.inference.loading.load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match="top_p=3"):
        main(["--run", str(run_folder), "--top-p", "3"])


def test_what_is_no_run_is_told(run_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is no run directory"):
        main(["--run", str(run_folder / "checkpoints")])
    with pytest.raises(CheckpointError, match=r"newest is .*0001"):
        main(["--run", str(run_folder.parent)])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--seed", "18446744073709551616"],
            r"seed=18446744073709551616 .* 18446744073709551615\.",
        ),
        (["--seed", "18446744073709551615", "--n", "2"], r"2 texts.* to 18446744073709551614\."),
        (["--seed", str(-(2**63) - 1)], "is no seed for 1 text"),
        (["--max-tokens", "0"], "max_tokens=0 adds nothing"),
        (["--temperature", "1e-50"], r"temperature=1e-50 is 0 to float32.*Set it to 0"),
    ],
)
def test_a_wrong_number_is_told_before_the_network_is_read(
    run_folder: Path, args: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.inference.loading.load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match=message):
        main(["--run", str(run_folder), *args])


def test_the_largest_seed_and_the_smallest_temperature_work(
    run_folder: Path, capsys: Capture
) -> None:
    args = ["--run", str(run_folder), "--max-tokens", "2", "--seed", str(2**64 - 1)]
    assert main([*args, "--temperature", "2e-38"]) == 0
    assert capsys.readouterr().out
