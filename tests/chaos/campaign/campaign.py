"""The campaign: calm, a fault, recovery, calm, the next fault; in the end all is counted.

    run(plan, postgres, redis) -> Report

Called by `__main__` (`make chaos`) and by tests/chaos/test_campaign.py, with another plan. A calm window is
what follows one fault and precedes the next. Next: faults.py, watch.py, audit.py, report.py.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from chaos.campaign.audit import audit
from chaos.campaign.faults import FAULTS, Fault, Window
from chaos.campaign.plan import Plan
from chaos.campaign.report import GOAL, Period, Report
from chaos.campaign.stage import Stage, open_stage
from support.servers import PostgresServer, RedisServer

_BACK = 0.9  # of the rate before: then there is calm again
_DRAINED = 120.0  # seconds until the queue is empty, at the end


async def run(
    plan: Plan,
    postgres: PostgresServer,
    redis: RedisServer,
    say: Callable[[str], None],
    faults: Sequence[Fault] = FAULTS,
) -> Report:
    """All of it."""
    began = time.time()
    async with open_stage(plan, postgres, redis) as stage:
        say(f"{plan.workers} workers x {plan.slots} slots, leases of {plan.lease:g} s")
        await stage.watch.until_flowing()
        calm = time.time(), await stage.watch.window(plan.calm, plan.slices)
        periods: list[Period] = []
        for number in range(plan.rounds):
            for fault in faults:
                period = await _suffer(stage, fault, *calm)
                say(f"  {number + 1}/{plan.rounds} {period.line()}")
                periods.append(period)
                calm = period.calm, period.after
        emptied = await stage.close(_DRAINED)
        found = await audit(stage.database, stage.folder, [period.began for period in periods])
        died = stage.crew.died
    for period, findings in zip(periods, found.periods, strict=True):
        period.findings = findings
    return Report(plan, periods, found, died, emptied, time.time() - began)


async def _suffer(stage: Stage, fault: Fault, calm: float, before: float) -> Period:
    """One fault, until there is calm again."""
    plan, watch, window = stage.plan, stage.watch, Window()
    began = time.time()
    async with fault.happens(stage, window):
        await asyncio.sleep(fault.lasts(stage))
        until = time.time()
    gone = window.gone or time.time()
    during = await watch.rate(began, until, 1)
    recovery = await watch.until_recovered(gone, before * _BACK if plan.judged else 0.0, plan.recovery)
    calm_again, after = time.time(), await watch.window(plan.calm, plan.slices)
    # A burst of somebody else's must not decide; what is slower from now on stays slower.
    for _ in range(plan.again):
        if after < before * GOAL:
            after = max(after, await watch.window(plan.calm, plan.slices))
    return Period(fault.name, calm, before, during, after, recovery, calm_again, window.word)
