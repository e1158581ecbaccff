"""Finding and killing what a process has started."""

import subprocess
import sys

import psutil

from safelight_processor.child import tree

# A child, a grandchild and so on, each in a session of its own; the last says that all are there.
CHAIN = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    if os.fork():
        time.sleep(600)
    os.setsid()
print("ready", flush=True)
time.sleep(600)
"""


def chain(length: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", CHAIN, str(length)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_everybody_below_is_found_however_deep() -> None:
    process = chain(20)
    try:
        found = tree.descendants(process.pid)
        assert len(found) == 20
        assert found == {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    finally:
        tree.kill_tree(process.pid)
        process.communicate()


def test_a_tree_is_killed_with_those_who_left_the_group() -> None:
    process = chain(5)
    below = [psutil.Process(pid) for pid in tree.descendants(process.pid)]
    tree.kill_tree(process.pid)
    assert process.wait(timeout=30) == -9
    process.communicate()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert all(zombie.status() == psutil.STATUS_ZOMBIE for zombie in alive)


def test_a_process_that_is_gone_is_no_trouble() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    tree.kill_tree(process.pid)
    assert tree.descendants(process.pid) == set()
    assert tree.kill_descendants(process.pid) == 0
