"""deploy --finetune: the same chips plain and after calibration in the loop, and what that costs."""

import numpy as np
import pytest
from commands import run, trained_in

from snnrobust.evaluation import read_tolerance


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("finetune"), 2)


def test_beside_other_modes(trained):
    """A row a mode, with `Tuning()` but for the passes, and no word that such chips are as they were."""
    words = ("deploy", trained, "--profile", "brainscales2", "--chips", 2)
    result = run(*words, "--calibration", "none,trim,in_the_loop", "--finetune", 1)
    assert result.exit_code == 0, result.output
    rows = [line.split(" standard ")[0].strip() for line in result.stdout.splitlines() if " standard " in line]
    assert rows == ["brainscales2", "brainscales2 (trim)", "brainscales2 (in_the_loop)"]
    assert "brainscales2: not calibrated, although" in " ".join(result.stdout.split())
    assert "brainscales2 (in_the_loop): not calibrated" not in " ".join(result.stdout.split())


def test_plain_and_calibrated_chips_side_by_side(trained, tmp_path):
    plain, both = tmp_path / "plain.h5", tmp_path / "both.h5"
    words = ("deploy", trained, "--profile", "brainscales2", "--chips", 3)
    assert run(*words, "-o", plain).exit_code == 0
    result = run(*words, "-o", both, "--finetune", 1, "--knobs", "readout,bias")
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    for text in ("brainscales2 (in_the_loop)", "in the loop, each chip:", "samples answered", "writes"):
        assert text in shown
    found, _ = read_tolerance(both)
    assert found.conditions == ("brainscales2", "brainscales2 (in_the_loop)")
    np.testing.assert_array_equal(found.accuracy[:, :1], read_tolerance(plain)[0].accuracy)
    assert not np.array_equal(found.accuracy[0, 0], found.accuracy[0, 1])
    again = run(*words, "-o", both, "--finetune", 1, "--knobs", "readout,bias")
    assert again.stdout == result.stdout
    page = tmp_path / "report.html"
    assert run("report", both, "-o", page).exit_code == 0
    assert "brainscales2 (in_the_loop)" in page.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--finetune", 1, "--knobs", "readuot"), "knobs"),
        (("--finetune", 1, "--knobs", "adaptation"), "knobs: 'adaptation' is nothing that this Network has"),
        (("--finetune", 0), "finetune"),
        (("--knobs", "bias"), "knobs: nothing is written unless --calibration names in_the_loop"),
        (("--calibration", "in_loop"), "calibration: unknown 'in_loop'"),
    ],
)
def test_mistakes_are_one_line(trained, words, message):
    result = run("deploy", trained, "--profile", "dynapse1", "--chips", 2, *words)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert message in lines[0]
