"""Progress: plain lines in a file, a bar on a terminal, nothing on the standard output."""

import os
import pty
import subprocess
import sys
import time

import pytest

from snnrobust import progress as module
from snnrobust.progress import Progress, progress


def test_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_EVERY", 0.0)
    with progress("chips", 3) as shown:
        for k in range(3):
            shown.advance(note=f"chip {k}")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split("  ")[0] for line in lines] == ["chips: 1/3", "chips: 2/3", "chips: 3/3"]
    assert [line.split("  ")[-1] for line in lines] == ["chip 0", "chip 1", "chip 2"]
    assert "left" in lines[0]


def test_lines_are_rare_but_the_first_and_the_last_are_shown(capsys):
    with progress("chips", 100) as shown:
        for _ in range(100):
            shown.advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["chips: 1/100", "chips: 100/100"]


def test_what_was_done_before_counts_but_not_for_the_rate(monkeypatch):
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    shown = Progress("chips", 100, done=90)
    shown.done += 2
    assert shown.remaining() == "2.0 s each, 16 s left"


@pytest.mark.parametrize(
    ("seconds", "finished", "text"),
    [
        (2.0, 10, "5.0/s, 18 s left"),
        (100.0, 10, "10.0 s each, 15 min left"),
        (100.0, 1, "100.0 s each, 2 h 45 min left"),
        (0.0, 10, ""),
        (5.0, 0, ""),
    ],
)
def test_rate_and_time_left(monkeypatch, seconds, finished, text):
    clock = iter([0.0, seconds])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    shown = Progress("chips", 100)
    shown.done += finished
    assert shown.remaining() == text


def test_the_lines_of_a_long_run(capsys, monkeypatch):
    """Ten thousand chips at 10 a second: a line each ten seconds; what is left out counts no more."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress("chips", 10_000, done=1000) as shown:
        for block in range(60):
            now[0] += 3.2
            if block == 40:
                shown.leave_out(4000)
            shown.advance(32, note="a on b")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "chips: 1032/10000  10.0/s, 15 min left  a on b"
    assert lines[1] == "chips: 1160/10000  10.0/s, 15 min left  a on b"
    assert lines[-1] == "chips: 2824/6000  10.0/s, 5 min left  a on b"
    assert len(lines) == 15


def test_silence_on_request(capsys):
    with progress("chips", 2, show=False) as shown:
        shown.advance(2)
    assert shown.done == 2
    assert capsys.readouterr() == ("", "")


BAR = """
import sys
from snnrobust.progress import progress
with progress("chips", 4, done=1) as shown:
    shown.advance(3, note="all of them")
print("the table")
"""


def test_a_bar_on_a_terminal_leaves_the_standard_output_alone():
    """Standard error is a terminal, standard output a pipe: `snnrobust benchmark ... > table.txt`."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", BAR], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    out, _ = process.communicate()
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the terminal has closed
        pass
    os.close(ours)
    assert process.returncode == 0
    assert out == b"the table\n"
    assert b"chips" in shown
    assert b"4/4" in shown
    assert b"all of them" in shown
