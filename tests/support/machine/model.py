"""What the queue may do with a job, as plain values: the model of the state machine test. Pure.

`Known` is one job as it must be. An act is what one verb did to one job, with what the verb answered;
`act.on(known)` is the job after it, and raises AssertionError where no correct queue could have answered
so. Acts of one job are all that a verb is: what it says of several jobs need not have happened at one
moment, so calls that overlap are right when, for each job, their acts fit in some order.

A new verb is a new act here, a call in `calls` and a rule in `rules`.
"""

from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from safelight.jobs.job import Beat, Change, Ended, Fence, HandedBack, Lease, NewJob
from safelight.jobs.states import REASONS, is_final, may_follow
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight.wire.resources import State


class Unheard:
    """In the place of an answer: the verb did its work, and the answer was lost on the way."""


UNHEARD: Final = Unheard()


class Event(NamedTuple):
    """A durable event; its place in the incarnation is its `seq`."""

    state: State
    reason: str
    attempt: int


class End(NamedTuple):
    """A row of `done`."""

    epoch: int
    seq: int
    state: str
    reason: str
    attempt: int
    lease_epoch: int


class Back(NamedTuple):
    """A row of `attempt`: a run that did not end its job."""

    epoch: int
    lease_epoch: int
    attempt: int
    claimed_seq: int
    reason: str


class Row(NamedTuple):
    """A row of `ready`. `due` and `expired` are what the database's own clock says."""

    epoch: int
    seq: int
    state: str
    reason: str
    attempt: int
    lease_epoch: int
    crashes: tuple[str, ...]
    cancel: bool
    due: bool
    expired: bool


class Known(Struct, frozen=True, kw_only=True):
    """A job as it must be."""

    new: NewJob
    epoch: int = 1
    events: tuple[Event, ...] = (Event("queued", "submitted", 0),)  # of this incarnation
    lease_epoch: int = 0
    crashes: tuple[str, ...] = ()
    cancel: bool = False  # the run was asked to stop
    delayed: bool = False
    due: bool = True
    expired: bool = False
    old: bool = False  # ended longer ago than anybody wants to know
    untouched: bool = True  # never came back to the queue: its turn is that of its enqueue
    ends: tuple[End, ...] = ()
    backs: tuple[Back, ...] = ()

    @property
    def key(self) -> JobKey:
        return JobKey(self.new.tenant, self.new.id)

    @property
    def now(self) -> Event:
        return self.events[-1]

    @property
    def seq(self) -> int:
        return len(self.events)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.seq)

    @property
    def final(self) -> bool:
        return is_final(self.now.state)

    @property
    def claimable(self) -> bool:
        return self.now.state == "queued" and (self.due or not self.delayed)

    @property
    def row(self) -> Row | None:
        """Its row in `ready`, if it has one."""
        if self.final:
            return None
        return Row(
            self.epoch,
            self.seq,
            *self.now,
            self.lease_epoch,
            self.crashes,
            self.cancel,
            self.due,
            self.expired,
        )

    def held_by(self, fence: Fence) -> bool:
        """Whether a write with this fence is one of the run that holds the job."""
        return (self.now.state, self.key, self.lease_epoch) == ("running", fence[:2], fence.lease_epoch)

    def then(self, state: State, reason: str, attempt: int, **changes: Any) -> "Known":
        """The next event."""
        assert may_follow(self.now.state, state), f"{state} after {self.now.state}"
        assert reason in REASONS[state]
        after = replace(self, events=(*self.events, Event(state, reason, attempt)), **changes)
        if not is_final(state):
            return after
        end = End(after.epoch, after.seq, state, reason, attempt, after.lease_epoch)
        return replace(after, ends=(*self.ends, end), expired=False)

    def back(self, reason: str, *, attempt: int, delay: float = 0.0, crash: str | None = None) -> "Known":
        """Its run is over and it waits again."""
        run = Back(self.epoch, self.lease_epoch, self.now.attempt, self.seq, reason)
        return self.then(
            "queued",
            reason,
            attempt,
            delayed=delay > 0,
            due=delay <= 0,
            crashes=(*self.crashes, crash) if crash else self.crashes,
            expired=False,
            untouched=False,
            backs=(*self.backs, run),
        )


class Act(Protocol):
    """What a verb did to a job."""

    @property
    def key(self) -> JobKey:
        """Which job."""
        ...

    def on(self, known: Known | None) -> Known | None:
        """The job after it; None is one that nobody has heard of."""
        ...


def agree(change: Change | Unheard | None, after: Known) -> Known:
    """What was answered is what happened."""
    if isinstance(change, Unheard):
        return after
    assert change is not None, f"refused, where it had to become {after.now}"
    told = (change.key, change.cursor, change.state, change.reason, change.attempt)
    assert told == (after.key, after.cursor, *after.now), f"answered {told}, had to become {after.now}"
    return after


def refuse(change: Any, known: Known | None) -> Known | None:
    """Nothing happened, and nothing was answered."""
    assert isinstance(change, Unheard) or change is None, f"answered {change}, had to be refused"
    return known


class Enqueued(NamedTuple):
    """`created`: this call accepted the job; else it is a repeat of one that was."""

    key: JobKey
    new: NewJob
    created: bool

    def on(self, known: Known | None) -> Known | None:
        assert self.created == (known is None), f"created is {self.created}, known before: {known}"
        if known is None:
            return Known(new=self.new)
        assert known.new.fingerprint == self.new.fingerprint, "another request passed for a repeat"
        return known


class Claimed(NamedTuple):
    """A lease was granted."""

    lease: Lease

    @property
    def key(self) -> JobKey:
        return self.lease.key

    def on(self, known: Known | None) -> Known:
        assert known is not None, "claimed, and never accepted"
        assert known.claimable, f"claimed while {known.now}"
        after = known.then(
            "running",
            "claimed",
            known.now.attempt + 1,
            lease_epoch=known.lease_epoch + 1,
            delayed=False,
            due=True,
        )
        lease, new = self.lease, known.new
        told = (lease.cursor, lease.attempt, lease.lease_epoch, tuple(lease.crashes), lease.max_attempts)
        assert told == (after.cursor, after.now.attempt, after.lease_epoch, after.crashes, new.max_attempts)
        assert (lease.pipeline, lease.priority, lease.params) == (new.pipeline, new.priority, new.params)
        assert lease.handed_back == sum(
            back.reason == "released" for back in known.backs if back.epoch == known.epoch
        )
        return after


class Completed(NamedTuple):
    """A run said how it ended its job."""

    ended: Ended
    change: Change | Unheard | None

    @property
    def key(self) -> JobKey:
        return JobKey(*self.ended.fence[:2])

    def on(self, known: Known | None) -> Known | None:
        if known is None or not known.held_by(self.ended.fence):
            return refuse(self.change, known)
        how = ("canceled", "canceled") if known.cancel else (self.ended.state, self.ended.reason)
        return agree(self.change, known.then(*how, known.now.attempt, cancel=False))


class Retried(NamedTuple):
    """A run failed in a way that may pass. One that was asked to stop ends its job, and so does the last."""

    fence: Fence
    delay: float
    crash: str | None
    change: Change | Unheard | None

    @property
    def key(self) -> JobKey:
        return JobKey(*self.fence[:2])

    def on(self, known: Known | None) -> Known | None:
        if known is None or not known.held_by(self.fence):
            return refuse(self.change, known)
        attempt = known.now.attempt
        if known.cancel:
            return agree(self.change, known.then("canceled", "canceled", attempt, cancel=False))
        if attempt >= known.new.max_attempts:
            return agree(self.change, known.then("failed", "exhausted", attempt))
        return agree(self.change, known.back("retry", attempt=attempt, delay=self.delay, crash=self.crash))


class Released(NamedTuple):
    """A run was handed back. One that was asked to stop ends its job."""

    run: HandedBack
    change: Change | Unheard | None

    @property
    def key(self) -> JobKey:
        return JobKey(*self.run.fence[:2])

    def on(self, known: Known | None) -> Known | None:
        if known is None or not known.held_by(self.run.fence):
            return refuse(self.change, known)
        attempt = known.now.attempt
        if known.cancel:
            return agree(self.change, known.then("canceled", "canceled", attempt, cancel=False))
        return agree(self.change, known.back("released", attempt=attempt - 1, delay=self.run.delay_seconds))


class Rescued(NamedTuple):
    """A run was taken back."""

    change: Change

    @property
    def key(self) -> JobKey:
        return self.change.key

    def on(self, known: Known | None) -> Known:
        assert known is not None, "rescued, and never accepted"
        assert known.now.state == "running", f"rescued while {known.now}"
        assert known.expired, "rescued from a run whose lease held"
        attempt = known.now.attempt
        if known.cancel:
            return agree(self.change, known.then("canceled", "canceled", attempt, cancel=False))
        if attempt >= known.new.max_attempts:
            return agree(self.change, known.then("failed", "exhausted", attempt))
        return agree(self.change, known.back("rescued", attempt=attempt))


class Beaten(NamedTuple):
    """A heartbeat; `held` is whether the cancel was asked for, None when the lease was lost."""

    beat: Beat
    held: bool | Unheard | None

    @property
    def key(self) -> JobKey:
        return JobKey(*self.beat.fence[:2])

    def on(self, known: Known | None) -> Known | None:
        if known is None or not known.held_by(self.beat.fence):
            return refuse(self.held, known)
        assert isinstance(self.held, Unheard) or self.held is known.cancel, f"heard {self.held}"
        return replace(known, expired=False)


class Canceled(NamedTuple):
    """A person gave a job up."""

    key: JobKey
    change: Change | Unheard | None

    def on(self, known: Known | None) -> Known | None:
        if known is None or known.final:
            return refuse(self.change, known)
        if known.now.state == "running":
            if isinstance(self.change, Change):
                assert self.change.cancel_requested
            return agree(self.change, replace(known, cancel=True))
        after = known.then("canceled", "canceled", known.now.attempt, delayed=False, due=True)
        return agree(self.change, after)


class Reopened(NamedTuple):
    """A person has a job run again."""

    key: JobKey
    change: Change | Unheard | None

    def on(self, known: Known | None) -> Known | None:
        if known is None or known.now.state not in {"failed", "canceled"}:
            return refuse(self.change, known)
        assert may_follow(known.now.state, "queued")
        after = Known(
            new=known.new,
            epoch=known.epoch + 1,
            events=(Event("queued", "reopened", 0),),
            lease_epoch=known.lease_epoch,
            untouched=False,
            ends=known.ends,
            backs=known.backs,
        )
        return agree(self.change, after)


class Pruned(NamedTuple):
    """A job that ended long ago was forgotten."""

    key: JobKey

    def on(self, known: Known | None) -> None:
        assert known is not None, "forgotten, and never accepted"
        assert known.final, f"forgotten while {known.now}"
        assert known.old, "forgotten too early"
