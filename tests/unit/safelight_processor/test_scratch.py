import signal
import subprocess
import sys

from safelight_processor.scratch import Scratch

KILLED = """
import os, signal, sys
from safelight_processor.scratch import Scratch
scratch = Scratch(sys.argv[1])
scratch.folder()
print(scratch.root, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_the_living_have_is_not(tmp_path):
    living = Scratch(str(tmp_path))
    mine = living.folder()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    left = killed.stdout.strip()
    assert len(list(tmp_path.iterdir())) == 2

    second = Scratch(str(tmp_path))

    assert mine.exists()
    assert left not in {str(path) for path in tmp_path.iterdir()}
    second.close()
    living.close()
    assert list(tmp_path.iterdir()) == []
