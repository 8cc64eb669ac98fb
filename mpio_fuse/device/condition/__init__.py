"""The condition of underpaths: which are in service, when each is checked.  Pure and synchronous, given ``now_s``."""
