"""A grant: the right to send data commands, from the open that won it to the last close or to being fenced.

Handles hold the grant they were opened under, and every data command names it.  Being fenced ends the grant for
good: its handles never get another one, while a new open starts with a new grant.
"""

import attrs

from mpio_fuse.errors import Fenced, MpioError


@attrs.define(eq=False)
class Grant:
    """``is_reserving`` says that the reservation is ours, so that nobody else can write meanwhile."""

    lun: str
    is_reserving: bool = False
    is_fenced: bool = False
    is_given_up: bool = False
    """The last close came: whoever still has a handle has a closed one."""

    lost_writes: int = 0
    """How many deferred errors told that a write answered with GOOD did not reach the medium."""

    def check(self) -> None:
        """Raise once the grant is over: `Fenced`, or that the handle is closed."""
        if self.is_given_up and not self.is_fenced:
            raise MpioError("the file is closed", lun=self.lun, hint="open it again")
        if self.is_fenced:
            raise Fenced(
                "another host took this disk over",
                lun=self.lun,
                hint="close the file; what was written since is not on the disk",
            )
