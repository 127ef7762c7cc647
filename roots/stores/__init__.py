"""Files in object stores (s3, gs, hf, http, …) through fsspec: read by ranges, kept in blocks.

patience.py     how often and how long a store is asked again
asking.py       what there is, how big it is, ranges of its bytes: every question to a store
stored_path.py  StoredPath: a URL that readers use as a path
range_file.py   RangeFile: a stored file that is read from front to back, or anywhere
block_cache.py  BlockCache: blocks of stored files on this machine's disk, the least recent go first
eviction.py     what of the cache goes when it is over its limit
"""

from __future__ import annotations

from roots.stores.asking import find, matching
from roots.stores.block_cache import BLOCK_BYTES, BlockCache, StoredFile
from roots.stores.patience import Patience
from roots.stores.stored_path import StoredPath, address_of, is_file, is_url, located

__all__ = [
    "BLOCK_BYTES",
    "BlockCache",
    "Patience",
    "StoredFile",
    "StoredPath",
    "address_of",
    "find",
    "is_file",
    "is_url",
    "located",
    "matching",
]
