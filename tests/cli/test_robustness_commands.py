"""worst, landscape and certify on the command line: tables, the statement beside them, one line for every mistake."""

import pytest
from commands import run, trained_in

from snnrobust.errors import RunFileError
from snnrobust.evaluation import open_results
from snnrobust.storage import read_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("robustness"), 2)


def test_worst_prints_curves_and_keeps_the_chip(trained, tmp_path):
    output = tmp_path / "worst.h5"
    options = ("--radii", "0.1,0.3", "--steps", 2, "--restarts", 2, "--chips", 2, "--samples", 40)
    result = run("worst", trained, *options, "-o", output)
    assert result.exit_code == 0, result.output
    for words in ("task attack", "kl attack", "vertices min", "a worst case, not a yield statement", "40 samples"):
        assert words in " ".join(result.stdout.split())
    place = "analyses/worst_case/standard on relative levels"
    assert read_run(output).array(f"{place}/radius").values.tolist() == [0.1, 0.3]
    again = run("worst", trained, *options, "-o", output, "--chip", tmp_path / "chip.h5")
    assert again.stdout.startswith(result.stdout)
    chip = read_run(tmp_path / "chip.h5")
    assert chip.array("worst_case/radius").values.tolist() == [0.1, 0.3]
    assert set(chip.group("parameters").items) == set(read_run(output).group(f"{place}/harmful/parameters").items)


def test_certificates_are_kept(trained, tmp_path):
    words = ("certify", trained, "--boxes", "0,0.001", "--samples", 30, "-o", tmp_path / "c.h5")
    first = run(*words)
    assert first.exit_code == 0, first.output
    assert run(*words).stdout == first.stdout
    found = read_run(tmp_path / "c.h5").group("analyses/certificate/standard on relative levels")
    assert found.array("certified").values.shape == (2, 30)


def test_landscapes_are_kept_drawn_and_exported(trained, tmp_path):
    output = tmp_path / "land.h5"
    options = ("--points", 3, "--across", 3, "--directions", 2, "--steps", 2, "--restarts", 1, "--samples", 30)
    first = run("landscape", trained, *options, "-o", output)
    assert first.exit_code == 0, first.output
    for words in ("slope, adversarial direction", "20 % of each weight", "30 test samples of vowels", "nats"):
        assert words in " ".join(first.stdout.split())
    assert run("landscape", trained, *options, "-o", output).stdout == first.stdout
    kept = read_run(output).group("analyses/landscape/standard on relative levels")
    assert kept.array("slice").values.shape == (3, 3)
    found = open_results(output, "landscape")
    assert found["random"].sel(alpha=0.0).values.tolist() == [kept.array("adversarial").values[1]] * 2
    assert run("figure", "landscape", output, "-o", tmp_path / "f.svg").exit_code == 0
    assert run("export", output, "--table", "landscape", "-o", tmp_path / "l.csv").exit_code == 0
    assert ",random,-2.0,1," in (tmp_path / "l.csv").read_text()
    with pytest.raises(RunFileError, match="unknown 'landscap'"):
        open_results(output, "landscap")
    with pytest.raises(RunFileError, match="landscape of: unknown 'x'"):
        open_results(output, "landscape", of="x")


def test_certify_prints_boxes_and_the_largest(trained):
    result = run("certify", trained, "--boxes", "0,0.001", "--samples", 30, "--profile", "dynapse1")
    assert result.exit_code == 0, result.output
    for words in ("samples certified", "largest box", "never a share of chips", "the box leaves out: outliers"):
        assert words in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("worst", "--radii", "a"), "error: radii: 'a' must be numbers"),
        (("worst", "--losses", "ce"), "error: loss: unknown 'ce'"),
        (("landscape", "--radii", "a"), "error: radii: 'a' must be numbers"),
        (("landscape", "--points", "4"), "error: points: 4 must be odd"),
        (("certify", "--boxes", "-1"), "error: k: -1.0 must be"),
        (("certify", "--boxes", ""), "error: boxes: at least one size"),
        (("worst", "--radii", ""), "error: worst_case: at least one radius"),
        (("certify", "--profile", "pcm_ibm"), "error: pcm_ibm: no bounds over devices"),
    ],
)
def test_a_mistake_is_one_line(trained, words, message):
    result = run(words[0], trained, *words[1:])
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
