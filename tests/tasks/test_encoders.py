import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.errors import ConfigError
from snnrobust.tasks import Split, Task, load_task
from snnrobust.tasks.encoders import delta, encode, latency, rate


def split_of(values, lengths=None, indices=None) -> Split:
    x = np.asarray(values, dtype=np.float32)
    count, steps = x.shape[:2]
    return Split(
        x,
        np.zeros(count, dtype=np.int64),
        np.full(count, steps) if lengths is None else np.asarray(lengths),
        np.arange(count) if indices is None else np.asarray(indices),
    )


def task_of(values, lengths) -> Task:
    codes = np.repeat([0, 2], len(values))
    y = np.tile(np.arange(len(values)) % 2, 2)
    return Task.from_arrays(np.concatenate([values, values]), y, codes, dt=4e-3, lengths=np.tile(lengths, 2))


def test_delta_by_hand():
    # threshold 0.5: 0.6 sends ON (r = 0.5), 0.9 nothing, 2.0 ON twice, one a step (1.0, 1.5), -1 OFF (1.0).
    spikes = delta(split_of([[[0.6], [0.9], [2.0], [2.0], [-1.0]]]), 0, threshold=0.5)
    np.testing.assert_array_equal(spikes[0, :, 0], [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(spikes[0, :, 1], [0, 0, 0, 0, 1])


@given(seed=st.integers(0, 1000), threshold=st.sampled_from([0.125, 0.25, 0.5]), inputs=st.integers(1, 3))
def test_sum_of_delta_spikes_follows_a_slow_signal(seed, threshold, inputs):
    # A signal that moves by less than the threshold a step is never further from r than the threshold.
    steps = np.random.default_rng(seed).uniform(-0.99, 0.99, (2, 40, inputs)) * threshold
    x = np.cumsum(steps, axis=1).astype(np.float32)
    spikes = delta(split_of(x), 0, threshold=threshold)
    sent = threshold * np.cumsum(spikes[..., :inputs] - spikes[..., inputs:], axis=1)
    assert np.abs(sent - x).max() < threshold + 1e-5
    assert not np.any(spikes[..., :inputs] * spikes[..., inputs:])


def test_delta_substeps_catch_up_with_a_jump():
    spikes = delta(split_of([[[2.0]]]), 0, threshold=0.5, substeps=6)
    np.testing.assert_array_equal(spikes[0, :, 0], [1, 1, 1, 1, 0, 0])


def test_latency_by_hand():
    # substeps 5, maximum 2: magnitude 2 at step 0, 1 in the middle (2), 0.5 at floor(3.5) = 3, 0.05 nothing.
    spikes = latency(split_of([[[2.0], [1.0]], [[-0.5], [0.05]]]), 0, substeps=5, threshold=0.1, maximum=2.0)
    assert np.flatnonzero(spikes[0, :, 0]).tolist() == [0, 5 + 2]
    assert np.flatnonzero(spikes[1, :, 1]).tolist() == [3]
    assert spikes[0, :, 1].sum() == spikes[1, :, 0].sum() == 0


def test_latency_saturates_at_its_maximum():
    spikes = latency(split_of([[[50.0]]]), 0, substeps=4, maximum=3.0)
    assert np.flatnonzero(spikes[0, :, 0]).tolist() == [0]


def test_rate_has_the_stated_probability():
    # 40,000 draws at p = 0.3 x 0.5 = 0.15: 5 standard errors are 0.0089 (error rate 6e-7), fixed keys.
    spikes = rate(split_of(np.full((20, 500, 1), -0.5)), 1, substeps=4, gain=0.3)
    assert spikes.shape == (20, 2000, 2)
    assert spikes[..., 0].sum() == 0
    assert abs(spikes[..., 1].mean() - 0.15) < 5 * np.sqrt(0.15 * 0.85 / 40_000)
    assert np.all(rate(split_of(np.full((1, 50, 1), 9.0)), 1)[..., 0] == 1)


def test_rate_is_keyed_by_index_and_not_by_position():
    x = np.random.default_rng(0).normal(size=(5, 20, 2))
    whole = rate(split_of(x, indices=[7, 3, 11, 0, 5]), 4)
    order = [3, 1]
    part = rate(split_of(x[order], indices=[0, 3]), 4)
    np.testing.assert_array_equal(part, whole[order])
    assert not np.array_equal(rate(split_of(x, indices=[7, 3, 11, 0, 5]), 5), whole)


def test_rate_does_not_depend_on_padding():
    x = np.random.default_rng(0).normal(size=(2, 20, 2))
    longer = np.concatenate([x, np.zeros((2, 9, 2))], axis=1)
    np.testing.assert_array_equal(rate(split_of(longer), 4)[:, :80], rate(split_of(x), 4))


@given(
    encoding=st.sampled_from(["delta", "latency", "rate"]),
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    inputs=st.integers(1, 3),
    substeps=st.integers(1, 4),
)
def test_encoded_tasks_are_binary_and_silent_in_the_padding(encoding, lengths, inputs, substeps):
    values = np.random.default_rng(1).normal(scale=2, size=(len(lengths), 6, inputs))
    task = encode(task_of(values, lengths), encoding, seed=2, substeps=substeps)
    assert task.encoding == encoding
    assert task.dt == pytest.approx(4e-3 / substeps)
    assert (task.steps, task.inputs) == (6 * substeps, 2 * inputs)
    for part in task.parts().values():
        assert set(np.unique(part.x)) <= {0.0, 1.0}
        for sample, length in zip(part.x, part.lengths, strict=True):
            assert not sample[length:].any()
    assert task.train.lengths.tolist() == [substeps * length for length in lengths]


@pytest.mark.parametrize(("encoding", "steps"), [("delta", 29), ("latency", 232), ("rate", 116)])
def test_load_task_encodes(encoding, steps):
    task = load_task("vowels", encoding=encoding)
    assert (task.steps, task.inputs, task.encoding) == (steps, 24, encoding)
    assert 0.01 < task.train.x.mean() < 0.5


def test_wrong_options_name_themselves():
    task = task_of(np.ones((2, 3, 1)), [3, 3])
    for encoding, options, message in [
        ("poisson", {}, "encoding: unknown 'poisson'"),
        ("delta", {"threshold": 0.0}, "threshold: 0.0"),
        ("rate", {"gain": -1.0}, "gain: -1.0"),
        ("rate", {"substeps": 0}, "substeps: 0"),
        ("latency", {"threshold": 1.0, "maximum": 0.5}, "maximum: 0.5"),
    ]:
        with pytest.raises(ConfigError, match=message):
            encode(task, encoding, **options)
    with pytest.raises(ConfigError, match="delta encoded already"):
        encode(encode(task, "delta"), "rate")
    assert encode(task, "analog") is task
