"""What a checkpoint is measured on: data of other tokens are refused, other data kept apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roots.callbacks.recorder import write_details
from roots.data import TaskData
from roots.errors import DataError
from roots.fit.unchanged import differences
from roots.runs import Run, environment_of, redact_values, write_record
from roots.sources.rows import rows_from
from roots.tokenizer import Tokenizer, other_end, other_tokens

OF_TRAINING = frozenset(
    {
        "augment",
        "first_seq_len",
        "first_sequences_per_step",
        "growing_steps",
        "lengthening_steps",
        "like_lengths",
        "sequences_per_step",
    }
)
"""Settings of data that decide nothing of an evaluation."""

OF_THE_OTHER = {"validate": {"test"}, "test": {"val", "max_val_sequences"}}
"""Settings that decide nothing of one evaluation, by its verb."""


def check_tokens(run: Run, folder: Path, data: Any) -> None:
    """Raises DataError for data in other tokens than those that a run's network reads.

    Args:
        run: The run.
        folder: The checkpoint whose weights are asked.
        data: The data module; rows of a task are read with the network's own tokenizer.
    """
    if isinstance(data, TaskData) or not data.is_ready or not (folder / "tokenizer.json").is_file():
        return
    theirs, ours = Tokenizer.load(folder), data.tokenizer
    if unlike := other_tokens(theirs, ours) or other_end(theirs, ours):
        raise DataError(
            f"{data.path} is in other tokens than those that the network of {run.path} was trained"
            f" on: {unlike}. Its losses would be those of foreign ids. Make the corpus with the"
            " run's tokenizer: tokenizer: {class_path: roots.corpus.Existing, init_args: {path:"
            f" {run.path}}}}}."
        )


@dataclass(frozen=True)
class MeasuredOn:
    """Which data were measured.

    Args:
        path: Where they lie.
        fingerprint: Changes when a row that was measured changes, or the tokenizer.
        unlike: What makes them other data than the run's own; empty where they are those.
        settings: Those of the data module that decide what is measured.
    """

    path: str
    fingerprint: str
    unlike: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """What the files about other data have behind their names; nothing for the run's own."""
        if not self.unlike:
            return ""
        told = json.dumps([self.fingerprint, self.settings], sort_keys=True, default=str)
        return f"-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def told(self) -> dict[str, Any]:
        """Tells it as plain values."""
        told = {"path": self.path, "fingerprint": self.fingerprint}
        return {**told, "unlike": self.unlike} if self.unlike else told


def measured_on(run: Run, composed: Any, verb: str) -> MeasuredOn:
    """Says what `validate` or `test` has measured, and how it is other data than the run's own."""
    specs = (config["data"] for config in (run.config(), redact_values(composed.config)))
    before, now = (_deciding(spec, verb) for spec in specs)
    path, found, rows = _rows(composed.data, verb)
    if verb == "test" and not before["init_args"].get("test") and _is_its_only_test(run, found):
        before["init_args"]["test"] = now["init_args"].get("test")
    lines = differences(before, now, ".data")
    unlike = [line.replace("data.init_args.", "data.") for line in lines]
    for name, value in rows.items():
        was = environment_of(run).get("data", {}).get(name)
        if was and was != value and not unlike:
            unlike.append(f"its rows: {was[:12]} → {value[:12]}")
    return MeasuredOn(path, found, unlike, now)


def _rows(data: Any, verb: str) -> tuple[str, str, dict[str, str]]:
    """Gives path and fingerprint of what was measured, and what environment.json knows of it."""
    if not isinstance(data, TaskData):
        return str(data.path), data.fingerprint, {"fingerprint": data.fingerprint}
    split = "test" if verb == "test" else "val"
    (path, *_) = rows_from(getattr(data, split) or data.train).files()
    fingerprint = hashlib.sha256(data.split(split).digest).hexdigest()
    return str(path), fingerprint, {"validated_on": data.validated_on} if split == "val" else {}


def keep(
    run: Run, verb: str, on: MeasuredOn, numbers: dict[str, Any], details: dict[str, Any]
) -> Path:
    """Writes what was measured beside the run: `validate.json`, or a file of those data.

    Args:
        run: The run.
        verb: `validate` or `test`.
        on: What was measured on.
        numbers: The checkpoint, and what was measured, by name.
        details: What there is beside numbers; empty where there is nothing.
    """
    file = run.path / f"{verb}{on.mark}.json"
    of = {"checkpoint": numbers["checkpoint"], "data": on.told()}
    write_record(file, {**of, **numbers})
    if details:
        stage = "test" if verb == "test" else "val"
        write_details(run, f"{stage}{on.mark}", {**of, **details})
    return file


def _is_its_only_test(run: Run, fingerprint: str) -> bool:
    """Tells whether no other test data were measured: the first of a run without are its own."""
    try:
        told = json.loads((run.path / "test.json").read_text(encoding="utf-8"))
        return bool(told["data"]["fingerprint"] == fingerprint)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, LookupError, TypeError):  # damaged, or of an older version
        return False


def _deciding(spec: dict[str, Any], verb: str) -> dict[str, Any]:
    """Gives the settings of a data module that decide what is measured."""
    aside = OF_TRAINING | OF_THE_OTHER[verb]
    arguments = {n: v for n, v in spec.get("init_args", {}).items() if n not in aside}
    return {"class_path": spec.get("class_path"), "init_args": arguments}
