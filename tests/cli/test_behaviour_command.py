"""behaviour on the command line."""

import pytest
from commands import run, said, trained_in

from snnrobust.evaluation import read_behaviour


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("behaviour"), 4)


def test_behaviour_prints_and_keeps(trained, tmp_path):
    output = tmp_path / "b.h5"
    words = (
        "behaviour",
        trained,
        "--profile",
        "pcm_ibm",
        "--chips",
        3,
        "--samples",
        12,
        "--time",
        "25,1y",
        "-o",
        output,
    )
    text = said(run(*words))
    for part in (
        "behaviour of 3 chips on 12 samples",
        "nominal",
        "pcm_ibm 25 s",
        "pcm_ibm 1y",
        "layer0 (8)",
        "silent:",
    ):
        assert part in text
    assert "3 chips x" in text
    assert read_behaviour(output).conditions == ("nominal", "pcm_ibm 25 s", "pcm_ibm 1y")
    assert said(run(*words)) == text


def test_the_network_s_own_file_keeps_it_for_page_and_figure(trained, tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(trained.read_bytes())
    few = ("--profile", "dynapse1", "--chips", 2, "--samples", 9)
    said(run("behaviour", path, *few, "-o", path))
    said(run("deploy", path, "--profile", "dynapse1", "--chips", 2, "-o", tmp_path / "run.h5"))
    said(run("behaviour", path, *few, "-o", tmp_path / "run.h5"))
    said(run("report", tmp_path / "run.h5", "-o", tmp_path / "run.html"))
    page = (tmp_path / "run.html").read_text()
    assert "Behaviour" in page
    assert "as the network on no chip does under dynapse1" in page
    for file in (path, tmp_path / "run.h5"):
        assert "network on no chip" in said(run("figure", "behaviour", file, "-o", tmp_path / "f.pdf"))
    assert "holds another behaviour of" in run("behaviour", path, *few, "--seed", 2, "-o", path).output


def test_modes_stand_side_by_side(trained):
    text = said(
        run(
            "behaviour",
            trained,
            "--profile",
            "dynapse1",
            "--chips",
            2,
            "--samples",
            9,
            "--calibration",
            "none,core_mean",
        )
    )
    assert "dynapse1 (core_mean)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--time", "1h"), "nothing in dynapse1 depends on the time since programming"),
        (("--time", "soon"), "time: 'soon' is not a time"),
        (("--temperature", "warm"), "temperature: 'warm' must be numbers with commas"),
        (("--samples", "0"), "samples"),
    ],
)
def test_wrong_options_are_one_line(trained, words, message):
    result = run("behaviour", trained, "--profile", "dynapse1", *words)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
