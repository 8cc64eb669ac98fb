"""Which underpath carries the next data command.  Pure and synchronous, given ``now_s``."""
