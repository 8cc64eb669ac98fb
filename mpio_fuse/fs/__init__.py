"""The file system: one file per logical unit.  Only `operations` knows FUSE."""
