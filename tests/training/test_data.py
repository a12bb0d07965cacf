"""Batches: every sample once an epoch, in an order that depends on seed and epoch alone."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.tasks import Task
from snnrobust.training.data import batch_count, batches, class_weights, precision, to_batch


def numbered(samples):
    """A task whose training sample n is filled with the number n."""
    x = np.repeat(np.arange(samples + 2.0), 2).reshape(-1, 2, 1)
    split = np.r_[np.zeros(samples), 2, 2].astype(int)
    y = np.arange(samples + 2) % 2
    return Task.from_arrays(x, y, split, dt=1e-3, classes=("a", "b"))


def order(split, size, **key):
    return [batch.x[0, :, 0].tolist() for batch in batches(split, size, **key)]


@given(samples=st.integers(2, 40), size=st.integers(1, 50))
def test_each_sample_once_in_batches_of_nearly_equal_size(samples, size):
    split = numbered(samples).train
    found = order(split, size, seed=0, epoch=0)
    assert len(found) == batch_count(split, size)
    assert sorted(chain(*found)) == list(range(samples))
    sizes = [len(rows) for rows in found]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_the_order_depends_on_seed_and_epoch():
    split = numbered(30).train
    first = order(split, 7, seed=0, epoch=0)
    np.random.seed(5)  # noqa: NPY002 (the global generator must not matter)
    torch.manual_seed(5)
    assert order(split, 7, seed=0, epoch=0) == first
    assert order(split, 7, seed=0, epoch=1) != first
    assert order(split, 7, seed=1, epoch=0) != first
    assert [*chain(*order(split, 4, seed=0, epoch=0))] == [*chain(*first)]


def test_a_batch_is_time_first_and_has_lengths_where_some_sample_is_short(task_of):
    split = task_of(lengths=True).train
    rows = np.array([3, 0, 5])
    batch = to_batch(split, rows)
    np.testing.assert_array_equal(batch.x.numpy(), split.x[rows].transpose(1, 0, 2))
    assert batch.y.tolist() == split.y[rows].tolist()
    assert batch.lengths.tolist() == split.lengths[rows].tolist()
    assert to_batch(task_of().train, rows).lengths is None
    assert to_batch(split, rows, torch.float64).x.dtype == torch.float64


def test_class_weights_even_out_the_classes():
    x, y = np.zeros((12, 2, 1)), np.array([0] * 6 + [1] * 3 + [0, 1, 1])
    split = np.array([0] * 9 + [2] * 3)
    task = Task.from_arrays(x, y, split, dt=1e-3, metric="balanced accuracy")
    weights = class_weights(task)
    assert weights.tolist() == [pytest.approx(9 / (2 * 6)), pytest.approx(9 / (2 * 3))]
    assert float(weights[torch.from_numpy(task.train.y)].mean()) == pytest.approx(1.0)
    assert class_weights(Task.from_arrays(x, y, split, dt=1e-3)) is None


def test_inputs_are_float64_for_networks_in_float64_alone():
    single, double, count = torch.ones(2), torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.int64)
    assert precision({"w": double, "n": count}) == torch.float64
    assert precision({"w": single, "scale": double}) == torch.float32
    assert precision({}) == torch.float32
