"""Correlated device draws, against the stated matrix.

Statistical bounds are 5 standard errors at a fixed seed, fewer than ten of them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware.mismatch import Placement, draw, project, realise
from snnrobust.hardware.profile import Profile, check_profile
from snnrobust.hardware.stages.correlation import factor

N = 3
ORDER = ("tau_mem", "weight", "v_th", "recurrent_weight")
MATRIX = np.array([[1, 0.2, -0.5, 0.1], [0.2, 1, 0.3, 0.4], [-0.5, 0.3, 1, 0.0], [0.1, 0.4, 0.0, 1]])


def correlated(order=ORDER, matrix=MATRIX, die: str = "", weight: str = "per_neuron_type") -> Profile:
    """A normal spread of 0.1 on four roles, with the die's part in front."""
    rows = np.asarray(matrix).tolist()
    return profile(
        f"""
        parameters:
          weight: {{distribution: normal, granularity: {weight}, components: {{{die}device: {{cv: 0.1}}}}}}
          tau_mem: {{distribution: normal, granularity: per_neuron, components: {{{die}device: {{cv: 0.1}}}}}}
          v_th: {{distribution: normal, granularity: per_column, components: {{{die}device: {{cv: 0.1}}}}}}
        correlation: {{order: [{", ".join(order)}], matrix: {rows}}}
        """
    )


def tensors() -> dict[str, torch.Tensor]:
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
    one = torch.ones(N, dtype=torch.float64)
    return {
        "l.weight": signs.expand(N, 2).clone(),
        "l.recurrent_weight": signs[[0, 1, 1]].expand(N, 3).clone(),
        "l.tau_mem": one.clone(),
        "l.v_th": one.clone(),
    }


def covariance(placement: Placement, theta: dict[str, torch.Tensor]) -> tuple[list[tuple[str, int, int]], np.ndarray]:
    """What each value is (role, neuron, type), and J J^T of the relative deviations, which are linear in z."""
    keys = list(placement.coordinates)

    def deviations(*values):
        found = realise(placement, theta, dict(zip(keys, values, strict=True)))
        return torch.cat([(found[name] / theta[name] - 1).flatten() / 0.1 for name in theta])

    zero = tuple(torch.zeros(placement.coordinates[key].shape, dtype=torch.float64) for key in keys)
    parts = torch.autograd.functional.jacobian(deviations, zero)
    jacobian = torch.cat([part.flatten(1) for part in parts], 1)
    label = [
        (name.split(".")[1], n // max(p[0].numel(), 1), int(p.flatten()[n] < 0))
        for name, p in theta.items()
        for n in range(p.numel())
    ]
    return label, (jacobian @ jacobian.T).numpy()


def test_by_hand():
    chip = correlated(("tau_mem", "v_th"), [[1, 0.6], [0.6, 1]])
    theta = tensors()
    z = {"l.tau_mem/device": torch.tensor([1.0, 0, 0]), "l.v_th/device": torch.tensor([0.5, 0.5, 0])}
    found = realise(placed(chip, theta), theta, z)
    assert found["l.tau_mem"].tolist() == pytest.approx([1.1, 1, 1])
    assert found["l.v_th"].tolist() == pytest.approx([1 + 0.1 * (0.6 + 0.8 * 0.5), 1 + 0.1 * 0.8 * 0.5, 1])


@pytest.mark.parametrize("order", [ORDER, ORDER[::-1], ORDER[:2], ("weight", "v_th")])
def test_the_covariance_is_the_matrix_for_each_type(order):
    index = [ORDER.index(role) for role in order]
    matrix = MATRIX[np.ix_(index, index)]
    theta = tensors()
    label, found = covariance(placed(correlated(order, matrix), theta), theta)
    typed = ("weight", "recurrent_weight")
    for a, row in zip(label, found, strict=True):
        for b, value in zip(label, row, strict=True):
            (role, neuron, kind), (other, partner, type_of_partner) = a, b
            if neuron != partner:
                assert value == pytest.approx(0, abs=1e-9)
            elif role == other:  # of one neuron, the same device or two types that share what is mixed into both
                assert value == pytest.approx(1, abs=1e-9) or kind != type_of_partner
            elif role not in typed or other not in typed or kind == type_of_partner:
                both = role in order and other in order
                expected = matrix[order.index(role), order.index(other)] if both else 0
                assert value == pytest.approx(expected, abs=1e-9), (a, b)


def test_sampled_correlation():
    theta = {"l.tau_mem": torch.ones(4000), "l.v_th": torch.ones(4000)}
    chip = correlated(("v_th", "tau_mem"), [[1, -0.5], [-0.5, 1]])
    placement = placed(chip, theta)
    found = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=None))
    r = np.corrcoef(found["l.tau_mem"], found["l.v_th"])[0, 1]
    assert abs(r + 0.5) < 5 * (1 - 0.25) / math.sqrt(4000)


def test_the_identity_and_other_draws_leave_every_bit():
    theta = tensors()
    plain = correlated().model_copy(update={"correlation": None})
    chips = [plain, correlated(matrix=np.eye(4)), correlated()]
    zs = [draw(placed(c, theta), seed=1, purpose="test", instances=range(3)) for c in chips]
    assert all(torch.equal(value, z[key]) for z in zs[1:] for key, value in zs[0].items())
    found = [realise(placed(c, theta), theta, zs[0]) for c in chips]
    assert all(torch.equal(p, found[1][key]) for key, p in found[0].items())
    assert torch.equal(found[0]["l.tau_mem"], found[2]["l.tau_mem"])  # the first role is mixed with nothing
    assert not torch.equal(found[0]["l.v_th"], found[2]["l.v_th"])


def test_exactly_the_unit_factor_of_the_identity():
    for n in (1, 2, 7):
        assert np.array_equal(factor(np.eye(n)), np.eye(n))


def test_a_singular_matrix():
    lower = factor(np.ones((3, 3)))
    assert np.allclose(lower @ lower.T, 1, atol=1e-9)


def test_roles_that_a_layer_or_profile_lacks_are_passed_over():
    theta = {key: tensors()[key] for key in ("l.tau_mem", "l.v_th")}
    theta["m.v_th"] = torch.ones(2, dtype=torch.float64)
    z = {"l.tau_mem/device": torch.ones(3), "l.v_th/device": torch.zeros(3), "m.v_th/device": torch.ones(2)}
    order = ("gain", *ORDER)
    matrix = np.eye(5)
    matrix[1:, 1:] = MATRIX
    matrix[0, 1] = matrix[1, 0] = 0.3
    found = realise(placed(correlated(order, matrix), theta), theta, z)
    assert found["l.v_th"].tolist() == pytest.approx([0.95] * 3)
    assert found["m.v_th"].tolist() == pytest.approx([1.1] * 2)


def test_recurrent_weights_do_not_inherit_a_correlation():
    theta = tensors()
    z = {"l.tau_mem/device": torch.ones(N), "l.recurrent_weight/device": torch.zeros(N, 2)}
    chip = correlated(("tau_mem", "weight"), [[1, 0.5], [0.5, 1]])
    found = realise(placed(chip, theta), theta, z)
    assert torch.equal(found["l.recurrent_weight"], theta["l.recurrent_weight"].expand(N, 3))
    assert torch.allclose(found["l.weight"], theta["l.weight"] * 1.05)


def test_a_tensor_of_another_number_of_neurons_is_not_correlated():
    theta = {"l.tau_mem": torch.ones(3), "l.v_th": torch.ones(1)}
    placement = placed(correlated(("tau_mem", "v_th"), [[1, 0.5], [0.5, 1]]), theta)
    z = {"l.tau_mem/device": torch.ones(3), "l.v_th/device": torch.ones(1)}
    assert realise(placement, theta, z)["l.v_th"].tolist() == pytest.approx([1.1])


def test_weights_of_single_synapses_are_a_problem():
    text = correlated().to_yaml().replace("per_neuron_type", "per_synapse")
    allowed = "devices are correlated where they are per_neuron, per_column, per_neuron_type"
    assert [line.split(": ", 1)[1] for line in check_profile(text)] == [
        f"correlation.order: weight is per_synapse; {allowed}",
        f"correlation.order: recurrent_weight is per_synapse; {allowed}",
    ]


def test_gradients_reach_every_partner():
    theta = tensors()
    placement = placed(correlated(), theta)
    z = {key: torch.zeros(c.shape, requires_grad=True) for key, c in placement.coordinates.items()}
    gradients = torch.autograd.grad(realise(placement, theta, z)["l.recurrent_weight"].abs().sum(), list(z.values()))
    assert all(bool(g.abs().min() > 0) for g in gradients)


@settings(deadline=None, max_examples=60)
@given(
    k=st.sampled_from([0.0, 0.3, 2.0]),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    die=st.sampled_from(["", "die: {cv: 0.2}, ", "core: {cv: 0.1}, spatial: {cv: 0.1, kernel: plane}, "]),
    weight=st.sampled_from(["per_neuron", "per_neuron_type"]),
    matrix=st.sampled_from([MATRIX, np.ones((4, 4)), np.eye(4)]),
    seed=st.integers(0, 2**31),
    instances=st.sampled_from([None, [4, 5, 6]]),
)
def test_projection_is_into_the_box(k, scale, die, weight, matrix, seed, instances):
    theta = {**tensors(), "m.weight": torch.ones(2, 3).double(), "m.tau_mem": torch.ones(2).double()}
    placement = placed(correlated(matrix=matrix, die=die, weight=weight), theta)
    z = draw(placement, seed=seed, purpose="attack", instances=instances)
    found = project(placement, {key: scale * value for key, value in z.items()}, k)
    near = 1e-5 * (1 + k)
    assert all(found[key].shape == z[key].shape for key in z)
    assert all(float(value.abs().max()) <= k * (1 + 1e-6) for value in found.values())
    for name, stages in placement.stages.items():
        assert float(stages[0].standardised(found, theta[name]).abs().max()) <= k + near
    again = project(placement, found, k)
    assert all(torch.allclose(again[key], value, atol=near) for key, value in found.items())
    if scale == 0.01 and k == 2.0:
        assert all(torch.equal(found[key], scale * value) for key, value in z.items())  # a point inside does not move
