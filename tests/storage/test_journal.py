import errno
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import snnrobust.storage
from snnrobust.errors import ConfigError, RunFileError
from snnrobust.storage import Journal, journal, journal_path, read_journal

ROOT = Path(snnrobust.storage.__file__).parents[2]
ARRAYS = {
    "accuracy": np.array([0.5, np.nan, 1.0]),
    "counts": np.arange(6, dtype=">i2").reshape(2, 3),
    "done": np.array([True, False]),
    "label": np.array(["é", "🧠x"]),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 4)),
}


@pytest.fixture
def path(tmp_path):
    return journal_path(tmp_path / "run.h5")


def start(script, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_units_come_back_with_types_and_shapes(path):
    assert path.name == "run.h5.journal"
    with Journal(path, "k") as log:
        log.append("model a/level 0.1/0-99 é", ARRAYS)
        log.append("nothing", {})
    units = read_journal(path)
    assert list(units) == ["model a/level 0.1/0-99 é", "nothing"]
    read = units["model a/level 0.1/0-99 é"]
    assert list(read) == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert read[name].dtype == values.dtype
        assert read[name].shape == values.shape
        assert read[name].flags.writeable
        np.testing.assert_array_equal(read[name], values)


def test_what_is_not_contiguous_is_stored_by_value(path):
    values = np.arange(12).reshape(3, 4)
    with Journal(path, "k") as log:
        log.append("u", {"transposed": values.T, "strided": values[::2, ::-1]})
    np.testing.assert_array_equal(read_journal(path)["u"]["transposed"], values.T)
    np.testing.assert_array_equal(read_journal(path)["u"]["strided"], values[::2, ::-1])


def test_a_unit_added_again_replaces_the_first(path):
    with Journal(path, "k") as log:
        log.append("u", {"a": np.array(1)})
        log.append("u", {"a": np.array(2)})
    assert read_journal(path)["u"]["a"] == 2


def test_it_goes_on_where_it_was_closed(path):
    for number in range(3):
        with Journal(path, "k") as log:
            log.append(f"u{number}", {"a": np.array(number)})
    assert list(read_journal(path)) == ["u0", "u1", "u2"]


def test_no_file_has_no_units(path):
    assert read_journal(path) == {}


def test_readers_see_units_while_the_writer_is_open(path):
    with Journal(path, "k") as log:
        assert read_journal(path) == {}
        log.append("u", ARRAYS)
        assert list(read_journal(path)) == ["u"]


def test_clear_and_remove(path):
    log = Journal(path, "k")
    log.append("a", ARRAYS)
    log.clear()
    assert read_journal(path, key="k") == {}
    log.append("b", ARRAYS)
    assert list(read_journal(path, key="k")) == ["b"]
    log.close(remove=True)
    assert not path.exists()
    log.close()
    with pytest.raises(RunFileError, match="this journal is closed"):
        log.append("c", {})


def whole_records(path):
    """The journal's bytes and the offsets at which its header and its records end."""
    ends = []
    log = Journal(path, "k")
    ends.append(path.stat().st_size)
    for number in range(3):
        log.append(f"u{number}", {"a": np.arange(number)})
        ends.append(path.stat().st_size)
    log.close()
    return path.read_bytes(), ends


def test_cut_anywhere_it_keeps_the_whole_records_and_goes_on(path):
    content, ends = whole_records(path)
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = max(sum(end <= cut for end in ends) - 1, 0)
        assert list(read_journal(path)) == [f"u{number}" for number in range(whole)]
        with Journal(path, "k") as log:
            log.append("new", {"a": np.array(7)})
        assert list(read_journal(path, key="k")) == [*(f"u{number}" for number in range(whole)), "new"]


def test_a_flipped_bit_loses_at_most_the_records_from_there_on(path):
    content, ends = whole_records(path)
    for position in range(ends[0], len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        whole = sum(end <= position for end in ends) - 1
        assert list(read_journal(path)) == [f"u{number}" for number in range(whole)]


def test_a_damaged_header_is_not_taken_for_an_empty_journal(path):
    content, ends = whole_records(path)
    for position in range(len(journal.MAGIC), ends[0]):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(RunFileError, match="header is damaged; remove the file"):
            Journal(path, "k")
        assert path.read_bytes() == damaged


def test_the_journal_of_another_experiment_is_refused_and_kept(path):
    with Journal(path, "mine") as log:
        log.append("u", ARRAYS)
    content = path.read_bytes()
    for act in (lambda: Journal(path, "yours"), lambda: read_journal(path, key="yours")):
        with pytest.raises(
            RunFileError, match=r"run\.h5\.journal: belongs to another experiment \(key 'mine'; needed: 'yours'\)"
        ):
            act()
    assert path.read_bytes() == content
    assert list(read_journal(path)) == ["u"]


@pytest.mark.parametrize("content", [b"some text\n", b"S", b"SNNJRNX\x01" + bytes(100), os.urandom(1000)])
def test_another_file_is_refused_and_kept(path, content):
    path.write_bytes(content)
    if content != b"S":  # which may be the first byte of a journal
        with pytest.raises(RunFileError, match="is not a journal"):
            read_journal(path)
        with pytest.raises(RunFileError, match="is not a journal"):
            Journal(path, "k")
        assert path.read_bytes() == content
    else:
        assert read_journal(path) == {}


def test_a_newer_version_is_refused(path):
    path.write_bytes(journal.MAGIC[:-1] + b"\x02" + bytes(50))
    with pytest.raises(RunFileError, match="journal version 2; this snnrobust reads 1"):
        read_journal(path)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]x",
        b'[["a", "|O", [1]]]\n12345678',
        b'[["a", "<f8", [2]]]\n12345678',
        b'[["a", "<f8", [1000000000000000000000]]]\n',
        b'[["a", "<f8", [-1]]]\n12345678',
    ],
)
def test_a_whole_record_that_is_none_of_ours_is_one_line(path, payload):
    Journal(path, "k").close()
    with open(path, "ab") as file:
        file.write(journal._record("u", payload))
    with pytest.raises(RunFileError, match=r"run\.h5\.journal: a record is not readable"):
        read_journal(path)


def test_what_cannot_be_stored_is_refused_before_anything_is_written(path):
    with Journal(path, "k") as log:
        for unit_id, arrays in [("u", {"a": np.array([object()])}), ("u", {"a\0": np.zeros(1)}), ("\ud800", {})]:
            with pytest.raises(ConfigError, match="allowed"):
                log.append(unit_id, arrays)
    assert read_journal(path) == {}


def test_a_second_writer_is_refused(path):
    with Journal(path, "k"), pytest.raises(RunFileError, match="another process is writing"):
        Journal(path, "k")
    Journal(path, "k").close()


def test_the_lock_goes_with_a_killed_process(path):
    script = """
        import sys
        from snnrobust.storage import Journal
        log = Journal(sys.argv[1], "k")
        print("open", flush=True)
        sys.stdin.read()
    """
    process = start(script, path)
    assert process.stdout.readline() == "open\n"
    with pytest.raises(RunFileError, match="another process"):
        Journal(path, "k")
    process.kill()
    process.communicate()
    Journal(path, "k").close()


def test_a_file_removed_between_opening_and_locking_is_made_anew(path, monkeypatch):
    calls = []

    def flock(handle, how, real=fcntl.flock):
        calls.append(handle)
        if len(calls) == 1:
            path.unlink()
        return real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Journal(path, "k") as log:
        log.append("u", {})
    assert len(calls) == 2
    assert list(read_journal(path)) == ["u"]


def test_bad_places_are_one_line(tmp_path):
    with pytest.raises(RunFileError, match=r"no/x: cannot be written \(No such file or directory\)"):
        Journal(tmp_path / "no/x", "k")
    with pytest.raises(RunFileError, match=r"cannot be written \(Is a directory\)"):
        Journal(tmp_path, "k")
    with pytest.raises(RunFileError, match=r"cannot be read \(Is a directory\)"):
        read_journal(tmp_path)


def test_it_syncs_once_a_period_and_soon_after_the_last_unit(path, monkeypatch):
    syncs = []
    monkeypatch.setattr(journal, "SYNC_SECONDS", 0.2)
    log = Journal(path, "k")
    monkeypatch.setattr(os, "fsync", lambda handle: syncs.append(time.monotonic()))
    begin = time.monotonic()
    while time.monotonic() - begin < 0.7:
        log.append("u", {})
    last = time.monotonic()
    time.sleep(0.5)
    assert 2 <= len(syncs) <= 4
    assert np.diff(syncs).min() >= 0.2
    assert syncs[-1] >= last  # the last unit, with nothing appended after it
    log.close()


def test_a_disk_that_fails_later_is_reported_at_the_next_call(path, monkeypatch):
    monkeypatch.setattr(journal, "SYNC_SECONDS", 0.01)
    log = Journal(path, "k")

    def fail(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    log.append("u", {})
    time.sleep(0.3)
    with pytest.raises(RunFileError, match=r"cannot be written \(Input/output error\)"):
        log.append("v", {})
    with pytest.raises(RunFileError, match=r"cannot be written \(Input/output error\)"):
        log.close()


def test_a_full_disk_ends_the_journal_with_the_unit_before(path):
    """A file-size limit of the kernel stands in for the full disk: the write stops in the middle of a record."""
    script = """
        import sys, numpy as np
        from snnrobust.errors import RunFileError
        from snnrobust.storage import Journal
        log = Journal(sys.argv[1], "k")
        log.append("small", {"a": np.zeros(100)})
        try:
            log.append("large", {"a": np.zeros(100_000)})
        except RunFileError as error:
            print(error)
        log.append("after", {"a": np.zeros(100)})
        log.close()
    """
    process = start(script, path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)))
    output, errors = process.communicate()
    assert output == f"{path}: cannot be written (File too large)\n", errors
    assert list(read_journal(path)) == ["small", "after"]


APPEND_FOREVER = """
    import itertools, sys, numpy as np
    from snnrobust.storage import Journal
    first, seed = int(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(seed)
    log = Journal(sys.argv[1], "k")
    for number in itertools.count(first):
        size = int(rng.choice([1, 100, 10_000, 300_000]))
        log.append(f"unit {number}", {"number": np.full(size, number)})
        print(number, flush=True)
"""


def test_kill_at_any_moment_loses_no_acknowledged_unit(path):
    rng = random.Random(7)
    acknowledged = []
    for round_number in range(8):
        process = start(APPEND_FOREVER, path, len(acknowledged), round_number)
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        numbers = [int(line) for line in [first, *process.stdout.read().splitlines()] if line.strip()]
        process.communicate()
        assert numbers
        acknowledged += numbers
        units = read_journal(path, key="k")
        for number in acknowledged:
            assert (units[f"unit {number}"]["number"] == number).all()
        assert len(units) - len(acknowledged) in (0, 1)  # at most one was written and not yet acknowledged
    assert len(acknowledged) > 50
