"""The lake: whole visits in folders of Parquet files, of which a reader sees all of a run or nothing."""

from m2cli.lake.batch import LakeBatch, open_batch, prepare_lake
from m2cli.lake.compact import Compacted, compact_date
from m2cli.lake.content import Fault
from m2cli.lake.layout import TABLES, Table
from m2cli.lake.links import drop_files, hide_files, remove_batch, show_files
from m2cli.lake.lists import LakeFile
from m2cli.lake.publish import publish, rewrite
from m2cli.lake.scan import LakeFrames, scan_lake
from m2cli.lake.snapshot import Snapshot, read_snapshot
from m2cli.lake.stage import StagedLake, stage_lake
from m2cli.lake.verify import verify_files

__all__ = [
    "TABLES",
    "Compacted",
    "Fault",
    "LakeBatch",
    "LakeFile",
    "LakeFrames",
    "Snapshot",
    "StagedLake",
    "Table",
    "compact_date",
    "drop_files",
    "hide_files",
    "open_batch",
    "prepare_lake",
    "publish",
    "read_snapshot",
    "remove_batch",
    "rewrite",
    "scan_lake",
    "show_files",
    "stage_lake",
    "verify_files",
]
