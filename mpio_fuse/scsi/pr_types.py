"""Types and scopes of persistent reservations (SPC-4 6.15.3.3 and 6.15.3.4)."""

import enum


class Scope(enum.IntEnum):
    """SCOPE (SPC-4 table 209).  SPC-2 had extents and elements; targets still reject them by number."""

    LOGICAL_UNIT = 0
    EXTENT = 1
    ELEMENT = 2

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").capitalize()


class PrType(enum.IntEnum):
    """TYPE (SPC-4 table 210)."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8

    @property
    def title(self) -> str:
        """The full name as people and sg_persist write it: ``Exclusive Access, registrants only``."""
        access, exclusive, *who = self.name.split("_")
        title = f"{access.capitalize()} {exclusive.capitalize()}"
        return f"{title}, {' '.join(who).lower()}" if who else title

    @property
    def is_all_registrants(self) -> bool:
        """Whether every registrant holds it; READ RESERVATION then reports key 0."""
        return self.name.endswith("ALL_REGISTRANTS")

    @property
    def is_registrants_only(self) -> bool:
        return self.name.endswith("REGISTRANTS_ONLY")
