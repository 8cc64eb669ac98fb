"""A logical unit as the storage system sees it: registrations, reservations and whom they let in.

PURE: no clock, no chance, no I/O.  `mpio_fuse.target.logical_unit` explains how it works and is where to begin.
"""
