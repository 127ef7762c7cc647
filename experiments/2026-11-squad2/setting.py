"""What both contenders share: the run file, the division of the questions, the form of a result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roots.fit import compose

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "run" / "minilm_squad2.yaml"
Answered = list[tuple[str, float]]
"""The best answer to each question, and how much more speaks for none."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--rows", type=int, required=True, help="windows per step")
    return parser.parse_args()


def composed(given: argparse.Namespace) -> Any:
    """Puts the run together: measured once, at its end, so that nothing is chosen on dev."""
    overrides = {
        "seed": given.seed,
        "trainer.max_epochs": given.epochs,
        "trainer.val_every_epochs": 0,
        "model.optimizer.learning_rate": given.learning_rate,
        "data.sequences_per_step": given.rows,
        "trainer.runs_dir": given.folder,
    }
    if given.network:
        overrides["model.network.path"] = given.network
    return compose(CONFIG, overrides)


def write(
    given: argparse.Namespace,
    data: Any,
    answer: Callable[[Sequence[Any]], Answered],
    *,
    seconds: float,
    own: dict[str, float],
) -> None:
    """Asks the trained network, and writes what it says beside the right answers."""
    result: dict[str, Any] = {"seconds": seconds, "own": own}
    for name, split in (("threshold", "threshold"), ("dev", "val")):
        questions = data.split(split).questions
        result[name] = [
            {"id": q.id, "text": text, "no_answer": no_answer, "answers": q.answers}
            for q, (text, no_answer) in zip(questions, answer(questions), strict=True)
        ]
    (given.folder / "predictions.json").write_text(json.dumps(result))
