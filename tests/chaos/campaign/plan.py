"""How large a campaign is. There are two: the short one is a test, the long one is `make chaos`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Its sizes; times are seconds."""

    workers: int
    slots: int  # of each worker
    callers: int  # clients that submit at once
    far: int  # and as many more whose way to Postgres loses an answer now and then
    usual: float  # what a job takes, but for a few that are long
    waiting: int  # jobs that may wait before clients hold back
    lease: float
    calm: float  # a window without a fault: before each, and after it
    slices: int  # equal parts of a window, whose median is its rate
    scale: float  # of how long faults last, in units of their usual time
    rounds: int  # times that every fault happens
    recovery: float  # that it may take until there is calm again
    again: int  # times that a window after a fault is measured anew when it falls short
    images: int  # real ones, for the full disk
    jobs: int  # that there must have been in the end
    judged: bool  # whether throughput counts, or is only told


SHORT: Final = Plan(
    workers=2,
    slots=16,
    callers=12,
    far=4,
    usual=0.1,
    waiting=20,
    lease=1.0,
    calm=0.3,
    slices=1,
    scale=0.06,
    rounds=1,
    recovery=20.0,
    again=0,
    images=2,
    jobs=1_000,
    judged=False,
)
LONG: Final = Plan(
    workers=3,
    slots=32,
    callers=48,
    far=16,
    usual=0.0,
    waiting=600,
    lease=3.0,
    calm=7.0,
    slices=14,
    scale=1.0,
    rounds=2,
    recovery=30.0,
    again=3,
    images=12,
    jobs=100_000,
    judged=True,
)
