"""A thousand broken files through `snnrobust profiles validate`: lines with file and number, never a traceback."""

from __future__ import annotations

import random
import re

import pytest
from broken_text import mutate
from test_profile import NAMES, TEXTS
from typer.testing import CliRunner

from snnrobust.cli import app


def validate(path):
    result = CliRunner().invoke(app, ["profiles", "validate", str(path)])
    if result.exit_code == 0:
        assert result.stdout == f"{path}: valid\n"
        return []
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr.splitlines()


@pytest.mark.slow
def test_a_thousand_broken_files(tmp_path):
    rng, path, broken, tried = random.Random(20), tmp_path / "chip.yaml", 0, 0
    line = re.compile(rf"error: {re.escape(str(path))}:[1-9][0-9]*: \S.*")
    kinds = set()
    while broken < 1000:
        content = mutate(TEXTS[rng.choice(NAMES)], rng)
        path.write_bytes(content)
        found = validate(path)
        broken, tried = broken + bool(found), tried + 1
        last = content.count(b"\n") + content.count(b"\r") + content.count("\u2028".encode()) + 2
        for text in found:
            assert line.fullmatch(text), text
            assert text.isprintable()
            assert "Traceback" not in text
            assert int(text.split(":")[2]) <= last + content.count("\x85".encode())
            kinds.add(re.sub(r"[^a-z ]", "", text.partition(": ")[2].partition(": ")[2])[-20:])
        assert len(found) == len(set(found))
    assert tried < 2500
    assert len(kinds) > 50  # mistakes of many kinds
