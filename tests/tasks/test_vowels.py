import hashlib

import numpy as np

from snnrobust.tasks import load_task
from snnrobust.tasks.sources import VOWELS, load_arrays


def test_the_shipped_file_is_the_published_one():
    digest = hashlib.sha256(VOWELS.shipped.read_bytes()).hexdigest()
    assert digest == "29522dae7a86f625bb9e921a2f43bf0b14d1df8115716cc56b6fb5840d68bf1c"
    assert (VOWELS.shipped.parent / "NOTICE.md").read_text().count("CC BY 4.0") >= 1


def test_official_split_with_seven_of_each_speaker_held_out():
    task = load_task("vowels")
    assert [len(part) for part in task.parts().values()] == [207, 63, 370]
    assert np.bincount(task.train.y).tolist() == [23] * 9
    assert np.bincount(task.validation.y).tolist() == [7] * 9
    assert np.bincount(task.test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert (task.steps, task.inputs, task.dt) == (29, 12, 6.4e-3)
    codes = load_arrays("vowels")["split"]
    assert (codes[task.test.indices] == 2).all()
    assert (codes[np.concatenate([task.train.indices, task.validation.indices])] == 0).all()


def test_held_out_utterances_are_fixed_for_ever_and_depend_on_the_seed():
    assert load_task("vowels").validation.indices.tolist()[:14] == [3, 5, 6, 14, 16, 23, 25, 33, 39, 40, 44, 45, 53, 56]
    other = load_task("vowels", seed=1)
    assert not np.array_equal(other.validation.indices, load_task("vowels").validation.indices)
    assert np.array_equal(other.test.indices, load_task("vowels").test.indices)


def test_standardised_over_valid_training_frames_and_zero_in_the_padding():
    task = load_task("vowels")
    valid = np.arange(29) < task.train.lengths[:, None]
    frames = task.train.x[valid].astype(np.float64)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-6)
    for part in task.parts().values():
        assert not part.x[np.arange(29) >= part.lengths[:, None]].any()
    lengths = np.concatenate([part.lengths for part in task.parts().values()])
    assert (lengths.min(), lengths.max()) == (7, 29)
