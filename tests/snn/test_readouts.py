"""Readouts: decoding over valid steps against numpy, padding, chunks, instances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.errors import ShapeError
from snnrobust.snn import LI, MeanRate
from snnrobust.snn.readouts import DECODERS, decoded, valid_steps

QUICK = settings(max_examples=50, deadline=None, derandomize=True)
NUMPY = {"mean": lambda v: v.mean(0), "max": lambda v: v.max(0), "last": lambda v: v[-1]}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("how", DECODERS)
@QUICK
@given(data=st.data(), steps=st.integers(1, 12), batch=st.integers(1, 4), instances=st.sampled_from([None, 1, 3]))
def test_decoding_against_numpy(how, data, steps, batch, instances):
    v = normal(*(() if instances is None else (instances,)), steps, batch, 2)
    lengths = data.draw(st.none() | st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    found = decoded(v, None if lengths is None else torch.tensor(lengths), how)
    assert found.shape == (*v.shape[:-3], batch, 2)
    for b, length in enumerate(lengths or [steps] * batch):
        rows = v[..., :length, b, :].numpy()
        expected = NUMPY[how](np.moveaxis(rows, -2, 0))
        np.testing.assert_allclose(found[..., b, :].numpy(), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("how", DECODERS)
def test_gradients_reach_valid_steps_only(how):
    v = normal(6, 2, 3).requires_grad_()
    lengths = torch.tensor([2, 6])
    (g,) = torch.autograd.grad(decoded(v, lengths, how).sum(), v)
    assert bool((g[2:, 0] == 0).all())
    torch.testing.assert_close(g.sum(0), torch.ones(2, 3, dtype=torch.float64))


def readout(kind, decode="mean"):
    layer = LI(3, 2, decode=decode, tau_syn=4e-3, seed=1) if kind == "li" else MeanRate(3, 2, seed=1)
    return layer.double()


@pytest.mark.parametrize(("kind", "decode"), [("li", "mean"), ("li", "max"), ("li", "last"), ("rate", "mean")])
@pytest.mark.parametrize("content", [-1e3, 1.0, 1e300, np.inf, np.nan])
def test_padding_content_never_changes_logits(kind, decode, content):
    layer, lengths = readout(kind, decode), torch.tensor([1, 4, 7])
    x = normal(7, 3, 3)
    padded = torch.where(valid_steps(lengths, 7).unsqueeze(-1), x, content)
    clean = torch.where(valid_steps(lengths, 7).unsqueeze(-1), x, 0.0)
    found = layer.run(layer.nominal(), padded, lengths)
    assert torch.equal(found, layer.run(layer.nominal(), clean, lengths))
    alone = [layer.run(layer.nominal(), x[:n, b : b + 1])[0] for b, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(found, torch.stack(alone), rtol=1e-12, atol=1e-14)


def test_mean_rate_is_the_weighted_mean():
    layer = readout("rate")
    layer.bias.data.copy_(torch.tensor([0.5, -0.25]))
    x = (normal(9, 4, 3) > 0).double()
    expected = x.numpy().mean(0) @ layer.weight.detach().numpy().T + np.array([0.5, -0.25])
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("integrator", ["euler", "exponential"])
@pytest.mark.parametrize("tau_syn", [None, 5e-3])
def test_chunked_potentials_equal_the_whole(integrator, tau_syn):
    layer = LI(3, 2, tau_syn=tau_syn, integrator=integrator, v_leak=0.1, seed=1).double()
    x = normal(20, 2, 3)
    whole, last = layer(x)
    state, parts = None, []
    for chunk in x.split([1, 6, 13]):
        v, state = layer(chunk, state)
        parts.append(v)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-14)  # BLAS rounds by the shape
    torch.testing.assert_close(state.v, last.v, rtol=0, atol=1e-14)
    assert torch.equal(whole[-1], last.v)


@pytest.mark.parametrize("kind", ["li", "rate"])
@QUICK
@given(data=st.data(), input_instances=st.booleans())
def test_instances_at_once_equal_one_by_one(kind, data, input_instances):
    layer = readout(kind)
    nominal = {name: p.detach() for name, p in layer.nominal().items()}
    names = data.draw(st.sets(st.sampled_from(list(nominal)), min_size=1))
    params = {n: p * (1 + 0.1 * normal(3, *p.shape, seed=5)) if n in names else p for n, p in nominal.items()}
    x = normal(3, 8, 2, 3) if input_instances else normal(8, 2, 3)
    lengths = torch.tensor([3, 8])
    together = layer.run(params, x, lengths)
    assert together.shape == (3, 2, 2)
    for k in range(3):
        one = {n: p[k] if n in names else p for n, p in params.items()}
        alone = layer.run(one, x[k] if input_instances else x, lengths)
        torch.testing.assert_close(together[k], alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lengths", [[0, 3], [3, 9], [-1, 2]])
@pytest.mark.parametrize("how", DECODERS)
def test_lengths_outside_the_sequence_are_refused(how, lengths):
    with pytest.raises(ShapeError, match=r"lengths: .* must be 1 .. 8, the number of steps"):
        decoded(normal(8, 2, 3), torch.tensor(lengths), how)


def test_lengths_of_another_batch_are_refused():
    with pytest.raises(ShapeError, match=r"lengths: shape \(3,\) must be \(2,\)"):
        decoded(normal(8, 2, 3), torch.tensor([1, 2, 3]), "mean")
