"""TokenCorpus: which text is for training, which for validation, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
from tiny import tiny_config

from roots.batch import IGNORE, TokenBatch
from roots.corpus import BytePairs, Corpus
from roots.data import TokenCorpus
from roots.data.corpora import Corpora
from roots.data.opened_corpus import last_part
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.shards import Shard, ShardWriter
from roots.sources import Text


def maker(source: Path, out: Path, **settings: Any) -> Corpus:
    return Corpus(
        source=Text(paths=[str(source)]),
        out=str(out),
        tokenizer=BytePairs(vocab_size=300),
        workers=1,
        **{"val_fraction": 0.0, **settings},
    )


def built(source: Path, out: Path, **settings: Any) -> Path:
    return maker(source, out, **settings).prepare(progress=False)


@pytest.fixture(scope="module")
def unsplit(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents of the tiny corpus, all of them for training."""
    return built(text_folder, tmp_path_factory.mktemp("corpora") / "unsplit")


@pytest.fixture(scope="module")
def one_document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document, with letters of one to four bytes."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "text.txt").write_text("Grüße aus Bärenhöhle, 熊の穴から 🐻. " * 60, encoding="utf-8")
    return built(folder, folder / "shards")


@pytest.fixture(scope="module")
def three_splits(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpora") / "three"
    return built(text_folder, out, val_fraction=0.2, test_fraction=0.2)


def opened(folder: Path | Corpus, **settings: Any) -> TokenCorpus:
    shards = folder if isinstance(folder, Corpus) else str(folder)
    return TokenCorpus(shards=shards, **{"seq_len": 16, "sequences_per_step": 4, **settings})


def attach(corpus: TokenCorpus, rank: int = 0, ranks: int = 1) -> TokenCorpus:
    strategy = SimpleNamespace(
        data_parallel_rank=rank,
        data_parallel_size=ranks,
        root_device=SimpleNamespace(type="cpu"),
    )
    corpus.trainer = SimpleNamespace(strategy=strategy, seed=1, global_step=2, max_steps=5)  # type: ignore[assignment]
    return corpus


def labels_of(batches: Any) -> list[int]:
    found = np.concatenate([batch.labels.numpy().ravel() for batch in batches])
    return found[found != IGNORE].tolist()


# -- which text -------------------------------------------------------------------------------


def test_a_split_that_the_corpus_made_is_taken_whole(shards: Path) -> None:
    corpus = opened(shards, val_fraction=0.9)
    for name, windows in (("train", corpus.sequences("train")), ("val", corpus.sequences("val"))):
        span = windows.span
        assert (span.start, span.stop) == (0, corpus.folder.shard(name).n_tokens)
        assert span.shard.prefix.name == name


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5])
def test_without_one_the_last_documents_are_for_validation(unsplit: Path, fraction: float) -> None:
    corpus = opened(unsplit, val_fraction=fraction)
    train, val = corpus.sequences("train").span, corpus.sequences("val").span
    shard = corpus.folder.shard("train")
    starts = shard.document_starts[:].tolist()
    assert (train.start, train.stop, val.stop) == (0, val.start, shard.n_tokens)
    assert val.start in starts  # no document is torn apart
    cut = shard.n_tokens - round(fraction * shard.n_tokens)
    assert val.start == next(start for start in starts if start >= cut)


def test_training_and_validation_share_no_target(unsplit: Path) -> None:
    corpus = attach(opened(unsplit, val_fraction=0.3))
    n_documents = corpus.folder.shard("train").n_documents
    train = corpus.sequences("train")
    in_training = {train.document_of(i) for i in range(len(train))}
    val = corpus.sequences("val")
    in_validation = {val.document_of(i) for i in range(len(val))}
    assert in_training.isdisjoint(in_validation)
    assert min(in_validation) > max(in_training)
    assert max(in_validation) == n_documents - 1


def test_of_a_single_document_the_end_is_for_validation(one_document: Path) -> None:
    corpus = opened(one_document, val_fraction=0.25)
    shard = corpus.folder.shard("train")
    assert shard.n_documents == 1
    n_of_text = shard.n_tokens - 1  # without eos
    assert corpus.sequences("train").span.stop == int(n_of_text * 0.75)
    assert corpus.sequences("val").span.stop == shard.n_tokens
    assert corpus.sequences("train").span.stop == corpus.sequences("val").span.start


def test_bytes_are_counted_through_letters_that_several_tokens_share(one_document: Path) -> None:
    corpus = attach(opened(one_document, val_fraction=0.25))
    span, tokenizer = corpus.sequences("val").span, corpus.tokenizer
    tokens = np.asarray(span.shard.tokens[span.start : span.stop]).tolist()
    by_hand = sum(int(corpus.token_bytes[token]) for token in tokens[1:])
    assert sum(int(batch.n_bytes.sum()) for batch in corpus.val_dataloader()) == by_hand
    whole = np.asarray(span.shard.tokens).tolist()
    text = tokenizer.decode(whole[:-1])
    assert sum(int(corpus.token_bytes[token]) for token in whole) == len(text.encode())
    assert len(text.encode()) > len(text)


def test_without_validation_text_there_is_no_loader(unsplit: Path) -> None:
    corpus = attach(opened(unsplit, val_fraction=0.0))
    assert corpus.val_dataloader() == []
    assert corpus.sequences("train").span.stop == corpus.folder.shard("train").n_tokens


@pytest.mark.parametrize(
    ("lengths", "fraction", "start"),
    [
        ((10, 10, 10, 10), 0.25, 30),  # the cut is where a document begins
        ((10, 10, 10, 10), 0.3, 30),  # it is within one: the next begins at 30
        ((10, 10, 10, 10), 0.2, 32),  # it is within the last
        ((10, 30), 0.5, 20),
        ((39, 1), 0.5, 20),  # the only one behind it would leave a fortieth of the text
        ((40,), 0.5, 19),  # 39 tokens of text
        ((41,), 0.5, 20),
        ((40,), 0.0, 40),
        ((1_115_395,), 0.1, 1_003_854),  # tiny Shakespeare, as nanoGPT divides it
        ((10, 30), 0.0, 40),
        ((10, 30), 0.9, 10),
        ((10, 30), 0.999, 0),
    ],
)
def test_the_last_part_begins_with_a_document_where_one_is_near(
    tmp_path: Path, lengths: tuple[int, ...], fraction: float, start: int
) -> None:
    with ShardWriter(tmp_path / "train", vocab_size=100) as writer:
        for length in lengths:
            writer.add(np.ones(length, dtype=np.int64))
    assert last_part(Shard(tmp_path / "train"), fraction) == start


# -- what Lightning asks for ------------------------------------------------------------------


def test_the_training_loader_goes_on_where_the_trainer_is(shards: Path) -> None:
    batches: list[TokenBatch] = list(attach(opened(shards)).train_dataloader())
    assert [batch.step for batch in batches] == [2, 3, 4]
    assert {tuple(batch.input_ids.shape) for batch in batches} == {(4, 16)}


def test_two_ranks_read_what_one_reads(shards: Path) -> None:
    alone = list(attach(opened(shards)).train_dataloader())
    pairs = [attach(opened(shards), rank, 2).train_dataloader() for rank in (0, 1)]
    for whole, parts in zip(alone, zip(*pairs, strict=True), strict=True):
        rows = [row for part in parts for row in part.input_ids.tolist()]
        assert rows == whole.input_ids.tolist()


def test_validation_predicts_every_token_of_its_text_but_the_first_of_each_document(
    shards: Path,
) -> None:
    corpus = attach(opened(shards))
    shard = corpus.folder.shard("val")
    expected = [t for i in range(shard.n_documents) for t in shard.document(i)[1:].tolist()]
    assert labels_of(corpus.val_dataloader()) == expected


def test_validation_can_be_cut_to_the_first_sequences(shards: Path) -> None:
    batches = list(attach(opened(shards, max_val_sequences=6)).val_dataloader())
    samples = np.concatenate([batch.samples for batch in batches])
    assert samples.tolist() == [0, 1, 2, 3, 4, 5, -1, -1]


def test_a_limit_on_the_validation_leaves_test_and_prediction_whole(
    shards: Path, three_splits: Path
) -> None:
    tested = attach(opened(three_splits, max_val_sequences=3))
    assert labels_of(tested.test_dataloader()) == labels_of(
        attach(opened(three_splits)).test_dataloader()
    )
    assert tested.group_of("test", len(tested.test_dataloader()) - 1) == ""
    predicted = attach(opened(shards, max_val_sequences=3))
    assert sum(len(batch) for batch in predicted.val_dataloader()) == 4
    assert labels_of(predicted.predict_dataloader()) == labels_of(
        attach(opened(shards)).val_dataloader()
    )


def test_documents_can_be_kept_apart_and_begin_where_the_one_before_has_ended(
    shards: Path,
) -> None:
    corpus = attach(opened(shards, attend_across_documents=False))
    eos = corpus.tokenizer.eos_id
    together = list(attach(opened(shards)).val_dataloader())
    assert all(batch.document_ids is None for batch in together)
    for batch, other in zip(corpus.val_dataloader(), together, strict=True):
        assert np.array_equal(batch.input_ids, other.input_ids)
        assert np.array_equal(batch.labels, other.labels)
        for ids, numbers, sample in zip(
            batch.input_ids, batch.document_ids, batch.samples, strict=True
        ):
            filled = numbers >= 0 if sample >= 0 else numbers > np.inf
            expected = np.cumsum([0, *(ids[:-1] == eos)])  # each document ends with eos
            assert np.array_equal(numbers[filled], expected[filled])
            assert (numbers[~filled] == -1).all()


def test_test_and_prediction_read_the_test_text(three_splits: Path) -> None:
    corpus = attach(opened(three_splits))
    shard = corpus.folder.shard("test")
    expected = [t for i in range(shard.n_documents) for t in shard.document(i)[1:].tolist()]
    assert labels_of(corpus.test_dataloader()) == expected
    assert labels_of(corpus.predict_dataloader()) == expected


def test_without_test_text_prediction_reads_the_validation_text(shards: Path) -> None:
    corpus = attach(opened(shards))
    assert labels_of(corpus.predict_dataloader()) == labels_of(corpus.val_dataloader())


def test_it_knows_its_tokens(shards: Path) -> None:
    corpus = opened(shards)
    tokenizer = corpus.tokenizer
    assert corpus.vocabulary.size == tokenizer.vocab_size == len(corpus.token_bytes)
    assert corpus.vocabulary.eos_id == tokenizer.eos_id
    assert corpus.tokens_per_step == 64


# -- shards that are made ---------------------------------------------------------------------


def test_shards_that_are_not_there_are_made_and_then_taken(
    text_folder: Path, tmp_path: Path
) -> None:
    corpus = opened(maker(text_folder, tmp_path / "made"))
    assert not corpus.is_ready
    assert corpus.vocabulary.size == 300  # as planned
    corpus.prepare_data()
    assert corpus.is_ready
    assert corpus.path == tmp_path / "made"
    assert corpus.vocabulary.size == corpus.tokenizer.vocab_size <= 300
    made = (tmp_path / "made" / "manifest.json").stat().st_mtime_ns
    corpus.prepare_data()
    assert (tmp_path / "made" / "manifest.json").stat().st_mtime_ns == made


def test_the_fingerprint_changes_with_the_text_and_not_with_its_folder(
    text_folder: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(text_folder, tmp_path / "text"))
    prints = [
        opened(built(folder, tmp_path / name)).fingerprint
        for folder, name in ((text_folder, "a"), (copied, "b"))
    ]
    (copied / "00.txt").write_text("something else")
    prints.append(opened(built(copied, tmp_path / "c")).fingerprint)
    assert prints[0] == prints[1] != prints[2]


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("seq_len", 1, 2), ("sequences_per_step", 0, 1), ("max_val_sequences", -1, 0)],
)
def test_a_number_that_is_too_small_is_refused(name: str, value: int, least: int) -> None:
    with pytest.raises(ConfigError, match=rf"{name}={value} .* data\.{name} to {least} or more"):
        TokenCorpus(shards="nowhere", **{name: value})
    TokenCorpus(shards="nowhere", **{name: least})


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_val_fraction_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=rf"val_fraction={value:g} .* at least 0 and less than 1"):
        TokenCorpus(shards="nowhere", val_fraction=value)
    TokenCorpus(shards="nowhere", val_fraction=0.0)


def test_too_little_text_for_one_sequence_is_refused(one_document: Path) -> None:
    n_tokens = len(opened(one_document, val_fraction=0.0).sequences("train").span)
    settings = {"val_fraction": 0.0, "seq_len": n_tokens}
    message = rf"has {n_tokens:,} tokens: .* seq_len={n_tokens:,}\. .* at most {n_tokens - 1:,},"
    with pytest.raises(ConfigError, match=message):
        opened(one_document, **settings).setup("fit")
    cured = opened(one_document, **{**settings, "seq_len": n_tokens - 1})
    cured.setup("fit")
    assert len(cured.sequences("train")) == 1
    opened(one_document, **settings).setup("validate")  # which needs no training text


def test_ranks_that_do_not_divide_the_step_are_refused_before_anything_is_built(
    shards: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"sequences_per_step=4 .* 3 ranks .* to 3 or 6\."):
        attach(opened(shards), ranks=3).setup("fit")
    attach(opened(shards, sequences_per_step=6), ranks=3).setup("fit")


def test_a_path_is_opened_as_its_name_is(shards: Path) -> None:
    by_path, by_name = Corpora(shards, 0.0), Corpora(str(shards), 0.0)
    assert by_path.fingerprint == by_name.fingerprint
    assert by_path.path == by_name.path
    assert by_path.vocabulary == by_name.tokenizer.vocabulary


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    corpus = opened(tmp_path / "nowhere")
    assert not corpus.is_ready
    with pytest.raises(DataError, match=rf"{tmp_path}/nowhere does not exist .*roots corpus"):
        corpus.setup("fit")


def test_a_folder_may_be_in_the_home_folder(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(shards.parent))
    corpus = TokenCorpus(shards=f"~/{shards.name}", seq_len=16)
    assert corpus.is_ready
    assert corpus.path == shards
    assert len(corpus.sequences("train")) == len(opened(shards, seq_len=16).sequences("train"))


def test_a_file_in_place_of_the_folder_is_told(shards: Path) -> None:
    corpus = TokenCorpus(shards=str(shards / "train.bin"))
    message = rf"train\.bin is a file, .*`roots corpus` wrote; {shards} is the one that this file"
    with pytest.raises(DataError, match=message):
        corpus.setup("fit")
    TokenCorpus(shards=str(shards), seq_len=16).setup("validate")


def test_a_corpus_without_test_text_says_how_to_get_some(shards: Path, three_splits: Path) -> None:
    message = r"no test split\. Build .* test_fraction above 0, or use `roots validate`"
    with pytest.raises(DataError, match=message):
        attach(opened(shards)).test_dataloader()
    attach(opened(three_splits)).test_dataloader()


def test_lightnings_own_trainer_is_refused_with_ours_named(shards: Path, tmp_path: Path) -> None:
    made = compose(tiny_config(shards, tmp_path))
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    theirs = L.Trainer(max_steps=1, enable_progress_bar=False, **settings)
    with pytest.raises(ConfigError, match=r"^SingleDeviceStrategy of .*Use roots\.fit\.Trainer"):
        theirs.fit(made.model, datamodule=made.data)
