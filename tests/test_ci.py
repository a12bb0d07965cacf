"""The script that looks for a browser: it installs none where there is one, never fails, and says one line."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "browser"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout of the repository")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path):
    """A PATH with nothing on it but what the script needs; every user is root there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "timeout", "chmod"):
        (folder / name).symlink_to(shutil.which(name))
    script(folder / "id", "echo 0")
    return folder


def said(tools):
    found = subprocess.run(
        ["/bin/sh", SCRIPT], env={**os.environ, "PATH": str(tools)}, capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stderr) == (0, "")
    (line,) = found.stdout.splitlines()
    return line


def test_a_browser_that_is_there_is_enough(tools):
    script(tools / "chromium", "")
    script(tools / "apt-get", "echo called > called")
    assert said(tools) == f"browser: {tools}/chromium"


@pytest.mark.parametrize("manager", ["apt-get", "dnf", "apk", "brew"])
def test_the_package_manager_installs_one(tools, manager):
    script(tools / manager, f"echo noise; : > {tools}/chromium; chmod +x {tools}/chromium")
    assert said(tools) == f"browser: {tools}/chromium, installed by {manager}"


def test_a_manager_that_fails_or_asks_fails_nothing(tools):
    script(tools / "dnf", "echo noise; echo more >&2; read answer || exit 7")
    assert said(tools) == "browser: none (package manager: dnf), so tests/report/test_browser.py is skipped"


def test_without_root_or_a_manager_none_is_tried(tools):
    assert "package manager: none that is known" in said(tools)
    script(tools / "id", "echo 1000")
    script(tools / "apt-get", f": > {tools}/chromium; chmod +x {tools}/chromium")
    assert "package manager: none without root" in said(tools)
