import numpy as np
from numpy.testing import assert_array_equal

from snnrobust.tasks import load_task
from snnrobust.tasks.sources import load_arrays


def test_keywords_counts_and_speakers(needs_data):
    needs_data("keywords")
    task = load_task("keywords")
    assert [len(part) for part in task.parts().values()] == [2889, 389, 796]
    assert np.bincount(task.train.y).tolist() == [297, 287, 302, 299, 289, 286, 277, 286, 284, 282]
    assert np.bincount(task.test.y).tolist() == [77, 79, 91, 67, 80, 71, 74, 85, 92, 80]
    speakers = [set(part.groups.tolist()) for part in task.parts().values()]
    assert [len(s) for s in speakers] == [167, 23, 49]
    assert len(set.union(*speakers)) == 167 + 23 + 49


def test_keywords_values(needs_data):
    needs_data("keywords")
    part, arrays = load_task("keywords").validation, load_arrays("keywords")
    clip = arrays["x"][part.indices[17]].astype(float)
    expected = np.maximum(0, clip[::2] - np.median(clip)) / 10
    assert_array_equal(part.x[17], expected.astype(np.float32))
    assert arrays["classes"][arrays["y"][part.indices[17]]] == load_task("keywords").classes[part.y[17]]


def test_digits_split_and_standardisation(needs_data):
    needs_data("digits")
    task, arrays = load_task("digits"), load_arrays("digits")
    for part, (low, high) in zip(task.parts().values(), [(10, 49), (5, 9), (0, 4)], strict=True):
        indices = arrays["index"][part.indices]
        assert (indices.min(), indices.max()) == (low, high)
        assert np.bincount(part.y).tolist() == [len(part) // 10] * 10
    valid = np.arange(64) < task.train.lengths[:, None]
    frames = task.train.x[valid].astype(np.float64)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-5)
    assert not task.train.x[~valid].any()


def test_gestures_subjects_apart_and_in_units(needs_data):
    needs_data("gestures")
    task, arrays = load_task("gestures"), load_arrays("gestures")
    assert set(task.test.groups) == {"s03", "s08", "s13", "s18", "s23"}
    assert len(set(task.validation.groups)) == 3
    assert not set(task.train.groups) & (set(task.validation.groups) | set(task.test.groups))
    assert np.bincount(task.test.y).tolist() == [17, 48, 285, 76, 35]
    both = np.concatenate([task.train.y, task.validation.y])
    assert np.bincount(both).tolist() == [94, 144, 1038, 251, 196]
    assert (arrays["device"][task.train.indices] == "sw").all()
    raw = arrays["x"][task.train.indices[5], 7]
    np.testing.assert_allclose(task.train.x[5, 7, :3], raw[:3] / 500 / 9.80665, rtol=1e-6)
    np.testing.assert_allclose(task.train.x[5, 7, 3:], raw[3:] / 1000, rtol=1e-6)
    # At rest gravity is what the watch measures: 1 g over seated windows, to 10 %.
    seated = task.train.x[task.train.y == 0][:, :, :3].mean(axis=1)
    assert abs(np.linalg.norm(seated, axis=1).mean() - 1) < 0.1


def test_validation_subjects_depend_on_the_seed_alone(needs_data):
    needs_data("gestures")
    a, b, c = (load_task("gestures", seed=seed) for seed in (0, 0, 1))
    assert_array_equal(a.validation.indices, b.validation.indices)
    assert set(a.validation.groups) == {"s04", "s09", "s21"}
    assert set(c.validation.groups) != set(a.validation.groups)
