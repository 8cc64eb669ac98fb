"""SCSI without I/O: command descriptor blocks, parameter data, sense, and what completions mean.

Nothing is exported from here; import the module:

========================  ==================================================================
`command`                 `Command`, `Completion`, statuses; what a transport carries
`inquiry`, `vpd`          INQUIRY, vital product data pages 0x00, 0x80, 0x83, 0xB0, 0xB1
`identity`                `Wwid`: which nodes are the same logical unit
`capacity`                READ CAPACITY(10) and (16)
`block`                   READ, WRITE, SYNCHRONIZE CACHE
`unit_ready`              TEST UNIT READY
`report_luns`             REPORT LUNS
`target_port_groups`      REPORT TARGET PORT GROUPS (ALUA)
`pr_in`, `pr_out`         PERSISTENT RESERVE IN and OUT, every service action
`pr_types`                types and scopes of reservations
`reservation_key`         `ReservationKey`
`transport_id`            `TransportId`: the initiator port of a registration
`reserve6`                RESERVE(6), RELEASE(6)
`sense`, `sense_codes`    sense data in both formats, the additional sense codes by name
`verdict`                 `judge`: what to do about a completion; `describe` it
`opcodes`, `wire`         operation codes; bounds-checked fields
========================  ==================================================================

Functions that build a `Command` carry the command's name; those that read an answer are called
``decode_...``, take what was `received`, and raise `mpio_fuse.errors.DecodeError` and nothing else.
"""
