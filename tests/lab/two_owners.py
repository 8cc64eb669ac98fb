"""One host opens a LUN and another takes it by force: what each of them is told, as JSON.  Run in a guest.

python -m tests.lab.two_owners FILE_OF_A FILE_OF_B
"""

import errno
import json
import os
import sys

import mpio_fuse

BLOCK = 4096


def attempt(what: str, told: dict[str, str], *, first: str, then: str) -> int:
    """Open a file with an option; -1 when refused."""
    try:
        descriptor = mpio_fuse.openx(first, os.O_RDWR, then)
    except OSError as error:
        told[what] = errno.errorcode[error.errno or 0]
        return -1
    told[what] = "opened"
    return descriptor


def write(what: str, told: dict[str, str], descriptor: int, text: str) -> None:
    """Write a stamped block, to the disk itself."""
    try:
        os.pwrite(descriptor, text.encode().ljust(BLOCK, b"."), 0)
        os.fsync(descriptor)
    except OSError as error:
        told[what] = errno.errorcode[error.errno or 0]
    else:
        told[what] = "written"


def play(of_a: str, of_b: str) -> dict[str, str]:
    """The whole story."""
    told: dict[str, str] = {}
    old = attempt("a opens", told, first=of_a, then="default")
    write("a writes", told, old, "a")
    attempt("b opens", told, first=of_b, then="default")
    new = attempt("b forces", told, first=of_b, then="forced")
    write("b writes", told, new, "b")
    write("a writes again", told, old, "a, too late")
    attempt("a opens again", told, first=of_a, then="default")
    told["on the disk"] = os.pread(new, 1, 0).decode()
    os.close(new)
    while (again := attempt("a opens after b closed", told, first=of_a, then="default")) < 0:
        pass  # close(2) returns before the daemon has released
    told["a reads"] = os.pread(again, 1, 0).decode()
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(play(*sys.argv[1:])))
