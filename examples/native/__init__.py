"""``scripts/demo --native``: the story of `examples.demo` on this machine itself, as an ordinary user.

The array is a tgtd, hosts are daemons with initiator names and run directories of their own, cables are TCP relays that
can be pulled (`tests.native.site`).  ``story`` and ``trouble`` are the chapters, ``guest`` runs their commands here,
``looks`` asks array and daemons.  Nothing needs root, a kernel module or a device node but ``/dev/fuse``.
"""
