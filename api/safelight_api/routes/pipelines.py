"""GET /api/pipelines, GET /api/problems: what can be asked for, and every way in which it can fail."""

from litestar import get

from safelight.wire.resources import PipelineList, ProblemList
from safelight_api.problems import catalogue
from safelight_api.services import Services


@get("/api/pipelines")
async def pipelines(services: Services) -> PipelineList:
    """What the processors offer, with the JSON Schema of the params."""
    return PipelineList(list(await services.offers.all()))


@get("/api/problems", sync_to_thread=False)
def problems() -> ProblemList:
    """The failure catalogue."""
    return ProblemList(catalogue())
