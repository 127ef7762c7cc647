"""`roots export`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from roots.deployment.command import main
from roots.errors import ConfigError

Capture = pytest.CaptureFixture[str]


def test_what_was_written_is_told_with_sizes_and_three_lines_that_load_it(
    run_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["--run", str(run_folder), "--to", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert all(path.name in told for path in (tmp_path / "out").iterdir())
    assert "KiB" in told
    names: dict[str, object] = {}
    exec(told.split("load it:\n")[1], names)
    assert {"network", "tokenizer"} <= set(names)


def test_a_dry_run_checks_and_writes_nothing(
    run_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    args = ["--run", str(run_folder), "--to", str(tmp_path / "out"), "--dry-run"]
    assert main(args) == 0
    told = capsys.readouterr().out
    assert "tiny/0001, step 10" in told
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="is a file"):
        main(args)


def test_a_checkpoint_folder_is_exported_by_model(run_folder: Path, tmp_path: Path) -> None:
    checkpoint = run_folder / "checkpoints" / "step-000020"
    assert main(["--model", str(checkpoint), "--to", str(tmp_path / "out")]) == 0
    assert '"step": 20' in (tmp_path / "out" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--run", "x"], "required: --to"),
        (["--to", "x"], "One of the arguments --run --model is required"),
        (["--run", "x", "--to", "y", "--dtype", "int3"], "invalid choice: 'int3'"),
        (["--model", "x", "--to", "y", "--checkpoint", "best"], "chooses among those of a run"),
    ],
)
def test_a_wrong_argument_is_a_config_error(args: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(args)


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom roots.deployment.command import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout
