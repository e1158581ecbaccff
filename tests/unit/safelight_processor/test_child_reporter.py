"""Progress is coalesced, and the newest report always arrives."""

import queue

from safelight.pipelines import Report
from safelight_processor.child.protocol import Progress
from safelight_processor.child.reporter import Reporter


def test_thousands_of_reports_become_a_few_and_the_last_is_among_them() -> None:
    sent: list[Progress] = []
    reporter = Reporter(sent.append)
    report = reporter.begin()
    for number in range(5001):
        report(Report(number / 50, "work", f"step {number}"))
    reporter.end()
    assert sent[0].status == "step 0"
    assert sent[-1].status == "step 5000"
    assert len(sent) < 2500
    assert sent == sorted(sent, key=lambda progress: progress.progress)


def test_a_report_that_comes_too_early_is_sent_without_another_one() -> None:
    sent: queue.Queue[Progress] = queue.Queue()
    report = Reporter(sent.put).begin()
    report(Report(1, "work", "first"))
    report(Report(2, "work", "second"))
    assert [sent.get(timeout=10).status, sent.get(timeout=10).status] == ["first", "second"]


def test_a_report_of_a_task_that_is_over_is_dropped() -> None:
    sent: list[Progress] = []
    reporter = Reporter(sent.append)
    late = reporter.begin()
    reporter.end()
    late(Report(50, "work", "after the end"))
    report = reporter.begin()
    late(Report(60, "work", "during the next"))
    report(Report(1, "work", "mine"))
    reporter.end()
    assert [progress.status for progress in sent] == ["mine"]


def test_what_does_not_fit_in_a_message_is_made_to_fit() -> None:
    sent: list[Progress] = []
    reporter = Reporter(sent.append)
    reporter.begin()(Report(float("inf"), "s" * 500, "\0" + "t" * 500))
    assert sent == [Progress(100.0, "s" * 100, " " + "t" * 199)]
