"""The command line: what it prints, and one line and exit code 2 for every mistake."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import snnrobust
from snnrobust.cli import app
from snnrobust.cli.inputs import objective_of
from snnrobust.hardware.profile import list_profiles, load_profile
from snnrobust.storage import locked, read_run
from snnrobust.training.objectives import OBJECTIVES, Adversarial, ForwardNoise, Standard

COMMANDS = [
    (),
    ("demo",),
    ("train",),
    ("deploy",),
    ("benchmark",),
    ("report",),
    ("worst",),
    ("certify",),
    ("tolerance",),
    ("compare",),
    ("rare",),
    ("check",),
    ("figure",),
    ("export",),
    ("cite",),
    ("profiles",),
    ("profiles", "list"),
    ("profiles", "show"),
    ("profiles", "validate"),
    ("profiles", "fit"),
    ("profiles", "diff"),
    ("profiles", "schema"),
    ("tasks",),
    ("tasks", "list"),
    ("tasks", "show"),
    ("data",),
    ("data", "where"),
    ("data", "download"),
]


@pytest.fixture(autouse=True)
def no_data_but_the_shipped(monkeypatch, tmp_path_factory):
    monkeypatch.delenv("SNNROBUST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "empty-cache"))


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def mistake(*words):
    """The lines of a command that must end with exit code 2 and nothing but lines that begin with `error: `."""
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines)
    return [line.removeprefix("error: ") for line in lines]


SMALL = ("--hidden", 10, "--epochs", 2, "--seed", 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two networks, trained for two epochs by the command line."""
    folder = tmp_path_factory.mktemp("trained")
    attack = ("--objective", "adversarial", "--attack-steps", 1)
    results = {
        "standard": run("train", *SMALL, "-o", folder / "standard.h5"),
        "adversarial": run("train", *SMALL, *attack, "-o", folder / "adversarial.h5"),
    }
    assert all(result.exit_code == 0 for result in results.values()), results
    return folder, results


# What it says


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
    assert "--help" in result.stdout


def test_commands_that_draw_have_a_seed():
    for command in ("demo", "train", "deploy", "benchmark"):
        assert "--seed" in run(command, "--help").stdout


def test_without_a_command_the_help_is_shown():
    result = run()
    assert result.exit_code == 2
    for name in ("demo", "train", "deploy", "benchmark", "report", "profiles", "tasks", "data"):
        assert name in result.output


@pytest.mark.parametrize("name", [p.name for p in list_profiles()])
def test_profiles_show(name):
    result = run("profiles", "show", name)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{name} (")
    assert load_profile(name).hash[:12] in result.stdout
    for number in load_profile(name).numbers():
        assert ".".join(map(str, number.path)) in result.stdout
    for missing in load_profile(name).not_simulated():
        assert missing in result.stdout.replace("\n", " ")


def test_brackets_in_a_profile_are_shown_as_they_are(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        'schema_version: "1.0"\nname: mine\nkind: analog_asic\n'
        'description: "chip [/b] of [bold]run 3[/bold] :smiley:"\n'
        "parameters: {weight: {distribution: normal, granularity: per_synapse, components: "
        '{device: {cv: 0.1, evidence: assumption, note: "see [/i] p. 3"}}}}\n'
    )
    result = run("profiles", "show", file)
    assert result.exit_code == 0
    assert "chip [/b] of [bold]run 3[/bold] :smiley:" in result.stdout
    assert "see [/i] p. 3" in result.stdout


def test_profiles_list():
    result = run("profiles", "list")
    assert result.exit_code == 0
    for profile in list_profiles():
        assert profile.name in result.stdout
        assert profile.kind in result.stdout


@pytest.mark.parametrize("name", ["vowels", "temporal_xor"])
def test_tasks_show(name):
    from snnrobust.tasks import load_task

    task, result = load_task(name), run("tasks", "show", name)
    assert result.exit_code == 0
    assert f"{task.inputs} inputs, {task.steps} steps" in result.stdout
    assert f"train {len(task.train)}, validation {len(task.validation)}, test {len(task.test)}" in result.stdout
    for text in (task.citation, task.licence, task.split, task.metric):
        assert text in result.stdout


def test_tasks_list():
    from snnrobust.tasks import list_tasks

    result = run("tasks", "list")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines() if line[:1].strip()}
    assert {name: rows[name] for name in ("vowels", "temporal_xor", "keywords", "ecg4")} == {
        "vowels": "yes",
        "temporal_xor": "yes",
        "keywords": "no",
        "ecg4": "no",
    }
    assert {t.name for t in list_tasks()} <= set(rows)


def test_data_where():
    result = run("data", "where")
    assert result.exit_code == 0
    assert "japanese_vowels.npz" in result.stdout.replace("\n", "")
    assert "snnrobust data download" in result.stdout.replace("\n", " ")


def test_list_and_help_need_neither_torch_nor_numba_nor_norse():
    code = """
import sys
from typer.testing import CliRunner
from snnrobust.cli import app
for words in (["--help"], ["train", "--help"], ["profiles", "list"], ["profiles", "show", "dynapse1"]):
    assert CliRunner().invoke(app, words).exit_code == 0
loaded = {"torch", "numba", "norse", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# The whole way


def test_train_says_what_it_kept(trained):
    folder, results = trained
    assert f"{folder / 'standard.h5'}: standard on vowels, 2 epochs" in results["standard"].stdout
    assert "adversarial on vowels, 2 epochs, weights: average of the last epochs" in results["adversarial"].stdout
    assert "validation accuracy of the last epoch" in results["adversarial"].stdout
    stored = read_run(folder / "standard.h5")
    assert (stored.attrs["kind"], stored.attrs["status"]) == ("training", "trained")


def test_train_prints_the_validation_of_the_weights_it_kept(tmp_path):
    path = tmp_path / "a.h5"
    result = run("train", "--hidden", 10, "--epochs", 6, "--learning-rate", 0.05, "--select", "validation", "-o", path)
    model = read_run(path).group("models/standard")
    scores = model.array("history/validation").values
    kept = int(model.attrs["selected_epoch"])
    assert kept == int(np.argmax(scores))
    assert result.stdout.endswith(f"weights: epoch {kept + 1}, validation accuracy {100 * scores.max():.1f} %\n")


def test_the_same_command_reads_a_finished_training(trained):
    folder, results = trained
    again = run("train", *SMALL, "-o", folder / "standard.h5")
    assert again.exit_code == 0
    assert again.stdout == results["standard"].stdout
    assert "train standard" not in again.stderr


def test_another_training_on_the_same_path(trained):
    folder, _ = trained
    (line,) = mistake("train", "--hidden", 10, "--epochs", 3, "--seed", 3, "-o", folder / "standard.h5")
    assert "holds another training (settings.epochs: 2 there, 3 here)" in line
    assert "overwrite" in line


def test_a_chip_at_another_time(trained):
    folder, _ = trained
    words = ("deploy", folder / "standard.h5", "--profile", "pcm_ibm", "--chips", 2)
    at_first = run(*words)
    assert run(*words, "--time", "1h").stdout == at_first.stdout
    assert run(*words, "--time", "3600").stdout == at_first.stdout
    assert run(*words, "--time", "1y").stdout != at_first.stdout


def test_deploy_prints_a_table_and_keeps_results(trained, tmp_path):
    folder, _ = trained
    words = ("deploy", folder / "standard.h5", "--profile", "dynapse1", "--chips", 3, "--specification", 0.5)
    result = run(*words, "-o", tmp_path / "d.h5")
    assert result.exit_code == 0
    (row,) = (line.split() for line in result.stdout.splitlines() if line.startswith("dynapse1 "))
    assert row[1] == "standard"
    assert row[-1] == "3"
    assert "yield >= 50.0" in result.stdout
    assert "3 simulated test chips (seed 1) on 370 samples of vowels" in result.stdout.replace("\n", " ")
    accuracy = read_run(tmp_path / "d.h5").array("tolerance/accuracy").values
    assert float(row[2]) == pytest.approx(100 * accuracy.mean(), abs=0.06)
    without_file = run(*words)
    assert without_file.stdout == result.stdout


def test_deploy_shows_modes_of_calibration_side_by_side(trained):
    folder, _ = trained
    words = ("deploy", folder / "standard.h5", "--profile", "brainscales2", "--chips", 3)
    result = run(*words, "--calibration", "none, trim,residual")
    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if line.startswith("brainscales2") and " standard " in line]
    names = [row.split(" standard ")[0].strip() for row in rows]
    assert names == ["brainscales2", "brainscales2 (trim)", "brainscales2 (residual)"]
    alone = run(*words)
    assert next(line for line in alone.stdout.splitlines() if " standard " in line).split() == rows[0].split()
    said = result.stdout.replace("\n", " ")
    assert "brainscales2: not calibrated, although the profile states calibration residual" in said
    assert "brainscales2 (trim): calibration trim of tau_mem" in said


def test_benchmark_and_report(trained, tmp_path):
    folder, _ = trained
    words = ("benchmark", folder / "standard.h5", folder / "adversarial.h5", "--chips", 3, "--levels", "0, 0.3")
    result = run(*words, "--profiles", "pcm_ibm,ideal", "-o", tmp_path / "r.h5")
    assert result.exit_code == 0
    rows = [line.split()[:2] for line in result.stdout.splitlines() if line.startswith(("relative_", "pcm_", "ideal "))]
    conditions = ("relative_0", "relative_0.3", "pcm_ibm", "ideal")
    assert [row for row in rows if row[0] in conditions] == [
        [c, m] for c in conditions for m in ("standard", "adversarial")
    ]
    table = read_run(tmp_path / "r.h5").array("tolerance/accuracy").values
    assert table.shape == (2, 4, 3)
    assert not np.isnan(table).any()
    again = run(*words, "--profiles", "pcm_ibm,ideal", "-o", tmp_path / "r.h5")
    assert again.stdout == result.stdout
    (line,) = mistake(*words, "--seed", 9, "-o", tmp_path / "r.h5")
    assert "holds another benchmark" in line
    if find_spec("snnrobust.report.html") is None:
        return
    page = run("report", tmp_path / "r.h5", "-o", tmp_path / "page.html")
    assert page.exit_code == 0
    assert "<html" in (tmp_path / "page.html").read_text()[:500]


def test_validation_chips(trained, tmp_path):
    folder, _ = trained
    words = ("benchmark", folder / "standard.h5", "--chips", 2, "--levels", 0.3, "--purpose", "validation")
    result = run(*words, "-o", tmp_path / "r.h5")
    assert "2 simulated validation chips (seed 1) on 63 samples" in result.stdout.replace("\n", " ")


# Mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--task", "vowel", "-o", "x.h5"), "task: unknown 'vowel' (did you mean 'vowels'?)"),
        (("train", "--objective", "adversary", "-o", "x.h5"), "objective: unknown 'adversary' (did you mean 'adv"),
        (("train", "--neuron", "lyf", "-o", "x.h5"), "neuron: unknown 'lyf' (did you mean 'lif'?)"),
        (("train", "--readout", "rates", "-o", "x.h5"), "readout: unknown 'rates' (did you mean 'rate'?)"),
        (("train", "--encoding", "rat", "-o", "x.h5"), "unknown 'rat'"),
        (("train", "--schedule", "cos", "-o", "x.h5"), "schedule: unknown 'cos'"),
        (("train", "--select", "best", "-o", "x.h5"), "select: unknown 'best'"),
        (("train", "--epochs", 0, "-o", "x.h5"), "epochs: 0 must be at least 1"),
        (("train", "--batch-size", 0, "-o", "x.h5"), "batch_size: 0 must be at least 1"),
        (("train", "--learning-rate", "nan", "-o", "x.h5"), "learning_rate: nan"),
        (("train", "--clip-norm", -1, "-o", "x.h5"), "clip_norm: -1.0"),
        (("train", "--tau-mem", -1, "-o", "x.h5"), "tau_mem: -1"),
        (("train", "--objective", "adversarial", "--attack-steps", 0, "-o", "x.h5"), "steps: 0 must be at least 1"),
        (("train", "--objective", "forward_noise", "--profile", "dynapse", "-o", "x.h5"), "profile: unknown 'dynapse'"),
        (("train", "--profile", "dynapse1", "-o", "x.h5"), "profile: dynapse1 is not for objective standard"),
        (("train", "-o", "missing/x.h5"), "missing/x.h5: folder"),
        (("train", "--label", "a/b", "-o", "x.h5"), "label: 'a/b'"),
        (("train", "-o", "."), ".: "),
        (("train", "--data", "missing", "-o", "x.h5"), "data: 'missing' is not a folder"),
        (("train", "--task", "keywords", "-o", "x.h5"), "snnrobust data download "),
        (("tasks", "show", "ecg4"), "snnrobust data download mitbih"),
        (("tasks", "show", "nothing"), "task: unknown 'nothing'"),
        (("data", "download", "nothing"), "unknown 'nothing'"),
        (("data", "where", "--data", "missing"), "data: 'missing' is not a folder"),
        (("profiles", "show", "dynapse"), "profile: unknown 'dynapse' (did you mean 'dynapse"),
        (("profiles", "show", "missing.yaml"), "missing.yaml: no such file"),
        (("profiles", "validate", "missing.yaml"), "missing.yaml: no such file"),
        (("deploy", "missing.h5", "--profile", "ideal"), "missing.h5: "),
        (("deploy", "x.h5", "--profile", "pcm_ibm", "--time", "soon"), "time: 'soon' is not a time; give seconds"),
        (("deploy", "x.h5", "--profile", "pcm_ibm", "--temperature", "330"), "environment.bias_law: needed"),
        (("deploy", "x.h5", "--profile", "dynapse1", "--time", "1d"), "time: nothing in dynapse1 depends on"),
        (("benchmark", "missing.h5", "-o", "x.h5"), "missing.h5: "),
        (("report", "missing.h5"), "missing.h5: "),
        (("demo", "-o", "file"), "file: cannot be made a folder"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(words, said, tmp_path, monkeypatch):
    if words[0] == "report":
        pytest.importorskip("snnrobust.report.html")
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    (line,) = mistake(*words)
    assert said in line
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ("20", "levels: 20 is not a fraction from 0 to 2 (0.2 means 20 %)"),
        ("0.1,abc", "levels: 'abc' is not a number"),
        ("-1", "levels: -1 is not a fraction"),
        ("nan", "levels: nan is not a fraction"),
        ("inf", "levels: inf is not a fraction"),
        ("0.1,0.10", "conditions: each may be given once"),
        ("", "at least one network and one condition"),
        (" , ", "at least one network and one condition"),
    ],
)
def test_bad_levels(trained, tmp_path, levels, said):
    folder, _ = trained
    (line,) = mistake("benchmark", folder / "standard.h5", f"--levels={levels}", "-o", tmp_path / "r.h5")
    assert said in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--profiles", "ideal,dynapse9"), "profile: unknown 'dynapse9'"),
        (("--profiles", "none/here.yaml"), "none/here.yaml: no such file"),
        (("--purpose", "tests"), "purpose: unknown 'tests' (did you mean 'test'?)"),
        (("-o", "none/r.h5"), "none/r.h5"),
        (("-o", "."), ".: "),
        (("-o", ".", "--overwrite"), ".: "),
    ],
)
def test_bad_benchmarks(trained, tmp_path, monkeypatch, options, said):
    folder, _ = trained
    monkeypatch.chdir(tmp_path)
    output = () if "-o" in options else ("-o", "r.h5")
    (line,) = mistake("benchmark", folder / "standard.h5", "--levels", 0.1, "--chips", 1, *output, *options)
    assert said in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--profile", "dynapse1", "--limits", "enforce"), "dynapse1: "),
        (("--profile", "dynapse1", "--limits", "strict"), "limits: unknown 'strict'"),
        (("--profile", "dynapse1", "--unlisted", "ignore"), "unlisted: unknown 'ignore'"),
        (("--profile", "dynapse1", "--only", "noise"), "only: unknown 'noise'"),
        (("--profile", "generic_subthreshold_180nm_20", "--unlisted", "error"), "no model for"),
        (
            ("--profile", "dynapse1", "--calibration", "none,trim"),
            "dynapse1: calibration trim needs `calibration.trim`",
        ),
        (("--profile", "dynapse1", "--calibration", "core"), "calibration: unknown 'core'"),
    ],
)
def test_bad_deployments(tmp_path, options, said):
    path = tmp_path / "wide.h5"
    assert run("train", "--hidden", 80, "--epochs", 1, "-o", path).exit_code == 0
    (line,) = mistake("deploy", path, "--chips", 1, *options)
    assert said in line


@pytest.mark.parametrize("command", ["benchmark", "deploy", "report"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_written(trained, tmp_path, monkeypatch, command, overwrite):
    folder, _ = trained
    path = tmp_path / "a.h5"
    before = (folder / "standard.h5").read_bytes()
    path.write_bytes(before)
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    options = {"benchmark": ("--levels", 0.1, "--chips", 1), "deploy": ("--profile", "ideal"), "report": ()}[command]
    more = ("--overwrite",) if overwrite and command != "report" else ()
    for output in ("a.h5", path, "./a.h5", link):
        (line,) = mistake(command, path, *options, *more, "-o", output)
        assert line.startswith("output: ")
        assert line.endswith("choose another path")
    assert path.read_bytes() == before


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda path, good: path.write_bytes(good[: len(good) // 2]),
        lambda path, good: path.write_bytes(b""),
        lambda path, good: path.write_text("name: not a run file\n"),
        lambda path, good: path.write_bytes(good[:100] + bytes(len(good) // 2) + good[len(good) // 2 + 100 :]),
        lambda path, good: other_hdf5(path),
        lambda path, good: path.mkdir(),
    ],
    ids=["half", "empty", "text", "damaged", "other HDF5", "folder"],
)
def test_broken_run_files(trained, tmp_path, make):
    folder, _ = trained
    path = tmp_path / "broken.h5"
    make(path, (folder / "standard.h5").read_bytes())
    commands = [
        ("benchmark", path, "--levels", 0.1, "-o", tmp_path / "r.h5"),
        ("deploy", path, "--profile", "ideal"),
        ("train", *SMALL, "-o", path),
    ]
    if find_spec("snnrobust.report.html") is not None:
        commands.append(("report", path, "-o", tmp_path / "page.html"))
    for words in commands:
        (line,) = mistake(*words)
        assert str(path) in line
    assert [p.name for p in tmp_path.iterdir()] == ["broken.h5"]


def test_the_file_of_another_kind(trained, tmp_path):
    folder, _ = trained
    assert (
        run("deploy", folder / "standard.h5", "--profile", "ideal", "--chips", 1, "-o", tmp_path / "d.h5").exit_code
        == 0
    )
    (line,) = mistake("train", *SMALL, "-o", tmp_path / "d.h5")
    assert "not the file of a training" in line
    (line,) = mistake("benchmark", folder / "adversarial.h5", "--levels", 0, "-o", folder / "standard.h5")
    assert "not the file of a benchmark" in line
    if find_spec("snnrobust.report.html") is not None:
        (line,) = mistake("report", folder / "standard.h5", "-o", tmp_path / "page.html")
        assert "holds no results of a benchmark (kind: training)" in line


def test_an_unfinished_training_is_no_input(tmp_path, monkeypatch):
    from snnrobust.training import trainer

    def interrupted(self):
        raise KeyboardInterrupt

    path = tmp_path / "a.h5"
    with monkeypatch.context() as patch:
        patch.setattr(trainer._Descent, "epoch", interrupted)
        result = run("train", *SMALL, "-o", path)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; finished work is kept, the same command goes on from there\n"
    (line,) = mistake("deploy", path, "--profile", "ideal")
    assert "holds no trained network; was its training interrupted?" in line


def test_networks_of_different_tasks(trained, tmp_path):
    folder, _ = trained
    assert run("train", *SMALL, "--encoding", "delta", "-o", tmp_path / "delta.h5").exit_code == 0
    words = ("benchmark", folder / "standard.h5", tmp_path / "delta.h5", "--levels", 0.1, "-o", tmp_path / "r.h5")
    (line,) = mistake(*words)
    assert "networks of different tasks cannot be compared" in line


def test_a_profile_with_errors_says_all_of_them(tmp_path):
    path = tmp_path / "mine.yaml"
    good = load_profile("generic_subthreshold_180nm_20").to_yaml()
    path.write_text(good)
    assert run("profiles", "validate", path).stdout == f"{path}: valid\n"
    assert run("profiles", "show", path).exit_code == 0
    lines = good.splitlines()
    wrong = [line.replace("cv: 0.2", "cv: 20") for line in lines]
    count = sum(a != b for a, b in zip(lines, wrong, strict=True))
    assert count > 1
    path.write_text("\n".join([*wrong, "colour: blue"]))
    found = mistake("profiles", "validate", path)
    assert len(found) >= count + 1
    assert all(line.startswith(f"{path}:") for line in found)
    assert any("colour" in line for line in found)
    assert mistake("profiles", "show", path) == found


def test_typers_own_errors_name_the_option():
    for words in (("train",), ("train", "-o", "x.h5", "--hidden", 0), ("train", "-o", "x.h5", "--hidden", "many")):
        result = run(*words)
        assert result.exit_code == 2
        assert "--" in result.stderr
        assert "Traceback" not in result.stderr


# As a process


def command(*words):
    return [sys.executable, "-c", "from snnrobust.cli import main; main()", *map(str, words)]


def test_a_mistake_as_a_process():
    result = subprocess.run(command("profiles", "show", "dynapse"), capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: profile: unknown 'dynapse'")
    assert result.stderr.count("\n") == 1


def test_a_reader_that_goes_away():
    """`snnrobust profiles show dynapse1 | head -1` says nothing of broken pipes."""
    process = subprocess.Popen(command("profiles", "show", "dynapse1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err = process.stderr.read()
    process.wait()
    assert err == b""


@pytest.mark.slow
def test_ctrl_c_while_training(tmp_path):
    path = tmp_path / "a.h5"
    words = command("train", "--hidden", 10, "--epochs", 500, "-o", path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    while process.poll() is None and not path.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    progress = ("train standard on vowels: ", "compiling kernels")
    lines = [line for line in err.splitlines() if not line.startswith(progress)]
    assert lines == ["interrupted; finished work is kept, the same command goes on from there"]
    assert read_run(path).attrs["status"] == "training"


def test_an_objective_of_ones_own_takes_the_options_that_are_its_fields(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Mine(Standard):
        name = "mine"
        beta: float = 0.0
        strength: float = 3.0

    monkeypatch.setitem(OBJECTIVES, "mine", Mine)
    assert objective_of("mine", 0.3, 0.1, 10, 0.25, None) == Mine(beta=0.25)
    assert objective_of("standard", 0.3, 0.1, 10, 0.25, None) == Standard()
    assert objective_of("forward_noise", 0.2, 0.1, 10, 0.25, "dynapse1") == ForwardNoise(level=0.2, profile="dynapse1")
    expected = Adversarial(radius=0.1, steps=3, beta=0.25, forward_noise=0.2)
    assert objective_of("adversarial", 0.2, 0.1, 3, 0.25, None) == expected


def test_a_data_set_that_is_here_can_be_fetched_again(monkeypatch):
    asked = []
    monkeypatch.setattr("snnrobust.tasks.download.download", lambda name, **options: asked.append((name, options)))
    assert run("data", "download", "digits", "--overwrite").exit_code == 0
    assert run("data", "download", "digits").exit_code == 0
    assert [(name, options["overwrite"]) for name, options in asked] == [("digits", True), ("digits", False)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "error: Missing option"),
        (["train", "-o", "x.h5", "--epochs", "many"], "error: Invalid value for '--epochs'"),
        (["deploy", "x.h5", "--profile", "ideal", "--chips", "0"], "error: Invalid value for '--chips'"),
        (["trian"], "error: No such command 'trian'"),
    ],
)
def test_a_mistyped_command_is_one_line(words, message):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"snnrobust {snnrobust.__version__}\n"


def test_a_training_that_another_process_runs_is_refused(tmp_path):
    with locked(tmp_path / "a.h5"):
        done = CliRunner().invoke(app, ["train", "-o", str(tmp_path / "a.h5"), "--epochs", "1", "--hidden", "3"])
    assert done.exit_code == 2
    assert "another process is writing" in done.stderr
