"""A tag for each word, and the entities that the tags mark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from roots.batch import IGNORE, Score, TaskBatch
from roots.errors import DataError
from roots.metrics import Classification, EntityF1, entities_of
from roots.metrics.entities import OUTSIDE, check_scheme
from roots.modules.classifier import Classifier
from roots.modules.distiller import Distiller
from roots.modules.task import Measure, framed_batch
from roots.networks import Head, NetworkBuilder, TaskObjective
from roots.optim import OptimizerBuilder, Schedule
from roots.tokenizer import UNREAD, Framing, Sentence, first_tokens, words_of


class TokenClassifier(Classifier):
    """Learns the tag of each word: named entities and other spans.

    A word has the tag of its first token. A word of which the network sees no token (the tokenizer
    drops its characters, or it lies behind `seq_len`) counts as `O`, so that every word of an
    evaluation is measured. The loss is a mean over labelled tokens.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer; 2e-5 to 1e-4 are usual learning rates. A run file that
            names none has AdamW at 5e-5, with a weight decay of 0.01.
        schedule: The learning rate of each step, as a fraction of the optimizer's. A run file that
            names none has a linear warm-up of 6 % of the steps, and a linear fall.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer rows mean more passes per step. `auto` takes the most
            that fit into memory on every rank, and writes the number into config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        label_smoothing: Share of the target's probability that is spread evenly over the tags.
        class_weights: Weight of each tag, in the order of the labels; empty weighs all alike.
        balance: Weigh each tag by how rare it is, instead of by `class_weights`.
        scheme: Which tags make an entity: `conll` (lenient: wherever a type begins or changes one
            begins; seqeval's default), `iob2` (strict: B, then I of the same type) or `iobes`
            (strict: S alone; or B, I of the same type, E).
        distiller: Learn from a teacher as well: `{class_path: roots.modules.Distiller, init_args:
            {teacher: runs/large/0001}}`.

    Raises:
        ConfigError: A number that cannot work, `class_weights` beside `balance`, or a tag that is
            none of the scheme.
    """

    learns: ClassVar[str] = "the tags of words"

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 32,
        clip_norm: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] = (),
        balance: bool = False,
        scheme: str = "conll",
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            balance=balance,
            distiller=distiller,
        )
        self.scheme = scheme
        check_scheme(scheme)

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        return {**super().settings, "scheme": self.scheme}

    @property
    def head(self) -> Head:
        """A projection of each token, with the tags in the configuration."""
        return Head("token classifier", self.labels.config)

    def objective(self) -> TaskObjective:
        """Makes the loss: cross-entropy of each labelled token."""
        return self.classes()

    def measure(self) -> Measure:
        """Makes the metrics of whole entities."""
        return EntityF1(names=self.labels.names, scheme=self.scheme)

    def looks(self) -> Sequence[Measure]:
        """Makes what is seen of single tags: which are confused, how sure, which were wrong."""
        return [*super().looks(), Classification(names=self.labels.names, each_class=False)]

    def add(self, measure: Measure, score: Score, batch: TaskBatch) -> None:
        """Adds the tags of all words of a micro-batch, those without a token as `O`."""
        assert score.outputs is not None
        predicted, labelled = [], []
        for sentence, numbers in _rows(batch, score.outputs.argmax(-1)):
            if sentence is not None:
                predicted.append(self._tags(sentence, numbers))
                labelled.append([self.labels.names[tag] for tag in sentence.tags])
        measure.update(predicted, labelled)

    def said(self, outputs: Tensor, batch: TaskBatch) -> Iterator[dict[str, Any]]:
        """Gives the words with their tags, and the entities.

        `probabilities` are those of the tags, None where the network saw no token of the word. An
        entity has its `type`, its `text`, where it begins and ends (`start`, `end`: in the
        characters of a text, in the words of a list), and the `probability` of its tags together.
        """
        probabilities, numbers = outputs.float().softmax(-1).max(-1)
        for (sentence, tags), (_, sure) in zip(
            _rows(batch, numbers), _rows(batch, probabilities), strict=True
        ):
            yield {} if sentence is None else self._said(sentence, tags, sure)

    def batch_of(self, texts: Sequence[str | Sequence[str]]) -> TaskBatch:
        """Frames lists of words, or texts, which `roots.tokenizer.words_of` divides into words.

        Raises:
            DataError: A text without a word.
        """
        assert self.tokenizer is not None
        words = [_divided(text) for text in texts]
        framing = Framing(self.tokenizer, max_tokens=self.seq_len)
        framed = framing.frame_words([sentence.words for sentence in words])
        about = [
            Sentence(s.words, first_tokens(f.word_ids, len(s.words)), (), s.text, s.spans)
            for s, f in zip(words, framed, strict=True)
        ]
        longest = max(len(row.ids) for row in framed)
        labels = torch.full((len(framed), longest), IGNORE)
        batch = framed_batch(framed, self.tokenizer.pad_id, labels)
        in_order = [about[number] for number in batch.samples.tolist()]
        return replace(batch, per_token=True, about=in_order)

    # -- how -----------------------------------------------------------------------------------

    def _tags(self, sentence: Sentence, numbers: Sequence[int]) -> list[str]:
        return [
            OUTSIDE if place == UNREAD else self.labels.names[numbers[place]]
            for place in sentence.places
        ]

    def _said(
        self, sentence: Sentence, numbers: Sequence[int], sure: Sequence[float]
    ) -> dict[str, Any]:
        tags = self._tags(sentence, numbers)
        found = sorted(entities_of(tags, self.scheme), key=lambda entity: entity.start)
        chances = [None if place == UNREAD else sure[place] for place in sentence.places]
        entities = []
        for kind, start, end in found:
            here = _span(sentence, start, end)
            together = math.prod(chance for chance in chances[start:end] if chance is not None)
            entities.append({"type": kind, **here, "probability": together})
        words = list(sentence.words)
        return {"words": words, "tags": tags, "probabilities": chances, "entities": entities}


def _rows(batch: TaskBatch, values: Tensor) -> Iterator[tuple[Sentence | None, list[Any]]]:
    """Pairs each row's words with what is said of its tokens."""
    return zip(batch.about, values.tolist(), strict=True)


def _span(sentence: Sentence, start: int, end: int) -> dict[str, Any]:
    if not sentence.spans:
        return {"text": " ".join(sentence.words[start:end]), "start": start, "end": end}
    first, last = sentence.spans[start][0], sentence.spans[end - 1][1]
    return {"text": sentence.text[first:last], "start": first, "end": last}


def _divided(text: str | Sequence[str]) -> Sentence:
    if isinstance(text, str):
        found = words_of(text)
        spans = [(start, end) for _, start, end in found]
        sentence = Sentence([word for word, _, _ in found], (), (), text, spans)
    else:
        sentence = Sentence(list(text), ())
    if not sentence.words:
        raise DataError(f"{text!r} has no word. Leave it out.")
    return sentence
