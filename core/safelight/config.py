"""Settings: the environment (`SAFELIGHT_*`), read once, frozen, checked.

Every role calls `Settings.load(os.environ)` at its start and passes the result on; nobody reads the
environment later. docs/operations.md lists every field, and a test keeps it so.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from safelight import addresses
from safelight.errors import Failure

PREFIX = "SAFELIGHT_"
MiB = 1024 * 1024
LEASE_HEARTBEATS = 3  # fewer in a lease, and one that comes late loses a job that runs

Seconds = Annotated[float, Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set, with its default. `SAFELIGHT_DATABASE_URL` sets `database_url`, and so on."""

    # Where things are
    database_url: Annotated[str, Meta(description="Postgres, the truth")] = "postgresql://localhost/safelight"
    database_pool: Annotated[int, Meta(ge=2, le=200, description="connections per process")] = 8
    database_timeout: Annotated[Seconds, Meta(description="seconds for one statement")] = 10.0
    database_prepare: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="named statements: faster, and `off` behind PgBouncer; `auto` finds out"),
    ] = "auto"
    database_limits: Annotated[
        Literal["on", "off"],
        Meta(description="whether `safelight migrate` gives its role time limits in this database"),
    ] = "on"
    redis_url: Annotated[str, Meta(description="Redis, the hint")] = "redis://localhost:6379/0"
    storage_url: Annotated[str, Meta(description="image bytes: `postgres:` or `file:///path`")] = "postgres:"

    # Who may come in
    auth: Annotated[
        Literal["off", "keys"], Meta(description="`keys` asks for API keys, `off` for a laptop")
    ] = "keys"
    token_seconds: Annotated[Seconds, Meta(description="how long a job token and a signed link work")] = (
        691200.0
    )

    # The API
    host: Annotated[str, Meta(description="address the API listens on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="port the API listens on")] = 8080
    workers: Annotated[int, Meta(ge=1, le=64, description="API processes")] = 1
    max_upload_bytes: Annotated[int, Meta(ge=1, description="bytes of one image")] = 100 * MiB
    max_pixels: Annotated[int, Meta(ge=1, description="pixels of one image, from its header")] = 120_000_000
    max_side: Annotated[int, Meta(ge=1, description="longest side of one image, px")] = 30_000
    max_files: Annotated[int, Meta(ge=1, le=100, description="images of one job")] = 16
    upload_idle_seconds: Annotated[Seconds, Meta(description="silence after which an upload is given up")] = (
        30.0
    )
    poll_after_ms: Annotated[int, Meta(ge=100, description="how soon a poller may ask again")] = 2000
    ping_seconds: Annotated[Seconds, Meta(description="time between the server's pings on a socket")] = 10.0
    max_sockets: Annotated[int, Meta(ge=1, description="live sockets and streams of one process")] = 5000
    notice_seconds: Annotated[
        float, Meta(ge=0, description="from SIGTERM to the first goodbye: a load balancer's time to notice")
    ] = 0.0
    goodbye_seconds: Annotated[
        float, Meta(ge=0, description="time over which watchers are told to go elsewhere, at the most")
    ] = 20.0

    # The processor
    slots: Annotated[int, Meta(ge=0, le=256, description="jobs at once; 0 is one per core")] = 0
    pipelines: Annotated[str, Meta(description="which pipelines to claim, comma separated; empty is all")] = (
        ""
    )
    lease_seconds: Annotated[
        Seconds, Meta(description="how long a claim holds without a heartbeat; three heartbeats at least")
    ] = 15.0
    heartbeat_seconds: Annotated[Seconds, Meta(description="time between heartbeats")] = 5.0
    poll_seconds: Annotated[Seconds, Meta(description="longest time between two looks at the queue")] = 2.0
    drain_seconds: Annotated[Seconds, Meta(description="time to finish running jobs after SIGTERM")] = 25.0
    max_attempts: Annotated[int, Meta(ge=1, le=100, description="attempts of a job")] = 3
    retry_seconds: Annotated[Seconds, Meta(description="wait before the first retry; doubles each time")] = (
        2.0
    )
    recycle_after: Annotated[int, Meta(ge=1, description="jobs after which a child is replaced")] = 100
    scratch: Annotated[
        str, Meta(description="folder for running jobs; empty is a RAM disk where there is one")
    ] = ""
    health_port: Annotated[
        int, Meta(ge=0, le=65535, description="health and metrics of the processor; 0 picks a free port")
    ] = 9090
    retention_days: Annotated[float, Meta(gt=0, description="days a job is kept after its end")] = 7.0
    forgotten_days: Annotated[
        float, Meta(gt=0, description="days for which the id of a forgotten job is `410` and not taken again")
    ] = 90.0
    orphan_days: Annotated[
        float, Meta(ge=1, description="days after which bytes that no job refers to are removed")
    ] = 1.0
    horizon_seconds: Annotated[
        Seconds, Meta(description="for how long something may hold back vacuum before the log warns of it")
    ] = 600.0

    # What is said
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe line")
    ] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="`console` is for people")] = "json"

    def __post_init__(self) -> None:
        if not addresses.is_postgres(self.database_url):
            raise ValueError(f"{PREFIX}DATABASE_URL: expected {addresses.POSTGRES}")
        if not addresses.is_redis(self.redis_url):
            raise ValueError(f"{PREFIX}REDIS_URL: expected {addresses.REDIS}")
        if self.lease_seconds < LEASE_HEARTBEATS * self.heartbeat_seconds:
            raise ValueError(
                f"{PREFIX}LEASE_SECONDS: expected at least {LEASE_HEARTBEATS} times "
                f"{PREFIX}HEARTBEAT_SECONDS ({self.heartbeat_seconds:g}), got {self.lease_seconds:g}"
            )

    @property
    def server_limit(self) -> float | None:
        """Seconds for one statement, for the server to keep; None leaves it as it is."""
        return self.database_timeout if self.database_limits == "on" else None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from the environment.

        Raises:
            Failure: `setting_invalid`, naming the variable and what it should be.
        """
        given = {
            key[len(PREFIX) :].lower(): value
            for key, value in (os.environ if environ is None else environ).items()
            if key.startswith(PREFIX)
        }
        values = {name: value for name, value in given.items() if name in cls.__struct_fields__}
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise Failure("setting_invalid", _sentence(error)) from None


def unknown(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Variables that start with SAFELIGHT_ and set nothing, each with the name that was perhaps meant.

    They are a warning and no error: Kubernetes itself adds such variables for a service of that name.
    """
    fields = {PREFIX + name.upper() for name in Settings.__struct_fields__} | OTHER_VARIABLES
    return {
        name: next(iter(difflib.get_close_matches(name, fields, 1)), None)
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in fields
    }


# Read by others than `Settings`: the pipeline loader, the command line and the one-machine service.
OTHER_VARIABLES = frozenset(
    {"SAFELIGHT_PIPELINE_MODULES", "SAFELIGHT_DATA", "SAFELIGHT_URL", "SAFELIGHT_KEY", "SAFELIGHT_PILLOW"}
)


def _sentence(error: msgspec.ValidationError) -> str:
    """`Expected int - at $.port` becomes `SAFELIGHT_PORT: expected int`."""
    text, _, path = str(error).partition(" - at `$.")
    name = path.rstrip("`")
    return f"{PREFIX}{name.upper()}: {text[0].lower()}{text[1:]}" if name else text
