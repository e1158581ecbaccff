"""A claim whose answer was lost: what it took is handed back at once, by a processor that drains as well."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.batches import Batches
from safelight.jobs.queue import JobQueue
from safelight_processor.claims import Claims
from safelight_processor.drain import Drain
from safelight_processor.leases import Leases, Run
from safelight_processor.strays import Strays
from support.jobs import WORKER, enqueue, succeeded

SETTINGS = Settings(poll_seconds=0.2, database_timeout=3, drain_seconds=0)


class Line(JobQueue):
    """A queue at the end of a bad line. `fates` are those of the next claims.

    lost    the answer never comes
    held    it waits for `go_on`, and then comes; of the next claim that takes anything
    cut     it waits for `go_on`, and then never comes
    late    the claim itself arrives after it was given up
    """

    def __init__(self, pool) -> None:
        super().__init__(pool)
        self.fates: list[str] = []
        self.claimed = asyncio.Event()
        self.go_on = asyncio.Event()
        self.look_on = asyncio.Event()
        self.look_on.set()
        self.late: set[asyncio.Task] = set()

    async def exchange(self, ended, pipelines, slots, worker, lease_seconds):
        def send():
            return super(Line, self).exchange(ended, pipelines, slots, worker, lease_seconds)

        fate = self.fates.pop(0) if slots and self.fates else "heard"
        if fate == "late":
            self.late.add(asyncio.create_task(self._after(1.5, send)))
            raise Failure("unavailable")
        exchanged = await send()
        if exchanged.leases:
            self.claimed.set()
        elif fate == "held":
            self.fates.insert(0, fate)
            return exchanged
        if fate in ("held", "cut"):
            await self.go_on.wait()
        if fate in ("lost", "cut"):
            raise Failure("unavailable")
        return exchanged

    async def release_strays(self, worker, known):
        await self.look_on.wait()
        return await super().release_strays(worker, known)

    async def _after(self, seconds, send):
        await asyncio.sleep(seconds)
        await send()


class Processor:
    """Claims and a drain over a bad line; its runs last until they are let go."""

    def __init__(self, pool, slots: int) -> None:
        self.queue = Line(pool)
        self.leases = Leases(self.queue, SETTINGS)
        self.claims = Claims(
            self.queue, Batches(pool), self.leases, SETTINGS, self._execute, slots=slots, worker=WORKER
        )
        self.claims.pipelines = ["noop"]
        self.drain = Drain(self.claims, self.leases, SETTINGS.drain_seconds)
        self.begun: asyncio.Queue[Run] = asyncio.Queue()
        self.let_go = asyncio.Event()

    async def _execute(self, run: Run) -> None:
        self.begun.put_nowait(run)
        await self.let_go.wait()
        await self.leases.complete(succeeded(run.lease))

    @asynccontextmanager
    async def at_work(self):
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            loop = group.create_task(self.claims.run(group))
            yield
            self.let_go.set()
            await self.leases.empty.wait()
            loop.cancel()

    async def story(self, key) -> list[str]:
        job = await self.queue.get(key)
        return [event.reason for event in await self.queue.timeline(job)]


@pytest.fixture
def processor(pool):
    return Processor(pool, slots=1)


async def test_what_a_lost_answer_took_is_handed_back_and_runs_as_the_first_attempt(processor):
    processor.queue.fates = ["lost"]
    key = await enqueue(processor.queue)
    async with processor.at_work():
        run = await processor.begun.get()

    assert (run.lease.key, run.lease.attempt, run.lease.lease_epoch) == (key, 1, 2)
    assert await processor.story(key) == ["submitted", "claimed", "released", "claimed", "completed"]


async def test_a_processor_that_drains_leaves_no_job_behind_of_which_it_never_heard(processor):
    processor.queue.fates = ["cut"]
    key = await enqueue(processor.queue)
    draining = asyncio.create_task(processor.drain.run())
    async with processor.at_work():
        await processor.queue.claimed.wait()
        processor.drain._signal()
        await asyncio.sleep(0)
        processor.queue.go_on.set()
        await draining

    assert await processor.story(key) == ["submitted", "claimed", "released"]
    assert (await processor.queue.get(key)).attempt == 0


async def test_a_processor_that_lost_no_answer_drains_without_a_look(processor, monkeypatch):
    looks = []
    monkeypatch.setattr(processor.claims.strays, "look", lambda: looks.append(1))
    async with processor.at_work():
        draining = asyncio.create_task(processor.drain.run())
        processor.drain._signal()
        await draining

    assert looks == []


async def test_a_claim_that_comes_late_is_handed_back_too(processor):
    processor.queue.fates = ["late"]
    draining = asyncio.create_task(processor.drain.run())
    async with processor.at_work():
        while not processor.queue.late:
            await asyncio.sleep(0.01)
        processor.drain._signal()
        key = await enqueue(processor.queue)
        await draining

    assert await processor.story(key) == ["submitted", "claimed", "released"]


async def test_a_cancel_that_was_accepted_meanwhile_is_carried_out(processor):
    processor.queue.fates = ["cut"]
    key = await enqueue(processor.queue)
    async with processor.at_work():
        await processor.queue.claimed.wait()
        assert (await processor.queue.cancel(key)).state == "running"
        processor.queue.go_on.set()
        await processor.claims.strays.settled.wait()
        while (await processor.queue.get(key)).finished_at is None:
            await asyncio.sleep(0.01)

    assert await processor.story(key) == ["submitted", "claimed", "canceled"]


async def test_what_runs_and_what_is_being_claimed_is_no_stray(pool):
    processor = Processor(pool, slots=2)
    processor.queue.fates = ["heard", "lost", "held"]
    keys = [await enqueue(processor.queue)]
    async with processor.at_work():
        await processor.begun.get()
        processor.claims.wake()
        while processor.claims.strays.settled.is_set():
            await asyncio.sleep(0.01)
        # A claim was lost that took nothing. Looks go on, and another claim is under way when the next one
        # is due.
        keys.append(await enqueue(processor.queue))
        processor.queue.claimed.clear()
        processor.claims.wake()
        await processor.queue.claimed.wait()
        while not processor.claims.strays.due:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        processor.queue.go_on.set()
        await processor.begun.get()
        await processor.claims.strays.settled.wait()

    assert [await processor.story(key) for key in keys] == [["submitted", "claimed", "completed"]] * 2


async def test_nothing_is_claimed_while_strays_are_looked_for(processor):
    processor.queue.fates = ["lost"]
    processor.queue.look_on.clear()
    async with processor.at_work():
        while processor.claims.strays.settled.is_set():
            await asyncio.sleep(0.01)
        key = await enqueue(processor.queue)
        processor.claims.wake()
        await asyncio.sleep(0.5)
        processor.queue.look_on.set()
        await processor.begun.get()

    assert await processor.story(key) == ["submitted", "claimed", "completed"]


async def test_nothing_is_claimed_and_nothing_spins_while_postgres_is_away(processor, monkeypatch):
    asked = []

    async def away(statement, *_):
        asked.append(statement)
        raise Failure("unavailable")

    monkeypatch.setattr(processor.queue, "_rows", away)
    async with processor.at_work():
        await asyncio.sleep(1.5)

    assert set(asked) == {"claim", "strays"}
    assert asked.count("strays") <= 3
    assert asked.count("claim") <= 20


async def test_after_a_lease_has_expired_nobody_looks_for_it_any_more(pool):
    settings = Settings(lease_seconds=0.6, heartbeat_seconds=0.1, database_timeout=3)
    leases = Leases(JobQueue(pool), settings)
    strays = Strays(JobQueue(pool), leases, settings, WORKER)
    strays.suspect()
    pool.terminate()

    assert await strays.look() is False
    assert strays.settled.is_set() is False
    await asyncio.sleep(0.7)
    await strays.look()
    assert strays.settled.is_set()
