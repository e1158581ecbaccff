"""The campaign of `make chaos`, small: every fault in turn while jobs flow, and then every job is counted."""

import pytest

from chaos.campaign.campaign import run
from chaos.campaign.plan import SHORT


@pytest.mark.xdist_group("campaign")
async def test_whatever_fails_no_acknowledged_job_is_lost_or_ends_twice(postgres, redis):
    lines: list[str] = []
    report = await run(SHORT, postgres, redis, lines.append)

    assert report.troubles() == [], "\n".join([*lines, report.text()])
