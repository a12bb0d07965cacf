"""Criteria of neurons and answers, by hand."""

import pytest
import torch

from snnrobust.evaluation.observation import activity


def spikes_of(*rows):
    """[1, T, 1, N] from one text a neuron."""
    return torch.tensor([[float(c) for c in row] for row in rows]).T[None, :, None]


def test_counts_leave_padding_out():
    spikes = torch.ones(2, 5, 3, 4)
    spikes[1, :, :, 2] = 0
    counts = activity.spike_counts(spikes, torch.tensor([5, 1, 2]))
    assert counts.tolist() == [[8] * 4, [8, 8, 0, 8]]
    assert activity.silent(counts).tolist() == [[False] * 4, [False, False, True, False]]


@pytest.mark.parametrize(
    ("dead", "most"),
    [(0, 7 + 4), (1, 4 + 2), (2, 3 + 2), (6, 1 + 1), (9, 1 + 1)],  # lengths 7 and 4: ceil(L / (1 + dead))
)
def test_most_spikes(dead, most):
    lengths = torch.tensor([7, 4])
    assert activity.most_spikes(lengths, torch.tensor([dead])).tolist() == [most]
    assert activity.most_spikes(lengths, torch.full((3, 2), dead)).tolist() == [[most] * 2] * 3


def test_saturated_from_nine_tenths_of_what_the_dead_time_leaves():
    spikes = spikes_of("1111111110", "1111111100", "1010101010", "1010101000")
    counts = activity.spike_counts(spikes, torch.tensor([10]))
    most = activity.most_spikes(torch.tensor([10]), torch.tensor([0, 0, 1, 1]))
    assert most.tolist() == [10, 10, 5, 5]
    assert activity.saturated(counts, most).tolist() == [[True, False, True, False]]


def test_distances_by_hand():
    """Two neurons, three steps, of which the last of sample 1 does not count; unit 2."""
    margins = torch.tensor(
        [[[-1.0, 0.1], [-4.0, 4.0]], [[0.5, -0.1], [2.0, 0.0]], [[-2.0, -0.3], [90.0, 90.0]]], dtype=torch.float64
    )[None]
    mean, near = activity.distances(margins, torch.tensor([3, 2]), 2.0)
    torch.testing.assert_close(mean, torch.tensor([[4.0 / 2 / 6, 10.0 / 2 / 4]]).double())
    torch.testing.assert_close(near, torch.tensor([[2 / 6, 1 / 4]]).double())  # 0.05, 0.05 and 0; 0.15 is not


def test_latency_is_from_when_the_answer_stays():
    def answers(*texts):
        """[1, T, B, 3] of one-hot logits, from one text a sample."""
        rows = torch.tensor([[int(c) for c in text] for text in texts])
        return torch.nn.functional.one_hot(rows, 3).float().permute(1, 0, 2)[None]

    running = answers("11111", "01111", "01011", "22220", "01222")
    assert activity.steps_to_decision(running, torch.tensor([5] * 5)).tolist() == [[1, 2, 4, 5, 3]]
    assert activity.steps_to_decision(running, torch.tensor([5, 1, 2, 4, 3])).tolist() == [[1, 1, 2, 1, 3]]
