"""How long until roots does something: imports, help, a dry run. Prints the median of five."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import roots": [sys.executable, "-c", "import roots"],
    "roots --help": [sys.executable, "-m", "roots", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
    "roots fit --dry-run": [
        *(sys.executable, "-m", "roots", "fit", "--dry-run"),
        *("--config", "configs/run/quickstart.yaml"),
    ],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    for name, command in COMMANDS.items():
        seconds(command)  # fills the caches
        print(f"{name:<22} {statistics.median(seconds(command) for _ in range(5)):6.2f} s")


if __name__ == "__main__":
    main()
