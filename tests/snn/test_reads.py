"""Reads of a crossbar: the normals, the equations by hand, and the fused engine against the plain one."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from snnrobust import compiled
from snnrobust.errors import ConfigError, ShapeError
from snnrobust.snn import ALIF, LI, LIF, MeanRate, Network, Reads
from snnrobust.snn.engines import inference
from snnrobust.snn.engines import inputs as drives
from snnrobust.snn.engines.readings import normals_of

KEY = 0x299F31D0A4093822


def philox(counter, key):
    """Philox4x32-10 as published, word by word."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(second >> 32) ^ c[1] ^ k[0], second & 0xFFFFFFFF, (first >> 32) ^ c[3] ^ k[1], first & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_the_generator_is_the_published_one():
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    counter, key = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]
    assert philox(counter, key) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_normals_are_the_quantiles_of_the_words():
    step, sample, read, neurons = 7, 5, 3, 300
    found = normals_of(np.array([KEY], np.uint64), read, range(step, step + 1), sample, 1, neurons)[0, 0, 0]
    exact = np.empty(320)
    for block in range(80):
        for m, word in enumerate(philox([block, step, sample, read], [KEY & 0xFFFFFFFF, KEY >> 32])):
            size = -NormalDist().inv_cdf(((word & 0x7FFFFFFF) + 0.5) / 2**32)
            exact[32 * (block // 8) + 8 * m + block % 8] = -size if word >> 31 else size
    assert np.abs(found - exact[:neurons]).max() < 2e-6


def test_normals_are_normal_into_the_tails():
    z = normals_of(np.array([1, 2], np.uint64), 0, range(500), 0, 32, 256).ravel()  # 8 million, fixed
    n = len(z)
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * math.sqrt(15 / n)
    for limit in (1.0, 2.0, 3.0, 4.0, 4.9):
        expected = 2 * n * NormalDist().cdf(-limit)
        assert abs((np.abs(z) > limit).sum() - expected) < 4 * math.sqrt(expected)
    assert len(np.unique(z[: 1 << 16])) > 0.99 * (1 << 16)


def test_the_equations_by_hand():
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]], dtype=torch.float64)
    x = torch.tensor([[[1.0, 0.0, 3.0]], [[0.0, 0.0, 0.0]]], dtype=torch.float64)  # [T, B, I]
    adc = Reads(keys=(KEY,), step=0.4, bound=2.0)
    assert adc.read(x, weight, first=0, step=0)[:, 0].tolist() == [[2.0, -2.0], [0.0, 0.0]]  # 2.5 and -2.75, clipped
    tiles = Reads(keys=(KEY,), step=0.4, bound=2.0, rows=2)
    expected = [[0.8 + 1.6, 0.4 - 2.0], [0.0, 0.0]]  # 1 -> 2.5 steps, to even; 1.5 -> 1.6; 0.25 -> 0.4; -3 clipped
    torch.testing.assert_close(tiles.read(x, weight, first=0, step=0)[:, 0], torch.tensor(expected).double())
    noisy = Reads(keys=(KEY,), noise=0.1, weight_noise=torch.tensor([0.2, 0.3]), rows=2)
    z = [normals_of(np.array([KEY], np.uint64), tile, range(1), 0, 1, 2)[0, 0, 0] for tile in (0, 1)]
    first = [1.0 + math.sqrt(0.01 + 0.04 * 1.0) * z[0][0], 0.25 + math.sqrt(0.01 + 0.09 * 0.25) * z[0][1]]
    second = [1.5 + math.sqrt(0.01 + 0.04 * 0.5 * 9) * z[1][0], -3.0 + math.sqrt(0.01 + 0.09 * 9) * z[1][1]]
    found = noisy.read(x, weight, first=0, step=0)[:, 0]
    torch.testing.assert_close(found[0], torch.tensor([a + b for a, b in zip(first, second, strict=True)]).double())
    assert found[1].tolist() == [0.0, 0.0]  # no input, no read
    clocked = Reads(keys=(KEY,), noise=0.1, clocked=True).read(x, weight, first=0, step=0)
    assert bool((clocked[1] != 0).all())


def test_offset_and_drop_by_hand():
    weight = torch.tensor([[1.0, -2.0, 0.5, 4.0]], dtype=torch.float64)
    x = torch.tensor([[[1.0, 0.0, -3.0, 1.0]], [[0.0] * 4]], dtype=torch.float64)  # [T, B, I]
    # Two tiles of two sources. The first: w x = 1, of which source 0 loses nothing, and a = 0.1 * 2 * 1 = 0.2.
    # The second: w x = -1.5 + 4, the far half of source 1 loses 4 (1 - 1/4) c(a) with a = 0.1 * 2 * 5.5 = 1.1.
    c = 1.1 * (1.1 * (0.05 * 1.1 - 0.2) + 0.5)
    reads = Reads(keys=(KEY,), offset=torch.tensor([0.25]), drop=0.1, recurrent_drop=7.0, rows=2)
    found = reads.read(x, weight, first=0, step=0)[:, 0, 0]
    assert found.tolist() == pytest.approx([1 + 0.25 + 2.5 - 3 * c + 0.25, 0.0], rel=1e-14)  # not read: no offset
    feedback = Reads(keys=(KEY,), drop=7.0, recurrent_drop=0.1, rows=2).feedback(x[0], weight, 0)
    assert feedback.item() == pytest.approx(3.5 - 3 * c, rel=1e-14)


def networks():
    make = {"dt": 1e-3, "tau_syn": 4e-3, "v_th": 0.3}
    return {
        "plain": Network([LIF(11, 40, True, **make), LI(40, 4)]),
        "stack": Network(
            [LIF(11, 30, True, **make), ALIF(30, 70, reset="soft", **make | {"v_th": 0.05}), LI(70, 4, decode="max")]
        ),
        "rate": Network([LIF(11, 37, True, refractory=2e-3, **make), MeanRate(37, 4)]),
    }


def policies(net, instances):
    keys = tuple(KEY + k for k in range(instances))
    generator = torch.Generator().manual_seed(7)
    found = {
        name: Reads(
            keys=keys,
            noise=0.05 + 0.1 * torch.rand(layer.neurons, generator=generator),
            weight_noise=0.2,
            step=0.03,
            bound=torch.linspace(0.5, 3, layer.neurons),
            offset=0.05 * torch.randn(layer.neurons, generator=generator),
            drop=0.01 * torch.rand(layer.neurons, generator=generator),
            recurrent_drop=0.02,
            rows=16 if name == "layer0" else None,
            clocked=name != "layer0",
        )
        for name, layer in net.spiking.items()
    }
    if isinstance(net.readout, LI):
        found["readout"] = Reads(keys=keys, noise=0.1, drop=0.01)
    return found


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("kind", ["spikes", "sparse", "dense"])
@pytest.mark.parametrize("instances", [1, 3])
def test_engines_agree(name, kind, instances):
    net, generator = networks()[name].double(), torch.Generator().manual_seed(1)
    x = torch.randn(25, 13, 11, generator=generator, dtype=torch.float64)
    if kind != "dense":
        there = torch.rand(x.shape, generator=generator) < 0.15
        x = there.double() * (x if kind == "sparse" else 1) * 3
    params = {n: p.detach() for n, p in net.nominal().items()}
    how = policies(net, instances)
    results = []
    for net.engine in ("eager", "numba"):
        with torch.no_grad():
            results.append(net.record(params, x, reads=how))
            noiseless = net.record(params, x)
    eager, numba = results
    assert all(bool(s.any()) for s in eager.spikes.values())
    assert not all(torch.equal(eager.spikes[n], noiseless.spikes[n].expand_as(eager.spikes[n])) for n in eager.spikes)
    for layer, spikes in eager.spikes.items():
        assert spikes.shape == numba.spikes[layer].shape
        assert torch.equal(spikes, numba.spikes[layer]), layer
    torch.testing.assert_close(numba.logits, eager.logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.1, torch.full((1, 40), 0.1)])
def test_keys_make_instances_whatever_the_noise(noise):
    net = networks()["plain"]
    x = torch.randn(10, 4, 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for net.engine in ("eager", "numba"):
            for keys, shape in (((1,), (4, 4)), ((1, 2, 3), (3, 4, 4))):
                how = {"layer0": Reads(keys=keys, noise=noise)}
                assert net.run(net.nominal(), x, reads=how).shape == shape


def test_same_bits_for_any_threads_and_split(monkeypatch):
    net = networks()["stack"]
    net.engine = "numba"
    x = 2 * torch.randn(30, 37, 11, generator=torch.Generator().manual_seed(3))
    how, before = policies(net, 5), compiled.get_threads()
    with torch.no_grad():
        whole = net.run(net.nominal(), x, reads=how)
        try:
            compiled.set_threads(3)
            monkeypatch.setattr(inference, "_LIST_BYTES", 1)
            assert torch.equal(net.run(net.nominal(), x, reads=how), whole)
            monkeypatch.setattr(drives, "SPARSE", 2.0)
            assert torch.equal(net.run(net.nominal(), x, reads=how), whole)
        finally:
            compiled.set_threads(before)
        later = {n: Reads(**{**vars(r), "keys": r.keys[3:], "first_sample": 20}) for n, r in how.items()}
        assert torch.equal(net.run(net.nominal(), x[:, 20:], reads=later), whole[3:, 20:])


def test_gradients_pass_through_rounding():
    net = networks()["plain"]
    x = torch.randn(20, 4, 11, generator=torch.Generator().manual_seed(0))
    wide = {"layer0": Reads(keys=(KEY,), step=1e-6, bound=1e3), "readout": Reads(keys=(KEY,))}
    found = []
    for how in ({}, wide):
        loss = net.run(net.nominal(), x, reads=how).square().sum()
        found.append(torch.autograd.grad(loss, [net.layer0.weight, net.layer0.recurrent_weight]))
    for plain, read in zip(*found, strict=True):
        torch.testing.assert_close(read, plain, rtol=1e-2, atol=1e-4)
    net.engine = "numba"
    with pytest.raises(ConfigError, match="without gradients"):
        net.run(net.nominal(), x, reads=wide)


def test_bad_policies_are_named():
    with pytest.raises(ConfigError, match="keys"):
        Reads(keys=())
    with pytest.raises(ConfigError, match="offset: must be finite"):
        Reads(keys=(1,), offset=float("inf"))
    with pytest.raises(ConfigError, match="drop: -1"):
        Reads(keys=(1,), drop=-1.0)
    with pytest.raises(ConfigError, match="noise: -1"):
        Reads(keys=(1,), noise=-1.0)
    with pytest.raises(ShapeError, match="instances"):
        Reads(keys=(1, 2), noise=torch.ones(3, 5))
    with pytest.raises(ConfigError, match="tiles"):
        Reads(keys=(1,), rows=1).read(torch.zeros(1, 1, 70_000), torch.zeros(1, 70_000), first=0, step=0)
    with pytest.raises(ConfigError, match="rows: 0"):
        Reads(keys=(1,), rows=0)
    net = networks()["rate"]
    x = torch.zeros(3, 2, 11)
    with pytest.raises(ConfigError, match="readout"):
        net.run(net.nominal(), x, reads={"readout": Reads(keys=(1,))})
    with pytest.raises(ShapeError, match="noise"), torch.no_grad():
        net.run(net.nominal(), x, reads={"layer0": Reads(keys=(1,), noise=torch.ones(3))})
