import signal
import subprocess
import sys

from safelight.own_folder import OwnFolder

KILLED = """
import os, signal, sys
from pathlib import Path
from safelight.own_folder import OwnFolder
print(OwnFolder(Path(sys.argv[1]), "a-").root, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(parent) -> str:
    """The folder of a process that was killed."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(parent)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    return done.stdout.strip()


def names(parent) -> set[str]:
    return {str(path) for path in parent.iterdir()}


def test_what_a_killed_process_left_is_removed_by_the_next_of_its_kind_and_by_nobody_else(tmp_path):
    left = killed(tmp_path)
    OwnFolder(tmp_path, "b-")
    assert left in names(tmp_path)

    OwnFolder(tmp_path, "a-")

    assert left not in names(tmp_path)


def test_what_the_living_have_stays_until_they_close_it(tmp_path):
    living = OwnFolder(tmp_path, "a-")

    OwnFolder(tmp_path, "a-").close()

    assert names(tmp_path) == {str(living.root)}
    living.close()
    assert names(tmp_path) == set()


def test_a_folder_whose_process_is_about_to_lock_it_is_not_taken_for_left_behind(tmp_path):
    begun = tmp_path / "a-begun"
    begun.mkdir()
    (begun / "lock").touch()

    OwnFolder(tmp_path, "a-")

    assert begun.exists()
