import io
import wave

import numpy as np
import pytest

from snnrobust.errors import TaskError
from snnrobust.tasks.features import DIGITS, SPEECH_COMMANDS, log_mel, mel_weights, read_wav


def wav(samples, rate=16000, channels=1, width=2) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.asarray(samples, dtype=f"<i{width}").tobytes())
    return content.getvalue()


def test_band_edges_are_even_in_mel_and_weights_sum_to_one():
    weights = mel_weights(SPEECH_COMMANDS)
    assert weights.shape == (32, 257)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    # The peak of band k is at mel = m0 + (k + 1)(m1 - m0)/33 to within half a bin of 31.25 Hz.
    m0, m1 = (2595 * np.log10(1 + f / 700) for f in (60, 7600))
    for band in (10, 20, 31):
        centre = 700 * (10 ** ((m0 + (band + 1) * (m1 - m0) / 33) / 2595) - 1)
        assert abs(weights[band].argmax() * 31.25 - centre) <= 31.25


def test_a_tone_has_its_power_in_its_band():
    # Amplitude 1 at a bin: |rfft|^2 / (sum(w)^2 / 4) = 1 at the bin; it leaks to neighbours as the window does.
    rate, bin_index = 16000, 64
    time = np.arange(rate) / rate
    frames = log_mel((32767 * np.sin(2 * np.pi * bin_index * 31.25 * time)).astype(np.int16), SPEECH_COMMANDS)
    assert frames.shape == (98, 32)
    weights = mel_weights(SPEECH_COMMANDS)[:, bin_index]
    band = int(weights.argmax())
    assert (frames.argmax(axis=1) == band).all()
    expected = 100 + 10 * np.log10(weights[band])
    assert np.all(frames[:, band] >= expected - 1)
    assert np.all(frames[:, band] <= expected + 10 * np.log10(3))


def test_silence_is_zero_and_frame_counts_are_exact():
    assert not log_mel(np.zeros(16000, np.int16), SPEECH_COMMANDS).any()
    for samples, frames in [(199, 0), (200, 1), (279, 1), (280, 2)]:
        assert log_mel(np.zeros(samples, np.int16), DIGITS).shape == (frames, 20)


def test_level_follows_the_signal_in_decibels():
    noise = np.random.default_rng(0).normal(scale=3000, size=16000).astype(np.int16)
    louder = log_mel(noise, SPEECH_COMMANDS).astype(int)
    softer = log_mel((noise / 10).astype(np.int16), SPEECH_COMMANDS).astype(int)
    assert abs((louder - softer).mean() - 20) < 0.2


def test_exact_frames_of_the_published_clips(needs_data):
    path = needs_data("keywords")
    clips = sorted((path.parent / "samples_wav").glob("*.wav"))
    assert len(clips) == 20
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    classes = arrays["classes"].tolist()
    rows = {(classes[y], str(name)): k for k, (y, name) in enumerate(zip(arrays["y"], arrays["name"], strict=True))}
    for clip in clips:
        folder, name = clip.name.split("__", 1)
        frames = log_mel(read_wav(clip.read_bytes(), 16000, name), SPEECH_COMMANDS)
        np.testing.assert_array_equal(frames, arrays["x"][rows[folder, name]])


def test_read_wav_round_trip_and_errors():
    samples = np.array([0, 1, -2, 32767, -32768], dtype=np.int16)
    np.testing.assert_array_equal(read_wav(wav(samples), 16000, "a.wav"), samples)
    with pytest.raises(TaskError, match=r"a.wav has 1 channels of 16 bit at 8000 Hz; must be .* 16000 Hz"):
        read_wav(wav(samples, rate=8000), 16000, "a.wav")
    with pytest.raises(TaskError, match=r"a.wav has 2 channels"):
        read_wav(wav(np.zeros(4), channels=2), 16000, "a.wav")
    for content in (b"", b"RIFF", b"text" * 20, wav(samples)[:20]):
        with pytest.raises(TaskError, match=r"audio: a.wav is not a WAV file"):
            read_wav(content, 16000, "a.wav")
