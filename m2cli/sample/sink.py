"""Where the truth is written: a Parquet file that grows by tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


class Sink:
    """A Parquet file that grows by tables."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append `table`, all of which have the schema of the first."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # ids of events do not repeat: a dictionary of them costs half of the time of writing
            repeating = [name for name in table.schema.names if name not in ("event_id", "position_in_source")]
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd", use_dictionary=repeating)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
