"""mpio_fuse: every shared SCSI disk of this host as one file, owned by one host at a time."""
