"""Masked rows that begin short: by definition, the same text hidden alike, each piece framed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_framed_rows import BEGIN, END, FILLER, FRAME, span_of
from test_mixture import attached, mixed
from tiny_masked import masked_config

from roots.batch import IGNORE, MaskedBatch
from roots.callbacks.utilization import OF_MATMUL_PEAK
from roots.data import MaskedCorpus
from roots.data.framed_cuts import cut, framed_length
from roots.data.framed_rows import NO_DOCUMENT, Laid, PackedRows, StreamRows
from roots.data.lengthening import Lengthening
from roots.errors import ConfigError
from roots.fit import compose
from roots.networks import count_flops
from roots.objectives import Masking
from roots.plan import plan_run
from roots.plan.flops import in_flop
from roots.precision import measured_peak
from roots.runs import read_metrics

LENGTHENS = {"first_seq_len": 4, "lengthening_steps": 4}  # in 4, 4, 2, 2 pieces, then whole
CUTS = (4, 4, 2, 2, 1)
WIDTHS = {4: 6, 2: 9, 1: 16}
KINDS = ("windows", "packed")


# -- what a piece is --------------------------------------------------------------------------

Token = tuple[int, int, int]


def pieces_by_definition(row: list[Token], cuts: int, *, apart: bool) -> list[list[Token]]:
    """The pieces of a row of (token, label, document), token by token."""
    length, documents = len(row) // cuts, [document for _, _, document in row]

    def is_torn(place: int) -> bool:
        """Whether a document stands on both sides of a place in the row."""
        sides = documents[place - 1 : place + 1]
        return 0 < place < len(row) and sides[0] == sides[1] != NO_DOCUMENT

    pieces = []
    for start in range(0, len(row), length):
        stop = start + length
        piece = [(BEGIN, IGNORE, documents[start])] if is_torn(start) else []
        piece += row[start:stop]
        piece += [(END, IGNORE, documents[stop - 1])] if is_torn(stop) else []
        fill = (FILLER, IGNORE, NO_DOCUMENT) if apart else (END, IGNORE, 0)
        pieces.append(piece + [fill] * (framed_length(len(row), cuts) - len(piece)))
    return pieces


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=20),
    length=st.integers(2, 6),
    doublings=st.integers(0, 3),
    apart=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_pieces_are_their_definition_and_keep_all_text_in_frames(
    folder: Path, lengths: list[int], length: int, doublings: int, apart: bool, seed: int
) -> None:
    cuts, seq_len = 2**doublings, length * 2**doublings
    assume(seq_len > 2)
    kind = PackedRows if apart else StreamRows
    span = span_of(folder, [*lengths, 2 * seq_len])
    rows = kind(span, seq_len=seq_len, keep_last=False, frame=FRAME)
    laid = rows.lay(np.arange(len(rows), dtype=np.int64))
    hidden = (np.random.default_rng(seed).random(laid.input_ids.shape) < 0.3) & (
        laid.input_ids >= 10
    )
    labels = np.where(hidden, laid.input_ids, IGNORE)
    found, found_labels = cut(laid, labels, cuts, FRAME)

    documents = laid.document_ids if apart else np.zeros_like(labels)
    whole = np.stack([laid.input_ids, labels, documents], axis=2).tolist()
    expected = [
        piece
        for row in whole
        for piece in pieces_by_definition([tuple(token) for token in row], cuts, apart=apart)
    ]
    assert found.input_ids.tolist() == [[token for token, _, _ in piece] for piece in expected]
    assert found_labels.tolist() == [[label for _, label, _ in piece] for piece in expected]
    if apart:
        assert found.document_ids is not None
        numbers = [[document for _, _, document in piece] for piece in expected]
        assert found.document_ids.tolist() == numbers

    text, text_labels = found.input_ids >= 10, found_labels[found.input_ids >= 10]
    assert found.input_ids[text].tolist() == laid.input_ids[laid.input_ids >= 10].tolist()
    assert text_labels.tolist() == labels[laid.input_ids >= 10].tolist()
    assert_framed(found)


def assert_framed(laid: Laid) -> None:
    """Each piece begins and ends as a row does; where documents are apart, each of them."""
    for number, ids in enumerate(laid.input_ids):
        own = ids[: laid.lengths[number]]
        documents = np.zeros_like(own)
        if laid.document_ids is not None:
            documents = laid.document_ids[number, : len(own)]
            assert (laid.document_ids[number, len(own) :] == NO_DOCUMENT).all()
            assert (ids[len(own) :] == FILLER).all()
        for document in np.unique(documents):
            tokens = own[documents == document]
            assert (tokens[0], tokens[-1]) == (BEGIN, END)


# -- in a step --------------------------------------------------------------------------------


def corpus_of(shards: Any, kind: str = "windows", **changes: Any) -> MaskedCorpus:
    made = {"seq_len": 16, "sequences_per_step": 8, **LENGTHENS, **changes}
    return MaskedCorpus(shards=shards, rows=kind, **made)


def steps_of(data: MaskedCorpus, *place: int, first: int = 0, steps: int = 9) -> list[MaskedBatch]:
    return list(attached(data, *place, first=first, steps=steps).train_dataloader())


def assert_same(batch: MaskedBatch, other: MaskedBatch, rows: slice = slice(None)) -> None:
    for name in ("samples", "input_ids", "labels", "lengths", "n_bytes", "places"):
        assert torch.equal(getattr(batch, name), getattr(other, name)[rows]), name
    if batch.document_ids is not None:
        assert other.document_ids is not None
        assert torch.equal(batch.document_ids, other.document_ids[rows])
    assert (batch.step, batch.cuts) == (other.step, other.cuts)


MASKINGS = {
    "token": Masking(rate=0.3),
    "word": Masking(rate=0.3, unit="word"),
    "span": Masking(rate=0.3, unit="span"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", MASKINGS)
@pytest.mark.parametrize("source", ["one", "mixture", "growing"])
def test_a_step_has_the_text_of_whole_rows_and_the_same_of_it_hidden(
    masked_shards: Path, kind: str, unit: str, source: str
) -> None:
    made = mixed(masked_shards, masked_shards) if source == "mixture" else str(masked_shards)
    others: dict[str, Any] = {"masking": MASKINGS[unit]}
    others |= {"first_sequences_per_step": 2, "growing_steps": 5} if source == "growing" else {}
    data = corpus_of(made, kind, **others)
    whole = corpus_of(made, kind, first_seq_len=0, lengthening_steps=0, **others)
    special = torch.tensor(sorted(data.tokenizer.special_ids - {data.tokenizer.mask_id}))
    torn = 0
    for short, full in zip(steps_of(data), steps_of(whole), strict=True):
        cuts = CUTS[min(short.step, 4)]
        assert short.input_ids.shape == (len(full) * cuts, WIDTHS[cuts])
        assert short.samples.tolist() == full.samples.repeat_interleave(cuts).tolist()
        text, text_of_full = (~torch.isin(each.input_ids, special) for each in (short, full))
        for name in ("input_ids", "labels"):
            assert torch.equal(getattr(short, name)[text], getattr(full, name)[text_of_full])
        assert (short.labels[~text] == IGNORE).all()
        assert short.n_labels == full.n_labels
        assert short.n_bytes.reshape(len(full), -1).sum(1).tolist() == full.n_bytes.tolist()
        assert not short.is_filled_up or kind == "packed"
        torn += int((short.labels[:, 1] != IGNORE).sum()) if cuts > 1 else 0
    assert torn  # what is hidden may stand at a cut


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_comes_as_often_as_without_it(masked_shards: Path, kind: str) -> None:
    """Over an epoch, which ends after rows became whole."""
    counts = []
    for lengthens in (LENGTHENS, {}):
        changes = {"first_seq_len": 0, "lengthening_steps": 0, **lengthens}
        data = corpus_of(str(masked_shards), kind, sequences_per_step=4, **changes)
        n_steps = data.n_train // 4
        assert n_steps > 5
        ids = torch.cat(
            [
                torch.where(batch.labels != IGNORE, batch.labels, batch.input_ids).ravel()
                for batch in steps_of(data, steps=n_steps)
            ]
        )
        count = torch.bincount(ids, minlength=200)
        count[sorted(data.tokenizer.special_ids)] = 0
        counts.append(count.tolist())
    assert counts[0] == counts[1]
    assert sum(counts[0]) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_and_a_resumed_run_read_the_same(masked_shards: Path, kind: str) -> None:
    whole = steps_of(corpus_of(str(masked_shards), kind))
    for first in range(6):
        rest = steps_of(corpus_of(str(masked_shards), kind), first=first)
        for batch, expected in zip(rest, whole[first:], strict=True):
            assert_same(batch, expected)
    for rank in (0, 1):
        for batch in steps_of(corpus_of(str(masked_shards), kind), rank, 2):
            half = len(whole[batch.step]) // 2
            assert_same(batch, whole[batch.step], slice(rank * half, (rank + 1) * half))


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_where_the_labels_are_in_every_micro_batch(
    masked_shards: Path, kind: str
) -> None:
    shapes: dict[int, set[Any]] = {}
    for batch in steps_of(corpus_of(str(masked_shards), kind), steps=40):
        shapes.setdefault(batch.cuts, set()).add((batch.input_ids.shape[1], batch.places.shape))
        for part in batch.split(3):
            assert len(part) in (3 * part.cuts, 2 * part.cuts)
            labels = part.labels.reshape(len(part) // part.cuts, -1)
            for row, places in zip(labels, part.places_of_samples, strict=True):
                assert places[places >= 0].tolist() == (row != IGNORE).nonzero().ravel().tolist()
    # as many places as whole rows have, whatever they are cut into
    assert shapes == {cuts: {(WIDTHS[cuts], (8 * cuts, 8 // cuts))} for cuts in (1, 2, 4)}


def test_many_pieces_share_the_places_of_a_row_evenly(masked_shards: Path) -> None:
    data = corpus_of(str(masked_shards), seq_len=64, first_seq_len=2, lengthening_steps=5)
    first = steps_of(data, steps=1)[0]
    assert (first.cuts, first.places_of_samples.shape) == (32, (8, 32))
    assert int((first.places >= 0).sum()) == int(first.n_labels)


def test_the_loss_of_pieces_is_that_of_their_labels() -> None:
    """Places of a sample lead to the same logits as looking for labels does."""
    from roots.objectives import MaskedToken, row_places

    made = torch.Generator().manual_seed(1)
    hidden, head = torch.randn(8, 6, 5, generator=made), torch.nn.Linear(5, 11)
    labels = torch.randint(11, (8, 6), generator=made)
    labels[torch.rand(8, 6, generator=made) < 0.7] = IGNORE
    places = torch.from_numpy(row_places(labels.reshape(2, 24).numpy()))
    score = MaskedToken().from_hidden(hidden, head, labels, places)
    logs = head(hidden).double().log_softmax(-1)
    there = labels != IGNORE
    expected = -logs[there].gather(1, labels[there][:, None]).sum()
    assert float(score.nats) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert int(score.n_labels) == int(there.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_reads_whole_rows(masked_shards: Path, kind: str) -> None:
    whole = corpus_of(str(masked_shards), kind, first_seq_len=0, lengthening_steps=0)
    batches = list(attached(corpus_of(str(masked_shards), kind)).val_dataloader())
    for batch, expected in zip(batches, attached(whole).val_dataloader(), strict=True):
        assert batch.input_ids.shape[1] == 16
        assert_same(batch, expected)


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message", "cures"),
    [
        (
            {"rows": "documents"},
            r"^lengthening_steps=4 is for rows of one length: .*Set data\.rows to windows or"
            r" packed, or data\.lengthening_steps and data\.first_seq_len to 0\.",
            [
                {"rows": "windows"},
                {"rows": "packed"},
                {"lengthening_steps": 0, "first_seq_len": 0},
            ],
        ),
        (
            {"rows": "documents", "first_seq_len": 3},
            r"^lengthening_steps=4 is for rows of one length",
            [{"rows": "windows", "first_seq_len": 4}],
        ),
        (
            {"first_seq_len": 3},
            r"=3 does not become seq_len=16 .*\.first_seq_len to 4, or data\.seq_len to 12\.",
            [{"first_seq_len": 4}, {"seq_len": 12}],
        ),
        (
            {"first_seq_len": 2, "lengthening_steps": 2},
            r"lengthening_steps=2 is less than the 3 doublings from 2 to 16 tokens.* to 3 or more",
            [{"lengthening_steps": 3}, {"first_seq_len": 4}],
        ),
        ({"first_seq_len": 0}, r"first_seq_len=0 and lengthening_steps=4 go", [LENGTHENS]),
        ({"lengthening_steps": -1}, r"lengthening_steps=-1 is too small", [LENGTHENS]),
    ],
)
def test_a_lengthening_that_cannot_be_is_refused(
    changes: dict, message: str, cures: list[dict]
) -> None:
    kind = changes.get("rows", "windows")
    rest = {name: value for name, value in changes.items() if name != "rows"}
    with pytest.raises(ConfigError, match=message):
        corpus_of("nowhere", kind, **rest)
    for cure in cures:
        cured = {"rows": kind, **rest, **cure}
        corpus_of("nowhere", cured.pop("rows"), **cured)


# -- what is told -----------------------------------------------------------------------------


def test_rows_are_as_long_as_they_are_told(masked_shards: Path) -> None:
    data = corpus_of(str(masked_shards))
    assert data.lengths == [6, 9, 16]
    for batch in steps_of(data, steps=6):
        assert batch.input_ids.shape[1] == data.length_at(batch.step)
        assert batch.cuts == data.cuts_at(batch.step)
    assert [data.read_per_token(length) for length in data.lengths] == [4 * 6 / 16, 18 / 16, 1]
    rows = Lengthening(first=64, full=512, steps=300, length_of=framed_length)
    words = "66 tokens until step 100, 130 tokens until step 200, 257 tokens until step 300"
    assert rows.in_words(1000) == f"{words}, then 512"
    assert rows.in_words(50) == "66; the run ends before they have seq_len=512"


@pytest.mark.parametrize("kind", KINDS)
def test_operations_are_those_of_each_length(
    masked_shards: Path, tmp_path: Path, kind: str
) -> None:
    """Eight sequences of 16 tokens, in rows of 6, 6, 9, 9, 16, 16."""
    config = masked_config(masked_shards, tmp_path, rows=kind, log_every_steps=3)
    config["data"]["init_args"] |= LENGTHENS
    composed = compose(config)
    told = dict(plan_run(composed.trainer, composed.model, composed.data).lines)
    assert told["rows"] == "6 tokens until step 2, 9 tokens until step 4, then 16"
    assert told["step"].startswith("8 sequences of 16 = 128 tokens, in 2 forward passes of 4")
    run = composed.fit()
    network = composed.model.trainable.network
    # by hand: what is read for a token of a sequence, times its operations; as many labels
    each = {}
    for width, read in ((6, 24 / 16), (9, 18 / 16), (16, 1)):
        counted = count_flops(network, seq_len=width, causal=False, labelled_fraction=0.15 / read)
        each[width] = read * counted.per_trained_token
    head = count_flops(network, seq_len=16, causal=False, labelled_fraction=0.15).training
    short = composed.data.read_per_token(6)
    same = count_flops(network, seq_len=6, causal=False, labelled_fraction=0.15 / short).training
    name = "vocabulary projection"
    assert same[name] * short == pytest.approx(head[name])
    widths = (6, 6, 9, 9, 16, 16)
    flops = np.array([128 * each[width] for width in widths])
    assert told["FLOPs"].endswith(f"{in_flop(flops.sum())} in all")
    assert f", {in_flop(each[6])} in rows of 6, {in_flop(each[9])} in rows of 9," in told["FLOPs"]
    first, middle, last = [row for row in read_metrics(run.metrics_file) if row["train/loss"]]
    for row, taken in ((first, slice(0, 1)), (middle, slice(1, 3)), (last, slice(3, 6))):
        per_token = flops[taken].sum() / (len(flops[taken]) * 128)
        share = float(row["train/tokens_per_second"]) * per_token / measured_peak(torch.float32)
        assert float(row[OF_MATMUL_PEAK]) == pytest.approx(share, rel=1e-9)
    assert [float(row["train/seq_len"]) for row in (first, middle, last)] == [6, 9, 16]
    assert float(last["train/tokens_seen"]) == 6 * 128
    assert run.last().tokens == 6 * 128


def test_a_run_says_when_its_rows_get_longer(
    masked_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = masked_config(masked_shards, tmp_path, progress=True)
    config["data"]["init_args"] |= LENGTHENS
    compose(config).fit()
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("rows of")] == [
        "rows of 6 tokens from step 0 on: each sequence is cut into 4",
        "rows of 9 tokens from step 2 on: each sequence is cut into 2",
        "rows of 16 tokens from step 4 on: sequences are whole",
    ]


def test_memory_is_planned_for_all_that_short_rows_read(
    masked_shards: Path, tmp_path: Path
) -> None:
    from roots.plan.widest import widest_batch

    config = masked_config(masked_shards, tmp_path)
    plain = compose(config)
    config["data"]["init_args"] |= LENGTHENS
    short = compose(config)
    planned = widest_batch(short.model, short.data, 4)
    assert planned.labels.numel() == 4 * 4 * 6
    assert widest_batch(plain.model, plain.data, 4).labels.numel() == 4 * 16
