"""The blocks of docs/profiles.md work, one after the other, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snnrobust.cli import app
from snnrobust.hardware.measurement import read_measurements
from snnrobust.hardware.profile import check_profile, load_profile

TEXT = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_page_works_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for kind, block in BLOCKS:
        if kind == "yaml":
            Path("my_chip.yaml").write_text(block)
            assert check_profile(Path("my_chip.yaml")) == []
        elif kind == "csv":
            Path("example.csv").write_text(block)
            assert len(read_measurements("example.csv").rows) == len(block.splitlines()) - 1
        elif kind == "python":
            exec(compile(block, "docs/profiles.md", "exec"), namespace)
        else:
            for line in block.splitlines():
                words = shlex.split(line)
                assert words[0] == "snnrobust"
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0, (line, result.output)
    assert "layer0.tau_mem: 40 devices measured" in capsys.readouterr().out
    fitted = load_profile("lab.yaml").parameters.tau_mem
    assert fitted.components.device.cv == pytest.approx(0.1, rel=0.2)  # what my_chip.yaml plants
    assert set(json.loads(Path("chip_0.json").read_text())) >= {"parameters", "codes", "masks", "profile_hash"}


def test_every_kind_of_block_is_known():
    assert {kind for kind, _ in BLOCKS} == {"yaml", "csv", "python", ""}
