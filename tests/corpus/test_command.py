"""`roots corpus`: what it prints is true, and a dry run writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from roots.corpus.command import main
from roots.errors import ConfigError, DataError
from roots.shards import ShardFolder

CONFIGS = Path(__file__).parents[2] / "configs" / "corpus"


@pytest.fixture
def config(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("\n\n".join(f"paragraph {i} of text" for i in range(99)))
    content = yaml.safe_load((CONFIGS / "text.yaml").read_text())
    content["source"]["init_args"]["paths"] = ["a.txt"]
    content |= {"val_fraction": 0.2, "workers": 1}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    return "c.yaml"


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(config, tmp_path, capsys) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["--config", config, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "roots.sources.Text: 1 files, 2.2 kB" in said
    assert "a.txt" in said
    assert "8,192 tokens" in said
    assert "corpora/mine: all, it is not there yet" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_refuses_what_the_run_would_refuse(config, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years of work")
    for how in ([], ["--dry-run"]):
        with pytest.raises(DataError, match=r"out=theirs holds 1 entries \(thesis\.tex"):
            main(["--config", config, "--out", "theirs", *how])
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "disk")
    for how in ([], ["--dry-run"]):
        with pytest.raises(DataError, match=r"out=disk is where a disk is mounted"):
            main(["--config", config, "--out", "disk", *how])
    assert capsys.readouterr().out == ""


def test_the_summary_is_what_is_in_the_folder(config, capsys) -> None:
    assert main(["--config", config, "--out", "here", "--tokenizer.vocab_size", "300"]) == 0
    said = capsys.readouterr()
    manifest = ShardFolder.open("here").manifest
    for name, split in manifest.splits.items():
        row = [name, *(f"{n:,}" for n in (split.documents, split.tokens, split.bytes))]
        assert row == next(r.split()[:4] for r in said.out.splitlines() if r.startswith(name))
    assert f"vocabulary: {manifest.vocab_size} tokens, stored as uint16" in said.out
    assert "--data.init_args.shards here" in said.out
    assert "encode: 99 documents" in said.err
    assert main(["--config", config, "--out", "here", "--tokenizer.vocab_size", "300"]) == 0
    assert capsys.readouterr().err == ""


def test_the_sums_of_a_folder_are_written(config, tmp_path, capsys) -> None:
    main(["--config", config, "--out", "here", "--tokenizer.vocab_size", "300"])
    before = (tmp_path / "here" / "manifest.json").read_bytes()
    capsys.readouterr()
    assert main(["sums", "here"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"wrote here/{split}.{kind}.sums" for split in ("train", "val") for kind in ("bin", "idx")
    ]
    assert all((tmp_path / line.removeprefix("wrote ")).is_file() for line in said)
    assert (tmp_path / "here" / "manifest.json").read_bytes() == before
    with pytest.raises(ConfigError, match=r"roots corpus sums: .*See `roots corpus sums --help`"):
        main(["sums"])
    with pytest.raises(DataError, match="no-folder does not exist"):
        main(["sums", "no-folder"])
    # a new build leaves none of them behind
    assert main(["--config", config, "--out", "here", "--tokenizer.vocab_size", "290"]) == 0
    assert not list((tmp_path / "here").glob("*.sums"))
    assert sorted(path.name for path in tmp_path.glob("here*")) == ["here"]


def test_replaced_bytes_are_told(config, tmp_path, capsys) -> None:
    with (tmp_path / "a.txt").open("ab") as file:
        file.write(b"\n\ncaf\xe9")
    main(["--config", config])
    assert "replaced: 1 undecodable places" in capsys.readouterr().out


@pytest.fixture
def staged(config, tmp_path) -> str:
    content = yaml.safe_load((tmp_path / config).read_text())
    quality = {"min_words": 4, "min_stop_words": 0, "min_alphabetic_words": 0.76}
    content["stages"] = [
        {"class_path": "roots.corpus.Normalise"},
        {"class_path": "roots.corpus.GopherQuality", "init_args": quality},
    ]
    (tmp_path / "a.txt").write_text(
        "\n\n".join(f"paragraph {i} of cafe\u0301s  \n{'x' * (i % 3)}" for i in range(90))
    )
    (tmp_path / config).write_text(yaml.safe_dump(content))
    return config


def test_a_dry_run_tells_the_stages_with_their_settings(staged, capsys) -> None:
    assert main(["--config", staged, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "stage   roots.corpus.Normalise form=NFC control_characters=True" in said
    assert "stage   roots.corpus.GopherQuality min_words=4 " in said


def test_a_sample_prints_books_and_examples_and_writes_nothing(staged, tmp_path, capsys) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["--config", staged, "--sample", "30"]) == 0
    said = capsys.readouterr().out
    assert "the first 30 documents" in said
    rows = [line.split() for line in said.splitlines() if line]
    assert ["Normalise", "30", "30", "30", "0"] in [row[:5] for row in rows]
    assert ["GopherQuality", "30", "20", "0", "10"] in [row[:5] for row in rows]
    assert ["gopher_below_alpha_threshold", "10"] in rows
    assert "GopherQuality: gopher_below_alpha_threshold (0.75 < 0.76)" in said
    assert "paragraph 0 of cafés" in said
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ConfigError, match=r"--sample -1 is below 0"):
        main(["--config", staged, "--sample", "-1"])


def test_several_sources_in_a_config_are_told_apart_in_the_books(staged, tmp_path, capsys) -> None:
    (tmp_path / "b.csv").write_text("text\n" + "one of these rows here\n" * 9 + '"cut\n')
    content = yaml.safe_load((tmp_path / staged).read_text())
    table = {"paths": "b.csv", "on_bad_record": "skip", "max_bad_fraction": 0.2}
    csv = {"class_path": "roots.sources.Csv", "init_args": table}
    sources = {"web": content["source"], "table": csv}
    content["source"] = {"class_path": "roots.sources.Several", "init_args": {"sources": sources}}
    (tmp_path / staged).write_text(yaml.safe_dump(content))
    given = ["--config", staged, "--out", "here", "--tokenizer.vocab_size", "300"]
    assert main(given) == 0
    said = capsys.readouterr().out
    rows = [line.split()[:4] for line in said.splitlines() if line]
    assert ["table", "9", "9", "0"] in rows
    assert ["web", "90", "90", "0"] in rows
    assert "rejected: 1 not_csv; the records are in rejects.jsonl" in said
    assert main([*given, "--sample", "200"]) == 0
    assert "rejected: 1 records, not_csv" in capsys.readouterr().out


def test_the_books_are_printed_at_the_end_and_agree_with_the_manifest(staged, capsys) -> None:
    given = ["--config", staged, "--out", "here", "--tokenizer.vocab_size", "300"]
    assert main(given) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line]
    assert ["GopherQuality", "90", "60", "0", "30"] in [row[:5] for row in rows]
    assert "dropped: 30 documents; examples for each reason are in dropped.jsonl" in said
    manifest = ShardFolder.open("here").manifest
    assert manifest.documents_dropped == {"gopher_below_alpha_threshold": 30}
    assert len(Path("here/dropped.jsonl").read_text().splitlines()) == 3
    assert main(given) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--sorce", "x"], "unrecognized arguments: --sorce x|unrecognized"),
        (["--source", "roots.sources.Tex", "--out", "x"], "has no attribute 'Tex'"),
        (["--val_fraction", "a"], "val_fraction: .*Got value: a"),
        (["--source", "roots.sources.StandardLibrary"], "required: out"),
        (["--sampl", "4"], "unrecognized arguments: --sampl 4"),
        (["a.txt"], r"arguments: a\.txt\. See .* --source\.paths FILE_OR_FOLDER\.$"),
    ],
)
def test_a_wrong_setting_is_told_without_the_usage(args, words, capsys) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        main(args)
    assert "roots corpus --help" in str(caught.value)
    assert "usage:" not in str(caught.value) + capsys.readouterr().err


def test_a_run_file_is_told_as_one(config) -> None:
    run_file = CONFIGS.parent / "run" / "quickstart.yaml"
    with pytest.raises(
        ConfigError, match=r"quickstart\.yaml is a run file .* `roots fit --config`"
    ):
        main(["--config", str(run_file)])
    assert main(["--config", config, "--dry-run"]) == 0  # a corpus file is taken


def test_a_key_that_no_setting_has_is_refused(config, tmp_path) -> None:
    with (tmp_path / config).open("a") as file:
        file.write("val_fractoin: 0.1\n")
    with pytest.raises(ConfigError, match=r"val_fractoin"):
        main(["--config", config])


def test_errors_of_the_text_come_through(config) -> None:
    with pytest.raises(DataError, match=r"b\.txt does not exist"):
        main(["--config", config, "--source.paths", "b.txt"])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_opens_with_its_command_and_parses(
    path, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_texts").mkdir()
    (tmp_path / "my_texts" / "a.txt").write_text("x")
    (tmp_path / "my_texts" / "a.jsonl").write_text('{"text": "Some text."}\n')
    monkeypatch.setenv("ROOTS_DATA", str(tmp_path / "my_texts"))
    (tmp_path / "my_texts" / "tinyshakespeare.txt").write_text("x")
    (tmp_path / "my_texts" / "thucnews").mkdir()
    for name in ("train", "train_more"):
        rows = "sentence\tlabel\n体验巅峰\t8\n"
        (tmp_path / "my_texts" / "thucnews" / f"{name}.tsv").write_text(rows, encoding="utf-8")
    head = path.read_text().splitlines()[:4]
    assert [line.split()[1] for line in head[1:]] == ["Costs:", "Expect", "Command:"]
    assert f"roots corpus --config configs/corpus/{path.name}" in head[3]
    assert main(["--config", str(path), "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().out
