"""The benchmark: mpio-fuse beside what else shows a SCSI disk, or nothing at all, as a file (docs/performance.md)."""
