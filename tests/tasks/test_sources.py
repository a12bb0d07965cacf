import numpy as np
import pytest

from snnrobust.errors import TaskError
from snnrobust.tasks import load_task, sources
from snnrobust.tasks.sources import DIGITS, VOWELS, find, load_arrays, read_arrays


def put(folder, source, **arrays):
    path = folder / source.path
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def test_searched_in_order_given_environment_cache_package(nowhere):
    assert find(VOWELS) == VOWELS.shipped
    given = nowhere / "given"
    expected = [put(folder, VOWELS) for folder in (nowhere / "cache", nowhere / "environment", given)]
    assert find(VOWELS, given) == expected[2]
    assert find(VOWELS) == expected[1]
    expected[1].unlink()
    assert find(VOWELS) == expected[0]
    assert find(VOWELS, given) == expected[2]


def test_environment_may_be_unset(nowhere, monkeypatch):
    monkeypatch.delenv(sources.ENVIRONMENT)
    assert find(DIGITS) is None
    assert find(VOWELS) == VOWELS.shipped


def test_cache_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sources.cache_folder().name == "snnrobust"


@pytest.mark.parametrize(
    ("task", "source"), [("digits", "digits"), ("ecg4", "mitbih"), ("keywords", "keywords"), ("gestures", "gestures")]
)
def test_missing_data_is_one_line_with_the_command(nowhere, task, source):
    with pytest.raises(TaskError) as caught:
        load_task(task)
    message = str(caught.value)
    assert f"`snnrobust data download {source}`" in message
    assert sources.ENVIRONMENT in message
    assert "\n" not in message


def test_a_data_folder_that_is_none_is_said_so(nowhere):
    with pytest.raises(TaskError, match=r"data: .*absent' is not a folder"):
        load_task("vowels", data=nowhere / "absent")


def test_where_lists_every_source(nowhere):
    put(nowhere / "environment", DIGITS)
    rows = {row.source.name: row for row in sources.where()}
    assert set(rows) == {"vowels", "keywords", "digits", "gestures", "mitbih", "fashion_mnist", "fashion_mnist_full"}
    assert rows["digits"].path == nowhere / "environment" / DIGITS.path
    assert rows["mitbih"].path is None
    assert rows["mitbih"].command == "snnrobust data download mitbih"
    assert "not found; get it with `snnrobust data download mitbih` (tasks: ecg4, " in str(rows["mitbih"])
    assert str(rows["digits"]).startswith(f"digits:    {nowhere}")


def test_a_task_names_its_source():
    assert sources.get("ecg6").name == sources.get("mitbih").name == "mitbih"
    with pytest.raises(TaskError, match=r"unknown 'mitbh' .*'mitbih'"):
        sources.get("mitbh")


def good_digits(**changes):
    arrays = {
        "x": np.zeros((2, 80, 20), np.uint8),
        "y": np.zeros(2, np.uint8),
        "split": np.zeros(2, np.uint8),
        "speaker": np.array(["a", "b"]),
        "index": np.zeros(2, np.uint8),
        "length": np.ones(2, np.uint8),
    }
    return arrays | changes


def test_read_arrays_gives_what_is_stored(tmp_path):
    arrays = read_arrays(put(tmp_path, DIGITS, **good_digits(), extra=np.zeros(1)), DIGITS)
    assert set(arrays) == set(good_digits())
    assert arrays["speaker"].tolist() == ["a", "b"]


def without(name):
    return {key: array for key, array in good_digits().items() if key != name}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without("length"), "has no array 'length'"),
        (good_digits(x=np.zeros((2, 80), np.uint8)), "array 'x' .* 2 dimensions of uint8; must be 3"),
        (good_digits(x=np.zeros((2, 80, 20))), "array 'x' .* 3 dimensions of float64"),
        (good_digits(speaker=np.array([{"a": 1}, None])), "damaged"),  # a pickle, which is refused
        (good_digits(y=np.zeros(3, np.uint8)), "array 'y' .* 3 rows; must be 2"),
    ],
)
def test_wrong_file_is_one_line(tmp_path, arrays, message):
    with pytest.raises(TaskError, match=message) as caught:
        read_arrays(put(tmp_path, DIGITS, **arrays), DIGITS)
    assert "\n" not in str(caught.value)


def test_truncated_at_any_place_is_one_line(nowhere):
    whole = VOWELS.shipped.read_bytes()
    path = put(nowhere / "environment", VOWELS)
    for size in (0, 3, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(TaskError, match=r"is damaged or not a .npz file") as caught:
            load_arrays("vowels")
        assert "\n" not in str(caught.value)


def test_any_flipped_byte_gives_the_same_arrays_or_one_line(tmp_path):
    path = put(tmp_path, DIGITS)
    np.savez_compressed(path, **good_digits())
    whole, messages = path.read_bytes(), []
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 0xFF
        path.write_bytes(content)
        try:
            arrays = read_arrays(path, DIGITS)
        except TaskError as error:
            messages.append(str(error))
        else:  # a date or another field that nothing rests on
            assert all(np.array_equal(arrays[name], array) for name, array in good_digits().items())
    assert len(messages) > len(whole) // 2
    assert not any("\n" in message for message in messages)


def test_other_kinds_of_file_are_one_line(nowhere):
    path = put(nowhere / "environment", VOWELS)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    for content in (b"not an archive", path.with_suffix(".npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(TaskError, match=r"damaged or not a .npz file"):
            load_arrays("vowels")
