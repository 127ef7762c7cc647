"""What a student learns from: a trained network, asked about every batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from roots.errors import CheckpointError, ConfigError, nearest
from roots.modules.companion import Companion
from roots.modules.matching import LAYERS, Matching
from roots.modules.teacher import Teacher
from roots.networks import BaseWeights, Head, Pretrained, check_packing
from roots.networks.builder import n_positions
from roots.objectives import Listener
from roots.objectives.labels import check_temperature
from roots.records import Labels
from roots.runs import network_folder
from roots.tokenizer import Tokenizer, fetch_tokenizer, other_tokens


class Distiller(Companion):
    """Learns from what a teacher says of the labelled places, beside the labels.

    The loss is (1 - alpha) · the module's own loss + alpha · temperature² · KL(teacher ‖ student),
    over the vocabulary for a language model, over the classes for a classifier. Logged apart:
    `train/hard_loss`, `train/soft_loss` and `train/agreement`, the share of the labels for which
    teacher and student have the same best guess; the same in validations. Of several classes at
    once each is compared by itself; of a value the soft loss is the squared distance.

    With `hidden_weight` the student's blocks learn of the teacher's as well: the loss grows by that
    many times 1 - CKA of their states, which says how unlike both arrange the positions of a row
    (`train/hidden_loss`, 0 to 1 for each row). No projection is learned, so the widths may differ.

    The teacher is not trained, drops nothing, computes in the run's precision, and is in no
    checkpoint; its path and the sum of its weights are, and a run goes on with no other. Its
    attention is the usual one of its architecture. Student and teacher read the same tokens and
    tell the same labels; their sizes and architectures may differ.

    Args:
        teacher: The directory of a run (its best checkpoint is taken), a Hugging Face folder, or a
            name on the hub: a network with the head of the student.
        alpha: The teacher's share of the loss, 0 to 1.
        temperature: What the logits of both are divided by: above 1 it also tells which wrong
            answers are nearly right. 2 to 4 are usual for classifiers, 1 for language models.
        hidden_weight: How much the unlikeness of the states counts beside the rest; 0 compares
            none.
        hidden_layers: `last` compares the last blocks; `all` each block of the student with the one
            of the teacher that lies as deep.
        revision: Branch, tag or commit on the hub.

    Raises:
        ConfigError: A number that cannot work.

    Source:
        Hinton et al., arXiv:1503.02531, section 2. States: linear CKA, Kornblith et al.,
        arXiv:1905.00414, eq. 3.
    """

    name: ClassVar[str] = "teacher"

    def __init__(
        self,
        *,
        teacher: str,
        alpha: float = 0.5,
        temperature: float = 1.0,
        hidden_weight: float = 0.0,
        hidden_layers: str = "last",
        revision: str = "main",
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ConfigError(
                f"distiller.alpha={alpha:g} is no share. Set it from 0 (labels alone) to 1"
                " (teacher alone)."
            )
        if not 0 < temperature < math.inf:
            raise ConfigError(
                f"distiller.temperature={temperature:g} softens nothing, or all away. Set it"
                " above 0; 1 leaves the distributions as they are."
            )
        if not 0 <= hidden_weight < math.inf:
            raise ConfigError(
                f"distiller.hidden_weight={hidden_weight:g} is no weight. Set it to 0 to compare"
                " none, or above."
            )
        if hidden_layers not in LAYERS:
            raise ConfigError(
                f"There is no hidden_layers: {hidden_layers}{nearest(hidden_layers, LAYERS)}. Set"
                f" distiller.hidden_layers to {' or '.join(LAYERS)}."
            )
        if hidden_layers != "last" and not hidden_weight:
            raise ConfigError(
                f"distiller.hidden_layers={hidden_layers} compares nothing while"
                " distiller.hidden_weight is 0. Set hidden_weight above 0, or leave out"
                " hidden_layers."
            )
        self.teacher = teacher
        self.alpha = alpha
        self.temperature = temperature
        self.hidden_weight = hidden_weight
        self.hidden_layers = hidden_layers
        self.revision = revision
        self._weights: BaseWeights | None = None

    # -- before the run ----------------------------------------------------------------------

    def check_together(self, module: Any, strategy: Any, compiled: str) -> None:
        """Raises ConfigError when something does not work with a teacher beside."""
        loss = getattr(module, "loss", "plain")
        if loss not in ("fused", "plain"):
            raise ConfigError(
                f"loss: {loss} knows no teacher. Set model.loss to fused or plain, or leave out"
                " model.distiller."
            )
        if self.hidden_weight and compiled != "none":
            raise ConfigError(
                f"compile: {compiled} makes graphs of the blocks, whose states"
                f" distiller.hidden_weight={self.hidden_weight:g} looks at. Set model.compile to"
                " none, or hidden_weight to 0."
            )
        if not strategy.builds_whole:
            raise ConfigError(
                f"{type(strategy).__name__} cuts the weights over the devices, and a teacher is"
                " whole on each. Leave out model.distiller, or set trainer.strategy to ddp or"
                " single_device."
            )

    def planned(self, module: Any, data: Any) -> str:
        """Checks that the teacher fits, and says what it is and how much it counts."""
        config = self.check(module, data.tokenizer) if data.is_ready else None
        what = f"{config.model_type}, " if config else ""
        counts = f"{1 - self.alpha:g} of the loss by the labels, {self.alpha:g} by the teacher"
        if self.hidden_weight:
            counts += f", and {self.hidden_weight:g} times how unlike the states of blocks are"
        return f"{what}{self.teacher}: {counts}"

    def check(self, module: Any, tokenizer: Tokenizer) -> Any:
        """Gives the teacher's configuration, if it fits to a student.

        Args:
            module: The student's; it has learned of its data.
            tokenizer: What the data are encoded with.

        Raises:
            ConfigError: It reads other tokens, tells other labels, has another head, or fewer
                positions than a row has tokens; or a temperature shall soften values.
        """
        self._check_tokens(tokenizer)
        head: Head = module.head
        builder = self._builder()
        config = builder.network_config(module.vocabulary, Head(head.kind))
        self._check_length(n_positions(config), module.seq_len)
        if head.config:
            self._check_labels(Labels.of(config.to_dict()), Labels.of(head.config))
            if Labels.of(head.config).kind == "value":
                check_temperature(self.temperature)
        if head.predicts_tokens:
            student = module.builder.network_config(module.vocabulary, head)
            self._check_width(config, student)
        return config

    def empty(self, module: Any) -> Any:
        """Makes the teacher without weights, on the meta device."""
        builder = self._builder()
        return builder.empty(builder.network_config(module.vocabulary, module.head), module.head)

    def engage(self, module: Any, trainer: Any) -> str:
        """Builds the teacher and lets it speak of every batch that the student is scored on.

        Returns:
            What was done, in words.

        Raises:
            ConfigError: It does not fit to the student, or a part of it would be random.
        """
        self.check(module, trainer.datamodule.tokenizer)
        builder = self._builder()
        device = trainer.strategy.root_device
        network = builder.build(module.vocabulary, seed=0, device=device, head=module.head)
        if builder.drawn:
            some = ", ".join(sorted(builder.drawn)[:4])
            raise ConfigError(
                f"The teacher {self.teacher} has no weights for its {module.head.kind} ({some}):"
                " it would teach noise. Give one that was trained for this task."
            )
        if packed_by := getattr(trainer.datamodule, "packed_by", ""):
            check_packing(network, packed_by)
        network = trainer.precision_plugin.convert_module(network)
        teacher = self.join(module.trainable, network, lambda trainable: trainable.check())
        size = sum(p.numel() for p in network.parameters())
        own, n_pairs = teacher.trainable.own_forward_because, teacher.n_pairs
        because = f"; its own forward is run, because {own}" if own else ""
        blocks = f"; {n_pairs} of its blocks are compared" if n_pairs else ""
        return (
            f"teacher: {self.teacher}, {network.config.model_type},"
            f" {size:,} parameters{because}{blocks}"
        )

    def join(self, student: Any, network: Any, decide: Callable[[Any], Any]) -> Teacher:
        """Lets a network speak of every batch that a student is scored on.

        Args:
            student: A trainable.
            network: The teacher's, in the precision that it computes in.
            decide: Chooses which forward is run of a trainable.
        """
        network.config.output_router_logits = False  # its experts' balance is nobody's loss here
        network.requires_grad_(False)
        listener = Listener()
        trainable = type(student)(network, listener)
        decide(trainable)
        matching = self._match(student, network)
        teacher = Teacher(trainable.eval(), listener, self, matching)
        student.companion = teacher
        return teacher

    def _match(self, student: Any, teacher: Any) -> Matching | None:
        if not self.hidden_weight:
            return None
        return Matching(student, teacher, layers=self.hidden_layers, weight=self.hidden_weight)

    # -- checkpoints -------------------------------------------------------------------------

    @property
    def record(self) -> dict[str, str]:
        """What a checkpoint keeps of the teacher: where it lies, and the sum of its weights."""
        return self._known().record

    def check_saved(self, saved: Mapping[str, str] | None) -> None:
        """Raises CheckpointError when a checkpoint was made with another teacher."""
        known = self._known()
        if saved and saved["sha256"] != known.sha256:
            raise CheckpointError(
                f"The checkpoint's student learned from {saved['path']} ({saved['sha256'][:12]}),"
                f" and the teacher at {self.teacher} is another ({known.sha256[:12]}). Bring the"
                " old one back (model.distiller.teacher), or start a new run."
            )

    def _known(self) -> BaseWeights:
        if self._weights is None:  # reads all the files
            self._weights = BaseWeights.of(self.teacher, self.revision)
        return self._weights

    # -- what must be equal ------------------------------------------------------------------

    def _builder(self) -> Pretrained:
        return Pretrained(path=self.teacher, revision=self.revision)

    def _check_tokens(self, ours: Tokenizer) -> None:
        theirs = fetch_tokenizer(network_folder(self.teacher), self.revision)
        if unlike := other_tokens(theirs, ours):
            raise ConfigError(
                f"The teacher {self.teacher} reads other tokens than the data are made of:"
                f" {unlike}. Take a teacher with the tokenizer of the data, or make the data with"
                f" the teacher's (tokenizer: {self.teacher})."
            )

    def _check_length(self, limit: int | None, seq_len: int) -> None:
        if limit is not None and seq_len > limit:
            raise ConfigError(
                f"seq_len={seq_len:,} is longer than the {limit:,} positions that the teacher"
                f" {self.teacher} has. Set data.seq_len to at most {limit:,}, or take another"
                " teacher."
            )

    def _check_labels(self, theirs: Labels, ours: Labels) -> None:
        if theirs != ours:
            raise ConfigError(
                f"The teacher {self.teacher} tells {_worded(theirs)}, and the student shall tell"
                f" {_worded(ours)}. Take a teacher of the same labels in the same order:"
                " data.labels orders them, a folder's config.json names them in id2label."
            )

    def _check_width(self, theirs: Any, ours: Any) -> None:
        if theirs.vocab_size != ours.vocab_size:
            raise ConfigError(
                f"The teacher {self.teacher} has logits for {theirs.vocab_size:,} tokens and the"
                f" student for {ours.vocab_size:,}. Set network.config.vocab_size of a student from"
                f" scratch to {theirs.vocab_size}, or take another teacher."
            )


def _worded(labels: Labels) -> str:
    if labels.kind == "value":
        return "a value"
    return f"{labels.kind} of {len(labels.names)}: {', '.join(labels.names[:12])}"
