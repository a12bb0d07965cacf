import ast
import contextlib
import os
import random
import shutil
import sys
import zlib

import h5py
import numpy as np
import pytest

from snnrobust.errors import RunFileError
from snnrobust.storage import Array, Group, Limits, open_run, read_run, reader, safe, vet, write_run


def test_a_good_file_is_opened(tmp_path, tree, same):
    write_run(tmp_path / "run.h5", tree)
    same(tree, open_run(tmp_path / "run.h5"))


def test_the_vetting_code_needs_nothing_of_the_package():
    with open(reader.__file__) as file:
        nodes = list(ast.walk(ast.parse(file.read())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in names}
    assert roots - set(sys.stdlib_module_names) == {"h5py", "numpy"}


def test_what_is_no_run_file_is_one_line_that_names_the_path(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello, this is a text of some length\n")
    (tmp_path / "signature").write_bytes(reader.SIGNATURE)
    (tmp_path / "half").write_bytes(reader.SIGNATURE[:4])
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "other", "w") as file:
        file["a"] = 1
    expected = {
        "missing": "no such file",
        ".": "is a folder; needed: a run file",
        "empty": "is empty; needed: a run file",
        "text": "is not an HDF5 file; needed: a run file",
        "half": "is not an HDF5 file; needed: a run file",
        "pipe": "is not a regular file; needed: a run file",
        "signature": "damaged (",
        "other": "format is None; needed: 'snnrobust-run'",
        "text/x": "",
        "nul\0": "",
    }
    paths = [f"{tmp_path}/{name}" for name in expected]
    for path, problem, text in zip(paths, vet(paths), expected.values(), strict=True):
        assert problem.startswith(f"{path if path.isprintable() else ascii(path)}: {text}")
        assert problem.isprintable()
        with pytest.raises(RunFileError) as caught:
            read_run(path)
        assert str(caught.value) == problem
    with pytest.raises(RunFileError, match="no such file"):
        open_run(tmp_path / "missing")


FORMATS = {
    "newer": ("format_version", 2, "format_version 2 is newer than this snnrobust reads (1 to 1)"),
    "zero": ("format_version", 0, "format_version is 0; needed: 1 to 1"),
    "text": ("format_version", "1", "format_version is '1'; needed: 1 to 1"),
    "bool": ("format_version", True, "format_version is True; needed: 1 to 1"),
    "other": ("format", "NIR", "format is 'NIR'; needed: 'snnrobust-run'"),
}


def test_another_format_and_newer_versions_are_refused(tmp_path):
    paths = [tmp_path / name for name in FORMATS]
    for path, (attribute, value, _) in zip(paths, FORMATS.values(), strict=True):
        write_run(path, Group())
        with h5py.File(path, "r+") as file:
            file.attrs[attribute] = value
    assert vet(paths) == [f"{path}: {text}" for path, (_, _, text) in zip(paths, FORMATS.values(), strict=True)]


def _virtual(file):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "a", (4,))
    file.create_virtual_dataset("x", layout)


def _deep(file):
    group = file
    for _ in range(40):
        group = group.create_group("g")


def _huge_chunk(file):
    file.create_dataset("x", (10,), "f8", chunks=(5 * 10**8,), maxshape=(None,))


def _late(file):
    file.create_dataset("x", (2**38,), "f8")  # 2 TiB of a fill value in a file of a few kB


def _dims_attribute(file):
    file["x"] = np.zeros(3, np.int8)
    file["x"].attrs.create("dtype", np.zeros(5000))


BAD = {
    "soft link": (lambda file: file.__setitem__("x", h5py.SoftLink("/good")), "soft or external link"),
    "external link": (lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/x", "/")), "soft or external link"),
    "cycle": (lambda file: file["group"].__setitem__("x", file["/"]), "second link to one object"),
    "alias": (lambda file: file["group"].__setitem__("x", file["good"]), "second link to one object"),
    "named type": (lambda file: file.__setitem__("x", np.dtype("f8")), "neither an array nor a group"),
    "external storage": (
        lambda file: file.create_dataset("x", (8,), "u1", external=[("/etc/passwd", 0, 8)]), "values in another file"),
    "virtual": (_virtual, "values in another file"),
    "text of varying length": (lambda file: file.__setitem__("x", "text"), "type is not"),
    "references": (lambda file: file.create_dataset("x", (1,), h5py.ref_dtype), "type is not"),
    "compound": (lambda file: file.__setitem__("x", np.zeros(2, [("a", "f8")])), "type is not"),
    "complex": (lambda file: file.__setitem__("x", np.zeros(2, complex)), "type is not"),
    "long double": (lambda file: file.__setitem__("x", np.zeros(2, np.longdouble)), "type is not"),
    "opaque": (lambda file: file.__setitem__("x", np.zeros(2, "V7")), "type is not"),
    "no values": (lambda file: file.__setitem__("x", h5py.Empty("f8")), "has no values"),
    "filter": (lambda file: file.create_dataset("x", data=np.zeros(9), compression="lzf"), "unknown filter"),
    "depth": (_deep, "nested deeper than 32"),
    "objects": (lambda file: [file.create_group(f"g{number}") for number in range(60)], "more than 50 objects"),
    "size": (_late, "more than 2147483648 bytes in all"),
    "chunk": (_huge_chunk, "more than 2147483648 bytes in all"),
    "array attribute": (lambda file: file["good"].attrs.create("x", np.zeros(3)), "attribute x: not a scalar"),
    "reference attribute": (
        lambda file: file.attrs.create("x", file.ref, dtype=h5py.ref_dtype), "attribute x: not a scalar"),
    "long attribute": (lambda file: file.attrs.create("x", np.bytes_(b"a" * 2**21)), "attribute x: not a scalar"),
    "long text": (lambda file: file.attrs.__setitem__("x", "a" * 2**21), "attribute x: not a scalar"),
    "empty attribute": (lambda file: file.attrs.__setitem__("x", h5py.Empty("f8")), "attribute x: not a scalar"),
    "convention": (_dims_attribute, "attribute dtype: not a scalar"),
    "not UTF-8": (lambda file: file.create_dataset("x", data=np.array([b"\xff"])), "damaged ("),
    "newline": (lambda file: file.__setitem__("x\n\x1b[31m", h5py.SoftLink("/good")), "soft or external link"),
}  # fmt: skip


def test_what_a_run_file_never_has_is_refused(tmp_path):
    limits = Limits(objects=50)
    for name, (spoil, _) in BAD.items():
        path = tmp_path / f"{name}.h5"
        write_run(path, Group({"good": Array(np.arange(3)), "group": Group()}))
        assert read_run(path, limits=limits).array("good").values.tolist() == [0, 1, 2]
        with h5py.File(path, "r+") as file:
            spoil(file)
    paths = [tmp_path / f"{name}.h5" for name in BAD]
    for path, problem, (_, text) in zip(paths, vet(paths, limits=limits), BAD.values(), strict=True):
        assert problem is not None, path
        assert problem.startswith(f"{path}: ")
        assert text in problem
        assert problem.isprintable()
        with pytest.raises(RunFileError) as caught:
            read_run(path, limits=limits)
        assert str(caught.value) == problem


def test_notes_added_with_h5py_do_no_harm(tmp_path):
    write_run(tmp_path / "run.h5", Group({"a": Array(np.arange(3), ("x",))}))
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file.attrs["note"] = "checked by hand, größer"
        file["a"].attrs["seen"] = np.int8(1)
    read = open_run(tmp_path / "run.h5")
    assert read.attrs["note"] == "checked by hand, größer"
    assert read.array("a").attrs == {"seen": 1}
    assert read.array("a").dims == ("x",)


def test_a_tree_that_our_types_refuse_is_a_run_file_error(tmp_path):
    write_run(tmp_path / "run.h5", Group({"a": Array(np.arange(3), ("x",))}))
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["a"].dims[0].detach_scale(file["x"])
        file["y"] = np.zeros(7)
        file["y"].make_scale("y")
        file["a"].dims[0].attach_scale(file["y"])  # 3 values along a coordinate of 7
    with pytest.raises(RunFileError, match=r"run\.h5: .*dimension 'y' has size"):
        open_run(tmp_path / "run.h5")


def test_limits_are_the_callers(tmp_path, tree):
    write_run(tmp_path / "run.h5", tree)
    with pytest.raises(RunFileError, match="more than 1000 bytes in all"):
        open_run(tmp_path / "run.h5", limits=Limits(total_bytes=1000))
    with pytest.raises(RunFileError, match="nested deeper than 1"):
        read_run(tmp_path / "run.h5", limits=Limits(depth=1))


def test_a_file_that_takes_too_long_is_one_line(tmp_path, tree):
    write_run(tmp_path / "run.h5", tree)
    path = tmp_path / "run.h5"
    assert vet([path, path], limits=Limits(seconds=1e-6)) == [f"{path}: reading it takes more than 1e-06 s"] * 2


FAKE = """
import json, os, signal, sys, time
print("null", flush=True)
for line in sys.stdin:
    if "abort" in line: os.abort()
    if "segfault" in line: os.kill(os.getpid(), signal.SIGSEGV)
    if "memory" in line: sys.exit(1)
    print("null", flush=True)
"""


def test_a_crash_is_one_line_and_the_next_file_is_vetted(tmp_path, monkeypatch):
    """Crashes are acted: no bytes are known that crash every version of the library."""
    names = ["good", "abort", "good", "segfault", "memory", "good"]
    for name in set(names):
        write_run(tmp_path / f"{name}.h5", Group())
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(safe.reader, "__file__", str(tmp_path / "fake.py"))
    problems = vet([tmp_path / f"{name}.h5" for name in names])
    crashed = "the HDF5 library cannot read it without crashing"
    assert problems == [
        None,
        f"{tmp_path}/abort.h5: {crashed} (SIGABRT)",
        None,
        f"{tmp_path}/segfault.h5: {crashed} (SIGSEGV)",
        f"{tmp_path}/memory.h5: {crashed} (exit code 1)",
        None,
    ]
    with pytest.raises(RunFileError, match="SIGABRT"):
        open_run(tmp_path / "abort.h5")


def test_a_process_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    write_run(tmp_path / "run.h5", Group())
    (tmp_path / "fake.py").write_text("import no_such_module")
    monkeypatch.setattr(safe.reader, "__file__", str(tmp_path / "fake.py"))
    with pytest.raises(RunFileError, match=r"does not start \(exit code 1\)"):
        open_run(tmp_path / "run.h5")


@pytest.mark.slow
def test_a_gzip_bomb_meets_the_memory_limit(tmp_path):
    """A chunk of 8 kB that decompresses to 1.5 GiB, where about 1 GiB of memory is allowed."""
    path = tmp_path / "run.h5"
    write_run(path, Group())
    packer, block = zlib.compressobj(1), bytes(2**24)
    bomb = b"".join([*(packer.compress(block) for _ in range(96)), packer.flush()])
    with h5py.File(path, "r+") as file:
        file.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip").id.write_direct_chunk((0,), bomb)
    (problem,) = vet([path], limits=Limits(total_bytes=10**6))
    assert problem is not None
    assert problem.startswith(f"{path}: ")


def fuzz(folder, count, seed):
    """Vet damaged copies of a small file that has a bit of everything (a larger one only takes longer).

    The first of those that pass are read here, where a crash would end the tests.
    """
    rng = random.Random(seed)
    arrays = {
        "model": Array(np.array(["standard", "gehärtet"]), ("model",)),
        "accuracy": Array(np.random.default_rng(seed).uniform(size=(2, 300)), ("model", "instance"), {"units": "1"}),
    }
    write_run(folder / "good.h5", Group({"tolerance": Group(arrays, {"profile": "ideal"})}))
    good = (folder / "good.h5").read_bytes()
    paths = [folder / f"{number}.h5" for number in range(count)]
    for number, path in enumerate(paths):
        content = bytearray(good)
        if number % 4 == 0:
            del content[rng.randrange(len(good)) :]
        elif number % 4 == 1:
            for _ in range(rng.choice([1, 2, 8, 32])):
                content[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        elif number % 4 == 2:
            start = rng.randrange(len(good))
            content[start : start + 16] = rng.randbytes(16)
        else:
            content[8:] = rng.randbytes(rng.randrange(1000))
        path.write_bytes(content)
    problems = vet(paths, limits=Limits(seconds=2.0))
    passed = [path for path, problem in zip(paths, problems, strict=True) if problem is None]
    for path, problem in zip(paths, problems, strict=True):
        assert problem is None or (problem.startswith(f"{path}: ") and problem.isprintable())
    for path in passed[:200]:
        with contextlib.suppress(RunFileError):  # such as a dimension that has two sizes now
            read_run(path)
    shutil.rmtree(folder)
    return len(passed), problems


def test_damaged_files_are_errors(tmp_path):
    passed, problems = fuzz(tmp_path, 400, seed=1)
    assert 0 < passed < 200  # some bytes are only values; most are structure
    assert len(problems) == 400


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_errors(tmp_path):
    passed, problems = fuzz(tmp_path, 10_000, seed=2)
    assert 0 < passed < 5000
    assert len(problems) == 10_000
