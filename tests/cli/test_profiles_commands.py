"""`snnrobust profiles`: list, show, diff, schema and validate, what they print and their mistakes."""

from __future__ import annotations

import json

import pytest
from commands import run

from snnrobust.hardware.profile import list_profiles, load_profile
from snnrobust.hardware.schema.json_schema import json_schema

NAMES = [summary.name for summary in list_profiles()]


def mistake(*words):
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_list():
    result = run("profiles", "list")
    assert result.exit_code == 0
    heading, *lines = [line for line in result.stdout.splitlines() if line.strip()]
    assert heading.split() == ["profile", "technology", "kind", "numbers", "assumed", "(%)"]
    assert [line.split()[0] for line in lines] == NAMES
    rows = {line.split()[0]: line for line in lines}
    counts = load_profile("pcm_ibm").evidence_summary().counts
    total = sum(counts.values())
    assert rows["pcm_ibm"].split()[1:] == [
        *("pcm,", "90", "nm", "CMOS", "crossbar", str(total), f"{100 * counts['assumption'] / total:.1f}")
    ]
    assert rows["ideal"].split() == ["ideal", "ideal", "0"]
    assert "180 nm CMOS" in rows["rolls"]


@pytest.mark.parametrize("name", NAMES)
def test_show_counts_the_assumptions(name):
    result = run("profiles", "show", name)
    assert result.exit_code == 0
    counts = load_profile(name).evidence_summary().counts
    total, assumed = sum(counts.values()), counts.get("assumption", 0)
    said = f"evidence: {assumed} of {total} numbers are assumptions" if total else "evidence: no numbers"
    assert said in result.stdout
    for source in load_profile(name).sources:
        assert source.key in result.stdout
        assert (source.doi or source.arxiv or source.key) in result.stdout.replace("\n", "")


def test_show_plot(tmp_path):
    path = tmp_path / "chip.png"
    result = run("profiles", "show", "reram_cmo", "--plot", path)
    assert result.exit_code == 0
    assert result.stdout == run("profiles", "show", "reram_cmo").stdout
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "ideal", "--plot", "a.png"), "ideal: nothing varies, so there is nothing to plot"),
        (("show", "rolls", "--plot", "a.txt"), "plot: a.txt must end in one of"),
        (("show", "rolls", "--plot", "no/a.png"), "plot: no/a.png cannot be written: No such file or directory"),
        (("diff", "rolls", "nothing"), "profile: unknown 'nothing'; allowed:"),
        (("diff", "none.yaml", "rolls"), "none.yaml: no such file"),
        (("diff", "rolls"), "Missing argument 'second'"),
    ],
)
def test_mistakes_are_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = mistake("profiles", *words)
    assert line.startswith("error: ")
    assert said in line
    assert not list(tmp_path.iterdir())


def test_diff():
    result = run("profiles", "diff", "generic_subthreshold_180nm_10", "generic_subthreshold_180nm_30")
    assert result.exit_code == 0
    title, *lines = [line for line in result.stdout.splitlines() if line.strip()]
    assert title.strip() == "generic_subthreshold_180nm_10 -> generic_subthreshold_180nm_30"
    assert [line.split() for line in lines if line.startswith("parameters")] == [
        [f"parameters.{role}.components.device.cv", "0.1", "0.3", "derived", "pineda2004"]
        for role in ("weight", "bias", "tau_mem", "tau_syn", "v_th")
    ]


def test_diff_of_evidence_and_of_what_is_absent():
    lines = run("profiles", "diff", "dynapse1", "dynapse2").stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[:1].strip()}
    assert rows["faults.dead_synapse"] == ["0", "0.06", "-", "->", "measured", "maryada2023"]
    assert rows["parameters.weight.components.die.cv"] == ["0.05", "assumption", "->", "-"]
    assert rows["faults.known"] == ["false", "true"]
    tau = "parameters.tau_mem.components.device.cv"
    assert rows[tau][:6] == ["0.096", "0.096", "measured", "buchel2021", "->", "assumption"]


def test_diff_of_nothing_and_of_files_of_one_name(tmp_path):
    assert run("profiles", "diff", "rolls", "rolls").stdout == "no difference\n"
    path = tmp_path / "mine.yaml"
    path.write_text(load_profile("rolls").to_yaml().replace("cv: 0.15", "cv: 0.1500000001"))
    lines = [line.split() for line in run("profiles", "diff", "rolls", path).stdout.splitlines() if line.strip()][1:]
    assert lines[0] == ["rolls", "(1)", "rolls", "(2)", "how", "known"]
    assert lines[1] == ["parameters.weight.components.device.cv", "0.15", "0.1500000001", "assumption"]
    assert len(lines) == 2


def test_schema():
    result = run("profiles", "schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_validate_reports_every_error_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    text = load_profile("brainscales2").to_yaml()
    path.write_text(text)
    assert run("profiles", "validate", path).stdout == f"{path}: valid\n"
    wrong = (
        text.replace("value: 1000.0", "value: -1")
        .replace("sd: 0.3", "sd: 30")
        .replace("signed_by: row", "signed_by: x")
    )
    path.write_text(wrong + "energy: {static: 1}\n")
    lines = mistake("profiles", "validate", path)
    places = {line.split(": ")[2]: int(line.split(":")[2]) for line in lines}
    assert set(places) == {
        "parameters.v_th.components.device.sd",
        "limits.signed_by",
        "time_scale.value",
        "energy.static",
    }
    numbered = wrong.splitlines()
    assert "sd: 30" in numbered[places["parameters.v_th.components.device.sd"] - 1]
    assert "signed_by: x" in numbered[places["limits.signed_by"] - 1]
    assert places["energy.static"] == len(numbered) + 1
