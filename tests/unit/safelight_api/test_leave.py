"""How a process goes: readiness first, then goodbyes that are spread, then the end; in bounded time."""

import asyncio

import pytest

from safelight.config import Settings
from safelight_api.leave import Leave


class Stop:
    """Stands for what Granian waits for."""

    def __init__(self):
        self.is_set = False

    def set(self):
        self.is_set = True


async def test_who_watches_is_told_after_the_notice_and_nobody_before():
    leave = Leave(Settings(notice_seconds=0.1, goodbye_seconds=0.0), lambda: 0)
    said = []
    leave.notice = lambda: said.append("not ready")
    going = asyncio.create_task(leave.go())
    await asyncio.sleep(0)
    assert (said, leave.leaving, leave.begun.is_set()) == (["not ready"], True, False)
    await leave.begun.wait()
    await going


async def test_goodbyes_are_spread_over_the_time_that_so_many_watchers_need():
    left = 1000
    leave = Leave(Settings(goodbye_seconds=0.2), lambda: left)
    loop = asyncio.get_running_loop()
    at, back = [], []

    async def watcher():
        nonlocal left
        back.append(await leave.turn())
        at.append(loop.time())
        left -= 1

    watchers = [asyncio.create_task(watcher()) for _ in range(left)]
    await asyncio.sleep(0)
    await leave.go()
    await asyncio.gather(*watchers)
    assert max(at) - min(at) > 0.1
    assert max(back) > 500 > min(back)
    assert left == 0


async def test_who_is_too_slow_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr("safelight_api.leave._PATIENCE", 0.05)
    leave = Leave(Settings(goodbye_seconds=0.0), lambda: 1)
    async with asyncio.timeout(10):
        await leave.go()


async def test_a_bell_rings_when_the_goodbyes_begin_and_only_for_who_still_waits():
    leave = Leave(Settings(), lambda: 0)
    rung = []
    with leave.rings(lambda: rung.append("gone")):
        pass
    with leave.rings(lambda: rung.append("here")):
        await leave.go()
    assert rung == ["here"]


@pytest.mark.parametrize(("between", "cut"), [(0.0, False), (1.1, True)], ids=["ctrl-c", "a_second_one"])
async def test_a_second_signal_cuts_it_short_but_not_the_echo_of_the_first(monkeypatch, between, cut):
    heard = {}
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", heard.__setitem__, raising=False)
    leave, stop = Leave(Settings(notice_seconds=60), lambda: 0), Stop()
    leave.listen(loop, stop)
    [first, second] = heard.values()
    first()
    await asyncio.sleep(between)
    second()
    assert stop.is_set is cut
    leave._going.cancel()
