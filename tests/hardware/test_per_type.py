"""Whole numbers of entries: by hand, budgets, planted strengths, the best of all choices, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware.mismatch import draw, place, realise
from snnrobust.hardware.profile import load_profile
from snnrobust.hardware.stages import PerType
from snnrobust.hardware.stages.entries import choose
from snnrobust.snn import Network


def stored(theta: dict[str, torch.Tensor], budget: int = 64, more: str = "") -> dict[str, torch.Tensor]:
    body = f"quantization: {{weight: {{scheme: per_type, n_types: 4, per: core}}}}\nlimits: {{fan_in: {budget}{more}}}"
    return realise(placed(profile(body), theta), theta, {})


def test_entries_by_hand():
    # Excitatory types of 0.2 and 0.5, inhibitory ones of 0.1 and 1.0.
    strengths = np.array([[0.2, 0.5], [0.1, 1.0]])
    weights = np.array([[0.41, 1.46, -0.32, -1.2, 0.0, 0.05, 1.0]])
    found = choose(weights, strengths, 64)
    # -1.2: 12 x 0.1 is exact, 1 x 1.0 is not; 1.0: 2 x 0.5 and 5 x 0.2 are both exact, the fewer are taken.
    assert found.number.tolist() == [[2, 3, 3, 12, 0, 0, 2]]
    assert found.size[0, [0, 1, 2, 3, 6]].tolist() == pytest.approx([0.2, 0.5, 0.1, 0.1, 0.5])
    scarce = choose(weights, strengths, 6)
    assert scarce.number.sum() <= 6
    assert scarce.number[0, 3] == 1  # one strong entry for twelve weak ones


def best_error(sizes, strengths, budget, most):
    """The least squared error of one neuron over all choices: exact, by dynamic programming over entries."""
    error = np.full(budget + 1, np.inf)
    error[0] = 0.0
    for size in sizes:
        following = np.full(budget + 1, np.inf)
        for count in range(min(most, budget) + 1):
            cost = min((size - count * a) ** 2 for a in strengths)
            following[count:] = np.minimum(following[count:], error[: budget + 1 - count] + cost)
        error = following
    return error.min()


@given(seed=st.integers(0, 2**31), budget=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_entries_are_as_good_as_the_best_choice(seed, budget):
    # A price finds the best choice for the entries it uses (Everett); what is missing to the budget is less than the
    # entries of one synapse, so the error is at most that of the best choice with so much less to spend.
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 1, (1, 12))
    strengths = np.sort(rng.uniform(0.05, 0.5, (2, 2)), axis=1)
    found = choose(weights, strengths, budget)
    assert found.number.sum() <= budget
    error = ((weights - found.number * found.size) ** 2).sum()
    exact = best_error(weights[0], strengths[0], budget, 25)
    assert error >= exact - 1e-12
    used = int(found.number.sum())
    assert error <= best_error(weights[0], strengths[0], used, 25) * 1.01 + 1e-9


@given(seed=st.integers(0, 2**31), budget=st.integers(1, 60), near=st.sampled_from([1e-12, 0.5, 0.99, 1.3, 30.0, 1e9]))
@settings(max_examples=60, deadline=None)
def test_a_known_price_finds_a_choice_as_good(seed, budget, near):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, 30))
    strengths = np.sort(rng.uniform(0.05, 0.5, (2, 2)), axis=1)
    prices = np.zeros(5)
    alone = choose(weights, strengths, budget, prices)
    again = choose(weights, strengths, budget, prices * near)  # wherever the price was before
    assert (again.number.sum(axis=1) <= budget).all()
    cold, warm = (((np.abs(weights) - e.number * e.size) ** 2).sum(axis=1) for e in (alone, again))
    same = alone.number.sum(axis=1) == again.number.sum(axis=1)
    assert same.mean() >= 0.6  # ties of price alone part them
    assert warm[same] == pytest.approx(cold[same], rel=1e-9)


@given(seed=st.integers(0, 2**31), budget=st.integers(1, 64), neurons=st.integers(1, 8), sources=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_budget_signs_and_levels_of_any_shape(seed, budget, neurons, sources):
    w = torch.randn(neurons, sources, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    stage = PerType(4, budget)
    strengths = stage.strengths(w.numpy())
    found = choose(w.numpy(), strengths, budget)
    assert (found.number.sum(axis=1) <= budget).all()
    assert (found.number == np.rint(found.number)).all()
    values = stored({"l.weight": w}, budget)["l.weight"]
    assert np.array_equal(values.numpy(), np.sign(w.numpy()) * found.number * found.size)
    assert ((values - w) ** 2).sum() <= (w**2).sum()


@pytest.mark.parametrize("seed", range(5))
def test_planted_strengths_are_recovered(seed):
    rng = np.random.default_rng(seed)
    strengths = np.array([[0.1, 0.37], [0.07, 0.52]]) * rng.uniform(0.9, 1.1, (2, 2))
    side, kind = rng.integers(0, 2, (30, 12)), rng.integers(0, 2, (30, 12))
    weights = np.where(side, -1, 1) * rng.integers(1, 4, (30, 12)) * strengths[side, kind]
    stage = PerType(4, 64)
    assert np.sort(stage.strengths(weights), axis=1) == pytest.approx(strengths, rel=1e-6)
    assert stage.stored(weights) == pytest.approx(weights, rel=1e-6)


def test_the_strongest_synapses_are_kept_where_there_are_too_many():
    w = torch.linspace(0.01, 1, 100).repeat(3, 1)
    found = stored({"l.weight": w}, 10)["l.weight"]
    assert (found != 0).sum(1).tolist() == [10] * 3 or int((found != 0).sum(1).max()) < 10
    kept = w[0][found[0] != 0]
    assert float(kept.min()) > float(w[0][found[0] == 0].max())


def test_the_budget_is_over_inputs_and_recurrent_synapses():
    torch.manual_seed(0)
    theta = {"l.weight": torch.randn(20, 40), "l.recurrent_weight": torch.randn(20, 20)}
    found = stored(theta, 16)
    together = (found["l.weight"] != 0).sum(1) + (found["l.recurrent_weight"] != 0).sum(1)
    assert int(together.max()) <= 16
    assert int(together.min()) >= 8
    alone = stored({"l.weight": theta["l.weight"]}, 16)["l.weight"]
    assert int((alone != 0).sum(1).max()) <= 16
    assert not torch.equal(alone, found["l.weight"])


def test_more_entries_never_hurt():
    w = torch.randn(30, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    errors = [float(((stored({"l.weight": w}, n)["l.weight"] - w) ** 2).sum()) for n in (8, 16, 32, 64, 128)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_wanted_entries():
    weights = np.array([[0.1] * 3 + [0.3], [0.1, 0.0, 0.0, 0.0]])
    assert PerType(2, 64).wanted(weights).tolist() == [6, 1]


@pytest.mark.parametrize("shape", [(), (3,), (1, 1), (4, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("zeros", [False, True])
def test_gradient_is_straight_through(shape, zeros):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = (torch.zeros_like(w) if zeros else w).requires_grad_()
    found = stored({"l.weight": w}, 2)["l.weight"]
    factor = torch.ones_like(w) * 3
    (grad,) = torch.autograd.grad((found * factor).sum(), [w])
    assert torch.equal(grad, factor)
    assert bool(found.isfinite().all())
    assert found.any() != zeros


def test_dynapse1_quantises_once_for_all_chips():
    net = Network.recurrent(20, 30, 4)
    chip = load_profile("dynapse1")
    assert not {"quantization.weight", "limits"} & {p.split(".")[0] for p in chip.not_simulated()}
    theta = {name: p.detach() for name, p in net.nominal().items()}
    placement = place(chip, net.parameter_specs())
    nominal = realise(placement, theta, {})
    assert nominal["layer0.weight"].shape == (30, 20)
    assert not torch.equal(nominal["layer0.weight"], theta["layer0.weight"])
    sizes = torch.cat([nominal["layer0.weight"], nominal["layer0.recurrent_weight"]], 1)
    assert int((sizes != 0).sum(1).max()) <= 64
    chips = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(3)))
    ratio = chips["layer0.weight"] / nominal["layer0.weight"]
    assert bool((ratio[:, nominal["layer0.weight"] != 0] > 0).all())
    assert not chips["layer0.weight"][:, nominal["layer0.weight"] == 0].any()
    only = realise(place(chip, net.parameter_specs(), only_mismatch=True), theta, {})
    assert torch.equal(only["layer0.weight"], theta["layer0.weight"])
