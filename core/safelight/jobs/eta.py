"""When a job will begin and end, as an honest range. Pure; called by the API's presenter.

How long a pipeline takes is told by what its last runs took, kept apart by the size of the images: half of
them took less than p50, nine of ten less than p90. Between and beyond these a lognormal distribution is
assumed, as service times are bounded below and skewed (Law and Kelton, "Simulation Modeling and Analysis",
section 6.2.2). Jobs ahead are served by all slots alike; the sum of many of them is close to normal.
"""

import math
from statistics import NormalDist
from typing import Final, NamedTuple

_NORMAL: Final = NormalDist()
_Z90: Final = _NORMAL.inv_cdf(0.9)
_LEAST: Final = 1e-3  # seconds; logarithms want something
SIZES: Final = (1.0, 4.0, 16.0)  # megapixels between the size classes 0, 1, 2, 3


class Pace(NamedTuple):
    """How long a run takes, in seconds: half take less than `p50`, nine of ten less than `p90`."""

    p50: float
    p90: float


class Range(NamedTuple):
    """Seconds from now: as likely earlier as later, and late in one of ten."""

    p50: float
    p90: float


def size_class(megapixels: float) -> int:
    """The class of a job by the size of its images."""
    return sum(megapixels >= limit for limit in SIZES)


def wait(position: int, slots: int, pace: Pace) -> Range:
    """Until a job begins before which `position` others have to; `slots` serve them."""
    if position <= 0:
        return Range(0.0, pace.p50 / max(1, slots))
    mu, sigma = _lognormal(pace)
    mean = math.exp(mu + sigma**2 / 2)
    deviation = mean * math.sqrt(math.expm1(sigma**2))
    servers = max(1, slots)
    p50 = position * mean / servers
    return Range(p50, p50 + _Z90 * deviation * math.sqrt(position) / servers)


def rest(ran: float, pace: Pace) -> Range:
    """Until the end of a run that has lasted `ran` seconds: shorter ones are out of the count."""
    mu, sigma = _lognormal(pace)
    over = _NORMAL.cdf((math.log(max(ran, _LEAST)) - mu) / sigma) if ran > 0 else 0.0
    p50, p90 = (_quantile(over + share * (1 - over), mu, sigma) for share in (0.5, 0.9))
    return Range(max(0.0, p50 - ran), max(0.0, p90 - ran))


def total(first: Range, then: Range) -> Range:
    """One after the other; p90 is that of both at once, which is rather too late than too early."""
    return Range(first.p50 + then.p50, first.p90 + then.p90)


def _lognormal(pace: Pace) -> tuple[float, float]:
    low = max(pace.p50, _LEAST)
    high = max(pace.p90, low * 1.05)
    return math.log(low), (math.log(high) - math.log(low)) / _Z90


def _quantile(share: float, mu: float, sigma: float) -> float:
    return math.exp(mu + sigma * _NORMAL.inv_cdf(min(share, 1 - 1e-9)))
