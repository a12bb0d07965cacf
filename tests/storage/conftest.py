import numpy as np
import pytest

from snnrobust.storage import Array, Group


@pytest.fixture
def tree():
    """What a small experiment stores: every type, named and unnamed dimensions, nothing at all, NaN."""
    rng = np.random.default_rng(1)
    parameters = {
        "weight": Array(rng.normal(size=(30, 40)).astype(np.float32), attrs={"role": "weight"}),
        "tau_mem": Array(np.full(40, 0.02), attrs={"role": "tau_mem", "units": "s"}),
    }
    accuracy = np.full((2, 3, 100), np.nan)
    accuracy[0] = rng.uniform(size=(3, 100))
    tolerance = {
        "model": Array(np.array(["standard", "gehärtet €"]), ("model",)),
        "level": Array(np.array([0.0, 0.1, 0.2]), ("level",)),
        "accuracy": Array(accuracy, ("model", "level", "instance"), {"units": "1"}),
        "done": Array(np.isfinite(accuracy), ("model", "level", "instance")),
        "seed": Array(np.array([0, 2**63 - 1]), ("model",)),
        "note": Array(np.array("größer als π 🧠")),
        "spec": Array(np.float64(0.9)),
        "failed": Array(np.zeros((0, 3)), ("failure", "level")),
    }
    model = Group({"parameters": Group(parameters)}, {"neuron": "lif", "hidden": 40, "lr": 1e-3, "recurrent": True})
    return Group(
        {"models": Group({"standard": model}), "tolerance": Group(tolerance, {"profile": ""}), "history": Group()},
        {"config": "epochs: 3\n"},
    )


@pytest.fixture
def same():
    """A check that two trees hold the same, types, order and NaN included; the root's header apart."""

    def check(left, right, *, root=True):
        ignored = {"created", "format", "format_version"} if root else set()
        attrs = [
            {name: value for name, value in side.attrs.items() if name not in ignored and "_version" not in name}
            for side in (left, right)
        ]
        assert attrs[0] == attrs[1]
        assert [type(value) for value in attrs[0].values()] == [type(value) for value in attrs[1].values()]
        assert list(left.items) == list(right.items)
        for name, node in left.items.items():
            other = right.items[name]
            if isinstance(node, Group):
                assert isinstance(other, Group)
                check(node, other, root=False)
                continue
            assert node.dims == other.dims
            assert dict(node.attrs) == dict(other.attrs)
            assert node.values.dtype.kind == other.values.dtype.kind
            assert node.values.dtype == other.values.dtype or node.values.dtype.kind == "U"
            np.testing.assert_array_equal(node.values, other.values)

    return check
