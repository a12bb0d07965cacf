import gzip
import hashlib

import numpy as np
import pytest

from snnrobust.errors import TaskError
from snnrobust.tasks import load_task
from snnrobust.tasks.idx import read_idx
from snnrobust.tasks.sources import FASHION_MNIST


def idx(values) -> bytes:
    """An array as a compressed idx file."""
    head = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(head + values.astype(np.uint8).tobytes(), mtime=0)


def put(folder, part, x, y):
    folder = folder / "fashion_mnist"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(x))
    (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(y))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("t10k-images-idx3-ubyte.gz", "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
        ("t10k-labels-idx1-ubyte.gz", "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
    ],
)
def test_the_shipped_files_are_the_publishers(name, digest):
    folder = FASHION_MNIST.shipped.parent
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "Zalando SE" in (folder / "LICENSE").read_text()


def test_the_official_test_images_in_their_order(nowhere):
    task = load_task("fashion_mnist")
    assert [len(part) for part in task.parts().values()] == [7000, 1000, 2000]
    assert np.bincount(task.test.y).tolist() == [214, 224, 175, 173, 190, 193, 210, 208, 210, 203]
    assert (task.steps, task.inputs, len(task.classes)) == (28, 28, 10)
    assert task.test.indices.tolist() == list(range(8000, 10000))
    assert (float(task.train.x.min()), float(task.train.x.max())) == (0.0, 1.0)
    raw = read_idx(FASHION_MNIST.shipped, 3)
    assert np.array_equal(np.round(255 * task.validation.x[3]), raw[7003])  # rows are steps, columns are inputs
    assert "first 7,000 train, the next 1,000 validate, the last 2,000 test" in task.split


def test_the_full_set_from_the_publishers_four_files(nowhere):
    x, y = np.arange(24 * 4).reshape(24, 2, 2), np.arange(24) % 10
    put(nowhere / "environment", "train", x, y)
    put(nowhere / "environment", "t10k", 255 - x[:5], y[:5])
    task = load_task("fashion_mnist_full")
    assert [len(part) for part in task.parts().values()] == [22, 2, 5]
    assert task.validation.indices.tolist() == [22, 23]
    assert np.array_equal(task.test.x, ((255 - x[:5]) / np.float32(255)).astype(np.float32))
    assert task.test.y.tolist() == [0, 1, 2, 3, 4]
    assert "official train and test parts" in task.split


def test_the_full_set_is_got_by_hand(nowhere):
    from snnrobust.tasks.download import download

    for act in (lambda: load_task("fashion_mnist_full"), lambda: download("fashion_mnist_full")):
        with pytest.raises(TaskError, match=r"put the four .gz files of https://github.com/zalandoresearch") as caught:
            act()
        assert "\n" not in str(caught.value)


def test_a_set_of_another_size_is_refused(nowhere):
    put(nowhere / "environment", "t10k", np.zeros((3, 2, 2)), np.zeros(3))
    with pytest.raises(TaskError, match="3 images of the official test part found, must be 10000"):
        load_task("fashion_mnist")
    put(nowhere / "environment", "t10k", np.zeros((3, 2, 2)), np.zeros(4))
    with pytest.raises(TaskError, match=r"array 'y' .* has 4 rows; must be 3"):
        load_task("fashion_mnist")


WHOLE = idx(np.arange(12).reshape(3, 2, 2))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        gzip.compress(b"\0\0\x08\x01\0\0\0\x01\0"),  # one axis
        *(WHOLE[:n] for n in (5, 20, len(WHOLE) - 1)),
        idx(np.arange(12).reshape(3, 4)),
        gzip.compress(gzip.decompress(WHOLE) + b"\0"),
        gzip.compress(bytes((0, 0, 8, 3)) + b"\xff" * 12),  # larger than any memory
    ],
)
def test_damage_is_one_line(tmp_path, content):
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=r"^data: .*a.gz") as caught:
        read_idx(path, 3)
    assert "\n" not in str(caught.value)


def test_missing_labels_are_one_line(nowhere):
    put(nowhere / "environment", "t10k", np.zeros((3, 2, 2)), np.zeros(3))
    (nowhere / "environment" / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(TaskError, match=r"t10k-labels-idx1-ubyte.gz cannot be read as an idx file"):
        load_task("fashion_mnist")
