"""Why a socket is closed. The range tells the client what to do: 4000-4499 come back, 4500-4999 do not."""

from enum import IntEnum
from typing import Self


class CloseCode(IntEnum):
    """Every code the server closes a socket with; `explanation` is what the protocol page says."""

    explanation: str

    def __new__(cls, value: int, explanation: str) -> Self:  # noqa: D102 (an enum with one more field)
        member = int.__new__(cls, value)
        member._value_ = value
        member.explanation = explanation
        return member

    DONE = 1000, "the job has ended and everything was told"
    GOING_AWAY = 4000, "this process stops; another one answers"
    SLOW_CONSUMER = 4001, "the reader was too slow; resume by cursor"
    UNAVAILABLE = 4002, "the truth cannot be read right now"
    UNAUTHORIZED = 4500, "no valid key or token"
    JOB_NOT_FOUND = 4501, "no such job for this key"
    JOB_EXPIRED = 4502, "the job was there and its time is over"
    BAD_REQUEST = 4503, "the request cannot be understood"

    @property
    def reconnect(self) -> bool:
        """Whether a client should come back."""
        return 4000 <= self < 4500
