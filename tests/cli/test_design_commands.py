"""sensitivity, spec and bits on the command line: tables, files, one line for every mistake."""

import pytest
from commands import run, trained_in

from snnrobust.hardware import load_profile
from snnrobust.storage import read_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("design"), 2)


def words_of(result):
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_sensitivity_ranks_and_keeps_the_scores(trained, tmp_path):
    output = tmp_path / "s.h5"
    options = ("--profile", "dynapse1", "--chips", 4, "--accuracy", 0.2, "--tornado")
    text = words_of(run("sensitivity", trained, *options, "-o", output))
    for words in ("calibrate first", "tau_mem", "interaction", "most sensitive neurons", "uncertain numbers", "4 sim"):
        assert words in text
    tree = read_run(output)
    assert tree.array("analyses/sensitivity/standard on dynapse1/accuracy").values.shape == (14, 4)
    assert "analyses/tornado/standard on dynapse1" in tree
    assert "models/standard" in tree


def test_the_same_analysis_is_read_and_another_one_refused(trained, tmp_path):
    output = tmp_path / "s.h5"
    words = ("sensitivity", trained, "--level", 0.3, "--accuracy", 0.2, "--chips", 4, "-o", output)
    first, before = words_of(run(*words)), read_run(output)
    assert words_of(run(*words)) == first
    assert read_run(output).attrs == before.attrs
    other = run(*words, "--seed", 2)
    assert other.exit_code == 2
    assert "holds another sensitivity of standard on relative_0.3 (seed: 1 there, 2 here)" in other.stderr
    assert words_of(run(*words, "--seed", 2, "--overwrite")) != first


def test_results_go_beside_a_benchmark_and_a_benchmark_beside_results(trained, tmp_path):
    design = ("--level", 0.1, "--yield", 0.7, "--accuracy", 0.15, "--chips", 10)
    for output, first in ((tmp_path / "a.h5", "benchmark"), (tmp_path / "b.h5", "bits")):
        commands = {
            "benchmark": ("benchmark", trained, "--levels", "0,0.2", "--chips", 3, "-o", output),
            "bits": ("bits", trained, *design, "--weight-bits", 4, "--scales", 1, "-o", output),
        }
        order = [first, *(name for name in commands if name != first), "benchmark"]
        for name in order:
            words_of(run(*commands[name]))
        tree = read_run(output)
        assert tree.array("tolerance/accuracy").values.shape == (1, 2, 3)
        assert "analyses/bits/standard on relative_0.1" in tree
        assert tree.attrs["kind"] == "benchmark"
        assert len(list(tmp_path.glob("*.h5*"))) == 1 + (output.name == "b.h5")
    words_of(run("bits", output, *design, "--weight-bits", 5, "--scales", 1, "-o", output, "--overwrite"))
    assert "tolerance" in read_run(output)


def test_a_specification_can_be_deployed(trained, tmp_path):
    output = tmp_path / "chip.yaml"
    options = ("--level", 0.2, "--yield", 0.7, "--accuracy", 0.15, "--chips", 20)
    text = words_of(run("spec", trained, *options, "-o", output))
    for words in ("largest spreads of relative_0.2", "together", "fresh chips", "trim bits"):
        assert words in text
    assert load_profile(output).kind == "relative"
    assert "chips" in words_of(run("deploy", trained, "--profile", output, "--chips", 2))


def test_bits_print_a_table(trained):
    options = ("--level", 0.1, "--yield", 0.7, "--accuracy", 0.15, "--chips", 10, "--weight-bits", "3,6")
    text = words_of(run("bits", trained, *options, "--scales", "0,1"))
    assert "weight bits" in text
    assert "x 0" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sensitivity",), "error: profile: give either --profile or --level"),
        (("spec", "--level", 0.1, "--profile", "dynapse1"), "error: profile: give either"),
        (("spec", "--level", 0.1, "--chips", 20), "error: chips: 20 cannot show a yield of 0.99"),
        (("spec", "--level", 0.1, "--accuracy", 90), "error: accuracy: 90.0 must be a fraction"),
        (("spec", "--level", 0.1, "--cost", "weight"), "error: cost: 'weight' must be a role and a number"),
        (("bits", "--level", 0.1, "--weight-bits", "a"), "error: weight-bits: 'a' must be whole numbers"),
        (("bits", "--level", 0.1, "--yield", 99), "error: yield: 99.0 must be a fraction"),
        (("sensitivity", "--profile", "ideal"), "error: ideal: nothing varies"),
        (("sensitivity", "--level", 0.1, "--by", "neuron"), "error: by: unknown 'neuron'"),
    ],
)
def test_a_mistake_is_one_line(trained, words, message):
    result = run(words[0], trained, *words[1:])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
