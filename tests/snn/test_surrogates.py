"""Surrogate gradients: their values, their parameters, their scale."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.errors import ConfigError
from snnrobust.snn import Surrogate
from snnrobust.snn.surrogates import SHAPES

FORMULAS = {
    "superspike": lambda s: 1 / (1 + abs(s)) ** 2,
    "fast_sigmoid": lambda s: 1 / (1 + abs(s)) ** 2,
    "triangle": lambda s: max(0.0, 1 - abs(s)),
    "arctan": lambda s: 1 / (1 + (math.pi * s / 2) ** 2),
    "gaussian": lambda s: math.exp(-s * s / 2),
}

# Smooth functions of r with the derivative f(slope r).
SMOOTH = {
    "superspike": lambda r, k: r / (1 + k * r.abs()),
    "fast_sigmoid": lambda r, k: r / (1 + k * r.abs()),
    "triangle": lambda r, k: torch.where(k * r.abs() < 1, r - 0.5 * k * r * r.abs(), 0.5 / k * r.sign()),
    "arctan": lambda r, k: 2 / (math.pi * k) * torch.arctan(math.pi * k * r / 2),
    "gaussian": lambda r, k: math.sqrt(math.pi / 2) / k * torch.erf(k * r / math.sqrt(2)),
}


def derivative(surrogate, v, threshold):
    """(spike, do/dv, do/dthreshold) at numbers, in float64."""
    v = torch.tensor(v, dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(threshold, dtype=torch.float64, requires_grad=True)
    o = surrogate.spike(v, threshold)
    return o.item(), *(g.item() for g in torch.autograd.grad(o, (v, threshold)))


def test_every_shape_has_a_formula_here():
    assert set(FORMULAS) == set(SMOOTH) == set(SHAPES)


@pytest.mark.parametrize("shape", FORMULAS)
@pytest.mark.parametrize("distance", [-3.0, -0.7, -0.05, 0.0, 0.05, 0.4, 2.5])
@pytest.mark.parametrize(("slope", "dampening"), [(1.0, 1.0), (4.0, 1.0), (1.0, 0.3), (0.25, 2.0)])
def test_derivative_is_dampening_times_f_of_slope_times_distance(shape, distance, slope, dampening):
    surrogate = Surrogate(shape=shape, slope=slope, dampening=dampening)
    o, by_v, by_threshold = derivative(surrogate, distance, 0.0)
    assert o == float(distance > 0)
    assert by_v == pytest.approx(dampening * FORMULAS[shape](slope * distance), rel=1e-14, abs=1e-300)
    assert by_threshold == -by_v


@pytest.mark.parametrize(
    ("shape", "value"),
    [("superspike", 0.25), ("fast_sigmoid", 0.25), ("triangle", 0.0), ("arctan", 0.288400), ("gaussian", 0.606531)],
)
def test_values_at_one(shape, value):
    assert derivative(Surrogate(shape=shape, slope=1.0), 1.5, 0.5)[1] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("shape", FORMULAS)
@given(
    v=st.floats(-3, 3),
    threshold=st.floats(0.1, 2),
    slope=st.floats(0.2, 20),
    dampening=st.floats(0.1, 2),
)
def test_scale_threshold_keeps_the_derivative_of_the_scale(shape, v, threshold, slope, dampening):
    surrogate = Surrogate(shape=shape, slope=slope, dampening=dampening, scale="threshold")
    o, *found = derivative(surrogate, v, threshold)
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (v, threshold)]
    smooth = dampening * SMOOTH[shape]((leaves[0] - leaves[1]) / leaves[1], slope)
    expected = [float(g) for g in torch.autograd.grad(smooth, leaves)]
    assert o == float(v > threshold)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_scale_threshold_by_hand():
    # r = (3 - 2) / 2 = 1/2; f = 1 - 1/2; dr/dv = 1/2; dr/dthreshold = -3/4.
    surrogate = Surrogate(shape="triangle", slope=1.0, dampening=0.3, scale="threshold")
    assert derivative(surrogate, 3.0, 2.0) == pytest.approx((1.0, 0.3 * 0.25, -0.3 * 0.375), rel=1e-14)


@pytest.mark.parametrize("shape", FORMULAS)
@pytest.mark.parametrize("scale", ["one", "threshold"])
def test_gradients_are_finite_where_the_threshold_is_not_a_scale(shape, scale):
    v = torch.tensor([-1e6, -1.0, 0.0, 1.0, 1e6]).repeat(5, 1).requires_grad_()
    threshold = torch.tensor([-1.0, -1e-6, 0.0, 1e-20, 1.0]).unsqueeze(1).requires_grad_()
    o = Surrogate(shape=shape, scale=scale).spike(v, threshold)
    assert torch.equal(o, (v > threshold).float())
    for g in torch.autograd.grad(o.sum(), (v, threshold)):
        assert bool(g.isfinite().all())


def test_the_spike_keeps_dtype_and_shape():
    for dtype in (torch.float32, torch.float64):
        o = Surrogate().spike(torch.zeros(2, 3, dtype=dtype), torch.full((3,), -1.0, dtype=dtype))
        assert o.dtype == dtype
        assert o.tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": "super_spike"}, "surrogate: unknown 'super_spike' (did you mean 'superspike'?); allowed: arctan,"),
        ({"scale": "thresh"}, "surrogate scale: unknown 'thresh'"),
        ({"slope": 0.0}, "surrogate slope: 0.0 must be positive and finite"),
        ({"dampening": -1.0}, "surrogate dampening: -1.0 must be positive and finite"),
        ({"slope": math.inf}, "surrogate slope: inf must be positive and finite"),
        ({"slope": math.nan}, "surrogate slope: nan must be positive and finite"),
    ],
)
def test_errors_name_field_value_and_what_is_allowed(values, message):
    with pytest.raises(ConfigError) as error:
        Surrogate(**values)
    assert message in str(error.value)


def test_round_trip():
    surrogate = Surrogate(shape="arctan", slope=3.0, dampening=0.5, scale="threshold")
    assert Surrogate(**surrogate.to_dict()) == surrogate
