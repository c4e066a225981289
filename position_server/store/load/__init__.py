"""Files into the store: CSV, validated whole, written in one transaction or not at all.

`loader` is the flow: `csv_source` reads, `kinds` says what the columns of each kind of file mean (`fields` converts one
value), `validation` names every bad line, `upsert` writes.
"""

from position_server.store.load.kinds import KINDS
from position_server.store.load.loader import LoadResult, load_file

__all__ = ["KINDS", "LoadResult", "load_file"]
