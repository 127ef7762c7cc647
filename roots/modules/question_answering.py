"""The part of a text that answers a question, or the word that there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from transformers import PreTrainedModel

from roots.batch import IGNORE, Score, TaskBatch
from roots.errors import ConfigError, DataError
from roots.metrics import Reading, SpanAnswers
from roots.modules.distiller import Distiller
from roots.modules.task import Measure, Tally, TaskModule, framed_batch
from roots.networks import Head, NetworkBuilder, SpanTrainable
from roots.objectives import Spans
from roots.optim import OptimizerBuilder, Schedule
from roots.records import Question
from roots.tokenizer import QuestionFraming, Tokenizer

THRESHOLD = "no_answer_threshold"
"""The key of config.json and of a checkpoint that holds the threshold."""


class QuestionAnswering(TaskModule):
    """Learns where in a text the answer to a question begins and ends.

    The rows of a question are joined for its answer. Where some training questions have no answer,
    every validation chooses the no-answer threshold anew, on the training articles that the data
    hold out for it; it is saved with the network, as `no_answer_threshold`.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer; 3e-5 to 1e-4 are usual learning rates. A run file that
            names none has AdamW at 5e-5, with a weight decay of 0.01.
        schedule: The learning rate of each step, as a fraction of the optimizer's. A run file that
            names none has a linear warm-up of 6 % of the steps, and a linear fall.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer rows mean more passes per step. `auto` takes the most
            that fit into memory on every rank, and writes the number into config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        max_answer_tokens: Tokens of a predicted answer at most.
        n_best: Candidates that a prediction lists, and whose probabilities add up to 1 with that of
            no answer.
        distiller: Learn from a teacher as well: `{class_path: roots.modules.Distiller, init_args:
            {teacher: runs/large/0001}}`.

    Raises:
        ConfigError: A number that cannot work.

    Source:
        Devlin et al., arXiv:1810.04805, sections 4.2 and 4.3.
    """

    learns: ClassVar[str] = "answers in a text"

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 16,
        clip_norm: float = 1.0,
        max_answer_tokens: int = 30,
        n_best: int = 20,
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
            distiller=distiller,
        )
        for name, value in {"max_answer_tokens": max_answer_tokens, "n_best": n_best}.items():
            if value < 1:
                raise ConfigError(
                    f"{name}={value} leaves no answer. Set model.{name} to 1 or more."
                )
        self.max_answer_tokens = max_answer_tokens
        self.n_best = n_best
        self.no_answer_threshold = math.inf
        """Where more than this speaks for no answer, there is none; `inf` always answers."""
        self.framed_by: dict[str, int] = {}
        """How questions are framed."""
        self._n_batches = 0  # of a prediction: its last one answers

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        mine = {"max_answer_tokens": self.max_answer_tokens, "n_best": self.n_best}
        return {**super().settings, **mine}

    @property
    def head(self) -> Head:
        """Two logits for each token: that the answer begins there, and that it ends there."""
        return Head("reader of questions")

    def learn_of(self, data: Any) -> None:
        """Takes the vocabulary, how questions are framed, and whether some have no answer."""
        super().learn_of(data)
        self.framed_by = dict(data.framed_by)
        self.no_answer_threshold = 0.0 if data.some_have_no_answer else math.inf

    def objective(self) -> Spans:
        """Makes the loss."""
        return Spans()

    def trainable_of(self, network: PreTrainedModel) -> SpanTrainable:
        """Puts the loss behind the network's own forward; takes the threshold that it brings.

        Where every training question has an answer, a threshold of other questions is dropped.
        """
        brought = getattr(network.config, THRESHOLD, 0.0)
        always = self.no_answer_threshold == math.inf
        self._set_threshold(math.inf if always else brought, network)
        return SpanTrainable(network, self.objective())

    def _set_threshold(self, value: float, network: PreTrainedModel) -> None:
        """Takes a threshold, and tells the network's config, which checkpoints write.

        Without the key a question is always answered. That none ever is, -inf, is written as
        transformers writes and reads such numbers: `{"__float__": "-Infinity"}`.
        """
        self.no_answer_threshold = value
        if value < math.inf:
            setattr(network.config, THRESHOLD, value)
        elif hasattr(network.config, THRESHOLD):
            delattr(network.config, THRESHOLD)

    # -- validation and predictions ------------------------------------------------------------

    def measure(self) -> Measure:
        """Makes what joins the rows of each question of this stage, and measures the answers."""
        trainer: Any = self.trainer
        asked = trainer.datamodule.asked(trainer.state.fn)
        return self._answers(asked.questions, asked.windows, asked.n_measured)

    def add(self, measure: Measure, score: Score, batch: TaskBatch) -> None:
        """Adds what the network says of a micro-batch's rows."""
        measure.update(score.outputs, batch.samples)

    def on_validation_epoch_end(self) -> None:
        """Chooses the threshold on the training articles held out for it, then measures."""
        assert self._tally is not None
        answers = cast(SpanAnswers, self._tally.measure)
        if chosen := answers.best_threshold():
            answers.threshold = chosen.value
            self._set_threshold(chosen.value, self.trainable.network)
        super().on_validation_epoch_end()

    def on_predict_epoch_start(self) -> None:
        """Starts the rows of the questions."""
        self._n_batches = int(self.trainer.num_predict_batches[0])
        self._tally = Tally(torch.zeros(0), self.measure().to(self.device))

    def predict_step(self, batch: TaskBatch, index: int) -> list[dict[str, Any]]:
        """Adds a batch's rows; the last one gives the answers, those of all ranks on the first."""
        assert self._tally is not None
        answers = cast(SpanAnswers, self._tally.measure)
        for part, score in self.score_without_training(batch):
            self.add(answers, score, cast(TaskBatch, part))
        if index + 1 < self._n_batches:
            return []
        rows = list(self.said(answers, batch))
        return rows if self._trainer is None or self.trainer.is_global_zero else []

    def said(self, outputs: Any, batch: TaskBatch) -> Iterator[dict[str, Any]]:
        """Words the answer to each question, once all of its rows were read."""
        del batch
        found = zip(outputs.questions, outputs.readings(), strict=True)
        for number, (question, reading) in enumerate(found):
            words = _worded(reading, self.no_answer_threshold)
            yield {"sample": number, "id": question.id, **words}

    def other_forms(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Gives predictions as the official script of SQuAD reads them: `{id: answer}`."""
        answers = {row["id"]: row["answer"] for row in rows}
        return {".squad.json": json.dumps(answers, ensure_ascii=False, indent=1) + "\n"}

    def predict(self, texts: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Answers questions.

        Args:
            texts: Each a question and the text that its answer is a part of.

        Returns:
            For each an `id`, its number; `answer`, empty for none; `no_answer`, how much more
            speaks for none than for the best answer (above `no_answer_threshold` there is none),
            and its probability; and `candidates`: the best answers with `text`, `score`, `start`
            (its first character in the text) and `probability`.

        Raises:
            ConfigError: The module has no weights yet, or `texts` is no list of pairs.
            DataError: A question or text is empty.
        """
        return super().predict(texts) if texts else []

    def batch_of(self, texts: Sequence[tuple[str, str]]) -> TaskBatch:
        """Frames questions with their texts, and starts what joins their rows."""
        assert self.tokenizer is not None
        questions = [_asked(number, pair) for number, pair in enumerate(texts)]
        framing = QuestionFraming(self.tokenizer, **self.framed_by)
        windows, framed = zip(*framing.windows(questions), strict=True)
        answers = self._answers(questions, windows)
        answers.sync_on_compute = False  # other ranks are not asked
        self._tally, self._n_batches = Tally(torch.zeros(0), answers.to(self.device)), 1
        nothing = torch.full((len(framed), 2), IGNORE)
        return framed_batch(framed, self.tokenizer.pad_id, nothing)

    def _answers(self, questions: Any, windows: Any, n_measured: int = -1) -> SpanAnswers:
        return SpanAnswers(
            questions=questions,
            windows=windows,
            n_measured=n_measured,
            threshold=self.no_answer_threshold,
            n_best=self.n_best,
            max_answer_tokens=self.max_answer_tokens,
        )

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the threshold, and what `predict` needs to read a text."""
        super().on_save_checkpoint(checkpoint)
        assert self.tokenizer is not None
        checkpoint[THRESHOLD] = self.no_answer_threshold
        checkpoint["framed_by"] = self.framed_by
        checkpoint["tokenizer"] = {
            "definition": self.tokenizer.definition,
            "settings": self.tokenizer.settings,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the threshold, and what `predict` needs."""
        super().on_load_checkpoint(checkpoint)
        self.framed_by = dict(checkpoint["framed_by"])
        self.tokenizer = Tokenizer(**checkpoint["tokenizer"])
        self._set_threshold(checkpoint[THRESHOLD], self.trainable.network)


def _asked(number: int, pair: Any) -> Question:
    is_list = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not (is_list and all(isinstance(text, str) for text in pair)):
        raise ConfigError(
            "predict reads a list of pairs, each a question and a text, and item"
            f" {number} is {str(pair)[:60]!r}. Put each pair into the list:"
            " predict([(question, text)])."
        )
    question, context = pair
    for name, text in (("question", question), ("text", context)):
        if not text.strip():
            raise DataError(f"The {name} of pair {number} is empty. Fill it in or leave it out.")
    return Question(id=str(number), text=question, context=context)


def _worded(reading: Reading, threshold: float) -> dict[str, Any]:
    *each, none = reading.probabilities()
    candidates = [
        {**candidate._asdict(), "probability": p}
        for candidate, p in zip(reading.candidates, each, strict=True)
    ]
    return {
        "answer": reading.answer(threshold),
        "no_answer": reading.no_answer if candidates else None,
        "no_answer_probability": none,
        "candidates": candidates,
    }
