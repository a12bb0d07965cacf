import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import snnrobust.storage
from snnrobust.errors import ConfigError, RunFileError
from snnrobust.storage import Array, Group, read_run, write_run

ROOT = Path(snnrobust.storage.__file__).parents[2]


def test_a_tree_comes_back_as_it_was(tmp_path, tree, same):
    write_run(tmp_path / "run.h5", tree)
    same(tree, read_run(tmp_path / "run.h5"))


def test_many_items_and_attributes_keep_their_order(tmp_path, same):
    rng = random.Random(0)
    names = [f"n{number}" for number in range(200)]
    rng.shuffle(names)
    arrays = {name: Array(np.arange(2), ("shared",)) for name in names}
    tree = Group({"group": Group(arrays, {name: name for name in names})})
    write_run(tmp_path / "run.h5", tree)
    read = read_run(tmp_path / "run.h5")
    same(tree, read)
    assert list(read.group("group").attrs) == names


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
)
DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?")
)
TEXTS = hnp.arrays("<U4", hnp.array_shapes(min_dims=0, min_side=0, max_side=3), elements=st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4))  # fmt: skip
VALUES = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_side=3)) | TEXTS


@st.composite
def arrays(draw):
    values = draw(VALUES)
    # A dimension's name says its size, so that the arrays of a group fit each other.
    dims = tuple(f"dim{axis}of{size}" for axis, size in enumerate(values.shape)) if draw(st.booleans()) else ()
    attrs = draw(st.dictionaries(NAMES, SCALARS, max_size=3))
    return Array(
        values, dims, {name: attrs[name] for name in attrs if name not in snnrobust.storage.reader.HOUSEKEEPING}
    )


def groups(items):
    return st.builds(Group, st.dictionaries(NAMES, items, max_size=4), st.dictionaries(NAMES, SCALARS, max_size=3))


@settings(max_examples=40, deadline=None)
@given(tree=groups(st.recursive(arrays(), groups, max_leaves=8)))
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "any.h5"
    write_run(path, tree)
    read = read_run(path)

    def equal(left, right):
        assert list(left.items) == list(right.items)
        for name, node in left.items.items():
            other = right.items[name]
            assert dict(node.attrs) == dict(other.attrs)
            if isinstance(node, Group):
                equal(node, other)
            else:
                assert node.dims == other.dims
                assert node.values.dtype == other.values.dtype or node.values.dtype.kind == "U"
                np.testing.assert_array_equal(node.values, other.values)

    assert tree.attrs.items() <= read.attrs.items() or tree.attrs.keys() & {"format", "format_version"}
    equal(tree, read)


def test_the_header_says_what_wrote_it(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    write_run(tmp_path / "run.h5", Group())
    attrs = read_run(tmp_path / "run.h5").attrs
    assert attrs["format"] == "snnrobust-run"
    assert attrs["format_version"] == 1
    assert attrs["h5py_version"] == h5py.__version__
    assert attrs["numpy_version"] == np.__version__
    assert attrs["snnrobust_version"]
    created = datetime.fromisoformat(str(attrs["created"]))
    assert before <= created <= datetime.now(UTC)


def test_writing_again_keeps_the_time_of_creation(tmp_path):
    write_run(tmp_path / "run.h5", Group(attrs={"created": "2020-01-01T00:00:00+00:00", "format_version": 7}))
    attrs = read_run(tmp_path / "run.h5").attrs
    assert attrs["created"] == "2020-01-01T00:00:00+00:00"
    assert attrs["format_version"] == 1


def test_large_arrays_are_compressed_and_small_ones_are_not(tmp_path):
    write_run(tmp_path / "run.h5", Group({"large": Array(np.zeros(10_000)), "small": Array(np.zeros(10))}))
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["large"].compression == "gzip"
        assert file["small"].compression is None
    assert (tmp_path / "run.h5").stat().st_size < 20_000


def test_xarray_reads_coordinates_dimensions_text_bool_and_nan(tmp_path, tree):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    write_run(tmp_path / "run.h5", tree)
    accuracy = tree.array("tolerance/accuracy").values
    with xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf", group="tolerance") as data:
        assert data.model.values.tolist() == ["standard", "gehärtet €"]
        assert data.level.values.tolist() == [0.0, 0.1, 0.2]
        assert data.accuracy.dims == ("model", "level", "instance")
        assert "instance" not in data.coords
        assert data.sizes["failure"] == 0
        np.testing.assert_array_equal(data.accuracy.sel(model="standard", level=0.1), accuracy[0, 1])
        assert np.isnan(data.accuracy.sel(model="gehärtet €")).all()
        assert data.accuracy.attrs == {"units": "1"}
        assert data.done.dtype == bool
        assert data.note.item() == "größer als π 🧠"
        assert data.attrs == {"profile": ""}
    with xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf") as root:
        assert root.attrs["config"] == "epochs: 3\n"
        assert root.attrs["format_version"] == 1
    with xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf", group="models/standard") as model:
        assert model.attrs["neuron"] == "lif"
        assert model.attrs["recurrent"]
    with xarray.open_dataset(
        tmp_path / "run.h5", engine="h5netcdf", group="models/standard/parameters", phony_dims="sort"
    ) as parameters:
        assert parameters.weight.shape == (30, 40)


def test_a_data_set_that_xarray_wrote_is_read_once_it_says_that_it_is_a_run(tmp_path):
    xarray = pytest.importorskip("xarray")
    data = xarray.Dataset({"a": (("x", "y"), np.arange(6.0).reshape(2, 3))}, {"x": [1, 2]})
    data.attrs = {"format": "snnrobust-run", "format_version": 1}
    data.to_netcdf(tmp_path / "foreign.h5", engine="h5netcdf")
    read = read_run(tmp_path / "foreign.h5")
    assert read.array("a").dims == ("x", "y")
    assert read.array("x").dims == ("x",)
    np.testing.assert_array_equal(read.array("a").values, data.a)


def test_attributes_of_the_conventions_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a: attribute 'dtype'; reserved: .*_FillValue"):
        write_run(tmp_path / "run.h5", Group({"g": Group({"a": Array(np.zeros(1), attrs={"dtype": "bool"})})}))
    assert not list(tmp_path.iterdir())


def run_python(script, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


WRITE_FOREVER = """
    import sys, numpy as np
    from snnrobust.storage import Array, Group, write_run
    for number in range(10**9):
        write_run(sys.argv[1], Group({"a": Array(np.full(200_000, number)), "n": Array(np.int64(number))}))
        print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    rng = random.Random(3)
    path = tmp_path / "run.h5"
    for _ in range(6):
        process = run_python(WRITE_FOREVER, path)
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in [first, *process.stdout.read().splitlines()] if line]
        process.communicate()
        read = read_run(path)
        number = read.array("n").values
        assert number >= acknowledged[-1]
        assert (read.array("a").values == number).all()


def test_readers_see_the_old_file_or_the_new_one(tmp_path):
    path, stop, failures = tmp_path / "run.h5", threading.Event(), []
    write_run(path, Group({"a": Array(np.full(5000, 0))}))

    def read():
        while not stop.is_set():
            try:
                values = read_run(path).array("a").values
                assert (values == values[0]).all()
            except Exception as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(40):
        write_run(path, Group({"a": Array(np.full(5000, number))}))
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_a_full_disk_leaves_the_old_file(tmp_path, tree, same):
    """A file-size limit of the kernel stands in for the full disk: the write fails half-way."""
    path = tmp_path / "run.h5"
    write_run(path, tree)
    script = """
        import sys, numpy as np
        from snnrobust.errors import RunFileError
        from snnrobust.storage import Array, Group, write_run
        try:
            write_run(sys.argv[1], Group({"a": Array(np.random.default_rng(0).normal(size=100_000))}))
        except RunFileError as error:
            print(error)
    """
    limit = 100_000
    process = run_python(
        script, path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )  # fmt: skip
    output, errors = process.communicate()
    assert output == f"{path}: cannot be written (File too large)\n", errors
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.h5"]
    same(tree, read_run(path))


def test_a_read_only_folder_is_one_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(RunFileError, match=r"run\.h5: cannot be written \(Permission denied\)"):
        write_run(tmp_path / "run.h5", Group())


def test_unicode_paths_work(tmp_path, tree, same):
    path = tmp_path / "größe 🧠 run.h5"
    write_run(str(path), tree)
    same(tree, read_run(str(path)))
