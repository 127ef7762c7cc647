"""Corpus: text in, shards out; run by `roots corpus`, and by a data module that finds none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roots.corpus.building import Build
from roots.corpus.byte_pairs import BytePairs
from roots.corpus.identity import deciding_code
from roots.corpus.inputs import (
    FileState,
    changed_code,
    remember_if_writable,
    remembered,
    states,
    with_files,
)
from roots.corpus.pipeline import Pipeline
from roots.corpus.progress import megabytes
from roots.corpus.recipe import differences
from roots.corpus.splitting import split_of
from roots.corpus.stage import Part
from roots.corpus.survey import survey
from roots.errors import ConfigError, DataError, UserError
from roots.records import class_path, plain
from roots.runs import redact_values
from roots.shards import Manifest, ShardFolder, ShardMaker
from roots.sources import Source
from roots.tokenizer import TokenizerPlan

RECIPE_VERSION = 1
"""Goes up when the same settings would give other bytes; then every folder is built anew."""


class Corpus(ShardMaker):
    """Makes shards from a source of text, by documents, and keeps them while nothing changes.

    A build that ended early, by Ctrl-C or otherwise, goes on from where it was when the same is
    asked for again; with other settings, files or code it begins anew.

    Args:
        source: Where the documents come from.
        out: The folder to make; it holds nothing else. `~` and `${VARIABLE}` are expanded.
        stages: What decides about each document first, in this order: keep, edit or drop it. The
            manifest counts every drop by stage, reason and source.
        tokenizer: How to get the tokenizer: `BytePairs`, `Unigram` and `WordPiece` train one,
            `Characters` has one token per character, `Existing` takes one.
        val_fraction: Share of the documents for `val`, 0 to 1. Copies of a text stay together.
        test_fraction: Share of the documents for `test`, 0 to 1.
        seed: Another seed divides the documents otherwise.
        workers: Processes that decide and encode; 0 is one per core. The bytes do not depend on it.
        max_training_bytes: Train the tokenizer on about so many bytes of text, drawn by document.

    Raises:
        ConfigError: A fraction or number is out of its range.
    """

    def __init__(
        self,
        *,
        source: Source,
        out: str,
        stages: Sequence[Part] = (),
        tokenizer: TokenizerPlan = BytePairs(vocab_size=4096),  # noqa: B008 - never changed
        val_fraction: float = 0.01,
        test_fraction: float = 0.0,
        seed: int = 1,
        workers: int = 0,
        max_training_bytes: int = 500_000_000,
    ) -> None:
        _check_fractions(val_fraction, test_fraction)
        if workers < 0 or max_training_bytes < 1:
            raise ConfigError(
                f"workers={workers} and max_training_bytes={max_training_bytes:,}: the first must"
                " be 0 (one per core) or more, the second 1 or more. Leave them out."
            )
        if not -(2**63) <= seed < 2**63:
            raise ConfigError(f"seed={seed} has more than 64 bits. Take a shorter number.")
        Pipeline(stages)
        self.source = source
        self.out = out
        self.stages = tuple(stages)
        self.tokenizer = tokenizer
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.seed = seed
        self.workers = workers
        self.max_training_bytes = max_training_bytes
        self._same_again: tuple[list[FileState], dict[str, str]] | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The stages, ready to run on any source."""
        return Pipeline(self.stages)

    def planned_vocab_size(self) -> int:
        """Tells the real size when the folder is ready, else the planned one."""
        if self.is_ready():
            return ShardFolder.open(self.folder).manifest.vocab_size
        return self.tokenizer.planned_vocab_size()

    def files(self) -> list[Path]:
        """Lists the files of the source, and those that stages read beside it.

        Raises:
            DataError: One is missing, or there is none.
        """
        return [*self.source.files(), *self.pipeline.files()]

    def describe(self) -> str:
        """Says in one line what is read and written, and whether it is there already."""
        files = states(self.source.files())
        why = self.stale_because()
        return (
            f"{class_path(type(self.source))}: {len(files):,} files,"
            f" {megabytes(sum(size for _, size, _ in files))} →"
            f" {class_path(type(self.tokenizer))}, {self.tokenizer.planned_vocab_size():,} tokens"
            f" → {self.folder} ({'is ready' if why is None else f'to be built: {why}'})"
        )

    def recipe(self) -> dict[str, Any]:
        """Writes down what decides which bytes come out: not `out`, not `workers`, no secrets."""
        stages = {"stages": plain(self.stages)} if self.stages else {}  # older recipes have none
        if versions := {part.name: part.version for part in self.stages if part.version > 1}:
            stages["stage_versions"] = versions
        recipe = stages | {
            "recipe_version": RECIPE_VERSION,
            "source": plain(self.source),
            "tokenizer": self.tokenizer.recipe(),
            "val_fraction": self.val_fraction,
            "test_fraction": self.test_fraction,
            "seed": self.seed,
            "max_training_bytes": self.max_training_bytes,
        }
        return dict(redact_values(recipe))

    def stale_because(self) -> str | None:
        """Tells why the folder must be built; None when it fits, or when its input is gone."""
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return "it is not there yet"
        try:
            manifest = ShardFolder.open(self.folder).manifest
        except DataError as error:
            return str(error)
        if changed := differences(redact_values(manifest.recipe), self.recipe()):
            return "its recipe changed: " + "; ".join(changed)
        return self._input_changed(manifest)

    def prepare(self, progress: bool = True) -> Path:
        """Makes the folder unless it is ready, and remembers files that only have other times."""
        folder = super().prepare(progress)
        if self._same_again:
            remember_if_writable(folder, *self._same_again)
            self._same_again = None
        return folder

    def build(self, folder: Path, work: Path, progress: bool) -> None:
        """Writes tokenizer, shards, inputs and manifest into `folder`.

        What a killed build of the same settings, files and code left is taken over.
        """
        Build(
            source=self.source,
            pipeline=self.pipeline,
            plan=self.tokenizer,
            divide=self.divide,
            fractions=self._fractions(),
            seed=self.seed,
            max_training_bytes=self.max_training_bytes,
            workers=self.workers,
            recipe=self.recipe(),
            show=progress,
        ).run(folder, work)

    def divide(self, raw: bytes) -> str:
        """Names the split of a text, given in UTF-8."""
        return split_of(
            raw,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            seed=self.seed,
        )

    def _fractions(self) -> dict[str, float]:
        asked = {"val": self.val_fraction, "test": self.test_fraction}
        train = 1.0 - self.val_fraction - self.test_fraction
        return {"train": train} | {name: share for name, share in asked.items() if share > 0}

    def _input_changed(self, manifest: Manifest) -> str | None:
        """Looks at code, sizes and times; only when the latter differ, reads the text again."""
        code = deciding_code(manifest.recipe)
        if changed := changed_code(self.folder, code):
            return f"the code of its stages changed: {', '.join(changed)}"
        try:
            others = self.pipeline.files()
            found = states([*self.source.files(), *others])
        except UserError:  # gone, or not named or reached here; what was made of it stays usable
            return None
        before = remembered(self.folder)
        if found == before or (self._same_again and found == self._same_again[0]):
            return None
        self._same_again = None
        fingerprint = survey(self.source, self.divide).fingerprint
        if with_files(fingerprint, others) == manifest.input_fingerprint:
            self._same_again = found, code
            return None
        files = sorted({path for path, _, _ in set(found) ^ set(before or [])})
        return (
            f"its input changed: {files[0]}, in all {len(files):,} files"
            if files
            else ("its source gives other documents than before")
        )


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    if not (min(val_fraction, test_fraction) >= 0 and val_fraction + test_fraction < 1):  # or NaN
        raise ConfigError(
            f"val_fraction={val_fraction} and test_fraction={test_fraction} must be 0 or more and"
            " leave something for train. Set them to small shares such as 0.01."
        )
