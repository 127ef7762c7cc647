"""The torch-free records that flow between rooms, and the plain form of a configured object."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from roots.errors import CheckpointError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """One text on its way into a corpus.

    Args:
        text: The text itself.
        id: Names the document within its source (`path`, or `path:line`), for messages and splits.
        metadata: What else the source knew of it; never needed to train.
        source: The part of a corpus that it belongs to, for the books; empty where there is one.
    """

    text: str
    id: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """The verdict that a document stays as it is.

    Args:
        counts: What was seen in it, for the books, such as its language.
    """

    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drop:
    """The verdict that a document is left out.

    Args:
        reason: The name of the rule, under which it is counted: `gopher_short_doc`.
        detail: What was found and what is allowed, for the reader: `12 < 50`.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """The verdict that a document goes on with another text.

    Args:
        document: What goes on.
        counts: How often which kind of change was made, for the books.
    """

    document: Document
    counts: Mapping[str, int] = field(default_factory=dict)


Verdict = Keep | Drop | Edit
KEEP = Keep()


@dataclass(frozen=True, slots=True)
class Reject:
    """A record of a source that could not become a document.

    Args:
        id: Where it is (`path:line`).
        reason: The kind of trouble, under which it is counted: `not_json`.
        cause: What is wrong and how to mend it, in a sentence.
        raw: The record itself, or its beginning.
        source: The part of a corpus that it belongs to, as in `Document`.
    """

    id: str
    reason: str
    cause: str
    raw: bytes = b""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled row on its way into a fine-tuning set.

    Args:
        fields: The values by the names of their columns.
        where: Names the row for messages: `path:line`.
    """

    fields: Mapping[str, object]
    where: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, in its place among the good ones.

    Args:
        where: Names the row for messages: `path:line`.
        reason: Why in a few words, the same for all rows of this kind: they are counted by it.
        message: What is wrong, with the values, and the cure.
        content: What could be read of it: its fields, or the text of its line.
    """

    where: str
    reason: str
    message: str
    content: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a network must know of the tokens it will read.

    Args:
        size: Number of token ids.
        eos_id: The token that ends a document.
        bos_id: The token that starts one.
        pad_id: The token that fills a row behind its end; None where rows have one length.
        mask_id: The token that hides another; None where there is none.
    """

    size: int
    eos_id: int
    bos_id: int
    pad_id: int | None = None
    mask_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a classifier tells of a text.

    Args:
        kind: `one` of the names, `many` of them (any number), or a `value`: a number.
        names: The classes, in the order of their numbers; empty for a value.
    """

    kind: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Labels:
        """Reads them from a network's configuration: `config` of theirs, or a config.json."""
        kinds = {"regression": "value", "multi_label_classification": "many"}
        kind = kinds.get(config.get("problem_type") or "", "one")
        by_number = {int(n): name for n, name in (config.get("id2label") or {}).items()}
        names = () if kind == "value" else tuple(by_number[n] for n in sorted(by_number))
        return cls(kind=kind, names=names)

    @property
    def config(self) -> dict[str, Any]:
        """The keys of a network's configuration that say so, by Hugging Face's names."""
        problems = {
            "one": "single_label_classification",
            "many": "multi_label_classification",
            "value": "regression",
        }
        if self.kind == "value":
            return {"num_labels": 1, "problem_type": problems[self.kind]}
        return {
            "num_labels": len(self.names),
            "id2label": dict(enumerate(self.names)),
            "label2id": {name: number for number, name in enumerate(self.names)},
            "problem_type": problems[self.kind],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question on a text.

    Args:
        id: Names the question, in predictions.
        text: The question itself.
        context: The text that its answer is a part of.
        answers: What counts as right; none for a question without an answer, or an open one.
        span: The first answer's characters in the context, from and to; None where there is none.
    """

    id: str
    text: str
    context: str
    answers: tuple[str, ...] = ()
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionWindow:
    """The part of a question's context that is read in one row, behind the question.

    Args:
        question: The number of the question among those that were read together.
        first: The row's token with which the context begins.
        starts: Where in the context the characters of each of its tokens begin, in a row.
        ends: Where they end.
        no_answer: The row's token that stands for no answer.
    """

    question: int
    first: int
    starts: Sequence[int]
    ends: Sequence[int]
    no_answer: int


def plain(value: Any) -> Any:
    """Turns a configured object into plain values: dictionaries, lists, strings, numbers.

    It relies on the rule that a constructor's arguments are kept under their names; an object with
    a `spec` of its own is asked for that. The class is named by the package that exports it.

    Returns:
        `{"class_path": …, "init_args": …}` for an object; values and containers item by item.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "spec"):
        return value.spec
    kind = type(value)
    names = [] if kind.__init__ is object.__init__ else list(inspect.signature(kind).parameters)
    missing = [name for name in names if not hasattr(value, name)]
    if missing:
        raise TypeError(
            f"{class_path(kind)} does not keep its argument {missing[0]!r} as an attribute,"
            " so its configuration cannot be saved. Assign it in __init__ under the same name."
        )
    arguments = {name: plain(getattr(value, name)) for name in names}
    return {"class_path": class_path(kind), "init_args": arguments}


def class_path(cls: type) -> str:
    """Names a class by the shortest package that exports it: `roots.optim.AdamW`, not its file."""
    parts = cls.__module__.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        if length > 1 and getattr(importlib.import_module(package), cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def rebuild(spec: T | Mapping[str, Any], base: type[T]) -> T:
    """Makes the object that `plain` described; an object is given back as it is.

    What its arguments describe in turn is made where the constructor names a class for it.

    Args:
        spec: `{"class_path": …, "init_args": …}`, perhaps from a checkpoint of somebody else.
        base: The class it must be of: nothing else is called.

    Raises:
        CheckpointError: The class does not exist, or is no `base`.
    """
    if not isinstance(spec, Mapping):
        return spec
    path = str(spec.get("class_path"))
    package, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"There is no class {path}: {error}. Install or put on the Python path"
            " what defines it, or correct the name."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise CheckpointError(
            f"{path} is no {base.__name__}, so it is not made from this configuration."
            " Name a class that is one."
        )
    kinds = {} if cls.__init__ is object.__init__ else get_type_hints(cls.__init__)
    arguments = spec.get("init_args", {})
    return cls(**{name: _rebuilt(value, kinds.get(name)) for name, value in arguments.items()})


def _rebuilt(value: Any, kind: Any) -> Any:
    """Makes an argument of the kind that the constructor names: objects, also within containers."""
    if isinstance(value, list):
        inner = next((each for each in get_args(kind) if each is not Ellipsis), None)
        items = [_rebuilt(item, inner) for item in value]
        return tuple(items) if get_origin(kind) is tuple else items
    if isinstance(value, Mapping) and "class_path" not in value and get_origin(kind) is not None:
        inner = get_args(kind)[-1]
        return {name: _rebuilt(item, inner) for name, item in value.items()}
    if not (isinstance(value, Mapping) and "class_path" in value):
        return value
    bases = [
        k
        for k in (kind, *get_args(kind))
        if isinstance(k, type) and k.__module__ not in ("builtins", "typing")
    ]
    return rebuild(value, bases[0]) if bases else value
