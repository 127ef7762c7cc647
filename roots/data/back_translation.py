"""Texts in other words: translated by one given network, and translated back by another."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from roots.errors import ConfigError, DataError
from roots.records import expanded
from roots.runs import RunLock, network_folder
from roots.tokenizer import EndedFraming, fetch_tokenizer

if TYPE_CHECKING:  # networks take seconds to import, and only who makes wordings needs them
    from roots.networks import Search

WORDINGS = "wordings.jsonl"
"""How it was made, then a text and its other wordings on each line."""
_SETTINGS = ("there", "back", "n", "beams", "there_prefix", "back_prefix", "max_tokens")
_SECONDS = 10.0
"""Between two lines of progress."""


class BackTranslation:
    """Says training texts in other words, before a run begins, and keeps what it said.

    Each text is translated by one encoder-decoder and translated back by another, on the fastest
    device. Both search by beams, so the same networks say the same. What is said is kept in a
    folder, which other runs read too; only texts that it lacks are translated, and who was
    interrupted goes on. A text of more tokens than `max_tokens`, there or back, is left as it is.

    Args:
        there: Translates the training texts: a run's directory, a folder or a name on the hub, with
            `*.safetensors` and a tokenizer.json.
        back: Translates what it writes back into the language of the texts.
        out: The folder where the wordings are kept. `~` and `${VARIABLE}` are expanded.
        n: Wordings of a text at most: so many of the best translations are translated back.
        beams: Beginnings that are followed at once; at least `n`.
        there_prefix: Put before every text, for networks that know their task by it:
            `translate English to German: `.
        back_prefix: Put before every translation.
        max_tokens: Tokens of a text or a translation at most.
        rows: Texts that go through a network at once: memory and speed.

    Raises:
        ConfigError: A number is not positive, there are fewer beams than wordings, or `out` is
            empty.

    Source:
        Sennrich et al., arXiv:1511.06709, turned to paraphrases as in Xie et al., "UDA",
        arXiv:1904.12848, section 2.2, but by beams where they draw.
    """

    def __init__(
        self,
        *,
        there: str,
        back: str,
        out: str,
        n: int = 1,
        beams: int = 4,
        there_prefix: str = "",
        back_prefix: str = "",
        max_tokens: int = 128,
        rows: int = 32,
    ) -> None:
        for name, number in {"n": n, "rows": rows, "max_tokens": max_tokens}.items():
            if number < 1:
                raise ConfigError(f"back_translation.{name}={number}: set it to 1 or more.")
        if beams < n:
            raise ConfigError(
                f"back_translation.beams={beams} finds no n={n} translations. Set beams to {n} or"
                " more, or n lower."
            )
        if not out:
            raise ConfigError("back_translation.out is empty. Name a folder for the wordings.")
        self.there = there
        self.back = back
        self.out = out
        self.n = n
        self.beams = beams
        self.there_prefix = there_prefix
        self.back_prefix = back_prefix
        self.max_tokens = max_tokens
        self.rows = rows

    @property
    def folder(self) -> Path:
        """Where the wordings are kept."""
        return Path(expanded(self.out))

    @cached_property
    def wordings(self) -> Mapping[str, Sequence[str]]:
        """The other wordings of each text that was translated; none of one that gave only itself.

        Raises:
            ConfigError: The folder holds what other settings made.
            DataError: The file is damaged.
        """
        return dict(self._kept())

    def one_of(self, text: str, chance: np.random.Generator) -> str:
        """Draws a wording of a text; the text itself where there is no other."""
        others = self.wordings.get(text) or (text,)
        return others[int(chance.random() * len(others))]

    def lacking(self, texts: Iterable[str]) -> list[str]:
        """Lists the texts that were not translated yet, each once."""
        every = dict.fromkeys(texts)
        if not every.keys() <= self.wordings.keys():
            del self.wordings  # another process may have made them meanwhile
        return [text for text in every if text not in self.wordings]

    def check_networks(self) -> None:
        """Checks, without their weights, that both networks are there and long enough.

        Raises:
            ConfigError: One has fewer positions than `max_tokens`, or is no encoder-decoder.
            DataError: One, or its tokenizer, cannot be read.
        """
        from roots.networks import SEQ2SEQ, Pretrained
        from roots.networks.builder import n_positions

        for name in ("there", "back"):
            path = getattr(self, name)
            tokenizer = fetch_tokenizer(network_folder(path))
            limit = n_positions(Pretrained(path=path).network_config(tokenizer.vocabulary, SEQ2SEQ))
            if limit is not None and self.max_tokens > limit:
                raise ConfigError(
                    f"back_translation.max_tokens={self.max_tokens:,} is more than the {limit:,}"
                    f" positions of {name}={path}. Set it to at most {limit:,}; longer texts stay"
                    " as they are."
                )

    def check(self, texts: Iterable[str]) -> None:
        """Raises DataError where texts were not translated."""
        if lacking := self.lacking(texts):
            raise DataError(
                f"{self.folder} lacks other wordings of {len(lacking):,} training texts, such as"
                f" {lacking[0][:60]!r}. Make them before the run is put on several processes:"
                " `roots fit`, or prepare_data() of its data."
            )

    def make(self, texts: Iterable[str]) -> None:
        """Translates what is lacking; one process at a time, others wait and find it done.

        Raises:
            ConfigError: The folder holds what other settings made, or as `check_networks`.
            DataError: A network or its tokenizer cannot be read, or the folder not be written.
        """
        texts = list(texts)
        if not self.lacking(texts):
            return
        self.check_networks()
        lock = self._locked()
        try:
            if lacking := self.lacking(texts):
                there, back = self._translators()
                with self._told_in_words():
                    self._translate(lacking, there, back)
                del self.wordings
        finally:
            lock.release()

    # -- the file ----------------------------------------------------------------------------

    @property
    def _made_by(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SETTINGS}

    def _kept(self) -> Iterator[tuple[str, list[str]]]:
        """Reads what is kept; a last line that was cut short is passed over."""
        path = self.folder / WORDINGS
        if not path.is_file():
            return
        whole = path.read_bytes().rpartition(b"\n")[0]
        try:
            head, *lines = whole.decode("utf-8").split("\n")
            self._check_made_by(json.loads(head)) if head else None
            for line in lines:
                kept = json.loads(line)
                yield kept["text"], list(kept["wordings"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is damaged ({error}). Remove it, and the wordings are made anew."
            ) from error

    def _check_made_by(self, made_by: dict[str, Any]) -> None:
        mine = self._made_by
        if other := [name for name in mine if made_by[name] != mine[name]]:
            raise ConfigError(
                f"{self.folder} holds wordings that were made by {other[0]}="
                f"{made_by[other[0]]!r}, and {other[0]}={mine[other[0]]!r} is asked for. Set"
                " back_translation.out to another folder, or remove that one."
            )

    def _locked(self) -> RunLock:
        """Makes the folder, and waits until no other process works in it."""
        lock, told = RunLock(self.folder), False
        with self._told_in_words():
            self.folder.mkdir(parents=True, exist_ok=True)
            while by := lock.acquire():
                if not told:
                    told = True
                    _say(f"{self.folder}: waiting for {by}, who makes wordings there")
                time.sleep(0.5)
        return lock

    @contextmanager
    def _told_in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.folder} cannot be written to ({error.strerror}), so no wordings can be kept"
                " there; those that are there stay. Make room, or set back_translation.out to"
                " another folder."
            ) from error

    # -- how ---------------------------------------------------------------------------------

    def _translators(self) -> tuple[_Translator, _Translator]:
        from roots.networks import Search

        search = Search(beams=self.beams, max_tokens=self.max_tokens, n_best=self.n)
        there = _Translator(self.there, self.there_prefix, search, rows=self.rows)
        back = replace(search, n_best=1)
        return there, _Translator(self.back, self.back_prefix, back, rows=self.rows)

    def _translate(self, texts: Sequence[str], there: _Translator, back: _Translator) -> None:
        texts = sorted(texts, key=len, reverse=True)
        path, began, told, n_changed = self.folder / WORDINGS, time.monotonic(), 0.0, 0
        _cut_to_whole_lines(path)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            if not file.tell():
                file.write(json.dumps(self._made_by, ensure_ascii=False) + "\n")
            for start in range(0, len(texts), self.rows):
                part = texts[start : start + self.rows]
                for text, wordings in zip(part, _around(part, there, back), strict=True):
                    kept = {"text": text, "wordings": wordings}
                    file.write(json.dumps(kept, ensure_ascii=False) + "\n")
                    n_changed += bool(wordings)
                file.flush()
                done, seconds = start + len(part), time.monotonic() - began
                if done == len(texts) or seconds - told >= _SECONDS:
                    told = seconds
                    _say(
                        f"back translation: {done:,} of {len(texts):,} texts in {seconds:.0f} s,"
                        f" {n_changed:,} with other wordings"
                    )


def _around(texts: Sequence[str], there: _Translator, back: _Translator) -> list[list[str]]:
    """Gives the wordings of each text that are not the text itself."""
    abroad = there(texts)
    flat = [one for several in abroad for one in several]
    home = iter([one[0] if one else "" for one in back(flat)])
    found = [[next(home).strip() for _ in several] for several in abroad]
    return [
        [w for w in dict.fromkeys(several) if w and w != text.strip()]
        for text, several in zip(texts, found, strict=True)
    ]


class _Translator:
    """A network that translates texts, whole ones alone.

    Args:
        path: The network.
        prefix: Put before every text.
        search: How it searches.
        rows: Texts that go through it at once.
    """

    def __init__(self, path: str, prefix: str, search: Search, *, rows: int) -> None:
        from roots.networks import SEQ2SEQ, Pretrained

        device = torch.accelerator.current_accelerator(check_available=True)
        self.prefix = prefix
        self.search = search
        self.rows = rows
        self.device = device or torch.device("cpu")
        self.tokenizer = fetch_tokenizer(network_folder(path))
        self.framing = EndedFraming(self.tokenizer, max_tokens=search.max_tokens)
        builder = Pretrained(path=path)
        network = builder.build(self.tokenizer.vocabulary, seed=0, device=self.device, head=SEQ2SEQ)
        self.network = network.eval()

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Gives the translations of each text; none of one that is empty or too long."""
        parts = (texts[start : start + self.rows] for start in range(0, len(texts), self.rows))
        return [found for part in parts for found in self._of_part(part)]

    def _of_part(self, texts: Sequence[str]) -> list[list[str]]:
        from roots.networks import sources_of

        framed = self.framing.ids([self.prefix + text for text in texts])
        rows = [row for row, (_, was_cut) in enumerate(framed) if texts[row] and not was_cut]
        found: list[list[str]] = [[] for _ in texts]
        if not rows:
            return found
        inputs = sources_of([framed[row][0] for row in rows], self.tokenizer.pad_id)
        on_device = {name: ids.to(self.device) for name, ids in inputs.items()}
        for place, target in enumerate(self.search(self.network, on_device)):
            if len(target) < self.search.max_tokens - 1:  # else it may be cut: a BART ends there
                text = self.tokenizer.decode_text(target)
                found[rows[place // self.search.n_best]].append(text)
        return found


def _cut_to_whole_lines(path: Path) -> None:
    """Takes off a last line that an interruption cut short."""
    if path.is_file():
        with path.open("rb+") as file:
            whole = file.read().rpartition(b"\n")
            file.truncate(len(whole[0]) + len(whole[1]))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
