"""Which differences count against a candidate, and which are the control's own."""

from __future__ import annotations

from random import Random

from skerry.gateway.strangler.noise import Noise
from skerry.gateway.strangler.tally import MAX_PATHS, Compared


def test_a_difference_that_the_control_never_has_counts_at_once() -> None:
    """The very first pair that differs where the control does not is differing."""
    noise = Noise(Compared())
    assert noise.judge(["$.price"], []) == "differing"
    assert noise.sums == Compared(pairs=1, differing=1, control_pairs=1, paths={"$.price": [1, 0]})


def test_what_always_differs_is_noise_from_the_first_request_on() -> None:
    """A time of day differs between control and control at the same request: no pair ever counts for it."""
    noise = Noise(Compared())
    assert {noise.judge(["$.now"], ["$.now"]) for _ in range(100)} == {"noisy"}
    assert (noise.sums.differing, noise.sums.noisy) == (0, 100)


def test_a_wrong_field_is_seen_beside_noise() -> None:
    """A pair counts when one of its paths is no noise."""
    noise = Noise(Compared())
    assert [noise.judge(["$.now", "$.price"], ["$.now"]) for _ in range(3)] == ["differing"] * 3


def test_a_path_that_differs_far_more_than_its_noise_counts() -> None:
    """A field that is a little noisy, and always wrong in the candidate, is found in spite of its noise."""
    noise = Noise(Compared())
    verdicts = [noise.judge(["$.stock"], ["$.stock"] if number % 20 == 0 else []) for number in range(100)]
    assert set(verdicts[50:]) == {"differing"}


def test_a_good_candidate_differs_no_more_than_the_control_from_itself() -> None:
    """With noise of any rate, both kinds of pairs that count stay few, and as many."""
    draw = Random(7)
    for rate in (0.001, 0.01, 0.1, 0.5, 0.9):
        noise = Noise(Compared())
        for _ in range(5000):
            noise.judge(["$.x"] if draw.random() < rate else [], ["$.x"] if draw.random() < rate else [])
        assert noise.sums.differing <= 10
        assert noise.sums.control_differing <= 10


def test_pairs_without_a_second_control_are_judged_by_what_is_known() -> None:
    """An unsafe request is never asked twice: then noise is what was learnt before."""
    noise = Noise(Compared())
    noise.judge([], ["$.now"])
    assert noise.judge(["$.now"], None) == "noisy"
    assert noise.judge(["$.price"], None) == "differing"
    assert noise.sums.control_pairs == 1


def test_the_paths_that_are_counted_are_bounded() -> None:
    """Beyond them differences still count, and sums stay small."""
    noise = Noise(Compared())
    for number in range(MAX_PATHS + 50):
        assert noise.judge([f"$.p{number}"], []) == "differing"
    assert len(noise.sums.paths) == MAX_PATHS
    assert noise.sums.differing == MAX_PATHS + 50


def test_what_an_earlier_candidate_did_is_forgotten() -> None:
    """Sums go on, for they are told; what is learnt begins anew with each ramp."""
    sums = Compared()
    for _ in range(50):
        Noise(sums).judge(["$.price"], ["$.price"])
    assert Noise(sums).judge(["$.price"], []) == "differing"
    assert sums.paths == {"$.price": [51, 50]}
