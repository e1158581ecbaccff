"""Pipelines that go wrong soon: the deadlines of support.hostile are for tests that cancel."""

from safelight.pipelines import Run, pipeline


@pipeline("poison-loop", deadline=1)
def loop(run: Run) -> None:
    """Never end."""
    while True:
        pass
