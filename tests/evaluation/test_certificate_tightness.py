"""How wide certificates are: against the union over all spike patterns that some device in the box could have.

The oracle is written out with numbers for a layer of LIF with a hard reset and a leaky readout: along one pattern the
membrane is linear, and its ends are at the ends of the parameters.
"""

import itertools

import numpy as np
import pytest
from tiny_networks import samples, tiny

from snnrobust.evaluation.certificates.certificate import certify


def ends(net, k):
    """(low, high) of each weight and bias as arrays, and of the others."""
    found = {}
    for name, p in net.nominal().items():
        value, moves = p.detach().numpy(), name.endswith(("weight", "bias"))
        found[name] = (value - k * abs(value), value + k * abs(value)) if moves else (value, value)
    return found


def times(weight, x):
    """Ends of W x for one x."""
    low, high = weight
    return np.minimum(low * x, high * x).sum(-1), np.maximum(low * x, high * x).sum(-1)


def patterns(net, box, x):
    """Every spike pattern [T, N] that some device could have, step by step."""
    a = 1 - np.exp(-1e-3 / box["layer0.tau_mem"][0])
    leak, threshold, reset = (box[f"layer0.{n}"][0] for n in ("v_leak", "v_th", "v_reset"))

    def go(t, low, high, before):
        if t == len(x):
            yield before
            return
        o = before[-1] if before else np.zeros(len(leak))
        parts = [times(box["layer0.weight"], x[t]), times(box["layer0.recurrent_weight"], o), box["layer0.bias"]]
        u_low, u_high = (sum(part[end] for part in parts) for end in (0, 1))
        low, high = low + a * (leak - low + u_low), high + a * (leak - high + u_high)
        can = [
            [o for o in (0.0, 1.0) if (h > th if o else lo <= th)]
            for lo, h, th in zip(low, high, threshold, strict=True)
        ]
        for o in itertools.product(*can):
            fired = np.array(o) > 0
            yield from go(
                t + 1,
                np.where(fired, reset, low),
                np.where(fired, reset, np.minimum(high, threshold)),
                [*before, fired * 1.0],
            )

    return list(go(0, leak, leak, []))


def read_out(box, pattern):
    """Ends of the mean potential of the readout for one pattern."""
    a = 1 - np.exp(-1e-3 / box["readout.tau_mem"][0])
    low = high = np.zeros(2)
    found = []
    for o in pattern:
        u_low, u_high = times(box["readout.weight"], o)
        low = low + a * (u_low + box["readout.bias"][0] - low)
        high = high + a * (u_high + box["readout.bias"][1] - high)
        found.append((low, high))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("neurons", [1, 2, 3])
def test_bounds_hold_all_patterns_and_are_exact_where_spikes_part_only_at_the_end(neurons):
    data, exact, ratios = samples(6, 5, seed=neurons), 0, []
    for seed, k in itertools.product(range(10), (0.01, 0.05)):
        net = tiny("hard", neurons=neurons, seed=seed)
        box, found = ends(net, k), certify(net, data, k)
        for b, x in enumerate(data.x.astype(np.float64)):
            possible = patterns(net, box, x)
            read = np.array([read_out(box, pattern) for pattern in possible])
            low, high = read[:, 0].min(0), read[:, 1].max(0)
            assert (found.low[b] <= low).all()
            assert (found.high[b] >= high).all()
            ratios.append((found.high[b] - found.low[b]).max() / (high - low).max())
            if len({tuple(np.concatenate(pattern[:-1])) for pattern in possible}) == 1:
                np.testing.assert_allclose(found.low[b], low, atol=1e-12)
                np.testing.assert_allclose(found.high[b], high, atol=1e-12)
                exact += 1
    assert exact > 20
    assert len(ratios) - exact > 5  # patterns that part earlier were seen as well
    assert np.quantile(ratios, 0.9) < 1.5
