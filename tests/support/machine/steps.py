"""What a step of the machine is: one call, or some that overlap; then everything that must hold is looked at.

`rules` stands on it. What is drawn are plain numbers, and `pick` makes jobs and leases of them; so a race
that ends otherwise in a second run draws the same values. Time passes by statements that move the times in
the tables.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce, wraps
from itertools import count, permutations
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from hypothesis import stateful
from hypothesis.strategies import SearchStrategy
from msgspec.structs import replace

from safelight.errors import Failure
from safelight.jobs.job import Lease, NewJob
from safelight.wire.key import JobKey
from support.jobs import new_job
from support.machine import tables
from support.machine.calls import Call, Hand, brief
from support.machine.model import UNHEARD, Act, Canceled, Claimed, Enqueued, Known, Pruned
from support.servers import PostgresServer

HANDS = 4
TENANTS = (1, 2, 3)
PIPELINES = ("grade", "scan")
Subject = int | str  # a tenant or a pipeline: what has limits and pauses
_BEGIN = """
insert into tenant (id, name, weight) values (2, 'two', 3), (3, 'three', 1);
insert into pipeline (name, version, declaration) values ('grade', '1', '{}'), ('scan', '1', '{}')
"""
_TIMES = {
    "expired": "update ready set lease_expires_at = now() - interval '1 s'",
    "due": "update ready set run_at = now() - interval '1 s'",
    "old": "update done set finished_at = finished_at - interval '8 d'",
}
_BLOCKED = """
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""

Thing = TypeVar("Thing")


class World:
    """A database, a loop and a pool: one for many runs of the machine."""

    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool) -> None:
        self._runner = runner
        self.pool = pool

    def run(self, work: Coroutine[Any, Any, Thing]) -> Thing:
        """Brings the work to its end."""
        return self._runner.run(work)

    async def clear(self) -> None:
        """As if nothing had been; rows will lie where they lay before, so that ties end as they did."""
        tables = ("ready", "done", "attempt", "job", "forgotten", "debris", "pause")
        await self.pool.execute(";".join(f"delete from {name}" for name in tables))
        await self.pool.execute(
            "update tenant set max_running = null; update pipeline set max_running = null"
        )
        await self.pool.execute("vacuum ready")


@contextmanager
def world(postgres: PostgresServer) -> Iterator[World]:
    """A migrated database of one's own."""

    async def begin() -> tuple[str, asyncpg.Pool]:
        name = await postgres.create()
        size = HANDS + 2
        pool = await asyncpg.create_pool(
            postgres.dsn(name), min_size=size, max_size=size, command_timeout=30, reset=_leave_as_it_is
        )
        await pool.execute(_BEGIN)
        return name, pool

    async def end() -> None:
        pool.terminate()
        await postgres.drop(name)

    with asyncio.Runner() as runner:
        name, pool = runner.run(begin())
        try:
            yield World(runner, pool)
        finally:
            runner.run(end())


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """As in the pool of a process: nothing here leaves anything in a session."""


def told(act: Callable[..., None]) -> Callable[..., None]:
    """A fault comes with all that was done before it: a race need not end so again."""

    @wraps(act)
    def wrapper(self: "Steps", **drawn: Any) -> None:
        try:
            act(self, **drawn)
        except BaseException as fault:
            self.sound = False
            fault.add_note("\n".join(["", "What was done:", *self.journal]))
            raise

    return wrapper


def rule(**draws: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As Hypothesis has it, and `told`."""
    return lambda act: stateful.rule(**draws)(told(act))


def subjects(job: NewJob | Lease) -> tuple[Subject, Subject]:
    """What may have a limit or a pause that concerns it."""
    return job.tenant, job.pipeline


def pick(nth: int, things: Sequence[Thing]) -> Thing | None:
    """One of them, if there are any."""
    return things[nth % len(things)] if things else None


class Steps(stateful.RuleBasedStateMachine):
    """Some processes, some tenants, one queue; no rules yet."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.jobs: dict[JobKey, Known] = {}  # in the order in which they were accepted
        self.forgotten: set[JobKey] = set()
        self.granted: list[Lease] = []  # all of them
        self.ledger = tables.Ledger()
        self.limits: dict[Subject, int] = {}  # how many may run at once
        self.over: dict[Subject, int] = {}  # how many may be let in for now: more were there before the limit
        self.paused: set[Subject] = set()
        self.half_paused: set[Subject] = set()  # those of them whose jobs nobody has held
        self._workers = count(1)
        self._ids = {tenant: count(1) for tenant in TENANTS}  # so tenants use the same ones
        self.hands = [self.hand(f"hand {n}") for n in range(HANDS)]
        self.journal: list[str] = []
        self.sound = True
        world.run(world.clear())
        self.tables = world.run(tables.read(world.pool))

    def hand(self, name: str) -> Hand:
        """A process that begins."""
        return Hand(name, self.world.pool, UUID(int=next(self._workers)))

    def fresh(self, tenant: int, **changes: Any) -> NewJob:
        """A job with an id that this tenant has not used; the client chose every other."""
        number = next(self._ids[tenant])
        return new_job(tenant=tenant, id=UUID(int=number), named=number % 2 == 0, **changes)

    def known(self, nth: int) -> Known | None:
        """Any job."""
        return pick(nth, list(self.jobs.values()))

    def newest(self, key: JobKey) -> Lease | None:
        """The last lease on a job."""
        return next((lease for lease in reversed(self.granted) if lease.key == key), None)

    def holds(self, lease: Lease) -> bool:
        """Whether it is the one that counts."""
        return lease.key in self.jobs and self.jobs[lease.key].held_by(lease.fence)

    # One call

    def do(self, call: Call, *, lost: bool = False) -> Any:
        """One call, alone: afterwards the tables are exactly what the model says."""
        return self.world.run(self._do(call, lost=lost))

    async def _do(self, call: Call, *, lost: bool) -> Any:
        answer = await self._lose(call) if lost else await self._call(call)
        heard = answer is not UNHEARD
        self.journal.append(f"{call.hand.name}: {call.says} -> {brief(answer) if heard else '(lost)'}")
        acts = call.acts(answer)
        for act in acts:
            self.keep(act.key, act.on(self.jobs.get(act.key)))
            self.book(act, call.hand if heard else None)
        await self.check({act.key for act in acts})
        return answer

    async def _call(self, call: Call) -> Any:
        call.hand.wire.begin()
        return await call.run()

    async def _lose(self, call: Call) -> Any:
        wire = call.hand.wire
        wire.deaf = True
        try:
            return await self._call(call)  # it wrote nothing, so there was no answer to lose
        except Failure:
            return UNHEARD
        finally:
            wire.deaf = False

    def keep(self, key: JobKey, known: Known | None) -> None:
        """The job is this now."""
        if known is None:
            self.jobs.pop(key, None)
        else:
            self.jobs[key] = known

    def book(self, act: Act, hand: Hand | None) -> None:
        """What the act promised, and to whom; nobody is one who never heard of it."""
        match act:
            case Enqueued(created=True):
                self.ledger.accept(act.key)
            case Claimed(lease=lease):
                assert self.paused.isdisjoint(subjects(lease)), f"{lease.key} was claimed in a pause"
                self.ledger.grant(lease.fence)
                self.granted.append(lease)
                if hand:
                    hand.leases.append(lease)
            case Canceled(change=change) if change not in (None, UNHEARD):
                self.ledger.take_on_cancel(act.key, change.cursor.epoch)
            case Pruned():
                self.ledger.forget(act.key)
                self.forgotten.add(act.key)

    # What holds after every step

    async def check(self, touched: Iterable[JobKey]) -> None:
        """What was promised is kept, the tables are what the model says, and so is what is told of them."""
        self.tables = await tables.read(self.world.pool)
        self.ledger.check(self.tables)
        for key in {*self.jobs, *self.tables.jobs}:
            found, known = self.tables.of(key), self.jobs.get(key)
            assert found == tables.expected(known), f"{key} is\n{found}\nand not\n{tables.expected(known)}"
        self.check_gates()
        for key in sorted(touched)[:3]:
            await self.check_timeline(key)

    def check_gates(self) -> None:
        """Who has to wait outside does, and no more are let in than may be."""
        for key, gate in self.tables.gates.items():
            known = self.jobs[key]
            of = set(subjects(known.new))
            stopped = {subject for subject in of & self.paused - self.half_paused if isinstance(subject, int)}
            assert gate.gated or of.isdisjoint({*self.limits, *stopped}), f"{key} has no gate"
            if not gate.gated:
                assert (gate.held == "delay") == known.delayed, f"{key} is held for {gate.held}"
            elif known.now.state == "queued" and (stopped or not known.due):
                assert gate.held == "room", f"{key} was let in"
        for subject, most in self.limits.items():
            let_in = self.let_in(subject)
            assert let_in <= max(most, self.over[subject]), f"{let_in} of {subject} were let in, not {most}"
            self.over[subject] = min(self.over[subject], let_in)

    def let_in(self, subject: Subject) -> int:
        """How many of its jobs take room."""
        return sum(
            gate.room and subject in subjects(self.jobs[key].new) for key, gate in self.tables.gates.items()
        )

    def may_be_claimed(self, known: Known) -> bool:
        """It waits, it was let in, and nobody has paused it."""
        outside = known.claimable and self.tables.gates[known.key].held == "room"
        return known.claimable and not outside and self.paused.isdisjoint(subjects(known.new))

    async def check_timeline(self, key: JobKey) -> None:
        """Every event of the incarnation is told, in order and without a gap."""
        queue, known = self.hands[0].queue, self.jobs.get(key)
        job = await queue.get(key)
        assert (job is None) == (known is None)
        if job is not None and known is not None:
            told = [(e.cursor, e.state, e.reason, e.attempt) for e in await queue.timeline(job)]
            assert told == [((known.epoch, seq, 0), *event) for seq, event in enumerate(known.events, 1)]

    # Time

    def pass_time(self, what: str, some: Sequence[Known]) -> None:
        """Leases that are `expired`, delays that are over (`due`), ends that are `old`."""
        if some:
            self.journal.append(f"{what}: {', '.join(str(known.key) for known in some)}")
            self.world.run(self._pass_time(what, some))

    async def _pass_time(self, what: str, some: Sequence[Known]) -> None:
        where = "where (tenant_id, job_id) in (select * from unnest($1::integer[], $2::uuid[]))"
        tenants, ids = zip(*(known.key for known in some), strict=True)
        await self.world.pool.execute(f"{_TIMES[what]} {where}", tenants, ids)
        for known in some:
            self.keep(known.key, replace(known, **{what: True}))
        await self.check(())

    # Calls that overlap

    def race(self, racing: Sequence[Call], style: str) -> None:
        """For each job, what the calls did to it must fit in some order.

        held: the first has done its work and does not commit before all others are done or wait for it.
        between: the others, while the first is between two of its statements. together: as it happens.
        """
        self.world.run(self._race(racing, style))

    async def _race(self, racing: Sequence[Call], style: str) -> None:
        match style:
            case "held":
                answers = await self._held(racing)
            case "between":
                answers = await self._between(racing)
            case _:
                answers = await settled([self._call(call) for call in racing])
        done: dict[JobKey, list[tuple[Act, Hand]]] = {}
        for call, answer in zip(racing, answers, strict=True):
            self.journal.append(f"{style}, {call.hand.name}: {call.says} -> {brief(answer)}")
            for act in call.acts(answer):
                done.setdefault(act.key, []).append((act, call.hand))
        found = await tables.read(self.world.pool)
        for touched, acts in done.items():
            order, known = fit(self.jobs.get(touched), acts, found.of(touched))
            self.keep(touched, known)
            for act, hand in order:
                self.book(act, hand)
        await self.check(done)

    async def _held(self, racing: Sequence[Call]) -> list[Any]:
        first, *others = racing
        tasks: list[asyncio.Task[Any]] = []

        async def begin_others() -> None:
            for call in others:
                tasks.append(asyncio.create_task(self._call(call)))
                await self._until_blocked(tasks)

        first.hand.wire.uncommitted = begin_others
        answer = await self._call(first)
        if not tasks:
            await begin_others()
        return [answer, *await settled(tasks)]

    async def _until_blocked(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        for _ in range(200):
            blocked = await self.world.pool.fetchval(_BLOCKED)
            if blocked >= sum(not task.done() for task in tasks):
                return

    async def _between(self, racing: Sequence[Call]) -> list[Any]:
        first, *others = racing
        answers: list[Any] = []

        async def call_others() -> None:
            answers.extend([await self._call(call) for call in others])

        first.hand.wire.meanwhile = call_others
        answer = await self._call(first)
        first.hand.wire.meanwhile = None
        if not answers:
            await call_others()
        return [answer, *answers]


async def settled(racing: Sequence[Awaitable[Any]]) -> list[Any]:
    """All answers, when all have come."""
    answers = await asyncio.gather(*racing, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def fit(
    known: Known | None, acts: Sequence[tuple[Act, Hand]], found: object
) -> tuple[Sequence[tuple[Act, Hand]], Known | None]:
    """An order in which this can have happened, and the job after it."""
    reasons = []
    for order in permutations(acts):
        try:
            after = reduce(lambda job, act: act[0].on(job), order, known)
        except AssertionError as impossible:
            reasons.append(str(impossible))
            continue
        if tables.expected(after) == found:
            return order, after
        reasons.append(f"would be {tables.expected(after)}")
    raise AssertionError(f"from {known}\nto {found}\nin no order: {reasons}")
