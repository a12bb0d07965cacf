import numpy as np
import pytest

from snnrobust.errors import ShapeError, SnnRobustError, TaskError
from snnrobust.tasks import Split, Task
from snnrobust.tasks.dataset import standardised, zero_padding


def arrays(**changes):
    """Eight valid samples of 5 steps and 2 inputs in two classes; ``changes`` replace arguments."""
    values = {
        "x": np.arange(80, dtype=np.float64).reshape(8, 5, 2) / 80,
        "y": np.array([0, 1] * 4),
        "split": np.array([0, 0, 0, 0, 1, 1, 2, 2]),
        "dt": 1e-3,
    }
    return values | changes


def make(**changes) -> Task:
    values = arrays(**changes)
    return Task.from_arrays(values.pop("x"), values.pop("y"), values.pop("split"), **values)


def test_from_arrays_keeps_values_and_identity():
    task = make(split=np.array(["test", "train"] * 3 + ["validation", "train"]), y=[1, 0, 1, 1, 0, 0, 1, 0])
    assert (task.inputs, task.steps, task.classes, task.encoding) == (2, 5, ("0", "1"), "analog")
    assert task.train.indices.tolist() == [1, 3, 5, 7]
    assert task.validation.indices.tolist() == [6]
    assert task.test.indices.tolist() == [0, 2, 4]
    assert task.train.x.dtype == np.float32
    np.testing.assert_array_equal(task.test.x[1], np.float32(arrays()["x"][2]))
    assert task.test.lengths.tolist() == [5, 5, 5]
    assert task.test.y.tolist() == [1, 1, 0]


def test_the_split_may_be_a_column_of_objects():
    names = np.array(["train"] * 4 + ["validation"] * 2 + ["test"] * 2, dtype=object)
    assert make(split=names).test.indices.tolist() == [6, 7]


def test_validation_may_be_absent():
    assert make(split=[0, 0, 0, 0, 0, 0, 2, 2]).validation is None


def test_padding_becomes_zero_even_where_it_was_nan():
    x = arrays()["x"]
    x[:, 3:] = np.nan
    task = make(x=x, lengths=[3] * 8)
    assert np.all(task.train.x[:, 3:] == 0)
    np.testing.assert_array_equal(task.train.x[0, :3], np.float32(arrays()["x"][0, :3]))


def test_the_users_arrays_are_not_changed():
    values = arrays(lengths=np.array([3] * 8))
    before = values["x"].copy()
    make(**values)
    np.testing.assert_array_equal(values["x"], before)


def test_classes_and_groups_are_kept():
    task = make(classes=["left", "right"], groups=list("aabbccad"))
    assert task.classes == ("left", "right")
    assert task.test.groups.tolist() == ["a", "d"]
    assert "1 of the 2 test groups are in train too" in task.split


class _Tensor:
    """Stands for an array on another device, which NumPy cannot read."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert device tensor to numpy")


bad_x = arrays()["x"].copy()
bad_x[6, 2, 1] = np.nan
WRONG = {
    "x of two dimensions": ({"x": np.zeros((8, 5))}, ShapeError, r"x: shape \(8, 5\).*x\[:, :, None\]"),
    "x without inputs": ({"x": np.zeros((8, 5, 0))}, ShapeError, r"x: shape \(8, 5, 0\)"),
    "x of text": ({"x": np.full((8, 5, 2), "a")}, TaskError, "x: dtype <U1"),
    "x complex": ({"x": np.zeros((8, 5, 2), complex)}, TaskError, "x: dtype complex128"),
    "x ragged": ({"x": [[[1.0]], [[1.0], [2.0]]]}, TaskError, "x: cannot be read"),
    "x elsewhere": ({"x": _Tensor()}, TaskError, "x: cannot be read.*device"),
    "x not finite": ({"x": bad_x}, TaskError, "x: nan at sample 6, step 2, input 1"),
    "x beyond float32": ({"x": np.full((8, 5, 2), 1e39)}, TaskError, "x: inf at sample 0"),
    "labels short": ({"y": [0, 1]}, ShapeError, r"y: shape \(2,\).*\(8,\)"),
    "labels as one-hot": ({"y": np.eye(8, 2, dtype=int)}, ShapeError, r"y: shape \(8, 2\)"),
    "labels negative": ({"y": [0, 1, -1, 0, 1, 0, 1, 0]}, TaskError, "y: label -1"),
    "labels with gap": ({"y": [0, 2] * 4}, TaskError, "y: no sample has label 1 but 2"),
    "labels real": ({"y": [0.0, 1.0] * 4}, TaskError, "y: dtype float64"),
    "labels text": ({"y": ["a", "b"] * 4}, TaskError, r"y: text is no label.*np.unique\(y, return_inverse=True\)"),
    "labels huge": ({"y": [0, 10**15] * 4}, TaskError, "y: no sample has label 1 but 1000000000000000"),
    "labels beyond classes": ({"y": [0, 2] * 4, "classes": "ab"}, TaskError, "label 2; there are 2 classes"),
    "one class": ({"y": [0] * 8}, TaskError, "classes: 1 given"),
    "class name twice": ({"classes": ["a", "a"]}, TaskError, "classes: a name occurs twice"),
    "class missing in train": ({"y": [0, 0, 0, 0, 1, 1, 1, 1]}, TaskError, "train: no sample of class 1"),
    "split short": ({"split": [0, 2]}, ShapeError, r"split: shape \(2,\)"),
    "split code": ({"split": [0, 0, 0, 0, 1, 1, 2, 3]}, TaskError, "split: 3; must be 0"),
    "split name": ({"split": ["train"] * 7 + ["tset"]}, TaskError, "split: unknown 'tset' .*'test'"),
    "split real": ({"split": [0.5] * 8}, TaskError, "split: dtype float64"),
    "no train": ({"split": [1, 1, 1, 1, 1, 1, 2, 2]}, TaskError, "train: no samples"),
    "no test": ({"split": [0, 0, 0, 0, 1, 1, 1, 1]}, TaskError, "test: no samples"),
    "lengths zero": ({"lengths": [0] + [5] * 7}, TaskError, "lengths: 0 at sample 0; must be 1 to T = 5"),
    "lengths long": ({"lengths": [5] * 7 + [6]}, TaskError, "lengths: 6 at sample 7"),
    "lengths short": ({"lengths": [5]}, ShapeError, r"lengths: shape \(1,\)"),
    "lengths real": ({"lengths": [5.0] * 8}, TaskError, "lengths: dtype float64"),
    "dt zero": ({"dt": 0.0}, TaskError, "dt: 0.0"),
    "dt nan": ({"dt": float("nan")}, TaskError, "dt: nan"),
    "dt text": ({"dt": "1ms"}, TaskError, "dt: '1ms'"),
    "groups of several types": ({"groups": np.array(["a", None] * 4, object)}, TaskError, "groups: values of several"),
    "groups short": ({"groups": ["a"]}, ShapeError, r"groups: shape \(1,\)"),
    "metric": ({"metric": "acuracy"}, TaskError, "metric: unknown 'acuracy'.*'accuracy'"),
    "nothing": ({"x": np.zeros((0, 5, 2)), "y": np.zeros(0, int), "split": np.zeros(0, int)}, ShapeError, "x: shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_one_line_that_names_the_argument(case):
    changes, kind, message = WRONG[case]
    with pytest.raises(kind, match=message) as caught:
        make(**changes)
    assert isinstance(caught.value, SnnRobustError)
    assert "\n" not in str(caught.value)


def test_a_sample_cannot_be_in_two_parts():
    part = make().train
    with pytest.raises(TaskError, match="indices: a sample is in two parts"):
        Task("t", part, None, part, ("a", "b"), 1e-3, "", "", "")


def test_parts_must_agree_in_steps_and_inputs():
    task = make()
    test = Split(task.test.x[:, :4], task.test.y, task.test.lengths - 1, task.test.indices)
    with pytest.raises(ShapeError, match=r"test.x: \[T, I\] = \(4, 2\); train.x has \(5, 2\)"):
        Task("t", task.train, None, test, ("a", "b"), 1e-3, "", "", "")


def test_split_is_strict_about_types():
    part = make().train
    with pytest.raises(TaskError, match="x: dtype float64"):
        Split(part.x.astype(np.float64), part.y, part.lengths, part.indices)
    with pytest.raises(TaskError, match="y: dtype int32"):
        Split(part.x, part.y.astype(np.int32), part.lengths, part.indices)
    with pytest.raises(TaskError, match="indices: a sample's index occurs twice"):
        Split(part.x, part.y, part.lengths, np.zeros(4, dtype=np.int64))


def test_take_selects_every_field():
    part = make(groups=list("abcdefgh"), lengths=[1, 2, 3, 4, 5, 5, 5, 5]).train
    taken = part.take([2, 0])
    assert len(taken) == 2
    assert taken.lengths.tolist() == [3, 1]
    assert taken.indices.tolist() == [2, 0]
    assert taken.groups.tolist() == ["c", "a"]
    np.testing.assert_array_equal(taken.x, part.x[[2, 0]])
    assert part.take(part.y == 1).y.tolist() == [1, 1]


def test_standardised_uses_valid_training_steps_only():
    x = np.array([[[1.0], [3.0], [99.0]], [[5.0], [99.0], [99.0]], [[7.0], [9.0], [11.0]]], dtype=np.float32)
    lengths = np.array([2, 1, 3])
    # mean of 1, 3, 5 is 3 and their population variance 8/3
    result = standardised(x, lengths, np.array([True, True, False]))
    np.testing.assert_allclose(result[2, :, 0], (np.array([7, 9, 11]) - 3) / np.sqrt(8 / 3), rtol=1e-6)
    assert result[0, 2, 0] == result[1, 1, 0] == 0
    np.testing.assert_array_equal(zero_padding(x, lengths)[:2, :, 0], [[1, 3, 0], [5, 0, 0]])
