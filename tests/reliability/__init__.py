"""What a program that reads and writes sees when an underpath dies: faults in a real kernel, and a clock.

Theory of operation
-------------------
A *case* is a fault of a real underpath, target or medium: how it strikes, for how long, how it is lifted, and what a
program may notice of it (`cases`, the table; `faults`, `restart` and `store` do it).  It is run against a *system*,
something that joins the underpaths of host a to one file: mpio-fuse, or for comparison the kernel's dm-multipath
(`systems`).

Meanwhile there is *load* (`load`): fio writes at random and verifies what it wrote, and a *probe* (`probe`, a process
of its own) writes and reads one block after the other, each stamped with where it belongs and which write it is, and
notes when every one of them began and ended.  From those notes alone is computed (`figures`, pure) how long the longest
*stall* was: the longest time without a success, seen by the writer and seen by the reader.  When all has ended, the
blocks are read once more over an underpath that was not struck, past the system.

A *wrong byte* is anything that fio's verification, the probe's reader or that last reading finds, which is not what was
acknowledged, or what was being written when it failed.

    scripts/lab run --hosts 1 --timeout 1800 -- python -m tests.reliability --cases all --json - > ours.json
    scripts/lab run --hosts 1 --timeout 1800 -- python -m tests.reliability --cases all --system dm-multipath
    scripts/lab run --hosts 1 --fabric loop -- python -m tests.reliability --cases all

`takeover` and `takeovers` are the other half: two hosts that take one disk from each other, again and again.
"""
