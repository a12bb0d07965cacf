"""Audio front end: log-mel frames in whole decibels.

mel = 2595 log10(1 + f / 700) (O'Shaughnessy, Speech Communication, 1987). All steps are in float64. An
independent single-precision copy of the same recipe differs from it in about one clip of a hundred, by 1 dB in
one value that lies within 1e-5 dB of a rounding tie.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import TaskError


@dataclass(frozen=True)
class LogMel:
    """The parameters of a log-mel front end.

    Attributes:
        sample_rate: Samples per second.
        window: Samples per frame.
        hop: Samples from one frame to the next.
        fft: Points of the Fourier transform.
        bands: Number of mel bands.
        lowest: Lower edge of the lowest band in Hz.
        highest: Upper edge of the highest band in Hz.
    """

    sample_rate: int
    window: int
    hop: int
    fft: int
    bands: int
    lowest: float
    highest: float


SPEECH_COMMANDS = LogMel(16_000, window=400, hop=160, fft=512, bands=32, lowest=60.0, highest=7600.0)
DIGITS = LogMel(8_000, window=200, hop=80, fft=256, bands=20, lowest=80.0, highest=3800.0)


def log_mel(samples: NDArray[np.int16], front_end: LogMel) -> NDArray[np.uint8]:
    """Log-mel frames of a clip.

    Frames without padding, periodic Hann window w, power |rfft|^2 / (sum(w)^2 / 4), triangular bands whose
    weights sum to 1, dB = 10 log10(band + 1e-10), stored as round(dB + 100) clipped to 0..127: one step is
    1 dB and 0 is -100 dB of full scale.

    Args:
        samples: 16-bit samples of one channel [S].
        front_end: Parameters.

    Returns:
        Frames [1 + (S - window) // hop, bands], none if the clip is shorter than a window.
    """
    if len(samples) < front_end.window:
        return np.zeros((0, front_end.bands), dtype=np.uint8)
    signal = samples.astype(np.float64) / 32768
    frames = np.lib.stride_tricks.sliding_window_view(signal, front_end.window)[:: front_end.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(front_end.window) / front_end.window)
    power = np.abs(np.fft.rfft(frames * hann, front_end.fft)) ** 2 / (hann.sum() ** 2 / 4)
    decibels = 10 * np.log10(power @ mel_weights(front_end).T + 1e-10)
    levels: NDArray[np.float64] = np.clip(np.round(decibels + 100), 0, 127)
    return levels.astype(np.uint8)


def mel_weights(front_end: LogMel) -> NDArray[np.float64]:
    """Triangular band weights [bands, fft // 2 + 1]; edges evenly spaced in mel, each band summing to 1."""
    low, high = 2595 * np.log10(1 + np.array([front_end.lowest, front_end.highest]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, front_end.bands + 2) / 2595) - 1)
    frequencies = np.arange(front_end.fft // 2 + 1) * front_end.sample_rate / front_end.fft
    lower, centre, upper = (edges[k : k + front_end.bands, None] for k in range(3))
    rising, falling = (frequencies - lower) / (centre - lower), (upper - frequencies) / (upper - centre)
    weights: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    totals: NDArray[np.float64] = weights.sum(axis=1, keepdims=True)
    return weights / totals


def read_wav(content: bytes, sample_rate: int, name: str) -> NDArray[np.int16]:
    """Samples [S] of a 16-bit mono WAV file.

    Args:
        content: The file.
        sample_rate: The rate it must have, in Hz.
        name: What to call the file in an error.

    Raises:
        TaskError: If it is not such a file.
    """
    try:
        with wave.open(io.BytesIO(content)) as clip:
            form = (clip.getnchannels(), 8 * clip.getsampwidth(), clip.getframerate())
            data = clip.readframes(clip.getnframes())
    except (wave.Error, EOFError) as error:
        raise TaskError(f"audio: {name} is not a WAV file ({error})") from error
    if form != (1, 16, sample_rate):
        raise TaskError(
            f"audio: {name} has {form[0]} channels of {form[1]} bit at {form[2]} Hz; "
            f"must be 1 of 16 bit at {sample_rate} Hz"
        )
    return np.frombuffer(data, dtype="<i2").astype(np.int16)
