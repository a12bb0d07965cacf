"""The headline benchmark's rules: what is compared with what, who is chosen, and what a choice may see."""

import csv
import json

import headline_plan as plan
import numpy as np
import pytest
from configuration import Configuration, Net, Stage, chip_accuracies, group_accuracies, thinned, trained
from headline import Headline, choice, scores_of
from headline_report import clustered, comparisons

import snnrobust as sr
from snnrobust.training import Distillation, ForwardNoise, Standard

SETTING = plan.Setting("vowels", "utterances", {"paper": 10, "wide": 10}, 0.7, "vowels")


def headline(folder) -> Headline:
    return Headline([SETTING], folder, folder / "scratch", trials=2)


def enter(run: Headline, accuracy: dict[str, tuple[float, float]]) -> None:
    """Two trials of each method, as if they had run: these accuracies at every level, 1 without mismatch."""
    for method, scores in accuracy.items():
        for cell, score in zip([c for c in run.tuning() if c.method == method], scores, strict=True):
            levels = {"0": 1.0, "0.1": score + 0.1, "0.7": score - 0.1}
            run.validation.add(
                [{**cell.values, "level": lv, "accuracy": f"{a:.4f}", "seconds": "1"} for lv, a in levels.items()]
            )


def test_the_best_mean_over_levels_above_zero_is_chosen(tmp_path):
    run = headline(tmp_path)
    enter(run, {"standard": (0.5, 0.6)})
    cells = [c for c in run.tuning() if c.method == "standard"]
    scores = scores_of(cells, run.validation.rows(), run.validation)
    assert list(scores.values()) == pytest.approx([0.5, 0.6])
    assert choice(scores, 2)["configuration"] == str(cells[1].configuration)


def test_equals_go_to_the_first_and_nothing_is_chosen_before_all_are_done():
    assert choice({"a": 0.5, "b": 0.5}, 2)["configuration"] == "a"
    assert choice({"a": 0.5}, 2) is None
    assert choice({}, 0) is None


def test_a_choice_stays_and_others_are_kept(tmp_path):
    run = headline(tmp_path)
    run.choices.write_text(json.dumps({"ecg4": {"standard": {"configuration": "other", "scores": {}}}}))
    enter(run, {"standard": (0.5, 0.6)})
    run.choose()
    first = run.chosen()
    assert first["ecg4"]["standard"]["configuration"] == "other"
    assert first["vowels"].keys() == {"standard"}
    enter(run, {"standard": (0.9, 0.6), "adversarial": (0.4, 0.3)})
    run.choose()
    assert run.chosen()["vowels"]["standard"] == first["vowels"]["standard"]
    assert [(c.method, c.seed) for c in run.testing()] == [
        (method, seed) for seed in plan.SEEDS for method in ("adversarial", "standard")
    ]


def test_the_seed_that_choices_rest_on_is_not_tested():
    assert plan.TUNING_SEED not in plan.SEEDS
    assert len(plan.SEEDS) >= 6


def test_methods_of_a_family_get_the_same():
    for family in ("paper", "wide"):
        methods = [m for m in plan.METHODS.values() if m.family == family]
        assert len({len(m.trials) for m in methods if m.short_of is None}) == 1
        assert len({c.net for m in methods for c in m.trials}) == 1
    for name, method in plan.METHODS.items():
        assert len({str(c) for c in method.trials}) == len(method.trials), name
        assert all(plan.METHODS[rival].family == method.family for rival in method.rivals)


def test_passes_are_spent_to_within_an_epoch():
    for setting in plan.SETTINGS:
        for method in plan.METHODS.values():
            passes = setting.passes[method.family]
            for c in method.trials:
                slack = sum(stage.objective.passes for stage in c.stages) / 2
                assert abs(c.spent(passes) - passes) <= slack


def test_forward_noise_is_tuned_at_all_levels_and_ramped():
    objectives = [c.stages[0].objective for c in plan.METHODS["forward_noise"].trials]
    assert {o.level for o in objectives if o.ramp == 0} == {0.1, 0.2, 0.3, 0.5, 0.7}
    assert any(o.ramp > 0 for o in objectives)


def test_the_first_trial_of_every_method_comes_before_the_second_of_any():
    methods = [cell.method for cell in plan.tuning(SETTING)]
    tried = {name for name, method in plan.METHODS.items() if method.trials}
    assert set(methods[: len(tried)]) == tried


def test_short_rows_have_the_epochs_of_the_attack_and_the_choice_of_their_method():
    chosen = {name: plan.METHODS[name].trials[1] for name in ("forward_noise", "adversarial_noise")}
    cells = {cell.method: cell for cell in plan.testing(plan.SETTINGS[0], chosen, [1])}
    attack, short = cells["adversarial_noise"], cells["forward_noise_short"]
    assert short.configuration == chosen["forward_noise"]
    assert short.values["epochs"] == attack.values["epochs"] == str(100 // 5)
    assert "standard_short" not in cells


def test_expected_minutes_are_passes_and_chips():
    setting = plan.SETTINGS[0]
    cell = next(c for c in plan.tuning(setting) if c.method == "forward_noise")
    a_pass, a_chip = plan.SECONDS["ecg4", "paper"]
    assert plan.minutes(cell, 20) == pytest.approx((setting.passes["paper"] * a_pass + (5 * 20 + 1) * a_chip) / 60)


def test_differences_are_those_of_the_method_to_its_rival():
    def chips(*means: float) -> dict[float, dict[int, np.ndarray]]:
        return {level: {s: np.array([m - 0.1, m + 0.1]) for s, m in enumerate(means)} for level in plan.LEVELS}

    rival, own = chips(*(0.5,) * 6), chips(0.52, 0.54, 0.52, 0.54, 0.52, 0.54)
    line = list(comparisons({"forward_noise": rival, "adversarial": own}))[-1]
    half = 2.570582 * 0.01 * (6 / 5) ** 0.5 / 6**0.5  # t of 5 degrees; mean .03, standard deviation .01 sqrt(6/5)
    assert line.startswith(
        f"| adversarial - forward_noise | 0.7 | +3.00 | {100 * (0.03 - half):+.2f} to {100 * (0.03 + half):+.2f} |"
    )
    few = list(comparisons({"forward_noise": chips(0.5, 0.5), "adversarial": chips(0.6, 0.7)}))[-1]
    assert few == "| adversarial - forward_noise | 0.7 | +15.00 | no test: 2 seeds | | 2 |"


def test_resampling_groups_weights_them_by_their_samples():
    one = [{"a": (3.0, 0.9), "b": (1.0, 0.5)}] * 2
    other = [{"a": (3.0, 0.7), "b": (1.0, 0.5)}] * 2
    low, middle, high = clustered(one, other)
    assert middle == pytest.approx((3 * 0.2 + 0) / 4)
    assert (low, high) == pytest.approx((0.0, 0.2))  # only b, only a: each a quarter of the draws
    flat = clustered([{"a": (3.0, 0.9), "b": (1.0, 0.9)}], [{"a": (3.0, 0.7), "b": (1.0, 0.7)}])
    assert flat == pytest.approx((0.2, 0.2, 0.2))


def test_thinned_keeps_evenly_spaced_samples():
    task = sr.load_task("vowels")
    few = thinned(task, train=23, test=37)
    assert few.test.indices.tolist() == task.test.indices[::10].tolist()
    assert few.train.indices.tolist() == task.train.indices[::9].tolist()
    assert "23 of train; 37 of test" in few.split
    assert thinned(task, test=10**6).split == task.split


@pytest.fixture(scope="module")
def vowels():
    return thinned(sr.load_task("vowels"), train=40, test=40)


def test_groups_add_up_to_the_chips(vowels):
    net = Net(neurons=8, tau_mem=(3.0, 30.0)).build(vowels, 0)
    found = chip_accuracies(net, vowels, (0.0, 0.5), chips=3, purpose="test")
    groups = group_accuracies(net, vowels, 0.5, chips=3).values()
    weighted = sum(int(g["samples"]) * float(g["accuracy"]) for g in groups) / len(vowels.test)
    assert [len(found[level]) for level in (0.0, 0.5)] == [1, 3]
    assert weighted == pytest.approx(found[0.5].mean(), abs=1e-4)


def test_time_constants_are_spread_by_equal_factors(vowels):
    tau = Net(neurons=5, tau_mem=(3.0, 48.0)).build(vowels, 0).nominal()["layer0.tau_mem"] / vowels.dt
    assert tau.tolist() == pytest.approx([3, 6, 12, 24, 48], rel=1e-5)


def test_stages_follow_each_other_and_are_read_back(vowels, tmp_path):
    stages = (Stage(objective=Standard(), share=0.5), Stage(objective=Distillation(level=0.3), share=0.5))
    configuration = Configuration(Net(neurons=6), stages)
    once = trained(configuration, vowels, tmp_path / "run", passes=4, seed=1)
    again = trained(configuration, vowels, tmp_path / "run", passes=4, seed=1)
    anew = trained(configuration, vowels, tmp_path / "new", passes=4, seed=1)
    assert once.net.hash() == again.net.hash() == anew.net.hash()
    assert once.seconds == again.seconds > 0  # of the epochs, which are read back
    first = Configuration(Net(neurons=6), (Stage(objective=Standard()),))
    assert trained(first, vowels, tmp_path / "first", passes=2, seed=1).net.hash() != once.net.hash()
    assert {p.name for p in tmp_path.iterdir()} == {"run-0.h5", "run-1.h5", "new-0.h5", "new-1.h5", "first-0.h5"}


def test_rows_of_a_test_are_one_a_chip(tmp_path, vowels):
    run = Headline([SETTING], tmp_path, tmp_path / "scratch", test_chips=2, loaded={"vowels": vowels})
    configuration = Configuration(Net(neurons=6), (Stage(objective=ForwardNoise()),))
    run.scratch.mkdir()
    (cell,) = plan.testing(SETTING, {"forward_noise": configuration}, [1])
    run.test(cell)
    with run.tested.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["level"], r["chip"]) for r in rows] == [
        ("0", "0"),
        *((f"{level:g}", str(k)) for level in plan.LEVELS[1:] for k in range(2)),
    ]
    assert {(r["method"], r["passes"], r["seed"]) for r in rows} == {("forward_noise", "10", "1")}
