"""W3C trace context: the id that follows a job from the client to the result. Pure.

https://www.w3.org/TR/trace-context/, version 00.
"""

import re
import secrets

_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(given: str | None) -> str:
    """The client's own trace context when it is valid, or a new one."""
    if given and _FORM.fullmatch(given):
        return given
    chance = secrets.token_hex(24)
    return f"00-{chance[:32]}-{chance[32:]}-01"
