"""Who is asking, and what they may see.

An API key opens its tenant; a job token, given with the answer to a submission, opens that one job;
a signed link opens that job's files. Checked at every request: nothing is trusted because it was
let in before.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.lanes import PRIORITIES
from safelight.keys.keys import ApiKey, ApiKeys
from safelight.keys.tokens import Signer
from safelight.wire.key import JobKey

_REMEMBER = 30.0  # seconds a key is believed without asking: how long a revoked one may live on
_MOST = 10_000  # keys remembered


class Caller(msgspec.Struct, frozen=True):
    """Whoever asks: a tenant, what they may do, and the one job they are held to, if any."""

    tenant: int
    scopes: frozenset[str]
    only: JobKey | None = None
    max_priority: int = PRIORITIES[-1]

    @property
    def reads(self) -> bool:
        """Whether answers may tell what came out of a job, and open its files."""
        return "read" in self.scopes

    def key(self, job: JobKey, scope: str) -> JobKey:
        """The job, if this caller may do that with it.

        Raises:
            Failure: `forbidden` for the scope; `job_not_found` for somebody else's job, so that ids
                cannot be guessed.
        """
        self.require(scope)
        if self.only is not None and self.only != job:
            raise Failure("job_not_found")
        return job

    def require(self, scope: str) -> None:
        """Raises `forbidden` when the caller's key lacks a scope."""
        if scope not in self.scopes:
            raise Failure("forbidden")

    def owner(self, scope: str) -> int:
        """The tenant, for what concerns more than one job."""
        self.require(scope)
        if self.only is not None:
            raise Failure("forbidden")
        return self.tenant


def _owner(key: ApiKey) -> Caller:
    return Caller(key.tenant, frozenset(key.scopes), max_priority=key.max_priority)


_ANYBODY = Caller(1, frozenset({"read", "write"}))


def _refuse_other_sites(headers: Mapping[str, str]) -> None:
    """A page of another site, open in the same browser, must not use or watch a laptop's service."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).hostname != urlsplit(f"//{headers.get('host', '')}").hostname:
        raise Failure("forbidden", "This page belongs to another site.")


class Auth:
    """Turns what a request carries into a caller."""

    def __init__(self, settings: Settings, keys: ApiKeys) -> None:
        self._off = settings.auth == "off"
        self._token_seconds = settings.token_seconds
        self._keys = keys
        self._signer: Signer | None = None
        self._known: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()

    async def signer(self) -> Signer:
        """What signs tokens; the secrets are read once, from Postgres, where every pod finds the same."""
        if self._signer is None:
            self._signer = Signer(await self._keys.signing_secrets())
        return self._signer

    async def caller(self, headers: Mapping[str, str], token: str | None = None) -> Caller:
        """Whoever sent these headers, or this token where no header can be sent.

        Raises:
            Failure: `unauthorized`; `forbidden` for another site's page where nobody is asked for a key.
        """
        if self._off:
            _refuse_other_sites(headers)
            return _ANYBODY
        scheme, _, credential = headers.get("authorization", "").partition(" ")
        if token:
            credential = token
        elif scheme.lower() != "bearer" or not credential:
            raise Failure("unauthorized")
        if credential.startswith("sl_"):
            return await self._by_key(credential)
        job = (await self.signer()).check("job", credential, time.time())
        return Caller(job.tenant, frozenset({"read", "write"}), only=job)

    async def reader(self, headers: Mapping[str, str], signature: str | None) -> Caller:
        """Whoever wants a file: a signed link is enough for that."""
        if self._off or signature is None:
            return await self.caller(headers)
        job = (await self.signer()).check("files", signature, time.time())
        return Caller(job.tenant, frozenset({"read"}), only=job)

    async def job_token(self, key: JobKey, caller: Caller) -> str | None:
        """What a browser gets to watch its job; nothing where nobody asks for it.

        It reads and writes, so there is none from a caller who may not do both.
        """
        if self._off or not caller.reads:
            return None
        return (await self.signer()).token("job", key, int(time.time() + self._token_seconds))

    async def signature(self, key: JobKey, since: float) -> str | None:
        """What makes a link to a file work on its own, counted from `since` (Unix time)."""
        if self._off:
            return None
        return (await self.signer()).token("files", key, int(since + self._token_seconds))

    async def _by_key(self, credential: str) -> Caller:
        until, caller = self._known.get(credential, (0.0, None))
        if time.monotonic() >= until:
            found = await self._keys.find(credential)
            caller = _owner(found) if found else None
            self._known[credential] = (time.monotonic() + _REMEMBER, caller)
            self._known.move_to_end(credential)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        if caller is None:
            raise Failure("unauthorized")
        return caller
