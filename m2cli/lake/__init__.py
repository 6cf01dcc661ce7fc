"""The lake: whole visits in folders of Parquet files, of which a reader sees all of a run or nothing."""

from m2cli.lake.layout import TABLES, Table
from m2cli.lake.scan import LakeFrames, scan_lake
from m2cli.lake.snapshot import LakeFile, Snapshot, read_snapshot
from m2cli.lake.stage import StagedLake, stage_lake

__all__ = [
    "TABLES",
    "LakeFile",
    "LakeFrames",
    "Snapshot",
    "StagedLake",
    "Table",
    "read_snapshot",
    "scan_lake",
    "stage_lake",
]
