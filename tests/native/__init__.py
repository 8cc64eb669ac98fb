"""The iscsi transport, the daemon and a real target (tgtd), natively: no lab, no kernel SCSI, real FUSE mounts.

Theory of operation
-------------------
Each *host* is a daemon with an initiator name, a key and a run directory of its own (`host`), so several of them live
on one machine.  They meet at a tgtd (``tests.transport.tgtd``), which is a process of ours too and can be stopped,
killed and asked, and whose backing file is the medium: what is on it is read there, past everything that is tested.

There are two ways from a host to the target:

- *cables* (`cable`): a TCP relay per underpath, over loopback, as a process.  Killed, all its connections end at once;
  stopped, they hang.  Needs nothing but FUSE, so the tests of procedures, fencing and failover use them (`site`).
- *links* (`links`): pairs of virtual Ethernet devices between network namespaces, one namespace a host.  They can be
  set down at either end, and may lead through a *wire* (`wire`) that delays and drops packets below a real TCP.
  `namespaces` makes a place where that is possible; it takes a user namespace, not root.

A *case* (`cases`, the table) is something that happens to links or target while there is load, as in
``tests.reliability``, whose fio and probe do the work and take the times.

    python -m tests.native                                        # all cases, with default settings: some minutes
    python -m tests.native --cases cut-here,flapping --json FILE
"""
