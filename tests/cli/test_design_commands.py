"""sensitivity, spec and bits on the command line: tables, files, one line for every mistake."""

import pytest
from typer.testing import CliRunner

from snnrobust.cli import app
from snnrobust.hardware import load_profile
from snnrobust.storage import read_run


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("design") / "net.h5"
    result = run("train", "--hidden", 8, "--epochs", 2, "--seed", 3, "-o", path)
    assert result.exit_code == 0, result.output
    return path


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
    label = next(name for name, _ in tree.groups())
    assert tree.array(f"{label}/sensitivity/accuracy").values.shape == (14, 4)
    assert "tornado" in tree.group(label)
    again = run("sensitivity", trained, *options, "-o", output)
    assert again.exit_code == 2
    assert "give --overwrite" in again.stderr


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
