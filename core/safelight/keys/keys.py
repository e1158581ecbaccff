"""API keys: `sl_<id>_<secret>`. The id finds it, the hash of the whole proves it; the key itself is not kept.

Called by `safelight keys` (create, list, revoke) and by the API's auth (find).
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.errors import Failure

_SQL = load("safelight.keys")
SCOPES = ("read", "write")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept: without its secret."""

    id: str
    tenant: int
    tenant_name: str
    max_priority: int  # of its tenant
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ApiKeys:
    """The keys of all tenants."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)

    async def create(
        self, tenant: str, name: str, scopes: Sequence[str] = SCOPES, days: float | None = None
    ) -> str:
        """A new key for a tenant, who is made when unknown. The answer is the only time it is seen.

        Raises:
            Failure: `bad_request` when a scope is unknown.
        """
        wrong = set(scopes) - set(SCOPES)
        if wrong or not scopes:
            raise Failure("bad_request", f"Scopes are {', '.join(SCOPES)}.")
        # A hash of 256 random bits needs no salt and no slow function.
        public, secret = secrets.token_hex(6), secrets.token_urlsafe(32).replace("_", "-")
        key = f"sl_{public}_{secret}"
        await self._rows("create_key", tenant, public, _hash(key), name, list(scopes), days)
        return key

    async def find(self, key: str) -> ApiKey | None:
        """The valid key with this text, or None."""
        parts = key.split("_", 2)
        if len(parts) != 3 or parts[0] != "sl":
            return None
        rows = await self._rows("find_key", parts[1])
        if not rows or not hmac.compare_digest(rows[0]["hash"], _hash(key)):
            return None
        return _key(rows[0])

    async def list(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """Every key, revoked ones too."""
        return [_key(row) for row in await self._rows("list_keys", tenant)]

    async def revoke(self, public: str) -> bool:
        """Whether there was such a key; it stops working on every pod within half a minute."""
        return bool(await self._rows("revoke_key", public))

    async def signing_secrets(self) -> Sequence[bytes]:
        """What tokens are signed with, the newest last. The same on every pod."""
        return [row["secret"] for row in await self._rows("signing_secrets")]


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        tenant=row["tenant_id"],
        tenant_name=row["tenant_name"],
        max_priority=row["max_priority"],
        name=row["name"],
        scopes=row["scopes"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
