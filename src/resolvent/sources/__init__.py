"""Sources of token sequences: arrays, files, zarr, Hugging Face datasets and plain iterators, a batch at a time.

A source splits into shards, small picklable descriptions of where some of the sequences lie, so that the reading is
done where the work is. The batches of an iterator are shards of their own, in memory.
"""

from resolvent.sources.columns import ColumnError, Columns
from resolvent.sources.opening import batches, open_source
from resolvent.sources.shards import Batch, DamagedError, Shard, Source

__all__ = ["Batch", "ColumnError", "Columns", "DamagedError", "Shard", "Source", "batches", "open_source"]
