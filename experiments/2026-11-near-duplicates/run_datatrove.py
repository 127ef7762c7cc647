"""Datatrove's four MinHash steps on a JSON-lines file: writes the ids of the removed documents.

With `same`, texts become words as in roots; with `default`, as datatrove does it (spaCy, on text
without case, punctuation, digits and accents). Everything else is datatrove's default: 14 buckets
of 8 hashes.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer

WORDS = Path(__file__).parents[2] / "roots" / "corpus" / "lowercase_words.py"


class RootsWords(WordTokenizer):
    """The splitter of roots, loaded from its file: roots need not be installed here."""

    def __init__(self) -> None:
        super().__init__()
        spec = importlib.util.spec_from_file_location("words", WORDS)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.word_tokenize = module.lowercase_words

    def word_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    sent_tokenize = span_tokenize = word_tokenize


def main(splitter: str, corpus: str, out: str) -> None:
    config, words = MinhashConfig(), {}
    if splitter == "same":
        off = dict.fromkeys(vars(TextNormConfig()), False)
        config, words = MinhashConfig(norm_config=TextNormConfig(**off)), {"language": RootsWords()}
    work = Path(out).parent / f"datatrove-{splitter}"
    shutil.rmtree(work, ignore_errors=True)
    reader = JsonlReader(str(Path(corpus).parent), glob_pattern=Path(corpus).name)
    buckets, pairs, removals = (str(work / name) for name in ("buckets", "pairs", "removals"))
    removed = JsonlWriter(str(work / "removed"))
    steps = [
        ([reader, MinhashDedupSignature(buckets, config=config, **words)], 1),
        ([MinhashDedupBuckets(buckets, pairs, config=config)], config.num_buckets),
        ([MinhashDedupCluster(pairs, removals, config=config)], 1),
        ([reader, MinhashDedupFilter(removals, exclusion_writer=removed)], 1),
    ]
    for i, (pipeline, tasks) in enumerate(steps):
        logs = str(work / f"logs-{i}")
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()
    with Path(out).open("w") as file:
        for path in sorted((work / "removed").glob("*.gz")):
            with gzip.open(path, "rt") as lines:
                file.writelines(json.loads(line)["id"] + "\n" for line in lines)
    shutil.rmtree(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
