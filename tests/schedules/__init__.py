"""Random schedules: hosts, underpaths, faults, preempts and crashes on one simulated disk, checked afterwards.

Theory of operation
-------------------
A *schedule* (`schedule`) is data: a setup and a list of events, each with its time.  `generator` makes it from a seed
and nothing else.  `play` runs it: one `trio.run` on a virtual clock, with trio's own dice seeded too, so that a
seed is one course of events for good, down to the last command.  Real hosts run in it: the device layer as it is,
over transports that are simulated, to an array that is the model of `mpio_fuse.target`.

What happens is written into a *chronicle* (`chronicle`) by those who see it: the array tells what landed on the medium
and what became of the reservation, the transports what was sent, the users what they asked for and what they were told.
After the events come a time of healing and the *epilogue* (`epilogue`): faults end, everything is closed, and each
host opens the disk once more, uses it and unmounts it.

Then the *invariants* (`invariants`) are asked, one function each, with the chronicle alone.  They know nothing of how
the device works, only what it promises.  Data are *stamped*: every 256 bytes carry the number of the request that wrote
them, so what lies on a block says who wrote it, when, and through which handle.

What is found is made small (`shrink`): events are left out one by one while the same invariant still breaks.
An event that has nothing to act on (a write to a handle that is not there) does nothing, so what is left is
a schedule too.

`mutations` switches off, one at a time, what the device does for the invariants' sake: each must be found out.

    python -m tests.schedules --count 10000 --seed 1
    python -m tests.schedules --count 1 --seed 4711 --trace
    python -m tests.schedules --count 1000 --seed 1 --switch-off barrier
"""
