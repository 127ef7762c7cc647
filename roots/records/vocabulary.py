"""What a network must know of its data: the tokens that it reads, the labels that it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
        """Reads them from a network's configuration: `config` of theirs, or a config.json.

        transformers leaves out of a config.json what it takes anyway: two classes of these names.
        """
        kinds = {"regression": "value", "multi_label_classification": "many"}
        kind = kinds.get(config.get("problem_type") or "", "one")
        if kind == "value":
            return cls(kind=kind)
        usual = {n: f"LABEL_{n}" for n in range(config.get("num_labels") or 2)}
        by_number = {int(n): name for n, name in (config.get("id2label") or usual).items()}
        return cls(kind=kind, names=tuple(by_number[n] for n in sorted(by_number)))

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
