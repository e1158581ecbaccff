"""The way from any cursor to the job as it is: never a hole, never a repeat, never backwards."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.config import Settings
from safelight.jobs.job import Event, Job
from safelight.progress.tail import Message
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight_api.auth import Auth
from safelight_api.live.mailbox import Mailbox
from safelight_api.live.resume import resume
from safelight_api.live.session import Session, Verdict
from safelight_api.present import Presenter

KEY = JobKey(1, UUID(int=5))
THEN = datetime(2026, 11, 23, tzinfo=UTC)


class NoForecasts:
    async def of(self, _job):
        return None, None


def job(epoch=1, seq=2, n=0, state="running") -> Job:
    ended = THEN if state in ("succeeded", "failed", "canceled") else None
    return Job(
        key=KEY,
        pipeline="noop",
        priority=1,
        batch=None,
        state=state,
        reason="claimed",
        cursor=Cursor(epoch, seq, n),
        attempt=1,
        max_attempts=3,
        lease_epoch=1,
        progress=10.0,
        stage=None,
        status=None,
        inputs=[],
        outputs=[],
        result=None,
        error=None,
        created_at=THEN,
        opened_at=THEN,
        started_at=THEN,
        claimed_at=THEN,
        finished_at=ended,
        cancel_requested_at=None,
        traceparent="",
    )


def events(epoch: int, seq: int) -> list[Event]:
    return [
        Event(cursor=Cursor(epoch, number), state="queued", reason="x", attempt=0, progress=0.0, at=THEN)
        for number in range(1, seq + 1)
    ]


def message(cursor: str, kind: str = "progress") -> Message:
    return Message(f"{KEY} {cursor} {kind}\n{{}}".encode())


def session(told: Cursor | None) -> Session:
    settings = Settings(auth="off")
    return Session(Presenter(settings, Auth(settings, None), NoForecasts()), told)  # type: ignore[arg-type]


@given(
    st.integers(1, 3),
    st.integers(0, 9),
    st.integers(0, 5),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(0, 5),
)
def test_a_watcher_is_told_all_it_missed_or_that_it_missed(e1, s1, n1, e2, s2, n2):
    told, now = Cursor(e1, s1, n1), job(e2, s2, n2)

    way = resume(told, now, events(e2, s2))

    if e1 != e2 or s1 > s2:
        assert way.how == "gap"
    else:
        assert [event.cursor.seq for event in way.events] == list(range(s1 + 1, s2 + 1))


def test_a_hole_in_the_history_is_a_gap():
    history = [event for event in events(1, 5) if event.cursor.seq != 3]

    assert resume(Cursor(1, 1), job(seq=5), history).how == "gap"


def test_a_new_watcher_gets_a_snapshot():
    assert resume(None, job(), events(1, 2)).how == "snapshot"


@pytest.mark.parametrize(
    ("told", "cursor", "kind", "verdict"),
    [
        ((1, 2), "1:2.1", "progress", Verdict.SEND),
        ((1, 2, 5), "1:2.9", "progress", Verdict.SEND),
        ((1, 2, 5), "1:2.5", "progress", Verdict.IGNORE),
        ((1, 2, 5), "1:1.9", "progress", Verdict.IGNORE),
        ((1, 2, 5), "1:3", "state", Verdict.SEND),
        ((1, 2, 5), "1:4", "state", Verdict.ASK),
        ((1, 2, 5), "1:3.1", "progress", Verdict.ASK),
        ((1, 2), "2:1", "state", Verdict.ASK),
        ((2, 1), "1:9", "state", Verdict.IGNORE),
        ((1, 2), "1:3", "end", Verdict.ASK),
        ((1, 3), "1:3", "end", Verdict.IGNORE),
    ],
)
def test_news_is_sent_when_it_comes_next_and_asked_about_when_something_is_missing(
    told, cursor, kind, verdict
):
    assert session(Cursor(*told)).news(message(cursor, kind)) is verdict


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=40))
def test_what_is_sent_only_ever_moves_on(moves):
    watcher = session(Cursor(1, 1))
    sent = [watcher.told]
    for seq, n in moves:
        kind = "progress" if n else "state"
        if watcher.news(message(str(Cursor(1, seq, n)), kind)) is Verdict.SEND:
            sent.append(watcher.told)

    assert sent == sorted(set(sent))


async def test_the_end_is_told_with_the_job_and_ends_the_session():
    watcher = session(Cursor(1, 2, 4))

    frames = await watcher.catch_up(job(seq=3, state="succeeded"), events(1, 3))

    assert [type(frame).__name__ for frame in frames] == ["StateFrame"]
    assert watcher.ended


async def test_progress_that_postgres_has_not_heard_of_is_not_taken_back():
    watcher = session(Cursor(1, 2, 9))

    assert await watcher.catch_up(job(seq=2, n=4), events(1, 2)) == []
    assert watcher.told == Cursor(1, 2, 9)


async def test_another_incarnation_is_a_gap_and_a_snapshot():
    watcher = session(Cursor(1, 3))

    frames = await watcher.catch_up(job(epoch=2, seq=1, state="queued"), events(2, 1))

    assert [type(frame).__name__ for frame in frames] == ["Gap", "Snapshot"]
    assert watcher.told == Cursor(2, 1)


def test_a_mailbox_keeps_every_event_and_the_newest_progress():
    box = Mailbox()
    for cursor, kind in [("1:2", "state"), ("1:2.1", "progress"), ("1:2.2", "progress"), ("1:3", "state")]:
        box.offer(message(cursor, kind))

    lost, messages = box.take()

    assert not lost
    assert [str(found.cursor) for found in messages] == ["1:2", "1:2.2", "1:3"]


def test_a_mailbox_that_nobody_empties_stays_small_and_says_that_something_is_lost():
    box = Mailbox()
    for seq in range(1, 10_000):
        box.offer(message(f"1:{seq}", "state"))

    lost, messages = box.take()

    assert lost
    assert len(messages) <= 32


def test_a_mailbox_that_is_behind_the_truth_says_so_once():
    box = Mailbox()
    box.told(Cursor(1, 2))
    box.notice(Cursor(1, 2))
    assert box.take() == (False, [])

    box.notice(Cursor(1, 3))
    assert box.take() == (True, [])
    box.notice(Cursor(1, 3))
    assert box.take() == (False, [])
