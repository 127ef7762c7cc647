"""A mixture: the same rows on any number of ranks, each once an epoch, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from roots.batch import IGNORE
from roots.corpus import BytePairs, Corpus, Existing
from roots.data import MaskedCorpus, Mixture, Phase, TokenCorpus
from roots.data.blending import FOREVER
from roots.errors import CheckpointError, ConfigError, DataError
from roots.objectives import Masking
from roots.shards import ShardFolder
from roots.sources import Text
from roots.tokenizer import Tokenizer

STEPS = 40


def mixed(news: Path, plays: Path, **settings: Any) -> Mixture:
    weights = None if "phases" in settings else {"news": 3, "plays": 1}
    corpora: Any = {"news": str(news), "plays": str(plays)}
    return Mixture(**{"corpora": corpora, "weights": weights, **settings})


def attached(data: Any, rank: int = 0, ranks: int = 1, first: int = 0, steps: int = STEPS) -> Any:
    strategy = SimpleNamespace(
        data_parallel_rank=rank,
        data_parallel_size=ranks,
        root_device=SimpleNamespace(type="cpu"),
    )
    data.trainer = SimpleNamespace(
        strategy=strategy,
        seed=1,
        global_step=first,
        max_steps=steps,
        state=SimpleNamespace(fn="fit"),
    )
    return data


def corpus_of(mixture: Mixture, **settings: Any) -> TokenCorpus:
    return TokenCorpus(shards=mixture, **{"seq_len": 16, "sequences_per_step": 8, **settings})


# -- which rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_any_number_of_ranks_reads_the_same_global_batches(
    shards: Path, plays: Path, ranks: int
) -> None:
    mixture = mixed(shards, plays)
    alone = list(attached(corpus_of(mixture)).train_dataloader())
    loaders = [attached(corpus_of(mixture), r, ranks).train_dataloader() for r in range(ranks)]
    for whole, parts in zip(alone, zip(*loaders, strict=True), strict=True):
        for name in ("samples", "input_ids", "labels"):
            together = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(together, getattr(whole, name))


def test_the_order_in_which_corpora_are_named_changes_nothing(shards: Path, plays: Path) -> None:
    turned: Any = {"plays": str(plays), "news": str(shards)}
    corpora = [corpus_of(mixed(shards, plays)), corpus_of(mixed(shards, plays, corpora=turned))]
    assert corpora[0].fingerprint == corpora[1].fingerprint
    loaders = [attached(corpus).train_dataloader() for corpus in corpora]
    for one, two in zip(*loaders, strict=True):
        assert torch.equal(one.input_ids, two.input_ids)


def test_a_resumed_run_reads_what_the_whole_one_reads(shards: Path, plays: Path) -> None:
    whole = list(attached(corpus_of(mixed(shards, plays))).train_dataloader())
    for batch in attached(corpus_of(mixed(shards, plays)), first=17).train_dataloader():
        assert torch.equal(batch.input_ids, whole[batch.step].input_ids)


def test_every_step_has_the_shares_and_every_row_comes_once_an_epoch(
    shards: Path, plays: Path
) -> None:
    corpus = attached(corpus_of(mixed(shards, plays)), steps=200)
    rows = corpus.sequences("train")
    drawn: list[list[int]] = [[], []]
    for batch in corpus.train_dataloader():
        of = [rows.part_of(sample) for sample in batch.samples.tolist()]
        assert np.bincount(of, minlength=2).tolist() == [6, 2]
        for part, sample in zip(of, batch.samples.tolist(), strict=True):
            drawn[part].append(sample)
    for part, samples in zip(rows.parts, drawn, strict=True):
        n = len(part)
        assert len(samples) > n  # more than an epoch
        for first in range(0, len(samples) - n, n):
            assert len(set(samples[first : first + n])) == n


def test_rows_are_those_that_each_corpus_has_alone(shards: Path, plays: Path) -> None:
    rows = corpus_of(mixed(shards, plays), attend_across_documents=False).sequences("train")
    for number, folder in enumerate((shards, plays)):
        own = TokenCorpus(shards=str(folder), seq_len=16, attend_across_documents=False)
        alone = own.sequences("train")
        every = np.arange(len(alone), dtype=np.int64)
        joined = every + rows.firsts[number]
        for ours, theirs in zip(rows.read(joined), alone.read(every), strict=True):
            assert np.array_equal(ours, theirs)
        assert np.array_equal(rows.document_ids(joined), alone.document_ids(every))
        assert rows.document_of(int(joined[-1])) == alone.document_of(int(every[-1]))
    inputs, labels = rows.read(np.array([-1, rows.firsts[1]]))
    assert (labels[0] == IGNORE).all()
    assert np.array_equal(inputs[1], alone.read(every[:1])[0][0])


def test_masked_rows_are_mixed_alike(masked_shards: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(masked_shards, tmp_path / "copy"))
    for kind in ("windows", "packed"):
        settings = {"rows": kind, "masking": Masking(), "seq_len": 16, "sequences_per_step": 8}
        mixture = mixed(masked_shards, copied)
        corpus = attached(MaskedCorpus(shards=mixture, **settings))
        whole = list(corpus.train_dataloader())
        firsts = corpus.sequences("train").firsts
        assert {int((batch.samples >= firsts[1]).sum()) for batch in whole} == {2}
        pair = [attached(MaskedCorpus(shards=mixture, **settings), r, 2) for r in (0, 1)]
        pairs = zip(*(each.train_dataloader() for each in pair), strict=True)
        for batch, parts in zip(whole, pairs, strict=True):
            assert torch.equal(torch.cat([part.input_ids for part in parts]), batch.input_ids)
            assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)


def test_a_validation_reads_every_row_in_batches_of_one_corpus(shards: Path, plays: Path) -> None:
    corpus = attached(corpus_of(mixed(shards, plays), max_val_sequences=20))
    rows, seen = corpus.sequences("val"), []
    for index, batch in enumerate(corpus.val_dataloader()):
        found = [sample for sample in batch.samples.tolist() if sample >= 0]
        names = {("news", "plays")[rows.part_of(sample)] for sample in found}
        assert names == {corpus.group_of("val", index)}
        seen += found
    second = rows.firsts[1]
    assert seen == [*range(20), *range(second, second + 20)]


def test_a_message_names_the_corpus_of_a_row(shards: Path, plays: Path) -> None:
    corpus = corpus_of(mixed(shards, plays))
    second = corpus.sequences("train").firsts[1]
    assert corpus.whence(np.array([0, second, -1])) == (
        "Its sequences start in the documents news 0, plays 0."
    )


# -- how much ---------------------------------------------------------------------------------


def test_without_weights_each_corpus_is_read_equally_often(shards: Path, plays: Path) -> None:
    for weigh_by in ("tokens", "documents"):
        corpus = attached(corpus_of(mixed(shards, plays, weights=None, weigh_by=weigh_by)))
        n = corpus.n_train // 8
        epochs = corpus._mix(n).epochs(n)
        assert epochs["news"] == pytest.approx(1, abs=0.02)
        assert epochs["plays"] == pytest.approx(1, abs=0.02)


def test_weights_of_documents_count_documents(shards: Path, plays: Path) -> None:
    corpus = attached(
        corpus_of(mixed(shards, plays, weights={"news": 1, "plays": 1}, weigh_by="documents"))
    )
    drawn, sizes = corpus.mixing.drawn(10**6), corpus.mixing.sizes
    documents = {n: drawn[n] * sizes[n].documents / sizes[n].rows for n in drawn}
    assert documents["news"] == pytest.approx(documents["plays"], rel=1e-4)
    assert drawn["plays"] > 2 * drawn["news"]  # they are longer


def test_phases_change_the_shares_at_a_step_or_a_fraction(shards: Path, plays: Path) -> None:
    phases = [
        Phase(weights={"news": 1}, until_step=10),
        Phase(weights={"news": 1, "plays": 1}, until_fraction=0.5),
        Phase(weights={"plays": 1}),
    ]
    mixing = attached(corpus_of(mixed(shards, plays, phases=phases))).mixing
    assert mixing.drawn(10) == {"news": 80, "plays": 0}
    assert mixing.drawn(20) == {"news": 120, "plays": 40}
    assert mixing.drawn(40) == {"news": 120, "plays": 200}


def test_a_corpus_is_not_read_more_often_than_it_may_be(shards: Path, plays: Path) -> None:
    corpus = attached(corpus_of(mixed(shards, plays, max_epochs={"plays": 1.5})), steps=400)
    n = corpus.mixing.sizes["plays"].rows
    assert corpus.mixing.drawn(400)["plays"] == int(1.5 * n) < 2 * 400
    told = corpus.mixing.table(400)
    assert any("plays reaches its max_epochs with row" in line for line in told)
    samples = torch.cat([batch.samples for batch in corpus.train_dataloader()])
    first = corpus.sequences("train").firsts[1]
    assert int((samples >= first).sum()) == int(1.5 * n)


def test_the_table_is_what_the_loader_draws(shards: Path, plays: Path) -> None:
    corpus = attached(corpus_of(mixed(shards, plays)))
    rows = corpus.sequences("train")
    samples = torch.cat([batch.samples for batch in corpus.train_dataloader()]).tolist()
    n = sum(rows.part_of(sample) == 1 for sample in samples)
    tokens = len(corpus.corpora.opened["plays"].span("train"))
    found = corpus.forecast(STEPS)
    assert found[0] == ("mixture", "corpus  tokens   share  drawn  epochs")
    cells = found[2][1].split()
    assert cells == [
        "plays",
        f"{tokens:,}",
        "25.00%",
        f"{n * 16:,}",
        f"{n / len(rows.parts[1]):.2f}",
    ]
    assert corpus.step_metrics(0, STEPS, 4) == {
        "train/news/tokens_seen": (320 - n) * 16,
        "train/plays/tokens_seen": n * 16,
        "train/news/epochs": (320 - n) / len(rows.parts[0]),
        "train/plays/epochs": n / len(rows.parts[1]),
    }


def test_more_than_four_epochs_are_warned_of(shards: Path, plays: Path) -> None:
    corpus = attached(corpus_of(mixed(shards, plays)), steps=10**4)
    corpus.setup("fit")
    epochs = corpus.mixing.epochs(10**4)["plays"]
    assert f"plays is read {epochs:.1f} times: more than 4 epochs" in " ".join(corpus.remarks)
    few = attached(corpus_of(mixed(shards, plays)), steps=10)
    few.setup("fit")
    assert few.remarks == []


def test_a_phase_without_a_step_is_told(shards: Path, plays: Path) -> None:
    def told(*phases: Phase, steps: int = 6) -> str:
        corpus = attached(corpus_of(mixed(shards, plays, phases=list(phases))), steps=steps)
        corpus.setup("fit")
        assert set(corpus.remarks) <= {words for _, words in corpus.forecast(steps)}
        return " ".join(corpus.remarks)

    news, plays_alone = {"news": 1.0}, Phase(weights={"plays": 1})
    late = (Phase(weights=news, until_step=6), plays_alone)
    assert "phase 2 of 2 of the mixture has no step: it begins after step 6" in told(*late)
    assert told(*late, steps=7) == ""
    short = (Phase(weights=news, until_fraction=0.05), plays_alone)
    assert "phase 1 of 2 of the mixture has no step: it begins and ends with step 0" in told(*short)
    assert told(*short, steps=20) == ""


# -- what is refused --------------------------------------------------------------------------


def test_corpora_of_other_tokenizers_are_refused_with_both(
    shards: Path, plays: Path, text_folder: Path, tmp_path: Path
) -> None:
    other = Corpus(
        source=Text(paths=[str(text_folder)]),
        out=str(tmp_path / "other"),
        tokenizer=BytePairs(vocab_size=280),
        val_fraction=0.2,
        workers=1,
    ).prepare(progress=False)
    corpus = corpus_of(mixed(shards, other))
    prints = [
        corpus.corpora.opened[name].folder.manifest.tokenizer_fingerprint[:12]
        for name in ("news", "plays")
    ]
    message = rf"news \({shards}\) and plays \({other}\) .* {prints[0]} and {prints[1]}.*Existing"
    with pytest.raises(ConfigError, match=message):
        _ = corpus.tokenizer
    _ = corpus_of(mixed(shards, plays)).tokenizer


def test_corpora_whose_documents_end_differently_are_refused_and_the_cure_works(
    shards: Path, text_folder: Path, tmp_path: Path
) -> None:
    """The tokenizer.json of both is the same; what ends a document stands beside it."""
    chat = Path(shutil.copytree(shards / "tokenizer", tmp_path / "chat"))
    told = json.loads((chat / "tokenizer_config.json").read_text())
    other = Tokenizer.load(chat).tokens[1]
    (chat / "tokenizer_config.json").write_text(json.dumps({**told, "eos_token": other}))

    def built(name: str, tokenizer: Path) -> Path:
        return Corpus(
            source=Text(paths=[str(text_folder)]),
            out=str(tmp_path / name),
            tokenizer=Existing(path=str(tokenizer)),
            val_fraction=0.2,
            workers=1,
        ).prepare(progress=False)

    corpus = corpus_of(mixed(shards, built("ended", chat)))
    ends = rf"{re.escape(told['eos_token'])} \(id 0\) and {re.escape(other)} \(id 1\)"
    with pytest.raises(ConfigError, match=rf"{ends}.*path: {shards / 'tokenizer'}}}}}\.$"):
        _ = corpus.tokenizer
    _ = corpus_of(mixed(shards, built("cured", shards / "tokenizer"))).tokenizer


def test_the_fingerprint_is_that_of_all_corpora(shards: Path, plays: Path, tmp_path: Path) -> None:
    prints = {corpus_of(mixed(a, b)).fingerprint for a, b in ((shards, plays), (plays, shards))}
    prints.add(TokenCorpus(shards=str(shards)).fingerprint)
    assert len(prints) == 3
    copied = Path(shutil.copytree(plays, tmp_path / "moved"))
    same = corpus_of(mixed(shards, copied)).fingerprint
    assert same == corpus_of(mixed(shards, plays)).fingerprint


@pytest.mark.parametrize(
    ("settings", "message", "cure"),
    [
        (
            {"weights": {"news": 1, "play": 1}},
            r"weights names 'play' \(did you mean 'plays'\?\), .* news, plays",
            {},
        ),
        ({"weights": {"news": 1}}, "weights say nothing of plays", {}),
        (
            {"weights": {"news": 1, "plays": -1}},
            r"weights news 1, plays -1 are no shares",
            {"weights": {"news": 1, "plays": 0}},
        ),
        (
            {"weights": {"news": 0, "plays": 0}},
            r"news 0, plays 0 .* one above 0",
            {"weights": {"news": 0, "plays": 2}},
        ),
        (
            {"weigh_by": "token"},
            r"weigh_by='token' .* \(did you mean 'tokens'\?\).* tokens, documents",
            {"weigh_by": "tokens"},
        ),
        ({"temperature": 0.0}, "temperature=0 is none", {"temperature": 0.5}),
        ({"max_epochs": {"plays": 0}}, "plays=0 leaves nothing", {"max_epochs": {"plays": 0.5}}),
        ({"corpora": {"a/b": "x"}}, "cannot be called 'a/b'", {}),
        ({"corpora": {}, "weights": None}, "no corpora", {}),
        (
            {"phases": [Phase(weights={"news": 1}, until_step=5)]},
            r"Phase 1 of 1 has until_step=5 and .*leave both out",
            {"phases": [Phase(weights={"news": 1})]},
        ),
        (
            {"phases": [Phase(weights={"news": 1}), Phase(weights={"plays": 1})]},
            r"Phase 1 of 2 has until_step=0 and until_fraction=0\. Set one",
            {"phases": [Phase(weights={"news": 1}, until_step=1), Phase(weights={"plays": 1})]},
        ),
        (
            {"phases": [Phase(weights={})]},
            "no weights",
            {"phases": [Phase(weights={"news": 1})]},
        ),
        (
            {"phases": [Phase(weights={"news": 1})], "weights": {"news": 1, "plays": 1}},
            "weights and phases both",
            {"phases": [Phase(weights={"news": 1})]},
        ),
    ],
)
def test_what_cannot_work_is_refused(
    shards: Path, plays: Path, settings: dict, message: str, cure: dict
) -> None:
    with pytest.raises(ConfigError, match=message):
        mixed(shards, plays, **settings)
    mixed(shards, plays, **cure)


def test_phases_that_do_not_rise_are_refused(shards: Path, plays: Path) -> None:
    phases = [
        Phase(weights={"news": 1}, until_step=30),
        Phase(weights={"plays": 1}, until_fraction=0.5),
        Phase(weights={"plays": 1}),
    ]
    with pytest.raises(ConfigError, match=r"end at the steps 30, 20 of 40, which do not rise"):
        _ = attached(corpus_of(mixed(shards, plays, phases=phases))).mixing
    _ = attached(corpus_of(mixed(shards, plays, phases=phases)), steps=80).mixing


def test_a_corpus_rarer_than_one_in_a_million_is_refused(shards: Path, plays: Path) -> None:
    rare = {"news": 1e8, "plays": 1}
    with pytest.raises(ConfigError, match=r"Of 100,000,001 rows one .* of plays.* 1,000,000 must"):
        _ = attached(corpus_of(mixed(shards, plays, weights=rare))).mixing
    _ = attached(corpus_of(mixed(shards, plays, weights={"news": 1e5, "plays": 1}))).mixing
    cold: Any = {"weights": {"news": 1, "plays": 1e-4}, "temperature": 0.25}
    with pytest.raises(ConfigError, match=r"one would be of plays"):
        _ = attached(corpus_of(mixed(shards, plays, **cold))).mixing
    _ = attached(corpus_of(mixed(shards, plays, **{**cold, "temperature": 1.0}))).mixing


def test_an_infinite_limit_is_none(shards: Path, plays: Path) -> None:
    limits = {"news": float("inf"), "plays": 1e300}
    mixing = attached(corpus_of(mixed(shards, plays, max_epochs=limits))).mixing
    assert mixing.blend.limits == [FOREVER, FOREVER]
    assert mixing.drawn(10**6) == attached(corpus_of(mixed(shards, plays))).mixing.drawn(10**6)


def test_limits_that_leave_too_little_are_refused(shards: Path, plays: Path) -> None:
    limits = {"news": 1.0, "plays": 1.0}
    corpus = attached(corpus_of(mixed(shards, plays, max_epochs=limits)), steps=10**4)
    n = corpus.n_train
    message = rf"10,000 steps need 80,000 rows, and max_epochs leaves {n:,}.*at most {n // 8:,}"
    with pytest.raises(ConfigError, match=message):
        _ = corpus.mixing
    _ = attached(corpus_of(mixed(shards, plays, max_epochs=limits)), steps=n // 8).mixing


def test_a_mixture_of_single_documents_is_refused(masked_shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"Set data\.rows to windows or packed"):
        MaskedCorpus(shards=mixed(masked_shards, masked_shards), rows="documents")


def test_a_corpus_too_small_for_a_row_is_named(shards: Path, plays: Path) -> None:
    n_tokens = len(corpus_of(mixed(shards, plays)).corpora.opened["news"].span("train"))
    corpus = attached(corpus_of(mixed(shards, plays), seq_len=n_tokens))
    with pytest.raises(ConfigError, match=rf"text of news has {n_tokens:,} tokens"):
        corpus.setup("fit")
    with pytest.raises(ConfigError, match=rf"text of news has {n_tokens:,} tokens"):
        corpus_of(mixed(shards, plays), seq_len=n_tokens).forecast(STEPS)  # of --dry-run
    attached(corpus_of(mixed(shards, plays), seq_len=16)).setup("fit")
    assert corpus_of(mixed(shards, plays), seq_len=16).forecast(STEPS)


def test_another_past_is_refused_and_another_future_is_not(shards: Path, plays: Path) -> None:
    old = attached(corpus_of(mixed(shards, plays)), first=12)
    state = old.read_until(12)
    assert (state["step"], state["drawn"]) == (12, {"news": 72, "plays": 24})
    weights = {"news": 1, "plays": 1}
    other = attached(corpus_of(mixed(shards, plays, weights=weights)), first=12)
    message = r"step 12 .* draws news 48, plays 48 rows, .* drew news 72, plays 24.*until_step: 12"
    with pytest.raises(CheckpointError, match=message):
        other.check_past(state, STEPS)
    phases = [Phase(weights={"news": 3, "plays": 1}, until_step=12), Phase(weights=weights)]
    attached(corpus_of(mixed(shards, plays, phases=phases))).check_past(state, STEPS)
    older = {name: state[name] for name in ("step", "drawn")}  # of a version that noted no more
    with pytest.raises(CheckpointError, match=r"old weights .* until_step: 12, .*weights: {}"):
        other.check_past(older, STEPS)


def test_no_test_text_in_any_corpus_is_told(shards: Path, plays: Path) -> None:
    with pytest.raises(DataError, match="no test split"):
        attached(corpus_of(mixed(shards, plays))).test_dataloader()


def test_the_card_tells_of_every_corpus_by_its_name(shards: Path, plays: Path) -> None:
    card = corpus_of(mixed(shards, plays)).card()
    whole = {"news": shards, "plays": plays}
    expected = {
        f"{name} {split}": {"documents": told.documents, "tokens": told.tokens, "bytes": told.bytes}
        for name, folder in whole.items()
        for split, told in ShardFolder.open(folder).manifest.splits.items()
    }
    assert card["splits"] == expected
    assert {name: told["documents_read"] for name, told in card["corpus"].items()} == {
        name: ShardFolder.open(folder).manifest.documents_read for name, folder in whole.items()
    }
    alone = TokenCorpus(shards=str(plays)).card()
    assert alone["corpus"] == card["corpus"]["plays"]
    assert {f"plays {split}": told for split, told in alone["splits"].items()} == {
        name: told for name, told in expected.items() if name.startswith("plays")
    }


def test_a_checkpoint_of_a_run_mixes_nothing_anew(
    shards: Path, plays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = attached(corpus_of(mixed(shards, plays)))
    data.setup("fit")
    monkeypatch.delattr(Mixture, "blend")
    phases = [{"weights": {"news": 3, "plays": 1}, "until_step": 12}]
    noted = {"step": 12, "drawn": data.mixing.drawn(12), "phases": phases}
    assert data.read_until(12) == noted
