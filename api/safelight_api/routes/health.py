"""/livez /readyz /metrics: for Kubernetes, load balancers and Prometheus."""

from litestar import Response, get

from safelight.telemetry import metrics
from safelight.telemetry.health import Health


@get("/livez", include_in_schema=False, sync_to_thread=False)
def livez(health: Health) -> Response[dict[str, object]]:
    """Whether this process works; says nothing of others."""
    alive, checks = health.live()
    return Response(checks, status_code=200 if alive else 503)


@get("/readyz", include_in_schema=False, sync_to_thread=False)
def readyz(health: Health) -> Response[dict[str, object]]:
    """Whether requests should come here. Redis is a hint: without it, the process is ready all the same."""
    ready, checks = health.ready()
    return Response(checks, status_code=200 if ready else 503)


@get("/metrics", include_in_schema=False, sync_to_thread=True)
def metrics_() -> Response[bytes]:
    """What Prometheus reads."""
    content_type, body = metrics.render()
    return Response(body, media_type=content_type)
