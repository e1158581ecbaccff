"""Job ids that sort by time: UUID version 7 (RFC 9562, section 5.7). Pure but for the clock and chance."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A new id: 48 bits of Unix time in milliseconds, then chance."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | (7 << 76)
    return UUID(int=value & ~(0b11 << 62) | (0b10 << 62))
