import numpy as np
import pytest

from snnrobust.errors import ConfigError
from snnrobust.tasks import load_task


def signs_and_times(sample):
    """First and second pulse of a noiseless sample: (sign, start) each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sample])) != 0)
    return [(int(sample[edges[k]]), int(edges[k])) for k in (0, 2)]


def test_class_is_the_exclusive_or_of_the_signs():
    task = load_task("temporal_xor", noise=0.0)
    pairs = set()
    for x, y in zip(task.train.x[:, :, 0], task.train.y, strict=True):
        (first, start), (second, later) = signs_and_times(x)
        assert task.classes[y] == ("same" if first == second else "different")
        assert 5 <= start <= 15
        assert 20 <= later - start - 10 <= 40
        assert np.abs(x).sum() == 20
        pairs.add((first, second))
    assert len(pairs) == 4


def test_no_single_step_and_no_sum_tells_the_class():
    # The mean input is 0 in both classes at every step; 5 standard errors over 600 samples of variance < 1.
    task = load_task("temporal_xor", noise=0.0)
    for label in (0, 1):
        mean = task.train.x[task.train.y == label, :, 0].mean(axis=0)
        assert np.abs(mean).max() < 5 / np.sqrt(600)


def test_balanced_and_reproducible():
    task, again, other = load_task("temporal_xor"), load_task("temporal_xor"), load_task("temporal_xor", seed=1)
    assert {name: np.bincount(part.y).tolist() for name, part in task.parts().items()} == {
        "train": [600, 600],
        "validation": [200, 200],
        "test": [400, 400],
    }
    np.testing.assert_array_equal(task.test.x, again.test.x)
    assert not np.array_equal(task.test.x, other.test.x)
    np.testing.assert_allclose(
        task.train.x[0, :4, 0], np.float32([-0.00344803743, -0.0257022195, 0.0535545871, -0.128411591]), rtol=0
    )


def test_noise_has_the_stated_size():
    residual = (load_task("temporal_xor", noise=0.2).train.x - load_task("temporal_xor", noise=0.0).train.x).ravel()
    # 120,000 values; the standard error of the deviation is 0.2 sqrt(1.7 / 4 / 120,000) = 0.0004, five are 0.002.
    assert abs(residual.std() - 0.2) < 0.002
    assert abs(residual.mean()) < 5 * 0.2 / np.sqrt(len(residual))


def test_wrong_noise():
    with pytest.raises(ConfigError, match=r"noise: -0\.1"):
        load_task("temporal_xor", noise=-0.1)
