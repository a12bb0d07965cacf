"""`--objective`, `--set` and `snnrobust objectives list`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from snnrobust.cli import app
from snnrobust.cli.choices import named_objective, with_choices
from snnrobust.cli.inputs import objective_of
from snnrobust.errors import ConfigError
from snnrobust.storage import read_run
from snnrobust.training import (
    NAMED,
    OBJECTIVES,
    Adversarial,
    CVaR,
    ForwardNoise,
    RightCensoredNoise,
    models_of,
    objective_from,
)


def test_the_list_has_every_objective_and_its_choices():
    result = CliRunner().invoke(app, ["objectives", "list"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for name in [*OBJECTIVES, *NAMED]:
        assert any(line.startswith(f"{name} ") for line in lines), name
    assert "tail=0.25" in result.stdout
    assert "as the code of the paper" in " ".join(result.stdout.split())


def test_every_name_is_found():
    for name, kind in OBJECTIVES.items():
        assert named_objective(name) == kind()
    assert named_objective("awp_as_published") == NAMED["awp_as_published"]
    with pytest.raises(ConfigError, match=r"objective: unknown 'cvr' .did you mean 'cvar'"):
        named_objective("cvr")


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("forward_noise", ["draws=4", "antithetic=true"], ForwardNoise(draws=4, antithetic=True)),
        ("forward_noise", ["censor = 1.5", "through=theta"], ForwardNoise(censor=1.5, through="theta")),
        ("right_censored_noise", ["censor=none"], RightCensoredNoise(censor=None)),
        ("cvar", ["tail=1e-1", "profile=dynapse1"], CVaR(tail=0.1, profile="dynapse1")),
        ("forward_noise", ["roles=tau_mem, v_th"], ForwardNoise(roles=("tau_mem", "v_th"))),
        ("forward_noise", ["roles="], ForwardNoise(roles=())),
        ("adversarial", ["forward_noise=0"], Adversarial(forward_noise=0.0)),
        (
            "adversarial",
            ["forward_noise.draws=2", "norm=l2", "forward_noise.level=0.2"],
            Adversarial(norm="l2", forward_noise=ForwardNoise(level=0.2, draws=2)),
        ),
        (
            "adversarial",
            ["forward_noise=0.5", "forward_noise.ramp=0.2"],
            Adversarial(forward_noise=ForwardNoise(level=0.5, ramp=0.2)),
        ),
        (
            "adversarial_right_censored",
            ["forward_noise.censor=2"],
            Adversarial(forward_noise=RightCensoredNoise(censor=2.0)),
        ),
    ],
)
def test_choices_as_they_are_typed(name, texts, expected):
    assert with_choices(named_objective(name), texts) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("forward_noise", "draws", "set: 'draws' must be a choice and its value, such as draws=4"),
        ("forward_noise", "=4", "set: '=4' must be a choice"),
        ("forward_noise", "drews=4", "set: objective forward_noise: unknown 'drews' (did you mean 'draws'?)"),
        ("forward_noise", "draws=4.5", "set: draws=4.5 must be int"),
        ("forward_noise", "level=much", "set: level=much must be float"),
        ("forward_noise", "antithetic=perhaps", "set: antithetic=perhaps must be bool"),
        ("right_censored_noise", "censor=far", "set: censor=far must be float | none"),
        ("forward_noise", "level=-1", "level: -1.0"),
        ("forward_noise", "draws.x=2", "set: draws of objective forward_noise has no choices of its own"),
        ("forward_noise", "level.draws=2", "set: level of objective forward_noise has no choices of its own"),
        ("adversarial", "forward_noise.tail=0.2", "set: objective forward_noise: unknown 'tail'"),
        ("standard", "level=0.2", "set: objective standard: unknown 'level'"),
    ],
)
def test_mistakes_are_one_line_that_names_the_choice(name, text, message):
    with pytest.raises(ConfigError) as caught:
        with_choices(named_objective(name), [text])
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(message)


def test_options_that_are_not_given_leave_an_objective_its_own():
    nothing = (None, None, None, None, None)
    for name, kind in OBJECTIVES.items():
        assert objective_of(name, *nothing) == kind()
    for name, objective in NAMED.items():
        assert objective_of(name, *nothing) == objective
    given = objective_of("awp_as_published", None, 0.3, 2, None, None, ["gamma=0.5"])
    assert (given.radius, given.steps, given.gamma) == (0.3, 2, 0.5)


def test_a_training_by_choice(tmp_path):
    path = tmp_path / "a.h5"
    words = ["train", "--hidden", "6", "--epochs", "1", "--objective", "cvar", "--set", "draws=2", "--set", "tail=0.5"]
    words += ["--level", "0.2", "--ema", "0.9", "--clip-weights", "2", "-o", str(path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "cvar on vowels, 1 epochs" in result.stdout
    (model,) = models_of(read_run(path))
    assert objective_from(model.config["objective"]) == CVaR(level=0.2, draws=2, tail=0.5)
    assert model.config["settings"]["ema"] == 0.9
    assert model.config["limit"] == {"deviations": 2.0}
