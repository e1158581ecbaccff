"""The state machine: any verbs of any processes in any order on the real queue.

`steps` looks at everything after each; `calls` has the verbs, `model` what each may do, `tables` what was
promised. A rule with nothing to do does nothing, and none asks beforehand what there is (see `steps`).

To extend it: a verb is a call, an act, a rule and a line in `call`; what must always hold is a line in
`tables.Ledger.check`; what a claim may take is `claimable` in `model`, `may_be_claimed` in `steps` and
`claim_alone` here. Limits and pauses are no job's own: `Steps.check_gates` has what must hold of them.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import initialize
from msgspec.structs import replace

from safelight.jobs.job import Beat, Ended, HandedBack, Lease, NewJob
from safelight.jobs.lanes import Lane
from safelight.wire.key import JobKey
from support.jobs import failed, new_job, succeeded
from support.machine import calls
from support.machine.calls import Call, Hand
from support.machine.model import Enqueued, Known
from support.machine.steps import HANDS, PIPELINES, TENANTS, Steps, Subject, pick, rule, subjects, told
from support.machine.tables import Place

ALL = 1000
WRITES = ("heartbeat", "succeeded", "failed", "canceled", "retry", "release")
VERBS = (*WRITES, "claim", "exchange", "rescue", "cancel", "reopen", "enqueue", "prune")

NTH = st.integers(0, 255)  # whichever of those that there are
HAND = st.integers(0, HANDS - 1)
TENANT = st.sampled_from(TENANTS)
PIPELINE = st.sampled_from(PIPELINES)
PRIORITY = st.sampled_from((1, 1, 3, 1, 0, 2))
OFFERED = st.sampled_from((PIPELINES, PIPELINES[::-1], PIPELINES[:1], PIPELINES[1:]))
SUBJECT = st.sampled_from((*TENANTS, *PIPELINES))
NAME = st.sampled_from((None, "k1", "k2"))  # an idempotency key

WANTS: Mapping[str, Callable[[Known], bool]] = {
    "waits": lambda known: known.claimable,
    "running": lambda known: known.now.state == "running",
    "asked": lambda known: known.cancel,
    "again": lambda known: known.now.state == "running" and known.lease_epoch > 1,
    "expired": lambda known: known.expired,
    "delayed": lambda known: known.delayed and not known.due,
    "due": lambda known: known.delayed and known.due,
    "over": lambda known: known.now.state in {"failed", "canceled"},
    "old": lambda known: known.old,
    "reopened": lambda known: known.claimable and known.epoch > 1,
}
WANT = st.sampled_from(tuple(WANTS))
RUNS = ("running", "asked", "expired", "again")
OVERLAPS = (
    ("waits", ["claim", "claim"]),
    ("waits", ["cancel", "claim"]),
    ("due", ["claim", "cancel", "claim"]),
    ("running", ["succeeded", "failed"]),
    ("running", ["cancel", "succeeded"]),
    ("running", ["cancel", "retry"]),
    ("running", ["release", "cancel", "claim"]),
    ("expired", ["rescue", "succeeded"]),
    ("expired", ["rescue", "heartbeat"]),
    ("expired", ["cancel", "rescue", "rescue"]),
    ("over", ["reopen", "reopen"]),
    ("reopened", ["cancel", "reopen"]),
    ("reopened", ["cancel", "reopen", "claim"]),
    ("old", ["prune", "reopen"]),
    ("old", ["enqueue", "prune"]),
)


class Machine(Steps):
    """Some processes, some tenants, one queue, and everything that may befall it."""

    # Enqueue

    def first(self, new: NewJob) -> Known | None:
        """The job that this one is a repeat of; the idempotency key decides before the id."""
        for known in self.jobs.values():
            named = known.new.idempotency_key
            if named is not None and (known.new.tenant, named) == (new.tenant, new.idempotency_key):
                return known
        return self.jobs.get(JobKey(new.tenant, new.id))

    def enqueue_alone(self, hand: Hand, new: NewJob, *, lost: bool = False) -> None:
        """It is accepted, or told to be a repeat, or refused."""
        first = self.first(new)
        if lost:
            key = JobKey(new.tenant, new.id)
            acts = [] if first or key in self.forgotten else [Enqueued(key, new, True)]
            self.do(calls.enqueue(hand, new)._replace(acts=lambda _: acts), lost=True)
            return
        answer = self.do(calls.enqueue(hand, new))
        if first is None and JobKey(new.tenant, new.id) in self.forgotten:
            assert answer == "job_expired"
        elif first is None:
            assert answer == (new.id, True)
        elif first.new.fingerprint == new.fingerprint:
            assert answer == (first.new.id, False)
        else:
            assert answer == ("id_taken" if first.new.id == new.id else "idempotency_key_reused")

    @initialize(many=st.lists(st.tuples(TENANT, PIPELINE), max_size=6))
    @told
    def begin(self, many: list[tuple[int, str]]) -> None:
        for tenant, pipeline in many:
            self.enqueue_alone(self.hands[0], self.fresh(tenant, pipeline=pipeline))

    @rule(
        hand=HAND,
        tenant=TENANT,
        pipeline=PIPELINE,
        priority=PRIORITY,
        name=NAME,
        most=st.sampled_from((3, 1, 2)),
    )
    def enqueue(self, hand, tenant, pipeline, priority, name, most):
        changes = {"priority": priority, "idempotency_key": name, "max_attempts": most}
        self.enqueue_alone(self.hands[hand], self.fresh(tenant, pipeline=pipeline, **changes))

    @rule(hand=HAND, nth=NTH, same=st.booleans(), other_id=st.booleans(), name=NAME)
    def enqueue_again(self, hand, nth, same, other_id, name):
        """By its id or by its key; with the same request or another one; also the id of a forgotten one."""
        forgotten = [
            new_job(tenant=key.tenant, id=key.id, pipeline=PIPELINES[0]) for key in sorted(self.forgotten)
        ]
        new = pick(
            nth, [self.job("waits", nth).new, *(known.new for known in self.jobs.values()), *forgotten]
        )
        new = replace(new, named=True)
        if not same:
            new = replace(new, fingerprint=b"other")
        if other_id:
            name = new.idempotency_key or name
            new = replace(new, id=self.fresh(new.tenant).id, idempotency_key=name)
        self.enqueue_alone(self.hands[hand], new)

    @rule(hand=HAND, many=st.lists(st.tuples(TENANT, PIPELINE, PRIORITY), max_size=5), again=NTH)
    def enqueue_many(self, hand, many, again):
        """New ones, and now and then one that is known."""
        news = [
            self.fresh(tenant, pipeline=pipeline, priority=priority) for tenant, pipeline, priority in many
        ]
        repeats = [replace(known.new, named=True)] if again % 2 and (known := self.known(again)) else []
        if asked := [*repeats, *news]:
            answer = self.do(calls.enqueue_many(self.hands[hand], asked))
            created = [accepted.created for accepted in answer]
            assert created == [False] * len(repeats) + [True] * len(news)

    # Claim, and everything that a run may say

    def claim_alone(self, hand: Hand, ended: Sequence[Ended], offered: Sequence[str], slots: int) -> None:
        """No job is overlooked, and none is taken before its turn."""
        lanes = hand.queue._lanes
        front = lanes.from_front(time.monotonic())
        order = copy.copy(lanes).order(offered)
        lows = {lane: 0 if front else lanes.low(lane) for lane in order}
        there = [
            job for job in self.jobs.values() if self.may_be_claimed(job) and job.new.pipeline in offered
        ]
        places = self.tables.places
        _, leases = self.do(calls.exchange(hand, ended, offered, slots))
        taken = [lease.key for lease in leases]
        assert len(taken) == len(set(taken))
        assert {lease.pipeline for lease in leases} <= set(offered)
        assert len(taken) == min(slots, len(there)), f"took {len(taken)} of {len(there)} for {slots} slots"
        inline = [job for job in there if not job.delayed]
        look = Look(order, lows, places, {job.key: age for age, job in enumerate(there)})
        check_turns(look, [job for job in inline if job.key in taken], inline)

    def claim_until(self, key: JobKey, nth: int) -> None:
        """A few at a time, until this one runs; nobody keeps it outside."""
        for subject in subjects(self.jobs[key].new):
            self.open_gate(subject)
        self.admit_alone(self.hands[nth % HANDS])
        while self.jobs[key].now.state == "queued":
            self.claim_alone(self.hands[nth % HANDS], [], PIPELINES, 1 + nth % 3)

    @rule(hand=HAND, offered=OFFERED, some=NTH, want=st.sampled_from(("waits", "due")), nth=NTH)
    def claim(self, hand, offered, some, want, nth):
        """Fewer than there are, just as many, or more."""
        self.job(want, nth)
        there = sum(job.claimable and job.new.pipeline in offered for job in self.jobs.values())
        self.claim_alone(self.hands[hand], [], offered, 1 + some % (there + 2))

    def busy(self, nth: int) -> Hand:
        """A process that believes to run something."""
        self.job("running", nth)
        return pick(nth, [hand for hand in self.hands if hand.leases] or self.hands)

    @rule(
        nth=NTH,
        ends=st.lists(st.sampled_from(("succeeded", "failed", "canceled")), max_size=3),
        offered=OFFERED,
        slots=st.integers(0, 4),
    )
    def exchange(self, nth, ends, offered, slots):
        """Ends some of its runs and fills the slots, in one."""
        here = self.busy(nth)
        ended = [end(lease, how) for lease, how in zip(here.leases, ends, strict=False)]
        here.leases = here.leases[len(ended) :]
        if slots:
            self.claim_alone(here, ended, offered, slots)
        elif ended:
            self.do(calls.exchange(here, ended, [], 0))

    @rule(nth=NTH, progress=st.integers(0, 100), without=NTH)
    def heartbeat(self, nth, progress, without):
        """Of all its runs, but for some that it has forgotten."""
        here = self.busy(nth)
        beats = [beat(lease, progress) for nth, lease in enumerate(here.leases) if not without >> nth & 1]
        if beats:
            self.do(calls.heartbeat(here, beats))

    @rule(want=st.sampled_from(RUNS), nth=NTH, verb=st.sampled_from(("retry", *WRITES)), odd=NTH)
    def write_one(self, want, nth, verb, odd):
        """The run that holds a job says something."""
        lease = self.newest(self.job(want, nth).key)
        here = next((hand for hand in self.hands if lease in hand.leases), self.hands[0])
        if verb != "heartbeat" and lease in here.leases:
            here.leases.remove(lease)
        self.do(self.write(verb, here, lease, odd))

    @rule(nth=NTH, delays=st.lists(st.sampled_from((500.0, 0.0)), min_size=1, max_size=6))
    def release(self, nth, delays):
        """Many at once, as a drain does."""
        here = self.busy(nth)
        newest = {lease.key: lease for lease in here.leases}.values()
        runs = [
            HandedBack(fence=lease.fence, progress=20.0, delay_seconds=delay)
            for lease, delay in zip(newest, delays, strict=False)
        ]
        if runs:
            gone = {run.fence for run in runs}
            here.leases = [lease for lease in here.leases if lease.fence not in gone]
            self.do(calls.release(here, runs))

    @rule(
        hand=HAND,
        nth=NTH,
        want=st.sampled_from(("again", "again", "over", "waits")),
        verb=st.sampled_from(WRITES),
        odd=NTH,
    )
    def zombie(self, hand, nth, want, verb, odd):
        """Somebody whose lease is over writes anyway, while another runs the job or when it is over."""
        key = self.job(want, nth).key
        stale = [lease for lease in self.granted if not self.holds(lease)]
        if lease := pick(odd, [lease for lease in stale if lease.key == key] or stale):
            self.do(self.write(verb, self.hands[hand], lease, odd))

    # What people do, and what keeps the queue healthy

    @rule(hand=HAND, nth=NTH, want=WANT)
    def cancel(self, hand, nth, want):
        self.do(calls.cancel(self.hands[hand], self.job(want, nth).key))

    @rule(hand=HAND, nth=NTH, want=st.sampled_from(("over", "over", "old", "running", "waits")))
    def reopen(self, hand, nth, want):
        self.do(calls.reopen(self.hands[hand], self.job(want, nth).key))

    @rule(hand=HAND, limit=st.sampled_from((100, 1)))
    def rescue(self, hand, limit):
        lost = sum(known.expired for known in self.jobs.values())
        assert len(self.do(calls.rescue(self.hands[hand], limit))) == min(limit, lost)

    @rule(hand=HAND, by_row=st.booleans(), nth=NTH)
    def prune(self, hand, by_row, nth):
        self.job("old", nth)
        old = sum(known.old for known in self.jobs.values())
        page = self.do(calls.prune(self.hands[hand], by_row=by_row))
        assert page.whole
        assert len(page.forgotten) == old

    @rule(nth=NTH, tenant=st.sampled_from((*TENANTS, 4)), odd=NTH)
    def stranger(self, nth, tenant, odd):
        """Another tenant names a job of this one, with everything that can be called."""
        lease = pick(nth, self.granted)
        named = lease.id if lease else self.job("waits", nth).new.id
        key = JobKey(tenant if JobKey(tenant, named) not in self.jobs else 4, named)
        self.world.run(self._look_as_stranger(key))
        for verb in WRITES if lease else ():
            self.do(self.write(verb, self.hands[0], replace(lease, tenant=key.tenant), odd))
        self.do(calls.cancel(self.hands[0], key))
        self.do(calls.reopen(self.hands[0], key))

    async def _look_as_stranger(self, key: JobKey) -> None:
        queue = self.hands[0].queue
        assert await queue.get(key) is None
        assert key not in [job.key for job in await queue.list(key.tenant, limit=ALL)]
        assert await queue.tops([key]) == {}

    async def look(self) -> None:
        """What is told of all jobs together."""
        queue, jobs = self.hands[0].queue, self.jobs
        for tenant in TENANTS:
            told = {job.key: (job.state, job.cursor.durable) for job in await queue.list(tenant, limit=ALL)}
            mine = {key: (job.now.state, job.cursor) for key, job in jobs.items() if key.tenant == tenant}
            assert told == mine
        tops = await queue.tops(jobs) if jobs else {}
        assert {key: top.durable for key, top in tops.items()} == {key: jobs[key].cursor for key in jobs}
        live = [(job.new.pipeline, job.now.state) for job in jobs.values() if not job.final]
        depth = {(each.pipeline, each.state): each.jobs for each in await queue.depth()}
        assert depth == {each: live.count(each) for each in live}
        for key in jobs:
            await self.check_timeline(key)

    # Limits and pauses

    def admit_alone(self, hand: Hand) -> None:
        """Nothing is left outside for which there is room."""
        self.do(calls.admit(hand))
        for key, gate in self.tables.gates.items():
            known = self.jobs[key]
            of = subjects(known.new)
            if gate.held == "room" and known.due and known.new.tenant not in self.paused:
                full = [one for one in of if one in self.limits and self.let_in(one) >= self.limits[one]]
                assert full, f"{key} was left outside"

    def limit_alone(self, subject: Subject, most: int | None) -> None:
        """What is let in already stays; the rest waits for room, or comes in when there is no limit."""
        if most is None:
            self.limits.pop(subject, None)
        else:
            running = {key for key, known in self.jobs.items() if known.now.state == "running"}
            kept = {key for key, gate in self.tables.gates.items() if gate.room}
            self.over[subject] = sum(subject in subjects(self.jobs[key].new) for key in running | kept)
            self.limits[subject] = most
        self.do(calls.limit(self.hands[0], subject, most))

    def open_gate(self, subject: Subject) -> None:
        """It has no limit and no pause."""
        if subject in self.paused:
            self.paused.discard(subject)
            self.half_paused.discard(subject)
            self.do(calls.resume(self.hands[0], subject))
        if subject in self.limits:
            self.limit_alone(subject, None)

    @rule(subject=SUBJECT, most=st.sampled_from((1, 2, 1, None)), want=WANT, nth=NTH)
    def limit(self, subject, most, want, nth):
        self.job(want, nth)
        self.limit_alone(subject, most)

    @rule(subject=SUBJECT, want=WANT, nth=NTH, dies=st.booleans())
    def pause(self, subject, want, nth, dies):
        """Who does it may die when it is said, and before the jobs are held."""
        known = self.job(want, nth)
        if nth % 2:
            subject = subjects(known.new)[nth // 2 % 2]
        if not dies:
            self.half_paused.discard(subject)
        elif subject not in self.paused:
            self.half_paused.add(subject)
        self.paused.add(subject)
        self.do(calls.pause(self.hands[0], subject, whole=not dies))

    @rule(subject=SUBJECT, expires=st.booleans())
    def pause_ends(self, subject, expires):
        """By a person, or by itself; then somebody finds it."""
        if subject in self.paused:
            self.paused.discard(subject)
            self.half_paused.discard(subject)
            self.do(calls.expire(self.hands[0], subject) if expires else calls.resume(self.hands[0], subject))

    @rule(hand=HAND)
    def admit(self, hand):
        self.admit_alone(self.hands[hand])

    # What the world does

    @rule(what=st.sampled_from(("due", "expired", "old")), nth=NTH, all_of_them=st.booleans())
    def time_passes(self, what, nth, all_of_them):
        """Delays are over, leases expire, ends grow old."""
        before = {"due": "delayed", "expired": "running", "old": "over"}[what]
        one = self.job(before, nth)
        some = [known for known in self.jobs.values() if WANTS[before](known)]
        self.pass_time(what, some if all_of_them else [one])

    @rule(hand=HAND)
    def worker_dies(self, hand):
        """Its leases run on, and what it remembered of the lanes is gone."""
        self.hands[hand] = self.hand(f"hand {hand} anew")

    @rule(hand=HAND, want=WANT, nth=NTH, verb=st.sampled_from(VERBS), odd=NTH, again=st.booleans())
    def answer_is_lost(self, hand, want, nth, verb, odd, again):
        """The verb commits and nobody hears it. It is called again, or whoever called it is dead."""
        here, known = self.hands[hand], self.job(want, nth)
        if verb == "enqueue":
            fresh = self.fresh(known.new.tenant, pipeline=PIPELINES[0])
            new = replace(known.new, named=True) if odd % 2 else fresh
            self.enqueue_alone(here, new, lost=True)
            if again:
                self.enqueue_alone(here, new)
            return
        call = self.call(verb, here, known, odd)
        self.do(call, lost=True)
        if again:
            self.do(call)

    @rule(
        what=st.sampled_from(OVERLAPS)
        | st.sampled_from(OVERLAPS)
        | st.tuples(WANT, st.lists(st.sampled_from(VERBS), min_size=2, max_size=3)),
        nth=NTH,
        odd=NTH,
        style=st.sampled_from(("held", "together", "held", "between")),
    )
    def overlap(self, what, nth, odd, style):
        """Calls about one job, at once."""
        want, verbs = what
        known = self.job(want, nth)
        self.race(
            [
                self.call(verb, hand, known, odd // turn)
                for turn, (verb, hand) in enumerate(zip(verbs, self.hands, strict=False), 1)
            ],
            style,
        )

    def job(self, want: str, nth: int) -> Known:
        """A job in a certain way: one that there is, or else it is made."""
        if found := pick(nth, [known for known in self.jobs.values() if WANTS[want](known)]):
            return found
        match want:
            case "waits":
                new = self.fresh(TENANTS[nth % 3], pipeline=PIPELINES[nth % 2], max_attempts=3 - nth % 3)
                self.enqueue_alone(self.hands[0], new)
                return self.jobs[JobKey(new.tenant, new.id)]
            case "running":
                key = self.job("waits", nth).key
                self.claim_until(key, nth)
            case "asked":
                key = self.job("running", nth).key
                self.do(calls.cancel(self.hands[0], key))
            case "expired":
                key = self.job("running", nth).key
                self.pass_time("expired", [self.jobs[key]])
            case "again":
                key = self.job("running", nth).key
                run = HandedBack(fence=self.newest(key).fence, progress=20.0)
                self.do(calls.release(self.hands[0], [run]))
                self.claim_until(key, nth)
            case "delayed" | "due":
                key = self.job("running", nth).key
                running = [lease for lease in self.granted if self.holds(lease)]
                runs = [HandedBack(fence=run.fence, progress=20.0, delay_seconds=500.0) for run in running]
                self.do(calls.release(self.hands[0], runs))
                if want == "due":
                    self.pass_time("due", [job for job in self.jobs.values() if job.delayed])
            case "over":
                key = self.job("waits", nth).key
                self.do(calls.cancel(self.hands[0], key))
            case "old":
                key = self.job("over", nth).key
                self.pass_time("old", [self.jobs[key]])
            case _:
                key = self.job("over", nth).key
                self.do(calls.reopen(self.hands[0], key))
        return self.jobs[key]

    def call(self, verb: str, hand: Hand, known: Known, odd: int) -> Call:
        """Any verb, about this job."""
        lease = self.newest(known.key)
        if lease and verb in WRITES:
            return self.write(verb, hand, lease, odd)
        named: Mapping[str, Callable[[], Call]] = {
            "rescue": lambda: calls.rescue(hand),
            "cancel": lambda: calls.cancel(hand, known.key),
            "reopen": lambda: calls.reopen(hand, known.key),
            "enqueue": lambda: calls.enqueue(hand, replace(known.new, named=True)),
            "prune": lambda: calls.prune(hand, by_row=odd % 2 == 0),
        }
        if verb in named:
            return named[verb]()
        ended = [end(lease, "succeeded")] if lease and verb == "exchange" else []
        return calls.exchange(hand, ended, PIPELINES, 1 + odd % 4)

    def write(self, verb: str, hand: Hand, lease: Lease, odd: int) -> Call:
        """What a run may say."""
        delay = 500.0 if odd % 2 else 0.0
        match verb:
            case "heartbeat":
                return calls.heartbeat(hand, [beat(lease, odd % 101)])
            case "release":
                run = HandedBack(fence=lease.fence, progress=20.0, delay_seconds=delay)
                return calls.release(hand, [run])
            case "retry":
                return calls.retry(hand, lease, delay, crash=(None, "memory", "killed by SIGSEGV")[odd % 3])
            case _:
                return calls.exchange(hand, [end(lease, verb)], [], 0)

    # The end

    def teardown(self) -> None:
        if self.sound:
            self.come_to_the_end()

    @told
    def come_to_the_end(self) -> None:
        """With nobody in the way, every job that was accepted ends."""
        self.world.run(self.look())
        last = self.hand("the last hand")
        self.pass_time("expired", [job for job in self.jobs.values() if job.now.state == "running"])
        self.do(calls.rescue(last, ALL))
        self.pass_time("due", [job for job in self.jobs.values() if job.delayed])
        for subject in (*TENANTS, *PIPELINES):
            self.open_gate(subject)
        self.admit_alone(last)
        self.claim_alone(last, [], PIPELINES, ALL)
        self.do(calls.exchange(last, [end(lease, "succeeded") for lease in last.leases], [], 0))
        assert all(job.final for job in self.jobs.values())
        self.world.run(self.look())


class Look(NamedTuple):
    """How a reader reads, and what there was to read."""

    order: Sequence[Lane]
    lows: Mapping[Lane, int]
    places: Mapping[JobKey, Place]
    ages: Mapping[JobKey, int]


def check_turns(look: Look, taken: Sequence[Known], there: Sequence[Known]) -> None:
    """Nobody was left who stood before one that was taken, where this reader reads.

    That is by lane and rank; and where the ranks come from, by age: of one tenant in one lane.
    """
    for job in there:
        place = look.places[job.key]
        if job in taken or place.rank < look.lows[place.lane]:
            continue
        for other in taken:
            before = look.places[other.key]
            overtaken = f"{other.key} was taken in front of {job.key}"
            assert look.order.index(before.lane) <= look.order.index(place.lane), overtaken
            if before.lane == place.lane:
                assert before.rank <= place.rank, overtaken
                if job.untouched and other.untouched and other.key.tenant == job.key.tenant:
                    assert look.ages[other.key] < look.ages[job.key], overtaken


def beat(lease: Lease, progress: float) -> Beat:
    """A run's line in a heartbeat."""
    return Beat(fence=lease.fence, progress=progress, progress_n=3, stage="noise", status="at it")


def end(lease: Lease, how: str) -> Ended:
    """What a run says at its end."""
    match how:
        case "succeeded":
            return succeeded(lease)
        case "failed":
            return failed(lease)
        case _:
            return Ended(fence=lease.fence, state="canceled", reason="canceled", progress=30.0, stage=None)
