"""Reservation keys (SPC-4 5.13.2): 8 bytes that mean nothing to the target.

Keys are compared as bytes.  Text is for people only: leading zeros and prefixes have made 0x123ab pass for
0x123abc elsewhere.
"""

import re

import attrs

from mpio_fuse.errors import UsageError

KEY_LENGTH_BYTES = 8
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,16})", re.ASCII)


@attrs.frozen
class ReservationKey:
    """One key; usable in sets and as a dictionary's key."""

    raw: bytes = attrs.field(converter=bytes, repr=lambda raw: f"0x{raw.hex()}")

    def __attrs_post_init__(self) -> None:
        if len(self.raw) != KEY_LENGTH_BYTES:
            raise UsageError(f"a reservation key has 8 bytes, not {len(self.raw)}")

    @classmethod
    def from_int(cls, value: int) -> "ReservationKey":
        """The key whose big-endian bytes are that number.

        Raises:
            UsageError: negative, or more than 64 bits.
        """
        if not 0 <= value < 1 << 64:
            raise UsageError("a reservation key has 64 bits")
        return cls(value.to_bytes(KEY_LENGTH_BYTES, "big"))

    @classmethod
    def parse(cls, text: str) -> "ReservationKey":
        """A key from hexadecimal text of 1 to 16 digits, with or without ``0x``.

        Raises:
            UsageError: anything else.
        """
        match = _HEX.fullmatch(text.strip())
        if match is None:
            hint = "give 1 to 16 hexadecimal digits, as in 0x123abc"
            raise UsageError(f"{text!r} is not a reservation key", hint=hint)
        return cls.from_int(int(match[1], 16))

    @classmethod
    def parse_host(cls, text: str) -> "ReservationKey":
        """As `parse`, for a key a host is to register.

        Raises:
            UsageError: not a key, or key 0, which means "no registration" (SPC-4 5.13.7).
        """
        return cls.parse(text).for_host()

    def for_host(self) -> "ReservationKey":
        """Return the key itself, when a host can register it.

        Raises:
            UsageError: it is key 0.
        """
        if self.is_zero:
            hint = "choose any other key"
            raise UsageError("key 0 cannot be registered, it means unregister", hint=hint)
        return self

    @property
    def is_zero(self) -> bool:
        return self == ZERO_KEY

    def __int__(self) -> int:
        return int.from_bytes(self.raw, "big")

    def __str__(self) -> str:
        return f"0x{self.raw.hex()}"


ZERO_KEY = ReservationKey(bytes(KEY_LENGTH_BYTES))
"""Not a key: "unregistered" in REGISTER, "all registrants" in READ RESERVATION."""
