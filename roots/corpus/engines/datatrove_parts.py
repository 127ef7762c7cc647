"""What is taken from datatrove, and the install line where it is missing."""

from __future__ import annotations

from roots.errors import MissingExtra

try:
    from datatrove.data import Document as TheirDocument
    from datatrove.data import DocumentsPipeline
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.writers.disk_base import DiskWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.word_tokenizers import WordTokenizer
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"The steps for datatrove need datatrove, which is not complete: {error}. Install it:"
        " pip install 'roots-lm[datatrove]' (pip install -e '.[datatrove]' in a clone)."
    ) from error

__all__ = [
    "DiskWriter",
    "DocumentsPipeline",
    "HashConfig",
    "MinhashConfig",
    "MinhashDedupBuckets",
    "MinhashDedupCluster",
    "MinhashDedupSignature",
    "PipelineStep",
    "TheirDocument",
    "WordTokenizer",
]
