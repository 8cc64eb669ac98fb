"""The lab: a real SCSI kernel, target and initiators, in a User Mode Linux guest.

``guest`` boots it, ``fabric`` describes what is built in it, ``build`` (which runs inside) builds it, ``session``
joins the two, ``plugin`` gives it to pytest and ``cli`` to people.  ``docs/lab.md`` is the manual.
"""
