"""tolerance, compare, and chips until a verdict, on the command line."""

import numpy as np
import pytest
from commands import run, said, trained_in

from snnrobust.storage import read_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("yields"), 4)


def test_tolerance_prints_and_keeps_levels(trained, tmp_path):
    output = tmp_path / "t.h5"
    words = ("tolerance", trained, "--yield", 0.5, "--accuracy", 0.4, "--chips", 12, "--grid", "0,0.5,1", "-o", output)
    text = said(run(*words))
    for part in (
        "tolerance at 50.0 %",
        "95 % interval",
        "re-entrant",
        "12 simulated test chips",
        "tested at 0, 0.5, 1",
    ):
        assert part in text
    assert read_run(output).array("analyses/tolerance/standard on relative levels/breaking_level").values.shape == (12,)
    assert said(run(*words)) == text
    few = said(run("tolerance", trained, "--accuracy", 0.4, "--chips", 5, "--grid", "0,1", "--profile", "dynapse1"))
    assert "not resolved (5)" in few
    assert "a yield of 99.0 % takes 368 chips" in few
    assert "multiple of the spreads of dynapse1" in few


def test_deploy_until_a_verdict(trained, tmp_path):
    output = tmp_path / "d.h5"
    options = (
        "--profile",
        "dynapse1",
        "--until",
        "yield>0.5",
        "--max-chips",
        64,
        "--specification",
        0.05,
        "-o",
        output,
    )
    text = said(run("deploy", trained, *options))
    assert "95 % confidence sequence" in text
    assert " pass " in text
    assert "at most 64 simulated test chips" in text
    assert read_run(output).group("tolerance").attrs["until"] == "yield>0.5"


def test_deploy_with_samples_and_a_drop(trained):
    text = said(run("deploy", trained, "--profile", "dynapse1", "--chips", 10, "--keep-samples", "--drop", 0.05))
    assert ">= nominal" in text
    assert "- 5.0" in text
    assert "bootstrap interval over chips and 370 samples; approximate" in text


def test_rare_failures_beside_plain_monte_carlo(trained, tmp_path):
    options = ("--profile", "dynapse1", "--accuracy", 0.2, "--chips", 20, "--plain", 10)
    text = said(run("rare", trained, *options, "-o", tmp_path / "r.h5"))
    assert said(run("rare", trained, *options, "-o", tmp_path / "r.h5")) == text
    for part in ("under the profile's assumed tail", "subset simulation, 10 runs of 20 chips", "plain Monte Carlo"):
        assert part in text
    assert "common factors, 20 weighted chips" in said(run("rare", trained, *options, "--method", "importance"))


def test_compare_conditions_and_methods(trained, tmp_path):
    networks = [trained]
    for name, seed in (("standard", 4), ("forward_noise", 3), ("forward_noise", 4)):
        networks.append(tmp_path / f"{name}{seed}.h5")
        options = ("--hidden", 8, "--epochs", 2 if name == "forward_noise" else 4, "--seed", seed, "-o", networks[-1])
        assert run("train", "--objective", name, *options).exit_code == 0
    output = tmp_path / "b.h5"
    assert run("benchmark", *networks, "--levels", "0,0.5", "--chips", 6, "-o", output).exit_code == 0
    text = said(run("compare", output, "--specification", 0.3))
    for part in ("differences from relative_0 in", "McNemar", "forward_noise - standard", "no test: 2 seeds"):
        assert part in text
    assert "differences from relative_0.5 in" in said(run("compare", output, "--against", "relative_0.5"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("deploy", "--profile", "dynapse1", "--until", "yield<1"), "error: until: 'yield<1' must be yield_width=w"),
        (("deploy", "--profile", "dynapse1", "--max-chips", "9"), "error: max-chips: 9 is for --until"),
        (("tolerance", "--grid", "0.1,1"), "error: grid: 0.1, 1 must be ascending levels from 0"),
        (("tolerance", "--grid", ""), "error: grid:  must be ascending levels from 0"),
        (("tolerance", "--grid", "a"), "error: grid: 'a' must be numbers"),
        (("tolerance", "--yield", "1.5", "--chips", "2", "--grid", "0,1"), "error: yield: 1.5 must be between 0 and 1"),
        (("tolerance", "--profile", "dynaps"), "error: profile: unknown 'dynaps'"),
        (("compare",), "error: "),
        (("rare", "--profile", "dynapse1", "--method", "is"), "error: method: unknown 'is'"),
        (("rare", "--profile", "dynapse1", "--runs", "3"), "error: runs: 3 must be at least 10"),
        (("rare", "--profile", "pcm_ibm"), "error: pcm_ibm: subset simulation needs chips without slow noise"),
    ],
)
def test_a_mistake_is_one_line(trained, words, message):
    result = run(words[0], trained, *words[1:])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(message)


def test_a_single_condition_cannot_be_compared(trained, tmp_path):
    assert run("deploy", trained, "--profile", "ideal", "--chips", 2, "-o", tmp_path / "d.h5").exit_code == 0
    result = run("compare", tmp_path / "d.h5")
    assert result.exit_code == 2
    assert "there is nothing to compare" in result.stderr
    unknown = run("compare", tmp_path / "d.h5", "--against", "x")
    assert "condition: unknown 'x'" in unknown.stderr
    assert np.isfinite(read_run(tmp_path / "d.h5").array("tolerance/nominal").values).all()
