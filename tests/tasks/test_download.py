import hashlib
import io
import wave
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snnrobust.errors import TaskError
from snnrobust.tasks import sources
from snnrobust.tasks.convert import Arrays
from snnrobust.tasks.download import arrays_hash, download
from snnrobust.tasks.sources import DIGITS, MITBIH, load_arrays


def digits_zip(clips: int = 6) -> bytes:
    """An archive of the publisher's form with silent recordings of one digit."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("repository-abc/README.md", "text")
        for index in range(clips):
            clip = io.BytesIO()
            with wave.open(clip, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(8000)
                out.writeframes(bytes(2 * (200 + 80 * index)))
            archive.writestr(f"repository-abc/recordings/3_ann_{index}.wav", clip.getvalue())
    return content.getvalue()


@pytest.fixture
def publish(nowhere, server, monkeypatch):
    """Publish bytes as the archive of ``digits`` with the stated checks."""
    address, folder = server

    def put(content: bytes, **checks: object) -> None:
        (folder / "digits.zip").write_bytes(content)
        source = replace(DIGITS, url=f"{address}/digits.zip", arrays_sha256=None)
        monkeypatch.setitem(sources.SOURCES, "digits", replace(source, **checks))

    return put


def left_over(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_fetches_checks_converts_and_is_then_found(publish, nowhere):
    content = digits_zip()
    publish(content, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    seen = []
    path = download("digits", progress=lambda *row: seen.append(row))
    assert path == nowhere / "cache" / DIGITS.path
    assert left_over(nowhere / "cache") == [DIGITS.path]
    assert seen[-1] == ("digits.zip", len(content), len(content))
    arrays = load_arrays("digits")
    assert arrays["split"].tolist() == [2, 2, 2, 2, 2, 0]
    assert arrays["length"].tolist() == [1, 2, 3, 4, 5, 6]
    assert arrays["y"].tolist() == [3] * 6


def test_what_is_found_is_not_fetched_again(publish, nowhere):
    publish(digits_zip(6))
    first = download("digits").stat().st_mtime_ns
    publish(digits_zip(5))
    assert download("digits").stat().st_mtime_ns == first
    download("digits", overwrite=True)
    assert len(load_arrays("digits")["y"]) == 5


def test_a_given_folder_is_written_to(publish, nowhere):
    publish(digits_zip())
    assert download("digits", data=nowhere / "mine") == nowhere / "mine" / DIGITS.path


def test_wrong_size_hash_or_content_leaves_nothing(publish, nowhere):
    content = digits_zip()
    for body, checks, message in [
        (content, {"size": len(content) + 1}, f"has {len(content)} bytes; must be {len(content) + 1}"),
        (content, {"sha256": "0" * 64}, "has sha256 .*; must be 0000"),
        (content, {"arrays_sha256": "1" * 64}, "have hash .*; must be 1111"),
        (content[:500], {}, "damaged or not a .zip"),
        (b"<html>moved</html>", {}, "damaged or not a .zip"),
    ]:
        publish(body, **checks)
        with pytest.raises(TaskError, match=message) as caught:
            download("digits")
        assert "\n" not in str(caught.value)
        assert left_over(nowhere / "cache") == []


def test_a_publisher_out_of_reach_is_one_line(publish, monkeypatch, server):
    publish(digits_zip())
    for url, message in [(f"{server[0]}/absent.zip", "404"), ("http://127.0.0.1:1/digits.zip", "127.0.0.1")]:
        monkeypatch.setitem(sources.SOURCES, "digits", replace(sources.SOURCES["digits"], url=url))
        with pytest.raises(TaskError, match=f"data: cannot download {url}.*{message}") as caught:
            download("digits")
        assert "\n" not in str(caught.value)


def test_files_are_checked_against_the_publishers_list(nowhere, server, monkeypatch):
    address, folder = server

    def lengths(work: Path) -> Arrays:
        return {"x": np.array([[len((work / name).read_bytes()) for name in ("a.dat", "b.atr")]], np.int16)}

    (folder / "a.dat").write_bytes(b"12345")
    (folder / "b.atr").write_bytes(b"123")
    good = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("a.dat", "b.atr")}
    source = replace(MITBIH, url=address, files=("a.dat", "b.atr"), arrays={"x": ("i", 2)}, convert=lengths)
    monkeypatch.setitem(sources.SOURCES, "mitbih", source)
    (folder / "SHA256SUMS.txt").write_text("".join(f"{digest} {name}\n" for name, digest in good.items()))
    download("ecg4")
    assert load_arrays("mitbih")["x"].tolist() == [[5, 3]]

    (folder / "b.atr").write_bytes(b"124")
    with pytest.raises(TaskError, match=r"b.atr has sha256"):
        download("mitbih", overwrite=True)
    (folder / "SHA256SUMS.txt").write_text(f"{good['a.dat']} a.dat\n")
    with pytest.raises(TaskError, match=r"has no line for b.atr"):
        download("mitbih", overwrite=True)
    assert load_arrays("mitbih")["x"].tolist() == [[5, 3]]  # the file that was there is still whole


def test_a_shipped_source_needs_no_network(nowhere):
    assert download("vowels") == sources.VOWELS.shipped


def test_arrays_hash_sees_names_types_shapes_and_values():
    base = {"a": np.arange(6, dtype=np.int16), "b": np.zeros(2)}
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].astype(np.int32), "b": base["b"]},
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"] + 1, "b": base["b"]},
    ]
    assert len({arrays_hash(arrays) for arrays in (base, *others)}) == 5
    assert arrays_hash({"b": base["b"], "a": base["a"].astype(">i2")}) == arrays_hash(base)


def test_known_hashes_are_of_the_published_arrays(needs_data):
    path = needs_data("gestures")
    with np.load(path, allow_pickle=False) as archive:
        assert arrays_hash(dict(archive)) == sources.GESTURES.arrays_sha256
