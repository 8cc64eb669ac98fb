"""The patent's procedures, one figure a file.  Pure: no I/O, no clock, no log.

`procedure` holds the words they are written in, `walk` replays every outcome of one.
"""
