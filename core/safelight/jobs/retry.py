"""How long to wait before the next attempt. Pure.

Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", 2015), but never
less than half of it, so that a fault has time to pass.
"""

LONGEST = 300.0


def delay(attempt: int, base: float, chance: float) -> float:
    """Seconds to wait after `attempt` (1, 2, ...) failed; `chance` is a random number in [0, 1)."""
    ceiling = min(LONGEST, base * 2.0 ** (attempt - 1))
    return ceiling * (0.5 + chance / 2)
