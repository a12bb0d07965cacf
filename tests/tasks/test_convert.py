import hashlib
import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from test_features import wav

from snnrobust.errors import TaskError
from snnrobust.tasks import convert
from snnrobust.tasks.features import SPEECH_COMMANDS, log_mel


def tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_speech_commands_order_speakers_and_split(tmp_path):
    noise = np.random.default_rng(0).normal(scale=2000, size=(4, 16000)).astype(np.int16)
    members = {
        "./LICENSE": b"text",
        "./yes/0c40e715_nohash_0.wav": wav(noise[0]),
        "./_unknown_/bird_022cd682_nohash_1.wav.wav": wav(noise[1]),
        "./_silence_/12.wav": wav(noise[2][:8000]),
        "./go/0c40e715_nohash_0.wav": wav(noise[3]),
        "./other/0c40e715_nohash_0.wav": wav(noise[3]),
    }
    arrays = convert.speech_commands(tar(tmp_path / "a.tar.gz", members))
    assert arrays["classes"][arrays["y"]].tolist() == ["yes", "go", "_unknown_", "_silence_"]
    assert arrays["speaker"].tolist() == ["0c40e715", "0c40e715", "022cd682", "silence"]
    np.testing.assert_array_equal(arrays["x"][0], log_mel(noise[0], SPEECH_COMMANDS))
    assert arrays["x"].shape == (4, 98, 32)
    assert not arrays["x"][3, 48:].any()
    shares = [int(hashlib.sha1(key).hexdigest(), 16) % 100 for key in (b"0c40e715", b"022cd682", b"12.wav")]
    codes = [2 if share < 20 else 1 if share < 30 else 0 for share in shares]
    assert arrays["split"].tolist() == [codes[0], codes[0], codes[1], codes[2]]


def recording(seconds, labels, step_ms=10):
    """A recording whose sensors are 1, 2, ... times the time in s, with (label, seconds) in turn."""
    rows = ["x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"]
    changes = np.cumsum([duration for _, duration in labels])
    for k in range(int(seconds * 1000 / step_ms) + 1):
        t = k * step_ms / 1000
        label = labels[min(int(np.searchsorted(changes, t, side="right")), len(labels) - 1)][0]
        values = ",".join(str(scale * t) for scale in range(1, 7))
        rows.append(f"{values},{1000000 + k * step_ms},{label}")
    return "\n".join(rows).encode()


def archive_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"repository-abc/{name}", content)
    return path


def test_activities_windows_by_hand(tmp_path):
    # 3.9 s at 50 Hz are 195 samples: windows at 0, 32, 64, 96, 128 hold 64; the change of label at 1.92 s (sample
    # 96) leaves window 64-127 with 32 + 32, which is dropped.
    table = recording(3.9, [("WALKING", 1.92), ("TURNING", 9)])
    members = {"DATA/s03/s03_01_sp.csv": table, "DATA/s03/s03_01_sw.csv": table, "DATA/subjects_info.csv": b"x"}
    arrays = convert.activities(archive_of(tmp_path / "a.zip", members))
    assert arrays["device"].tolist() == ["sw"] * 4 + ["sp"] * 4
    assert arrays["classes"][arrays["y"][:4]].tolist() == ["WALKING", "WALKING", "TURNING", "TURNING"]
    assert arrays["split"].tolist() == [2] * 8
    starts = np.array([0, 32, 96, 128])
    time = (starts[:, None] + np.arange(64)) * 0.02
    expected = time[:, :, None] * np.arange(1, 7) * [500, 500, 500, 1000, 1000, 1000]
    np.testing.assert_allclose(arrays["x"][:4], np.round(expected), atol=1)
    np.testing.assert_array_equal(arrays["x"][0, :2, 0], [0, 10])  # 1 x 0.02 s x 500


def test_activities_keep_a_window_with_48_agreeing_samples(tmp_path):
    # One window of 64 samples; the change at 0.95 s falls between sample 47 (0.94 s) and 48 (0.96 s).
    for change, kept in [(0.95, 1), (0.93, 0)]:
        members = {"DATA/s01/s01_01_sw.csv": recording(1.3, [("SEATED", change), ("WALKING", 9)])}
        path = archive_of(tmp_path / "a.zip", members)
        if kept:
            assert convert.activities(path)["y"].tolist() == [0]
        else:
            with pytest.raises(TaskError, match="no window"):
                convert.activities(path)


def test_beats_by_hand():
    counts = np.arange(2000) * 2 + 1  # a ramp: the floor of a pair's mean is 2 n + 1 + 1 with n its first index
    symbols = ["+", "N", "V", "~", "A", "N", "N"]
    arrays = convert.beats_of_record(200, counts, [10, 100, 300, 400, 1000, 1800, 1900], symbols)
    assert arrays["symbol"].tolist() == ["V", "A"]
    assert arrays["aami"].tolist() == ["V", "S"]
    assert arrays["sample"].tolist() == [300, 1000]
    assert arrays["rr_prev"].tolist() == [0, 700]
    assert arrays["rr_next"].tolist() == [700, 0]
    assert arrays["ds"].tolist() == [2, 2]
    np.testing.assert_array_equal(arrays["x"][0], 2 * (300 - 89 + 2 * np.arange(126)) + 2)
    assert arrays["x"].shape == (2, 126)


def test_pairs_are_averaged_with_floor():
    counts = np.zeros(1000, dtype=np.int64)
    counts[300 - 89 : 300 - 85] = [-1, -2, 3, 4]
    arrays = convert.beats_of_record(101, counts, [0, 0, 300, 0, 0], list("NNNNN"))
    assert arrays["x"][0, :3].tolist() == [-2, 3, 0]


def test_halves_of_the_database_share_no_record():
    assert len(set(convert.DS1) | set(convert.DS2) | set(convert.PACED)) == 48 == len(convert.RECORDS)


def test_beats_agree_with_whole_records(needs_data):
    """Labels, times and intervals from the annotations, and the windows that start on an even sample."""
    beats_path = needs_data("mitbih")
    stream_path = beats_path.parent / "mitbih_stream_180hz.npz"
    if not stream_path.is_file():
        pytest.skip(f"no {stream_path.name} beside the beats")
    with np.load(beats_path, allow_pickle=False) as archive:
        beats = dict(archive)
    with np.load(stream_path, allow_pickle=False) as archive:
        stream = dict(archive)
    for row, record in enumerate(stream["record"]):
        notes = stream["ann_record"] == record
        doubled = np.repeat(stream["x"][row], 2).astype(np.int64)  # 360 Hz whose pairs average to the 180 Hz signal
        made = convert.beats_of_record(
            int(record), doubled, stream["ann_sample"][notes], stream["ann_symbol"][notes].tolist()
        )
        rows = beats["record"] == record
        for name in ("symbol", "aami", "sample", "rr_prev", "rr_next", "ds", "record"):
            np.testing.assert_array_equal(made[name], beats[name][rows])
        even = made["sample"] % 2 == 1  # the window starts 89 before
        assert even.sum() > 500
        np.testing.assert_array_equal(made["x"][even], beats["x"][rows][even])


def test_wfdb_is_asked_for_when_absent(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(TaskError, match=r"pip install snnrobust\[ecg\]"):
        convert.heart_beats(tmp_path)


def test_heart_beats_reads_wfdb_records(tmp_path, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    monkeypatch.setattr(convert, "RECORDS", (100, 101))
    counts = np.random.default_rng(0).integers(-500, 500, (2, 2000, 2))
    times, symbols = np.array([50, 200, 400, 800, 1200, 1700, 1800]), list("NNVNANN")
    for record, leads in zip((100, 101), counts, strict=True):
        form = {"fs": 360, "units": ["mV"] * 2, "sig_name": ["MLII", "V5"], "fmt": ["212"] * 2}
        scale = {"adc_gain": [200.0] * 2, "baseline": [1024] * 2}
        wfdb.wrsamp(str(record), d_signal=leads + 1024, write_dir=str(tmp_path), **form, **scale)
        # As the database's headers are: the baseline is the 1024 of the converter's zero, and is not given itself.
        lines = [f"{record}.dat 212 200 11 1024 0 0 0 {lead}" for lead in ("MLII", "V5")]
        (tmp_path / f"{record}.hea").write_text("\n".join([f"{record} 2 360 2000", *lines, ""]))
        wfdb.wrann(str(record), "atr", times, symbol=symbols, write_dir=str(tmp_path))
    arrays = convert.heart_beats(tmp_path)
    assert arrays["record"].tolist() == [100] * 3 + [101] * 3
    for first, record in ((0, 100), (3, 101)):
        expected = convert.beats_of_record(record, counts[first // 3, :, 0], times, symbols)
        np.testing.assert_array_equal(arrays["x"][first : first + 3], expected["x"])
        np.testing.assert_array_equal(arrays["sample"][first : first + 3], [400, 800, 1200])


@pytest.mark.parametrize("converter", [convert.spoken_digits, convert.activities, convert.speech_commands])
def test_archives_that_are_wrong_are_one_line(converter, tmp_path):
    path = tmp_path / "archive"
    for content in (b"", b"text", None):
        if content is None:
            archive_of(path, {"README.md": b"x"}) if converter is not convert.speech_commands else tar(path, {})
        else:
            path.write_bytes(content)
        with pytest.raises(TaskError, match=r"damaged|not the expected archive") as caught:
            converter(path)
        assert "\n" not in str(caught.value)
