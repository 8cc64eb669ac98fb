"""Programs that show what mpio_fuse does."""
