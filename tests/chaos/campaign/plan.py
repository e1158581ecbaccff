"""How large a campaign is. There are two: the short one is a test, the long one is `make chaos`.

Jobs wait all the time and keep every slot busy, so the slots say how many end in a second, and not how much
of the machine is left by others: a slot that stays empty after a fault is seen, and noise is not.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Its sizes; times are seconds."""

    workers: int
    slots: int  # of each worker
    callers: int  # clients that submit at once
    far: int  # and as many more whose way to Postgres loses an answer now and then
    job: float  # what a job takes, more or less: with the slots it says how many can end in a second
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
    durable: bool = True  # without, Postgres says that it has committed before it has: to be found out


SHORT: Final = Plan(
    workers=2,
    slots=16,
    callers=12,
    far=4,
    job=0.1,
    waiting=60,
    lease=1.0,
    calm=0.3,
    slices=1,
    scale=0.04,
    rounds=1,
    recovery=20.0,
    again=0,
    images=2,
    jobs=1_000,
    judged=False,
)
LONG: Final = Plan(
    workers=3,
    slots=48,
    callers=48,
    far=16,
    job=0.4,
    waiting=150,
    lease=3.0,
    calm=6.0,
    slices=3,
    scale=1.0,
    rounds=2,
    recovery=30.0,
    again=2,
    images=12,
    jobs=100_000,
    judged=True,
)
