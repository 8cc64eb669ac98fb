"""``scripts/demo``: two hosts, one shared disk, two underpaths each; a story whose every claim is checked.

``story`` is what to read and change: the chapters.  ``stage`` runs their commands and checks their claims,
``array_view`` reads what the array says of itself, ``ticker`` is a program of host B's in the story.
"""
