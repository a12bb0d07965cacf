import numpy as np
import pytest

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.storage import Array, Group


def test_a_path_leads_to_arrays_and_groups(tree):
    assert tree["models/standard"].attrs["hidden"] == 40
    assert tree.array("models/standard/parameters/weight").values.shape == (30, 40)
    assert list(tree.group("models").items) == ["standard"]
    assert "models/standard/parameters" in tree
    assert "models/standard/parameter" not in tree


def test_a_wrong_path_names_the_nearest(tree):
    with pytest.raises(RunFileError, match=r"models/standrd: unknown 'standrd' \(did you mean 'standard'\?\)"):
        tree["models/standrd"]
    with pytest.raises(RunFileError, match="tolerance: is a group; needed: an array"):
        tree.array("tolerance")
    with pytest.raises(RunFileError, match="tolerance/level: is an array; needed: a group"):
        tree.group("tolerance/level")
    with pytest.raises(RunFileError, match="unknown 'x'"):
        tree["tolerance/level/x"]


def test_put_makes_a_new_tree(tree):
    new = tree.put("models/robust/parameters/bias", Array(np.ones(3)))
    assert list(new.group("models").items) == ["standard", "robust"]
    assert new.array("models/robust/parameters/bias").values.tolist() == [1, 1, 1]
    assert "models/robust" not in tree
    assert new.attrs == tree.attrs
    replaced = new.put("models/robust", Group())
    assert list(replaced.group("models/robust").items) == []
    with pytest.raises(ConfigError, match="level: is an array"):
        tree.put("tolerance/level/x", Group())


def test_scalars_become_plain_python():
    attrs = Array(
        np.zeros(1), attrs={"a": np.int32(3), "b": np.float32(0.5), "c": np.bool_(True), "d": np.str_("x")}
    ).attrs
    assert attrs == {"a": 3, "b": 0.5, "c": True, "d": "x"}
    assert [type(value) for value in attrs.values()] == [int, float, bool, str]


def test_later_changes_of_the_given_mapping_do_not_reach_the_tree():
    items, attrs = {"a": Array(np.zeros(1))}, {"n": 1}
    group = Group(items, attrs)
    items["b"], attrs["n"] = Group(), 2
    assert list(group.items) == ["a"]
    assert group.attrs == {"n": 1}


@pytest.mark.parametrize(
    "values",
    [np.array([object()]), np.zeros(2, complex), np.zeros(2, np.longdouble), np.array([b"x"]), np.zeros(1, "M8[s]"),
     np.zeros(1, [("a", float)]), np.array(["a\0b"]), np.array(["\ud800"])],
)  # fmt: skip
def test_values_that_a_file_cannot_hold_are_refused(values):
    with pytest.raises(ConfigError, match="allowed"):
        Array(values)


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\0b", "\ud800", 3])
def test_bad_names_are_refused(name):
    with pytest.raises(ConfigError, match="allowed"):
        Group({name: Array(np.zeros(1))})
    with pytest.raises(ConfigError, match="allowed"):
        Array(np.zeros(1), (name,))
    with pytest.raises(ConfigError, match="allowed"):
        Group(attrs={name: 1})


@pytest.mark.parametrize("value", [None, [1], 2**63, -(2**63) - 1, "a\0", "x" * 250_001, 1j, np.zeros(2)])
def test_bad_attributes_are_refused(value):
    with pytest.raises(ConfigError, match=r"attribute value: .*allowed"):
        Group(attrs={"value": value})


def test_dimensions_must_fit():
    with pytest.raises(ConfigError, match=r"dims: \('a',\) for shape \(2, 2\)"):
        Array(np.zeros((2, 2)), ("a",))
    with pytest.raises(ConfigError, match="different names"):
        Array(np.zeros((2, 2)), ("a", "a"))
    with pytest.raises(ConfigError, match="y: dimension 'a' has size 3; elsewhere in the group 2"):
        Group({"x": Array(np.zeros(2), ("a",)), "y": Array(np.zeros(3), ("a",))})
    with pytest.raises(ConfigError, match="a: is also a dimension"):
        Group({"x": Array(np.zeros(2), ("a",)), "a": Array(np.zeros((2, 2)), ("a", "b"))})
    with pytest.raises(ConfigError, match="a: is also a dimension"):
        Group({"x": Array(np.zeros(2), ("a",)), "a": Group()})
    apart = {"x": Array(np.zeros(2), ("a",)), "g": Group({"x": Array(np.zeros(3), ("a",))})}
    assert Group(apart).dim_sizes() == {"a": 2}  # every group is a data set of its own
