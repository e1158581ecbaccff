import json

from safelight_cli.embedded.log import Log, complaint


def test_a_log_keeps_two_files_of_bounded_size(tmp_path):
    log = Log(tmp_path / "part.log", limit=1000)
    for number in range(1000):
        log.write(b"line %d\n" % number)
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"part.log", "part.log.1"}
    assert max(sizes.values()) <= 1000
    assert (tmp_path / "part.log").read_text().endswith("line 999\n")


def test_a_line_that_never_ends_is_cut(tmp_path):
    log = Log(tmp_path / "part.log", limit=10_000_000)
    for _ in range(100):
        log.write(b"x" * 10_000)
    assert log.last_words() == "x" * 500
    assert len(log._rest) <= 64 * 1024


def test_a_line_in_two_pieces_is_one_line(tmp_path):
    log = Log(tmp_path / "part.log")
    line = json.dumps({"level": "error", "event": "claim.failed", "error": "no database"}).encode()
    assert log.write(line[:20]) == []
    assert log.write(line[20:] + b"\n") == ["claim.failed no database"]


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path):
    log = Log(tmp_path / "missing" / "part.log")
    log.write(b"still here\n")
    assert log.last_words() == "still here"


def test_only_errors_are_complaints():
    assert complaint('{"level": "info", "event": "claim.done"}') is None
    assert complaint('{"level": "critical", "event": "stopped"}') == "stopped"
    assert complaint("[1, 2") is None
    assert complaint("{not json") is None
    assert complaint("Traceback (most recent call last):") is None


def test_what_ends_postgres_is_a_complaint_and_what_ends_a_statement_is_none():
    told = "2026-01-01 00:00:00.000 UTC [12] FATAL:  could not write to file: No space left on device"
    assert complaint(told) == "FATAL:  could not write to file: No space left on device"
    assert complaint('2026-01-01 00:00:00.000 UTC [12] ERROR:  duplicate key value "x"') is None
