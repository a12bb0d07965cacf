"""Fields over the die against their kernels.

Statistical bounds are 5 standard errors at a fixed seed; about 60 of them, so a wrong alarm of the file has probability
below 1e-4.
"""

from __future__ import annotations

import math

import pytest
import torch
from chip_builder import devices, placed, profile, spread
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware.layout import Layout, pack
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.schema.document import Spatial
from snnrobust.hardware.stages.fields import LATTICE, basis, correlated, field
from snnrobust.snn.specs import spec_of

KERNELS = ("exponential", "rbf")


def layout_of(*sizes: int, limit: int | None = None) -> Layout:
    return pack({f"{i}": spec_of("bias", (n,), layer=f"{i}") for i, n in enumerate(sizes)}, limit)


def covariance(layout: Layout, kernel: str, length: float) -> torch.Tensor:
    d = torch.cdist(*[torch.stack([layout.x, layout.y], 1)] * 2, compute_mode="donot_use_mm_for_euclid_dist") / length
    return torch.exp(-d if kernel == "exponential" else -(d**2) / 2)


@pytest.mark.parametrize("sizes", [(4,), (250,), (30, 7, 80)])
@pytest.mark.parametrize("limit", [None, 16])
def test_a_plane_is_linear_with_variance_1_on_average(sizes, limit):
    layout = layout_of(*sizes, limit=limit)
    plane = basis(layout, Spatial(cv=0.1, kernel="plane"))
    assert plane.shape == (sum(sizes), 2)
    assert float((plane**2).sum(1).mean()) == pytest.approx(1)
    assert plane.mean(0).tolist() == pytest.approx([0, 0], abs=1e-12)
    slope = (plane[1:, 0] - plane[0, 0]) / (layout.x[1:] - layout.x[0])
    moved = layout.x[1:] != layout.x[0]
    assert torch.allclose(slope[moved], slope[moved][0].expand(int(moved.sum())))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("length", [0.01, 0.3, 5.0])
def test_the_basis_is_a_factor_of_the_covariance(kernel, length):
    layout = layout_of(100, 37)
    factor = basis(layout, Spatial(cv=0.1, kernel=kernel, correlation_length=length))
    assert factor.dtype == torch.float64
    assert float((factor @ factor.T - covariance(layout, kernel, length)).abs().max()) < 2e-8
    assert torch.allclose((factor**2).sum(1), torch.ones(137, dtype=torch.float64), atol=1e-14)


@pytest.mark.parametrize("kernel", KERNELS)
def test_many_neurons_share_the_cells_of_a_lattice(kernel):
    layout, length = layout_of(2100), 0.3
    factor = correlated(layout.x, layout.y, kernel, length)
    assert factor.shape[0] == 2100
    assert factor.shape[1] <= LATTICE**2
    bound = math.sqrt(2) / (LATTICE * length) * (1 if kernel == "exponential" else math.exp(-0.5))
    error = (factor @ factor.T - covariance(layout, kernel, length)).abs()
    assert float(error.max()) < bound + 2e-8
    assert float(error.diagonal().max()) < 1e-12


@pytest.mark.parametrize("kernel", KERNELS)
def test_sampled_fields_have_the_covariance_across_layers(kernel):
    entry = (
        "distribution: normal, granularity: per_neuron, "
        f"components: {{spatial: {{cv: 0.1, kernel: {kernel}, correlation_length: 0.4}}}}"
    )
    theta = {"a.tau_mem": torch.ones(6, dtype=torch.float64), "b.tau_mem": torch.ones(3, dtype=torch.float64)}
    chips = 5000
    found = devices(spread("tau_mem", entry), theta, range(chips))
    values = (torch.cat([found["a.tau_mem"], found["b.tau_mem"]], 1) - 1) / 0.1
    expected = covariance(layout_of(6, 3), kernel, 0.4)
    error = ((1 + expected**2) / chips).sqrt()  # of a covariance of normals with variance 1
    assert bool(((values.T @ values / chips - expected).abs() < 5 * error).all())


def test_a_field_is_one_coordinate_of_a_role():
    entry = (
        "distribution: lognormal, granularity: per_synapse, "
        "components: {spatial: {cv: 0.2, kernel: rbf, correlation_length: 0.5}}"
    )
    theta = {"a.weight": torch.ones(4, 2), "b.weight": torch.ones(3, 4), "b.recurrent_weight": torch.ones(3, 3)}
    placement = placed(spread("weight", entry), theta)
    (c,) = placement.coordinates.values()
    assert (c.key, c.granularity, c.shape, c.kind) == ("weight/spatial", "rbf", (7,), "continuous")
    found = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(2)))
    assert torch.equal(found["b.weight"][..., :3], found["b.recurrent_weight"])
    assert torch.equal(found["a.weight"][..., 0], found["a.weight"][..., 1])  # a neuron is in one place


def test_one_neuron_has_the_variance_of_the_field():
    # Unlike a plane, whose middle is nominal.
    entry = (
        "distribution: normal, granularity: per_neuron, "
        "components: {spatial: {cv: 0.1, kernel: rbf, correlation_length: 0.5}}"
    )
    for shape in ((1,), ()):
        theta = {"l.tau_mem": torch.ones(shape)}
        z = {"tau_mem/spatial": torch.tensor([1.5])}
        found = realise(placed(spread("tau_mem", entry), theta), theta, z)["l.tau_mem"]
        assert found.flatten().tolist() == pytest.approx([1.15])


@pytest.mark.parametrize("kernel", ["plane", *KERNELS])
def test_a_chip_has_the_same_bits_among_any_others(kernel):
    matrix = basis(
        layout_of(200), Spatial(cv=0.1, kernel=kernel, correlation_length=None if kernel == "plane" else 0.3)
    )
    z = torch.randn(33, matrix.shape[1], generator=torch.Generator().manual_seed(1))
    together = field(matrix, z)
    assert together.dtype == torch.float32
    assert all(torch.equal(field(matrix, z[k : k + n]), together[k : k + n]) for k, n in ((0, 1), (7, 5), (32, 1)))
    assert torch.equal(field(matrix, z[9]), together[9])


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    limit=st.none() | st.integers(1, 40),
    kernel=st.sampled_from(["plane", *KERNELS]),
    length=st.floats(1e-3, 10),
    granularity=st.sampled_from(["per_synapse", "per_neuron_type", "per_neuron", "per_core", "per_die"]),
    instances=st.sampled_from([None, 1, 4]),
)
def test_shapes(sizes, limit, kernel, length, granularity, instances):
    more = "" if kernel == "plane" else f", correlation_length: {length}"
    chip = profile(
        f"""
        parameters:
          weight:
            distribution: lognormal
            granularity: {granularity}
            components: {{core: {{cv: 0.1}}, spatial: {{cv: 0.1, kernel: {kernel}{more}}}, device: {{cv: 0.1}}}}
        {"" if limit is None else f"limits: {{neurons_per_core: {limit}}}"}
        """
    )
    theta = {f"l{i}.weight": torch.ones(n, 3) for i, n in enumerate(sizes)}
    placement = placed(chip, theta)
    z = draw(placement, seed=1, purpose="test", instances=None if instances is None else range(instances))
    lead = () if instances is None else (instances,)
    assert z["weight/spatial"].shape == (*lead, 2 if kernel == "plane" else sum(sizes))
    assert z["weight/core"].shape == (*lead, placement.layout.cores)
    for name, p in realise(placement, theta, z).items():
        assert p.shape == (*lead, *theta[name].shape)
        assert bool(p.isfinite().all())
