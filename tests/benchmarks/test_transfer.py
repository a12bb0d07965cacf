"""The transfer benchmark's rules: what is trained and measured alike, and what its tables say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import transfer_plan as plan
from configuration import Configuration, Net, Stage, thinned, trained
from headline import Headline
from transfer import Transfer, quick
from transfer_measures import DEPLOYED_ON, MOVED, Measured, Size, attacks, profiles, roles
from transfer_report import differences, matrix, over_seeds, report

import snnrobust as sr
from snnrobust.training import FanInLimit, Standard

TINY = Size(chips=2, many=300, levels=(0.3,), steps=1, restarts=1, samples=10)


def row(method: str, seed: int, condition: str, level: str, mean: float, chips: int = 2) -> dict[str, str]:
    head = {"task": "vowels", "split": "utterances", "method": method, "seed": str(seed), "passes": "5"}
    numbers = dict.fromkeys(("quantile05", "minimum", "yield90"), f"{mean - 0.1:.4f}")
    cell = {"condition": condition, "level": level, "chips": str(chips), "mean": f"{mean:.4f}", "bound01": ""}
    return {**head, **numbers, **cell}


@pytest.fixture(scope="module")
def vowels():
    return thinned(sr.load_task("vowels"), train=40, test=40)


@pytest.fixture(scope="module")
def net(vowels):
    return Net(neurons=8).build(vowels, 0)


def test_methods_of_a_table_have_the_same_network_and_passes_to_within_an_epoch():
    for table in plan.TABLES:
        if isinstance(table, plan.OfHeadline):
            continue
        for cell in table.cells():
            (stage, *more) = cell.configuration.stages
            slack = sum(s.objective.passes for s in (stage, *more)) / 2
            assert cell.configuration.net == table.net
            assert abs(cell.configuration.spent(cell.passes) - table.setting(cell.task).passes) <= slack


def test_there_are_three_seeds_and_one_of_every_task_and_method_comes_before_the_next():
    seeds = [cell.seed for cell in plan.TABLES[0].cells()]
    assert len(set(seeds)) >= 3
    assert seeds == sorted(seeds)


def test_a_network_of_several_tables_is_budgeted_once():
    table = plan.TABLES[0]
    cells = [cell for cell in table.cells([1]) if cell.task == "vowels"]
    once, twice = (list(plan.budget([(table, cells)] * n))[-1] for n in (1, 2))
    hours = sum(map(plan.training_hours, cells))
    measuring = len(cells) * plan.MEASURING_SECONDS["roles", "vowels"] / 3600
    assert once == f"in all {hours + measuring:.1f} hours of one core"
    assert twice == f"in all {hours + 2 * measuring:.1f} hours of one core"


def test_profiles_that_are_trained_for_are_deployed_on():
    assert set(plan.TRAINED_FOR) <= set(DEPLOYED_ON)


def test_a_row_summarises_the_chips():
    each = np.arange(1, 1001) / 1000
    found = Measured("all", 0.3, each).row(0.9)
    assert (found["level"], found["chips"], found["mean"], found["minimum"]) == ("0.3", "1000", "0.5005", "0.0010")
    assert found["yield90"] == "0.1010"
    assert found["bound01"] == "0.0050"  # the 5th-worst of 1,000
    few = Measured("dynapse1", None, np.array([0.5])).row(0.9)
    assert (few["std"], few["bound01"], few["level"]) == ("0.0000", "", "")


def test_each_role_set_moves_its_own_roles_alone(net, vowels):
    found = list(roles(net, vowels, TINY))
    assert [(m.condition, m.level, len(m.accuracy)) for m in found] == [
        ("nominal", 0.0, 1),
        *((name, 0.3, 2) for name in MOVED),
    ]
    assert set(MOVED["all"]) == set(MOVED["weights"]) | set(MOVED["neurons"])
    assert not set(MOVED["weights"]) & set(MOVED["neurons"])


def test_profiles_are_measured_whole_and_coarse_ones_with_mismatch_only(net, vowels):
    found = {m.condition: m.accuracy for m in profiles(net, vowels, TINY)}
    assert set(found) == {"nominal", *DEPLOYED_ON, "dynapse1, mismatch only", "dynapse2, mismatch only"}
    assert {len(each) for name, each in found.items() if name != "nominal"} == {2}


def test_attacks_stand_beside_random_devices_of_the_same_size(net, vowels):
    found = {m.condition: m for m in attacks(net, vowels, TINY)}
    assert {name: len(m.accuracy) for name, m in found.items()} == {
        "nominal": 1, "gaussian": 2, "vertices": 2, "attack task": 1, "attack kl": 1,
    }  # fmt: skip
    assert {m.level for name, m in found.items() if name != "nominal"} == {0.3}


def test_means_over_seeds_have_t_intervals():
    half = 4.302653 * 0.02 / 3**0.5  # t of 2 degrees; standard deviation .02
    assert over_seeds([0.9, 0.92, 0.94]) == f"92.0 ± {100 * half:.1f}"
    assert over_seeds([0.9], sign="+") == "+90.0"
    assert over_seeds([float("nan")]) == ""


def test_a_matrix_has_a_line_a_level_and_method():
    rows = [row("noise", s, "nominal", "0", 0.9, chips=1) for s in (1, 2)]
    rows += [row("noise", s, c, "0.3", m) for c, m in (("weights", 0.8), ("all", 0.6)) for s in (1, 2)]
    lines = list(matrix(rows, ("mean", "quantile05")))
    assert lines[0].endswith("| nominal | weights, mean | weights, 5 % | all, mean | all, 5 % |")
    assert lines[2:] == ["| 0.3 | noise | 2 | 90.0 ± 0.0 | 80.0 ± 0.0 | 70.0 ± 0.0 | 60.0 ± 0.0 | 50.0 ± 0.0 |"]


def test_a_single_device_has_no_worst_one():
    rows = [row("noise", 1, "gaussian", "0.3", 0.8), row("noise", 1, "attack kl", "0.3", 0.5, chips=1)]
    assert next(iter(matrix(rows, ("mean", "minimum")))).endswith(
        "gaussian, mean | gaussian, worst | attack kl, mean |"
    )


def test_differences_are_of_the_method_to_its_rival_over_common_seeds():
    rows = [row("noise", s, "all", "0.3", 0.5) for s in (1, 2)] + [row("noise_all", 2, "all", "0.3", 0.6)]
    assert list(differences(rows, [("noise_all", "noise", "")]))[-1] == "| noise_all - noise | all 0.3 | +10.0 | 1 |"
    assert list(differences(rows, [("noise_all", "noise", "weights")])) == []
    assert list(differences(rows, [("attack", "noise", "")])) == []


def test_a_fan_in_limit_holds_in_the_trained_network_and_is_a_part_of_the_text(vowels, tmp_path):
    stage = Stage(objective=Standard(), fan_in=3)
    configuration = Configuration(Net(neurons=6), (stage,))
    net = trained(configuration, vowels, tmp_path / "run", passes=1, seed=1).net
    assert str(stage) == "standard fan_in=3"
    assert FanInLimit(fan_in=3).project(net.nominal(), net.parameter_specs()) == {}


def test_a_network_enters_its_file_whole_and_is_not_run_again(vowels, tmp_path):
    table = quick(tmp_path).tables[0]
    one = Transfer([replace(table, methods=plan.STANDARD)], tmp_path, tmp_path / "runs", TINY, (1,))
    one.loaded["vowels 100 analog"] = vowels
    one.run(None)
    rows = one.file(table).rows()
    assert [(r["condition"], r["level"]) for r in rows] == [("nominal", "0"), *((name, "0.3") for name in MOVED)]
    assert {(r["method"], r["seed"], r["passes"]) for r in rows} == {("standard", "1", "5")}
    before = one.file(table).path.read_bytes()
    one.run(None)
    assert one.file(table).path.read_bytes() == before
    assert any(line.startswith("| 0.3 | standard | 1 |") for line in report({"roles": rows}))


def test_networks_of_the_headline_wait_until_they_are_chosen_and_tested_there(tmp_path, monkeypatch):
    table = next(table for table in plan.TABLES if isinstance(table, plan.OfHeadline))
    monkeypatch.setattr(plan, "__file__", str(tmp_path / "transfer_plan.py"))
    assert list(table.cells()) == []
    here = Headline([plan.headline_plan.SETTINGS[0]], tmp_path / "results", tmp_path)
    here.results.mkdir()
    first = plan.headline_plan.METHODS["wide_noise"].trials[0]
    here.choices.write_text(json.dumps({"ecg4": {"wide_noise": {"configuration": str(first), "scores": {}}}}))
    assert list(table.cells()) == []
    chosen = here.testing()
    for cell in chosen[:2]:
        here.tested.add([{**{c: cell.values.get(c, "0") for c in here.tested.columns}, "accuracy": "0.9"}])
    assert list(table.cells()) == chosen[:1]
    assert (chosen[0].seed, str(chosen[0].configuration)) == (1, str(first))
