"""The examples of the documentation run, at small sizes."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SIZES = {
    "own_data": {"samples": 90, "epochs": 12, "chips": 3},
    "deploy_norse_network": {"hidden": 30, "steps": 40, "chips": 3},
    "deploy_snntorch_network": {"hidden": 30, "steps": 25, "chips": 3},
}


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_example(name):
    if "snntorch" in name:
        pytest.importorskip("snntorch", reason="snntorch is not installed (extra [test])")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # norse and snntorch use deprecated parts of torch
        main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
        result = main(**SIZES[name])
    assert result.conditions == ("dynapse1",)
    accuracy = result.accuracy[0, 0]
    classes = 3 if name == "own_data" else 9
    assert accuracy.shape == (3,)
    assert accuracy.mean() > 2 / classes  # far above chance, even at these sizes
    assert len(np.unique(accuracy)) > 1


@pytest.mark.parametrize("name", SIZES)
def test_the_heart_of_an_example_is_short(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    body = text.partition("def main(")[2].partition("if __name__")[0]
    lines = [line for line in body.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 11
    assert name not in sys.modules
