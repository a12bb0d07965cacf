"""One writer at a time, and a lock that goes with its process."""

import signal
import subprocess
import sys

import pytest

from snnrobust.errors import RunFileError
from snnrobust.storage import locked

HOLD = """
import sys, time
from pathlib import Path
from snnrobust.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path):
    run = tmp_path / "run.h5"
    with subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(RunFileError, match=r"run\.h5\.lock: another process is writing"), locked(run):
            pass
        first.send_signal(signal.SIGKILL)
    with locked(run):
        assert (tmp_path / "run.h5.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RunFileError, match="does not exist"), locked(tmp_path / "no" / "run.h5"):
        pass
    with locked(None):
        pass
