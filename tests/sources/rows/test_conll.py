"""Conll: sentences of words and tags, as each shared task wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError, DataError
from roots.records import BadRow, Row
from roots.sources.rows import Conll


def put(path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def sentences(source: Conll) -> list[tuple[list[str], list[str]]]:
    return [(r.fields["words"], r.fields["tags"]) for r in source.read() if isinstance(r, Row)]


def test_blank_lines_divide_sentences_also_those_with_tabs_on_them(tmp_path) -> None:
    path = put(tmp_path / "a.conll", "\nNew York\tB-loc\n.\tO\n\t\n\n#tag\tO\r\n\u00a0x\tO")
    source = Conll(paths=path)
    assert sentences(source) == [
        (["New York", "."], ["B-loc", "O"]),
        (["#tag", "\u00a0x"], ["O", "O"]),
    ]
    assert [row.where for row in source.read()] == [f"{path}:2", f"{path}:6"]


def test_the_form_of_conll_2003_is_read(tmp_path) -> None:
    content = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects  VBZ B-VP O\n\n"
    path = put(tmp_path / "eng.conll", content)
    assert sentences(Conll(paths=path)) == [(["EU", "rejects"], ["B-ORG", "O"])]
    part_of_speech = Conll(paths=path, tag_column=1)
    assert sentences(part_of_speech) == [(["EU", "rejects"], ["NNP", "VBZ"])]


def test_columns_and_comments_can_be_set(tmp_path) -> None:
    content = "# text = Hi there\n1\tHi\tINTJ\n2\tthere\tADV\n\n# next\n1\tYes\tINTJ\n"
    source = Conll(paths=put(tmp_path / "a.conllu", content), word_column=1, comment="# ")
    assert sentences(source) == [(["Hi", "there"], ["INTJ", "ADV"]), (["Yes"], ["INTJ"])]


UNIVERSAL = """# sent_id = 1
1-2\tdel\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\tde\tADP\tE\t_\t3\tcase\t_\t_
2\tel\tel\tDET\tRD\t_\t3\tdet\t_\t_
3\t#mar\tmar\tNOUN\tS\t_\t0\troot\t_\t_
3.1\tes\tser\tAUX\t_\t_\t_\t_\t_\t_

#
1\tSí\tsí\tINTJ\tI\t_\t0\troot\t_\t_
"""


def test_universal_dependencies_have_columns_of_their_own(tmp_path) -> None:
    path = put(tmp_path / "es.CONLLU", UNIVERSAL)
    words = [["de", "el", "#mar"], ["Sí"]]
    assert sentences(Conll(paths=path)) == list(
        zip(words, [["ADP", "DET", "NOUN"], ["INTJ"]], strict=True)
    )
    lemmas = sentences(Conll(paths=path, word_column=2, tag_column=4))
    assert lemmas[0] == (["de", "el", "mar"], ["E", "RD", "S"])
    assert sentences(Conll(paths=path, tag_column=4))[0] == (words[0], ["E", "RD", "S"])
    assert [r.fields for r in Conll(paths=path, tagged=False).read()] == [
        {"words": each} for each in words
    ]


def test_a_file_of_two_columns_keeps_all_its_words_whatever_its_ending(tmp_path) -> None:
    content = "The\tO\n5.1\tO\n#\tO\n1-2\tO\nend\tO\n"
    assert sentences(Conll(paths=put(tmp_path / "a.conllu", content))) == [
        (["The", "5.1", "#", "1-2", "end"], ["O"] * 5)
    ]


def test_sentences_of_conll_2012_have_different_numbers_of_columns(tmp_path) -> None:
    content = "#begin document (a)\na 0 He PRP *\na 1 ran VBD (V*)\n\na 0 Yes UH\n#end document\n"
    path = put(tmp_path / "a.conll", content)
    source = Conll(paths=path, word_column=2, tag_column=3, comment="#")
    assert sentences(source) == [(["He", "ran"], ["PRP", "VBD"]), (["Yes"], ["UH"])]
    by_the_end = Conll(paths=path, word_column=2, comment="#")
    assert len(sentences(by_the_end)) == 1, "its last column would be another one"


def test_a_bad_line_costs_its_sentence_and_the_cure_works(tmp_path) -> None:
    content = b"a\tO\n\nb\tO\nlost\n\nc\tB\n\ncaf\xe9\tO\nd\tO\n\ne\tO\n"
    source = Conll(paths=put(tmp_path / "a.conll", content))
    assert sentences(source) == [(["a"], ["O"]), (["c"], ["B"]), (["e"], ["O"])]
    unequal, undecodable = (row for row in source.read() if isinstance(row, BadRow))
    assert unequal.where.endswith("a.conll:4")
    assert "in the sentence from line 3, has 1 values and a line before it 2" in (unequal.message)
    assert unequal.content == ["b\tO", "lost"]
    assert "a.conll:8: byte 23 of the file (0xe9) is not utf-8" in undecodable.message
    put(tmp_path / "a.conll", content.replace(b"lost", b"lost\tO").decode("latin-1"))
    assert len(list(source.rows())) == 5


def test_a_column_that_is_not_there_is_refused_with_how_many_there_are(tmp_path) -> None:
    path = put(tmp_path / "a.conll", "a O\n")
    with pytest.raises(DataError, match=r"a\.conll:1 has 2 columns, so .*tag_column=3"):
        list(Conll(paths=path, tag_column=3).rows())
    assert sentences(Conll(paths=path, tag_column=1)) == [(["a"], ["O"])]
    with pytest.raises(ConfigError, match="word_column and tag_column are both 1"):
        Conll(paths=path, word_column=1, tag_column=1)


WORD = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1
).filter(lambda word: not word.startswith(("-DOCSTART-", "\ufeff")))
SENTENCE = st.lists(st.tuples(WORD, st.sampled_from(["O", "B-x", "I-x"])), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(written=st.lists(SENTENCE, max_size=5), sign=st.sampled_from([" ", "\t", "  "]))
def test_no_sentence_is_lost(tmp_path_factory, written, sign) -> None:
    content = "\n".join("".join(f"{w}{sign}{t}\n" for w, t in s) for s in written) or "\n"
    path = put(tmp_path_factory.mktemp("t") / "a.conll", content)
    assert [list(zip(*s, strict=True)) for s in sentences(Conll(paths=path))] == written


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(min_size=1, max_size=60).filter(lambda raw: raw[:2] != b"\xff\xfe"))
def test_no_bytes_crash_it(tmp_path_factory, raw) -> None:
    path = put(tmp_path_factory.mktemp("t") / "a.conll", b"a\tO\n\n" + raw)
    assert next(iter(Conll(paths=path).read())).fields == {"words": ["a"], "tags": ["O"]}
    list(Conll(paths=path).read())


def test_a_file_of_one_column_has_words_alone(tmp_path) -> None:
    """Its last column is not taken for the tags: every word would be its own."""
    (tmp_path / "a.conll").write_text("EU\nrejects\n\ncall\n")
    rows = list(Conll(paths=str(tmp_path / "a.conll")).rows())
    assert [row.fields for row in rows] == [{"words": ["EU", "rejects"]}, {"words": ["call"]}]


def test_without_tags_only_the_column_of_the_words_is_looked_at(tmp_path) -> None:
    path = put(tmp_path / "a.conll", "1\tHi\n2\tthere\n")
    with pytest.raises(DataError, match=r"has 2 columns, so word_column=2 is none of them.*set it"):
        list(Conll(paths=path, word_column=2, tagged=False).rows())
    for tag_column in (7, 1):  # is none, is the words'
        source = Conll(paths=path, word_column=1, tag_column=tag_column, tagged=False)
        assert [row.fields for row in source.rows()] == [{"words": ["Hi", "there"]}]
