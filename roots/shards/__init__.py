"""Token files in Megatron-LM's format: a writer, a reader, a manifest with checksums.

layout.py        the bytes of an .idx file, and which integer type holds which vocabulary
writer.py        ShardWriter: documents in, <prefix>.bin and <prefix>.idx out
hashed_file.py   HashedFile: a file whose sha256 is known while it is written
reader.py        Shard: one split, memory-mapped or streamed; DocumentStarts
stored_array.py  StoredArray: values of a file in an object store, like a mapped array
streamed.py      Streamed: how a folder in an object store is read
sums.py          sums of the blocks of a file, so that a wrong one is noticed
manifest.py      Manifest, SplitRecord, FileRecord: what a folder of shards says of itself
folder.py        ShardFolder: a folder of shards, checked when it is opened
maker.py         ShardMaker: whatever can make such a folder; all that `roots.data` knows of it
publishing.py    how a folder appears whole or not at all, once, with several processes asking
"""

from __future__ import annotations

from roots.shards.folder import ShardFolder
from roots.shards.maker import ShardMaker
from roots.shards.manifest import FileRecord, Manifest, SplitRecord
from roots.shards.reader import DocumentStarts, Shard
from roots.shards.streamed import Streamed
from roots.shards.writer import ShardWriter

__all__ = [
    "DocumentStarts",
    "FileRecord",
    "Manifest",
    "Shard",
    "ShardFolder",
    "ShardMaker",
    "ShardWriter",
    "SplitRecord",
    "Streamed",
]
