"""Signed tokens: what opens one job for a browser, or one file for a link. Pure.

A token is checked without a look at the database, so it works on any pod and survives a restart.
It names its tenant, its job, what it is for and when it ends; HMAC-SHA-256 keeps all four.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from safelight.errors import Failure
from safelight.wire.key import JobKey

Purpose = Literal["job", "files"]
_MAC = 16  # bytes: 128 bits are beyond guessing


class Signer:
    """Signs with the newest secret, accepts any of them, so that a secret can be replaced."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets

    def token(self, purpose: Purpose, key: JobKey, expires: int) -> str:
        """A token for one job; `expires` is a Unix time in seconds."""
        head = expires.to_bytes(5) + key.tenant.to_bytes(4) + key.id.bytes
        return urlsafe_b64encode(head + _mac(self._secrets[-1], purpose, head)).rstrip(b"=").decode()

    def check(self, purpose: Purpose, token: str, now: float) -> JobKey:
        """The job that a token opens.

        Raises:
            Failure: `unauthorized` when it is forged, for something else, or over.
        """
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raise Failure("unauthorized") from None
        head, mac = raw[:25], raw[25:]
        genuine = len(head) == 25 and any(
            hmac.compare_digest(mac, _mac(secret, purpose, head)) for secret in self._secrets
        )
        if not genuine or int.from_bytes(head[:5]) < now:
            raise Failure("unauthorized")
        return JobKey(int.from_bytes(head[5:9]), UUID(bytes=head[9:25]))


def _mac(secret: bytes, purpose: Purpose, head: bytes) -> bytes:
    return hmac.digest(secret, purpose.encode() + b"\0" + head, hashlib.sha256)[:_MAC]
