"""How long to wait before the next run. Pure.

Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", 2015), but never
less than half of it, so that a fault has time to pass.
"""

LONGEST = 300.0
LONGEST_HANDED_BACK = 60.0  # what was in the way may be gone at any moment, for all jobs at once
_MOST_DOUBLINGS = 32  # a job may be handed back without end, a float does not grow without end


def delay(runs: int, base: float, chance: float, longest: float = LONGEST) -> float:
    """Seconds to wait after `runs` (1, 2, ...) came to nothing; `chance` is a random number in [0, 1)."""
    ceiling = min(longest, base * 2.0 ** min(runs - 1, _MOST_DOUBLINGS))
    return ceiling * (0.5 + chance / 2)
