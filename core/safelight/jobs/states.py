"""The state machine. Pure: the SQL files enforce it, the tests hold both against this table.

    queued ── claim ──> running ── complete ──> succeeded
      │                   │  └──── fail ──────> failed
      │                   ├─────── cancel ────> canceled
      │ <── retry ────────┤
      │ <── release ──────┤
      │ <── rescue ───────┘
      └── cancel ─────────────────────────────> canceled

A job that waits for its retry is `queued` with a future `run_at`. The states at the right are final
for an incarnation; `reopen` begins the next one, with the next epoch.
"""

from types import MappingProxyType

from safelight.wire.resources import FINAL_STATES, State

# verb -> (from, to)
TRANSITIONS: MappingProxyType[str, tuple[frozenset[State], frozenset[State]]] = MappingProxyType(
    {
        "enqueue": (frozenset(), frozenset({"queued"})),
        "claim": (frozenset({"queued"}), frozenset({"running"})),
        "complete": (frozenset({"running"}), frozenset({"succeeded"})),
        "fail": (frozenset({"running"}), frozenset({"failed"})),
        "retry": (frozenset({"running"}), frozenset({"queued", "failed", "canceled"})),
        "release": (frozenset({"running"}), frozenset({"queued", "canceled"})),
        "rescue": (frozenset({"running"}), frozenset({"queued", "failed", "canceled"})),
        "cancel": (frozenset({"queued", "running"}), frozenset({"canceled"})),
        "reopen": (frozenset({"failed", "canceled"}), frozenset({"queued"})),
    }
)

# Why a job is in its state.
REASONS: MappingProxyType[State, frozenset[str]] = MappingProxyType(
    {
        "queued": frozenset({"submitted", "retry", "released", "rescued", "reopened"}),
        "running": frozenset({"claimed"}),
        "succeeded": frozenset({"completed"}),
        "failed": frozenset({"failed", "exhausted", "quarantined"}),
        "canceled": frozenset({"canceled"}),
    }
)


def is_final(state: State) -> bool:
    """Whether nothing but `reopen` moves a job on from here."""
    return state in FINAL_STATES


def may_follow(before: State | None, after: State) -> bool:
    """Whether some verb leads from one state to the other; None is before the job existed."""
    return any(
        after in to and (before in origins if before is not None else not origins)
        for origins, to in TRANSITIONS.values()
    )
