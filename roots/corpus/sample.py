"""What the stages of a corpus would do, shown on its first documents; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from roots.corpus.corpus import Corpus
from roots.corpus.pipeline import Run
from roots.corpus.staging import Example
from roots.corpus.survey import readable
from roots.records import Reject

_WIDTH = 200


def sample(corpus: Corpus, n_documents: int) -> str:
    """Runs the stages on the first documents of the source.

    Args:
        corpus: Whose source and stages.
        n_documents: How many documents.

    Returns:
        The books, and an example for each reason.
    """
    rejected: Counter[str] = Counter()

    def on_reject(reject: Reject) -> None:
        rejected[reject.reason] += 1

    run = corpus.pipeline.run(corpus.source, limit=n_documents, on_reject=on_reject)
    for _ in run:
        pass
    lines = [f"the first {run.books.documents_in:,} documents", str(run.books), *_examples(run)]
    lines += [f"rejected: {n:,} records, {why}" for why, n in sorted(rejected.items())]
    return readable("\n".join([*lines, "nothing was written (--sample)"]))


def _examples(run: Run) -> Iterator[str]:
    shown: set[tuple[int, str]] = set()
    for example in run.examples:
        if (example.part, example.reason) not in shown:
            shown.add((example.part, example.reason))
            yield _worded(run, example)


def _worded(run: Run, example: Example) -> str:
    begins = " ".join(example.text.split())[:_WIDTH]
    name = run.pipeline.names[example.part]
    detail = f" ({example.detail})" if example.detail else ""
    return f"\n{name}: {example.reason}{detail}\n  {example.id}\n  {begins}".rstrip()
