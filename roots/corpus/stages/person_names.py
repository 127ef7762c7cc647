"""PersonNames: the names of persons are replaced, as a model of language finds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roots.corpus.stage import Stage
from roots.errors import ConfigError, DataError, MissingExtra
from roots.records import KEEP, Document, Edit, Verdict

_MOST_CHARACTERS = 50_000
"""A longer text is looked at in pieces: by its own words spaCy takes 1 GB per 100,000 of them."""


class PersonNames(Stage):
    """Replaces the names of persons; the books count them as `person`.

    Names have no form, so presidio asks a model of spaCy, which overlooks some and takes other
    words for names: look at a sample before you rely on it. With `en_core_web_sm` a core reads
    20,000 characters a second, several hundred times fewer than of `Pii`, which finds all that has
    a form; so put it behind the stages that drop documents. That saves nothing where dropped texts
    are written down, because their names are replaced too: by `RayStages` all of them, by
    `DatatroveStages` with an `exclusion_writer`; `Pipeline` writes down a few examples.

    Needs the extra `presidio` and the model. Nothing is downloaded on the way.

    Args:
        model: A spaCy pipeline that recognises persons: an installed package or a folder.
        language: The code of its language.
        placeholder: What to write instead of a name.

    Raises:
        ConfigError: The placeholder is empty.
        MissingExtra: presidio is not installed.
        DataError: The model is not there.
    """

    def __init__(
        self,
        *,
        model: str = "en_core_web_sm",
        language: str = "en",
        placeholder: str = "<PERSON>",
    ) -> None:
        if not placeholder.strip():
            raise ConfigError(
                f"placeholder={placeholder!r} would join the words beside a name. Take one such as"
                " '<PERSON>'."
            )
        self.model = model
        self.language = language
        self.placeholder = placeholder

    def check(self) -> None:
        """Looks whether presidio and the model are there."""
        missing = [name for name in ("presidio_analyzer", "spacy") if find_spec(name) is None]
        if missing:
            raise MissingExtra(
                f"PersonNames needs {' and '.join(missing)}, which is not installed. Install it:"
                " pip install 'roots-lm[presidio]' (pip install -e '.[presidio]' in a clone), or"
                " leave this stage out."
            )
        self.files()

    def files(self) -> list[Path]:
        """Lists the files of the model."""
        return sorted(
            path
            for path in self._folder().rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )

    def __call__(self, document: Document) -> Verdict:
        """Replaces what is found."""
        text, n_names = self.replaced(document.text)
        return Edit(replace(document, text=text), {"person": n_names}) if n_names else KEEP

    def redact(self, text: str) -> str:
        """Replaces what is found, for what is written beside the shards."""
        return self.replaced(text)[0]

    def replaced(self, text: str) -> tuple[str, int]:
        """Writes a text anew, and counts the names."""
        parts, done, n_names = [], 0, 0
        for start, end in self._names(text):
            parts += [text[done:start], self.placeholder]
            done, n_names = end, n_names + 1
        return "".join([*parts, text[done:]]), n_names

    def _names(self, text: str) -> Iterator[tuple[int, int]]:
        """Finds where names are, in order."""
        offset = 0
        for piece in _pieces(text):
            whole = piece.encode("utf-8", "replace").decode()  # half of a surrogate pair becomes ?
            analyzer = _analyzer(self.model, self.language)
            found = analyzer.analyze(whole, language=self.language, entities=["PERSON"])
            yield from sorted((offset + each.start, offset + each.end) for each in found)
            offset += len(piece)

    def _folder(self) -> Path:
        """Finds the model.

        Raises:
            DataError: It is not there.
        """
        spec = find_spec(self.model) if self.model.isidentifier() else None
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent
        if not Path(self.model).is_dir():
            raise DataError(
                f"model='{self.model}' is neither an installed spaCy model nor a folder. Install"
                f" it: python -m spacy download {self.model}; or name the folder of one."
            )
        return Path(self.model)


def _pieces(text: str) -> Iterator[str]:
    """Cuts a long text, at the end of a line where there is one, else at a space."""
    while len(text) > _MOST_CHARACTERS:
        breaks = (text.rfind(mark, 1, _MOST_CHARACTERS) + 1 for mark in "\n ")
        end = next((end for end in breaks if end), _MOST_CHARACTERS)
        yield text[:end]
        text = text[end:]
    yield text


@cache
def _analyzer(model: str, language: str) -> Any:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": model}])
    engine.load()
    names = SpacyRecognizer(supported_language=language, supported_entities=["PERSON"])
    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=[names], supported_languages=[language]),
        nlp_engine=engine,
        supported_languages=[language],
    )
