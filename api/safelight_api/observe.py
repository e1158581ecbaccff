"""Counts and times every request by its route's template, never by its raw path."""

import time
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from safelight.telemetry import metrics


class Observe(ASGIMiddleware):
    """Outermost middleware of the application; sockets are counted where they live."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Passes the request on, and notes what came of it."""
        began = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await next_app(scope, receive, note)
        finally:
            labels: dict[str, Any] = {"method": scope.get("method"), "route": scope.get("path_template", "")}
            metrics.http_requests_total.labels(**labels, status=status).inc()
            metrics.http_request_seconds.labels(**labels).observe(time.perf_counter() - began)
