"""Lets contenders run in turns, and keeps what is finished.

A result is taken again when its key is the same: the settings, steps, packages and sources that
decide the numbers, and the machine.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import environments
import hardware
import report
from contenders import CONTENDERS
from presets import Preset
from processes import REPOSITORY, Failed

from roots.allocation import tuned

HERE = Path(__file__).parent
Launch = Callable[[Path, str, Path, Path, dict[str, str]], None]
"""Runs a script in an environment on a job, with its output in a log, as `in_a_process` does."""


def say(text: str) -> None:
    """Tells how it goes."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Measuring:
    """The rounds of a comparison.

    Args:
        preset: What all have in common.
        names: The contenders.
        steps: Timed steps.
        warmup_steps: Steps before them, at least 1.
        folder: Where jobs, results and compilers' caches go.
        given: Paths of `weights`, `windows` and `shards`.
        text_version: Changes with the text.
        launch: Runs a script in an environment.
        failures: By contender, why it is not measured; grows.
    """

    preset: Preset
    names: list[str]
    steps: int
    warmup_steps: int
    folder: Path
    given: dict[str, str]
    text_version: str
    launch: Launch
    failures: dict[str, str] = field(default_factory=dict)
    _keys: dict[tuple[str, bool], str] = field(default_factory=dict)
    _took: dict[str, float] = field(default_factory=dict)

    # -- rounds ------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Runs each for two steps, first those whose attention others take; not counted."""
        followed = {CONTENDERS[name].follows for name in self.names} - {""}
        for name in [*sorted(followed), *(n for n in self.names if n not in followed)]:
            self._measure(name, 0)

    def in_turns(self, rounds: int) -> None:
        """Measures every contender once in each round.

        Raises:
            Failed: There is nothing to compare, or what was measured was changed meanwhile.
        """
        for name in self.names:
            self.key(name, 1)
        turns = [
            (number, name)
            for number in range(1, rounds + 1)
            for name in rotated(self.names, number - 1)
        ]
        for done, (number, name) in enumerate(turns):
            left = [other for _, other in turns[done:] if other not in self.failures]
            say(f"runs to go: {len(left)}, about {worded(self._expected(left))}")
            self._measure(name, number)
        if not set(self.names) - set(self.failures):
            raise Failed("none of the contenders could be measured.")
        if changed := self.changed():
            raise Failed(
                f"the sources of {', '.join(changed)} were changed while they were measured."
                " Give the same command again: they are measured anew."
            )

    def forget(self) -> None:
        """Removes what was measured; the compilers' caches stay warm."""
        for folder in self.folder.glob("round-[1-9]*"):
            shutil.rmtree(folder)

    def finished(self, name: str, number: int) -> dict[str, Any] | None:
        """Gives the result of a round, if what would be measured now was measured then."""
        file = self.file(name, number)
        if not file.is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text())
        return found if found.get("key") == self.key(name, number) else None

    def give_up(self, names: list[str], why: str) -> None:
        """Leaves contenders out from now on."""
        for name in names:
            self.failures[name] = why
            say(f"{name}: not measured. {why}")

    # -- one run -------------------------------------------------------------------------------

    def _measure(self, name: str, number: int) -> None:
        if name in self.failures:
            return
        key = self.key(name, number)  # of the sources as they are before they run
        if found := self.finished(name, number):
            self._took.setdefault(name, found["seconds"])
            return
        say(f"round {number} · {name} ..." if number else f"warming up · {name} ...")
        began, load, cold = time.monotonic(), hardware.load(), not self._cache(name).is_dir()
        try:
            result = self._run(name, number)
        except Failed as error:
            self.give_up([name], str(error))
            return
        self._took[name] = time.monotonic() - began
        extra = {"seconds": self._took[name], "load": load, "cold": cold, "key": key}
        self.file(name, number).write_text(json.dumps(result | extra, indent=2) + "\n")
        if number:
            say(f"  {report.sentence(result)}")

    def _run(self, name: str, number: int) -> dict[str, Any]:
        contender, out = CONTENDERS[name], self.file(name, number)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        job, log, scratch = (
            out.with_suffix(".job"),
            out.with_suffix(".log"),
            out.with_suffix(".scratch"),
        )
        job.write_text(json.dumps(self._job(name, number, scratch), indent=2) + "\n")
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(self._cache(name))}
        try:
            variables = {**cache, **(tuned({}) if contender.large_pages else {})}
            self.launch(HERE / contender.runner, contender.environment, job, log, variables)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if not out.is_file():
            raise Failed(f"{name} ended without a result. Look into {log}.")
        result: dict[str, Any] = json.loads(out.read_text())
        return result

    def _job(self, name: str, number: int, scratch: Path) -> dict[str, Any]:
        warmup_steps, steps = self._steps(number)
        return {
            "contender": name,
            "settings": CONTENDERS[name].settings,
            "attention": self._attention(name),
            **self._shared(),
            **self.given,
            "warmup_steps": warmup_steps,
            "steps": steps,
            "started": time.time(),
            "scratch": str(scratch),
            "out": str(self.file(name, number)),
        }

    def _cache(self, name: str) -> Path:
        return self.folder / "compiled" / name

    def _attention(self, name: str) -> str:
        followed = CONTENDERS[name].follows
        if not followed:
            return ""
        if followed in self.failures:
            raise Failed(f"{name} takes the attention of {followed}, which failed.")
        return str(json.loads(self.file(followed, 0).read_text())["attention"])

    # -- what decides the numbers ----------------------------------------------------------------

    def file(self, name: str, number: int) -> Path:
        """Names the result of a contender in a round."""
        return self.folder / f"round-{number}" / f"{name}.json"

    def key(self, name: str, number: int) -> str:
        """Changes with whatever decides the numbers of a contender in a round.

        It is that of the sources as they were when it was first asked for.
        """
        which = name, number > 0
        if which not in self._keys:
            self._keys[which] = self._key(name, number)
        return self._keys[which]

    def changed(self) -> list[str]:
        """Lists the contenders whose sources were changed while they were measured."""
        return [name for name in self.names if self._key(name, 1) != self.key(name, 1)]

    def _key(self, name: str, number: int) -> str:
        contender = CONTENDERS[name]
        packages = environments.requirements(contender.environment)
        told = [self._shared(), self.given, contender.settings, self._steps(number), packages]
        told += [self.text_version, hardware.everything(), contender.large_pages]
        digest = hashlib.sha256(json.dumps(told).encode())
        for source in self._sources(name):
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def _sources(self, name: str) -> list[Path]:
        contender = CONTENDERS[name]
        own = [HERE / contender.runner, HERE / "job.py", HERE / "prepare.py"]
        uses_roots = contender.family in ("roots", "ablation", "floor")
        return own + (sorted((REPOSITORY / "roots").rglob("*.py")) if uses_roots else [])

    def _steps(self, number: int) -> tuple[int, int]:
        return (self.warmup_steps, self.steps) if number else (1, 1)

    def _shared(self) -> dict[str, Any]:
        keys = asdict(self.preset)
        return {k: v for k, v in keys.items() if k not in ("about", "text_vocab_size")}

    def _expected(self, names: list[str]) -> float:
        """Guesses how long runs will take, by the newest run of each."""
        known = list(self._took.values()) or [0.0]
        usual = sum(known) / len(known)
        return sum(self._took.get(name, usual) for name in names)


def rotated(names: list[str], by: int) -> list[str]:
    """Gives another order in every round, so that nobody always comes after the same."""
    start = by % len(names)
    return names[start:] + names[:start]


def worded(seconds: float) -> str:
    """Words a time."""
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
