import errno
import os
import time

import pytest

from snnrobust.errors import RunFileError
from snnrobust.storage.files import LEFTOVER_SECONDS, one_line, replace_file


def test_the_file_is_replaced_and_nothing_else_is_left(tmp_path):
    replace_file(tmp_path / "run.h5", b"one")
    replace_file(tmp_path / "run.h5", b"two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.h5"]
    assert (tmp_path / "run.h5").read_bytes() == b"two"


def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "run.h5", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "run.h5").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.h5").symlink_to("folder/run.h5")
    replace_file(tmp_path / "link.h5", b"content")
    assert (tmp_path / "link.h5").is_symlink()
    assert (tmp_path / "folder/run.h5").read_bytes() == b"content"


@pytest.mark.parametrize(("call", "code"), [("fsync", errno.ENOSPC), ("replace", errno.EACCES)])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, call, code):
    replace_file(tmp_path / "run.h5", b"old")

    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(RunFileError, match=rf"run\.h5: cannot be written \({os.strerror(code)}\)"):
        replace_file(tmp_path / "run.h5", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.h5"]
    assert (tmp_path / "run.h5").read_bytes() == b"old"


def test_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
    replace_file(tmp_path / "run.h5", b"old")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "run.h5", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.h5"]
    assert (tmp_path / "run.h5").read_bytes() == b"old"


def test_leftovers_of_killed_writers_go_when_they_are_old(tmp_path):
    old, fresh, other = tmp_path / ".run.h5.1.tmp", tmp_path / ".run.h5.2.tmp", tmp_path / ".other.h5.1.tmp"
    for path in (old, fresh, other):
        path.touch()
    past = time.time() - LEFTOVER_SECONDS - 1
    os.utime(old, (past, past))
    os.utime(other, (past, past))
    replace_file(tmp_path / "run.h5", b"")
    assert not old.exists()
    assert fresh.exists()
    assert other.exists()


def test_bad_places_are_one_line_that_names_the_path(tmp_path):
    with pytest.raises(RunFileError, match=r"no/run\.h5: folder .*no does not exist"):
        replace_file(tmp_path / "no/run.h5", b"")
    with pytest.raises(RunFileError, match="is a folder; needed: a file name"):
        replace_file(tmp_path, b"")
    with pytest.raises(RunFileError, match="File name too long"):
        replace_file(tmp_path / ("x" * 250), b"")


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\udcff"])
def test_a_path_is_one_printable_line(name):
    shown = one_line(name)
    assert shown.isprintable()
    shown.encode()
