"""Whether an address of Postgres or Redis is one at all. Pure; `config` asks, before anybody connects.

Their clients find out late, in every loop that connects, and say what they could not read: a password with
a `/` in it is taken for a port. Nothing of an address is in what is said here.
"""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

POSTGRES: Final = "postgresql://user:password@host:port/database, with `%2F` for a `/` in a name or password"
REDIS: Final = "redis://user:password@host:port/number, with `%2F` for a `/` in a password"

_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::(\d{1,5}))?")
_HIGHEST = 65535
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}


def is_postgres(url: str) -> bool:
    """Whether it is an address of Postgres. More than one host is allowed."""
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2].split(",")
    ports = [port for some in asked.get("port", []) for port in some.split(",")]
    return (
        parts.scheme in {"postgresql", "postgres"}
        and all(map(_is_host, hosts))
        and all(_is_host(f":{port}") for port in ports)
        and _SSL_MODES.issuperset(asked.get("sslmode", []))
    )


def is_redis(url: str) -> bool:
    """Whether it is an address of Redis."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"redis", "rediss", "unix"} and _is_host(parts.netloc.rpartition("@")[2])


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found[2] or 0) <= _HIGHEST
