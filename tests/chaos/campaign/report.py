"""What a campaign has found: a row for each fault, a last line, and whether that is good enough."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.campaign.audit import Audit, Findings
from chaos.campaign.plan import Plan

GOAL: Final = 0.98  # of the throughput before a fault, after it
_COLUMNS = (
    "fault",
    "jobs",
    "lost",
    "twice",
    "broken off",
    "fenced",
    "before/s",
    "during/s",
    "after/s",
    "back to %",
    "recovery s",
)


@dataclass
class Period:
    """One fault, with the calm before it; times are seconds."""

    fault: str
    began: float  # since 1970, the calm before it
    before: float  # jobs/s
    during: float
    after: float
    recovery: float | None  # None: it took too long
    calm: float  # since 1970, when the calm after it began
    word: str
    findings: Findings = field(default_factory=Findings)

    @property
    def back(self) -> float:
        """The throughput after it, in units of that before."""
        return self.after / max(self.before, 1e-9)

    def line(self) -> str:
        """While it runs."""
        took = "not recovered" if self.recovery is None else f"recovered in {self.recovery:.1f} s"
        rates = f"{self.before:,.0f} -> {self.during:,.0f} -> {self.after:,.0f} jobs/s, {self.back:.0%}"
        return f"{self.fault}: {rates}, {took}" + (f"; {self.word}" if self.word else "")


@dataclass
class Report:
    """All of it."""

    plan: Plan
    periods: list[Period]
    audit: Audit
    died: list[str]
    emptied: bool
    seconds: float

    def faults(self) -> list[str]:
        """By name, in their order."""
        return list(dict.fromkeys(period.fault for period in self.periods))

    def of(self, fault: str) -> Sequence[Period]:
        """Each time that it happened."""
        return [period for period in self.periods if period.fault == fault]

    def back(self, fault: str) -> float:
        """The median of its times."""
        return statistics.median(period.back for period in self.of(fault))

    def troubles(self) -> list[str]:
        """What must not be, a sentence each; none when all is well."""
        total, found = self.audit.total, list(self.died)
        bad = {
            "lost": total.lost,
            "ended twice": total.twice,
            "ended by a run that had lost its lease": total.late,
            "stuck": total.stuck,
            "in a wrong state": total.wrong,
            "with a gap in their events": total.gaps,
            "with a lease epoch that did not grow": total.epochs,
            "half there": self.audit.half,
            "of nobody": self.audit.strangers,
        }
        found += [f"{jobs} jobs {what}" for what, jobs in bad.items() if jobs]
        if not self.emptied:
            found.append("the queue did not become empty")
        if total.jobs < self.plan.jobs:
            found.append(f"only {total.jobs} jobs, fewer than {self.plan.jobs}")
        late = [period.fault for period in self.periods if period.recovery is None]
        found += [f"no recovery within {self.plan.recovery:g} s: {fault}" for fault in late]
        if self.plan.judged:
            slow = [fault for fault in self.faults() if self.back(fault) < GOAL]
            found += [f"back to {self.back(fault):.1%} only: {fault}" for fault in slow]
        return found

    def text(self) -> str:
        """The table, the totals, and what is wrong."""
        rows = [_COLUMNS, *(self._row(fault) for fault in self.faults())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        lines = [
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        total = self.audit.total
        troubles = self.troubles()
        last = (
            f"chaos: {total.jobs:,} jobs, {len(self.periods)} faults, {self.seconds:.0f} s: "
            f"lost {total.lost}, twice {total.twice}, late {total.late}, stuck {total.stuck}, "
            f"wrong state {total.wrong}, event gaps {total.gaps}, half there {self.audit.half}; "
            f"{total.fenced:,} runs too many were fenced: "
        )
        return "\n".join([*lines, "", *troubles, last + ("failed" if troubles else "all is well")])

    def _row(self, fault: str) -> tuple[str, ...]:
        times = self.of(fault)
        found = Findings()
        for period in times:
            found += period.findings
        recoveries = [period.recovery for period in times if period.recovery is not None]
        return (
            fault,
            f"{found.jobs:,}",
            f"{found.lost}",
            f"{found.twice}",
            f"{found.broken_off:,}",
            f"{found.fenced:,}",
            f"{statistics.median(period.before for period in times):,.0f}",
            f"{statistics.median(period.during for period in times):,.0f}",
            f"{statistics.median(period.after for period in times):,.0f}",
            f"{self.back(fault):.1%}".rstrip("%"),
            f"{max(recoveries):.1f}" if len(recoveries) == len(times) else "never",
        )
