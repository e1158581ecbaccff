"""In which order the lanes of the queue are read, and from where. Pure: no clock of its own, no client.

A lane is a pipeline and a priority; within it `rank` says whose turn it is (sql/enqueue.sql). `queue`
asks `order` before it claims and tells `claimed` afterwards.

Ranks only grow, so a reader may start where it left off. What it would find before that is little: jobs
that came back (a retry, a rescue) and dead rows, which Postgres cannot remove while somebody holds an old
snapshot; then reading from the front costs more with every job that ends. So the front is read again when
that is cheap, or when it has not been for a while: at the most a twentieth of the time goes into it.

A job that is enqueued behind a flood of another tenant's gets the rank at which the lane is in that moment,
and when it is committed readers are further. So a reader begins at the rank at which it was a moment ago,
and where a look from the front finds what was left behind, it goes on from there.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

PRIORITIES: Final = range(4)  # 0 waits for all others, 3 is first
NORMAL: Final = 1
_UPSIDE_DOWN: Final = 8  # every so many looks begin with the lowest priority, so that nothing starves
_CHEAP: Final = 0.05  # seconds; a look from the front that takes less may be had at any time
_SHARE: Final = 20  # one that takes more may be had after so many times as long
_AGE: Final = 0.25  # seconds after which the front is read again although there is enough behind it
_LAG: Final = (
    0.1  # seconds that a commit may take without being passed; a reader is one to two of them behind
)


class Lane(NamedTuple):
    """Jobs that are ranked among each other."""

    pipeline: str
    priority: int


class Lanes:
    """What one reader remembers of the lanes it reads."""

    def __init__(self) -> None:
        self._lows: list[dict[Lane, int]] = [{}, {}, {}]  # now, some time ago, and some more
        self._lagged_at = float("-inf")
        self._looks = 0
        self._front_at = float("-inf")
        self._front_took = (0.0, 0.0)  # the last two: one that was slow by chance does not count
        self._hungry = True

    def order(self, pipelines: Sequence[str]) -> list[Lane]:
        """The lanes in the order of this look: higher priority first, pipelines in turns."""
        self._looks += 1
        first = self._looks % max(1, len(pipelines))
        turned = [*pipelines[first:], *pipelines[:first]]
        priorities = PRIORITIES if self._looks % _UPSIDE_DOWN == 0 else reversed(PRIORITIES)
        return [Lane(pipeline, priority) for priority in priorities for pipeline in turned]

    def from_front(self, now: float) -> bool:
        """Whether this look begins at the front; `now` is seconds of a steady clock."""
        if not self._affordable(now):
            return False
        return self._hungry or now - self._front_at >= max(_AGE, _SHARE * min(self._front_took))

    def again(self, now: float, *, front: bool, short: bool) -> bool:
        """Whether a look that found too little is worth another one, from the front."""
        return short and not front and self._affordable(now)

    def low(self, lane: Lane) -> int:
        """The rank below which this reader has taken what there was."""
        return self._lows[-1].get(lane, 0)

    def looked(self, now: float, took: float, *, front: bool, short: bool) -> None:
        """A look is over: it took so many seconds, and was short when there was less than asked for."""
        self._hungry = short
        if now - self._lagged_at >= _LAG:
            self._lows, self._lagged_at = [dict(self._lows[0]), *self._lows[:-1]], now
        if front:
            self._front_at, self._front_took = now, (self._front_took[1], took)

    def claimed(self, found: Iterable[tuple[Lane, int]], *, front: bool) -> None:
        """What a look took: lanes and ranks."""
        highest: dict[Lane, int] = {}
        for lane, rank in found:
            highest[lane] = max(rank, highest.get(lane, 0))
        for lane, rank in highest.items():
            self._lows[0][lane] = max(rank, self._lows[0].get(lane, 0))
            if front:
                self._lows[-1][lane] = min(rank, self._lows[-1].get(lane, 0))

    def _affordable(self, now: float) -> bool:
        took = min(self._front_took)
        return took < _CHEAP or now - self._front_at >= _SHARE * took
