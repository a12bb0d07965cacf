"""check, figure, export, cite and report on the command line: from results of every kind to files, or one line."""

import csv
import json
import re

import pytest
from commands import run, said, trained_in

from snnrobust.evaluation import chip_yield, read_tolerance
from snnrobust.storage import read_run


def mistake(result):
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("outputs"), 4)


@pytest.fixture(scope="module")
def results(net):
    """Chips of a profile over time and of two levels, with analyses beside them."""
    path = net.with_name("run.h5")
    levels = ("--levels", "0,0.5", "--profiles", "dynapse1", "--chips", 20, "-o", path)
    said(run("benchmark", net, *levels))
    said(
        run(
            "worst", net, "--radii", "0.1,0.3", "--steps", 2, "--restarts", 1, "--chips", 3, "--samples", 40, "-o", path
        )
    )
    said(run("sensitivity", net, "--level", 0.5, "--accuracy", 0.4, "--chips", 8, "-o", path))
    return path


@pytest.mark.parametrize(
    ("claims", "code", "verdicts"),
    [
        (["yield(dynapse1, accuracy>=.05) > .7"], 0, ["pass"]),
        (["yield(dynapse1, accuracy>=.99) > .9"], 1, ["fail"]),
        (["yield(dynapse1, accuracy>=.05) > .9"], 3, ["undecided"]),
        (["nominal() > .05", "yield(dynapse1, accuracy>=.05) > .9"], 3, ["pass", "undecided"]),
        (["yield(relative_0.5, accuracy>=.99) > .9", "yield(dynapse1, accuracy>=.05) > .9"], 1, ["fail", "undecided"]),
    ],
)
def test_check_tells_by_its_exit_code(results, claims, code, verdicts):
    found = run("check", results, *(word for claim in claims for word in ("--require", claim)))
    assert found.exit_code == code, found.output
    lines = found.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == verdicts
    for line, claim in zip(lines, claims, strict=True):
        assert claim in line
        assert "nominal" in claim or "20 of 20 chips of" in line or "0 of 20 chips of" in line
        assert "nominal" in claim or "two-sided 95 % Clopper-Pearson interval" in line


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("yeild(dynapse1, accuracy>=.95) > .97", "unknown 'yeild' (did you mean 'yield'?)"),
        ("yield(dynapse2, accuracy>=.95) > .97", "chip: unknown 'dynapse2' (did you mean 'dynapse1'?)"),
        ("yield(dynapse1, accuracy>=95) > .97", "95 must be a fraction"),
        ("yield(dynapse1#00, accuracy>=.9) > .9", "not of dynapse1#00"),
    ],
)
def test_a_mistaken_claim_is_one_line(results, claim, message):
    assert message in mistake(run("check", results, "--require", claim))


def test_check_needs_results(net, results):
    assert "holds no results of a benchmark" in mistake(run("check", net, "--require", "nominal() > .9"))
    assert "--require" in mistake(run("check", results))


def test_figures_of_all_that_is_there(results, tmp_path):
    for name in ("level", "yield", "chips", "distribution", "training", "worst_case", "sensitivity"):
        output = tmp_path / f"{name}.pdf"
        text = said(run("figure", name, results, "-o", output, "--width", "85mm", "--specification", 0.4))
        assert text.startswith(str(output))
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", output.read_bytes())
        assert float(box.group(1)) == pytest.approx(85 / 25.4 * 72, abs=0.1)
    listed = said(run("figure", "--list"))
    for name in ("level", "drift", "tornado", "specification"):
        assert name in listed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("levle", "RUN", "-o", "f.pdf"), "figure: unknown 'levle' (did you mean 'level'?)"),
        (
            ("tornado", "RUN", "-o", "f.pdf"),
            "run.h5: holds no tornado; `snnrobust sensitivity NET.h5 --profile P --tornado",
        ),
        (("drift", "RUN", "-o", "f.pdf"), "figure drift needs one profile at two times; `snnrobust deploy"),
        (("level", "RUN", "-o", "f.jpg"), "ending of f.jpg: unknown 'jpg'"),
        (("level", "RUN", "-o", "f.pdf", "--width", "85"), "width: '85' must be a number with mm, cm or in"),
        (("level", "RUN", "-o", "f.pdf", "--width", "900mm"), "width: 900 mm must be from 20 to 400 mm"),
        (("level", "RUN"), "figure: give a name, a run file and -o FILE"),
        (("level", "RUN", "-o", "RUN"), "is also an input"),
        (("level", "none.h5", "-o", "f.pdf"), "none.h5: no such file"),
    ],
)
def test_a_mistaken_figure_is_one_line(results, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in mistake(run("figure", *(results if word == "RUN" else word for word in words)))
    assert not list(tmp_path.iterdir())


def test_export_and_cite(results, tmp_path):
    said(run("export", results, "-o", tmp_path / "r.csv"))
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert len(rows) == 3 * 20
    assert {row["condition"] for row in rows} == {"relative_0", "relative_0.5", "dynapse1"}
    said(run("export", results, "-o", tmp_path / "t.tex"))
    assert "\\toprule" in (tmp_path / "t.tex").read_text()
    said(run("export", results, "-o", tmp_path / "s.tex", "--table", "sensitivity"))
    assert "calibrate first" in (tmp_path / "s.tex").read_text()
    assert "must end in .csv" in mistake(run("export", results, "-o", tmp_path / "r.xlsx"))
    assert "holds no bits" in mistake(run("export", results, "-o", tmp_path / "b.tex", "--table", "bits"))
    text = said(run("cite", results))
    for part in ("20 simulated chips (seed 1)", "@misc{snnrobust,", "buchel2021", "10.1038/s41598-021-02779-x"):
        assert part in text


def test_intervals_may_hold_at_all_specifications(net, results, tmp_path):
    words = ("export", results, "--simultaneous", "-o", tmp_path / "t.tex", "--specification", 0.4)
    said(run(*words))
    assert "two-sided 95 \\% interval for all specifications at once" in (tmp_path / "t.tex").read_text()
    said(run("export", results, "--table", "distribution", "-o", tmp_path / "d.csv"))
    rows = [row for row in csv.DictReader((tmp_path / "d.csv").open()) if row["condition"] == "dynapse1"]
    accuracy = read_tolerance(results)[0].accuracy[0, 2]
    for row in rows[:-1]:
        every = chip_yield(accuracy, float(row["accuracy"]), simultaneous=True)
        found = [float(row[name]) for name in ("yield", "low", "high")]
        assert found == pytest.approx(every[:3])
    assert (rows[-1]["accuracy"], rows[-1]["yield"], rows[-1]["chips"]) == ("1.0", "0.0", "20")
    text = said(run("deploy", net, "--profile", "dynapse1", "--chips", 5, "--simultaneous"))
    assert "two-sided 95 % interval for all specifications at once" in text
    words = ("deploy", net, "--profile", "dynapse1", "--until", "yield>0.5", "--simultaneous")
    assert "simultaneous: not with --until" in mistake(run(*words))


def test_the_page_shows_analyses_and_commands(results, tmp_path):
    said(run("report", results, "-o", tmp_path / "page.html", "--specification", 0.4))
    page = (tmp_path / "page.html").read_text()
    for part in ("What to calibrate first", "Worst case", "not a yield statement", "commands of the analyses"):
        assert part in page
    assert read_run(results).attrs["command"]


def test_drift_over_several_times(net, tmp_path):
    path = tmp_path / "d.h5"
    said(run("deploy", net, "--profile", "pcm_ibm", "--time", "1h,1d,1y", "--chips", 3, "-o", path))
    stored = read_run(path)
    names = ["pcm_ibm_at_1h", "pcm_ibm_at_1d", "pcm_ibm_at_1y"]
    assert stored.array("tolerance/condition").values.tolist() == names
    assert set(json.loads(stored.attrs["config"])["profiles"]) == set(names)
    said(run("figure", "drift", path, "-o", tmp_path / "d.svg"))
    assert "time since programming" in (tmp_path / "d.svg").read_text()
    assert "not a time" in mistake(run("deploy", net, "--profile", "pcm_ibm", "--time", "1h,x"))
