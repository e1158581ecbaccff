"""The model of the queue: no order of events breaks an invariant, and every known mistake is noticed.

SPIN turns queue.pml into a C program that looks at every state there is. What the model says, and what each
mistake is, stands at the top of queue.pml; where it was seen, in docs/job-lifecycle.md.
"""

import re
import shutil
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from support.requires import require, requires

ROOT = Path(__file__).parents[2]
MODEL = Path(__file__).with_name("queue.pml")
pytestmark = requires("spin", "gcc")

EVERY_STATE = ("-DSAFETY", "-DNOREDUCE")
SHORTEST = ("-DSAFETY", "-DBFS")
FOREVER = ("-DNFAIR=3", "-DNOREDUCE")  # no -DSAFETY: cycles count, those that are fair to every process

SOUND = {
    "two workers, one job, three things that go wrong": ["FAULTS=3"],
    "two workers, three attempts": ["MAX_ATTEMPTS=3", "FAULTS=1"],
    "two workers, and a person who cancels and reopens": ["WISHES=2", "FAULTS=1"],
    "three workers, one job": ["WORKERS=3", "FAULTS=1"],
    "two workers, two jobs": ["JOBS=2", "FAULTS=0"],
    "two workers, two jobs, one attempt, one thing that goes wrong": ["JOBS=2", "MAX_ATTEMPTS=1", "FAULTS=1"],
}

# A mistake, an invariant that it breaks, and what else the configuration needs.
WITNESSES: list[tuple[str, ...]] = [
    ("FENCE_ON_ATTEMPT", "a_lease_is_handed_back_by_its_own_run"),
    ("FENCE_ON_ATTEMPT", "a_lease_is_renewed_by_its_own_run"),
    ("FENCE_ON_ATTEMPT", "the_newest_lease_ends_the_job"),
    ("COMPLETE_WITHOUT_EPOCH", "the_newest_lease_ends_the_job"),
    ("COMPLETE_WITHOUT_EPOCH", "outputs_are_those_of_the_accepted_run"),
    ("HEARTBEAT_WITHOUT_FENCE", "a_lease_is_renewed_by_its_own_run"),
    ("RELEASE_WITHOUT_STATE", "an_attempt_is_given_back_once"),
    ("COMPLETE_FORGETS_CANCEL", "a_canceled_job_never_succeeds"),
    ("RETRY_WITHOUT_COUNT", "attempts_never_exceed_their_maximum"),
    ("CLAIM_IN_TWO_STEPS", "a_lease_is_granted_to_a_waiting_job"),
    ("CLAIM_IN_TWO_STEPS", "attempts_never_exceed_their_maximum"),
    ("RESCUE_IN_TWO_STEPS", "a_lease_is_taken_back_after_it_expired"),
    ("RESCUE_IN_TWO_STEPS", "a_job_ends_once"),
    ("RESCUE_IN_TWO_STEPS", "a_job_is_in_one_place"),
    ("RESCUE_IN_TWO_STEPS", "event_numbers_have_no_gap"),
    ("END_IN_TWO_STEPS", "no_job_is_lost"),
    ("REOPEN_STARTS_EPOCHS_ANEW", "lease_epochs_only_grow"),
    ("REOPEN_STARTS_EPOCHS_ANEW", "outputs_are_those_of_the_accepted_run"),
    ("OUTPUTS_BY_ATTEMPT", "outputs_are_those_of_the_accepted_run"),
    ("REFUSAL_IS_BELIEVED", "outputs_are_those_of_the_accepted_run"),
    ("SLOT_IS_FREED_EARLY", "an_empty_worker_holds_no_lease"),
    ("STRAYS_ARE_LEFT", "an_empty_worker_holds_no_lease"),
    ("CANCEL_IS_OWED", "every_job_ends"),
    ("CANCEL_BY_MESSAGE", "only_a_cancel_cancels", "WISHES=2"),
    ("WORKER_BY_NAME", "every_job_ends", "FOREVER", "FAULTS=1", "WISHES=0"),
]

# What may become of a job by each verb, when its run says it; `refused` is for those who lost their lease.
WAYS = {
    "complete": {"succeeded", "canceled", "refused"},
    "fail": {"failed", "canceled", "refused"},
    "cancel": {"canceled", "refused"},
    "retry": {"queued", "failed", "canceled", "refused"},
    "release": {"queued", "canceled", "refused"},
    "rescued": {"queued", "failed", "canceled"},
}


class Verdict(NamedTuple):
    """What a search found: `broken` is an invariant, or `a cycle`, or None."""

    broken: str | None
    states: int
    report: str
    story: str


def search(folder: Path, defines: list[str], how: tuple[str, ...], optimize: str = "-O1") -> Verdict:
    """Looks at every state of a configuration, or until an invariant is broken."""
    shutil.copy(MODEL, folder)
    flags = [f"-D{define}" for define in defines]
    run(folder, [require("spin"), *flags, "-a", MODEL.name])
    run(folder, [require("gcc"), "-w", optimize, "-DMEMLIM=1000", *how, "-o", "pan", "pan.c"])
    # -E: the loops of the model have no end, and to wait in one is no mistake.
    lasting = ["-a", "-f"] if how is FOREVER else []
    report = run(folder, ["./pan", "-E", "-m20000", "-w22", *lasting])
    errors, states = re.search(r"errors: (\d+)", report), re.search(r"(\d+) states, stored", report)
    assert errors, report
    assert states, report
    if errors[1] == "0":
        assert not re.search("max search depth too small|Search not completed", report), report
        return Verdict(None, int(states[1]), report, "")
    broken = re.search(r"assertion violated (\w+)", report)
    story = run(folder, [require("spin"), *flags, "-t", "-T", MODEL.name])
    found = broken[1] if broken else "a cycle" if "acceptance cycle" in report else "unknown"
    return Verdict(found, int(states[1]), report, readable(story))


def run(folder: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def readable(story: str) -> str:
    """The sentences of a trail, up to the assertion that fails, or around the cycle."""
    told = re.split("spin: (?:text of failed assertion|trail ends)", story)[0]
    return "\n".join(line for line in told.splitlines()[:200] if "Never claim" not in line)


@pytest.mark.parametrize("defines", SOUND.values(), ids=SOUND.keys())
def test_no_order_of_events_breaks_an_invariant(tmp_path: Path, defines: list[str]) -> None:
    verdict = search(tmp_path, defines, EVERY_STATE)

    assert verdict.broken is None, f"{verdict.broken}:\n{verdict.story}\n{verdict.report}"
    assert verdict.states > 100_000


def test_a_job_that_can_run_ends_for_good_if_everybody_goes_on(tmp_path: Path) -> None:
    verdict = search(tmp_path, ["FOREVER", "FAULTS=1"], FOREVER)

    assert verdict.broken is None, f"{verdict.broken}:\n{verdict.story}\n{verdict.report}"
    assert verdict.states > 10_000


@pytest.mark.parametrize(
    "witness", WITNESSES, ids=lambda witness: f"{witness[0]} breaks {witness[1]}".replace("_", " ").lower()
)
def test_a_mistake_is_noticed(tmp_path: Path, witness: tuple[str, ...]) -> None:
    mistake, invariant, *more = witness
    lasting = "FOREVER" in more

    verdict = search(
        tmp_path, [mistake, f"ONLY={invariant}", *more], FOREVER if lasting else SHORTEST, optimize="-O0"
    )

    assert verdict.broken == ("a cycle" if lasting else invariant), f"{verdict.story}\n{verdict.report}"
    # It can be told, and the tale begins at the beginning.
    assert re.search("^worker . (claims|picks) job 0", verdict.story, re.MULTILINE), verdict.story


def test_the_model_goes_all_the_ways_that_there_are(tmp_path: Path) -> None:
    """A model in which nothing happens breaks no invariant either."""
    told = search(tmp_path, ["FAULTS=1"], (*EVERY_STATE, "-DPRINTF")).report.splitlines()

    seen: defaultdict[str, set[str]] = defaultdict(set)
    for line, next_line in pairwise(told):
        verb = re.search(r"(\w+) of job 0 by the run|job 0 is (rescued)", line)
        end = re.search(r"is (queued|succeeded|failed|canceled|refused)", next_line)
        if verb and end:
            seen[verb[1] or verb[2]].add(end[1])
    assert seen == WAYS


def test_every_invariant_has_a_witness_and_every_mistake_is_told_of() -> None:
    model, page = MODEL.read_text(), (ROOT / "docs" / "job-lifecycle.md").read_text()
    invariants = set(
        re.findall(r"(\w+) = true\b", model[model.index("bool a_job") : model.index("inline must")])
    )
    mistakes = set(re.findall(r"^#ifn?def ([A-Z]+_[A-Z_]+)$", model, re.MULTILINE)) - {"MAX_ATTEMPTS"}

    assert invariants == {witness[1] for witness in WITNESSES}
    assert mistakes == {witness[0] for witness in WITNESSES}
    assert {
        name for name in invariants | mistakes if f"*     {name} " not in model.replace("\n", " \n")
    } == set()
    assert {name for name in mistakes if f"`{name}`" not in page} == set()


# Two steps of the model are one statement: what it does first, and what it does with what is free then.
FUSED = {"complete": "exchange", "claim": "exchange"}


def test_a_step_of_the_model_bears_the_name_of_its_statement() -> None:
    steps = re.findall(r"^inline sql_(\w+)", MODEL.read_text(), re.MULTILINE)

    assert steps
    files = [FUSED.get(step, step) for step in steps]
    assert [file for file in files if not (ROOT / f"core/safelight/jobs/sql/{file}.sql").exists()] == []
