"""A request the file system itself turns down, before any device sees it."""

from mpio_fuse.errors import MpioError


class Refused(MpioError):
    """The caller asked for something this tree does not do; ``errno`` is what open(2) and its kin document."""

    def __init__(self, what: str, errno: int, **where: str | None) -> None:
        super().__init__(what, **where)
        self.errno = errno
