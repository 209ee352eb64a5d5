"""Options and prefixes that no search can do."""

import pytest

from minitf.config import UserError

PAD, BOS, EOS = 0, 1, 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "beam", "beam_size": 0}, "decoding.beam_size must be at least 1, got 0"),
        ({"n_best": 2}, "n_best must be at most 1 with decoding.method=greedy, got 2"),
        (
            {"method": "beam", "beam_size": 3, "n_best": 4},
            "n_best must be at most 3 with decoding.method=beam, got 4",
        ),
        ({"temperature": 0.0}, "decoding.temperature must be at least 0.0001, got 0.0"),
        ({"top_p": 0.0}, "decoding.top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.1}, "decoding.top_p must be above 0 and at most 1, got 1.1"),
        ({"top_k": -1}, "decoding.top_k must be at least 0, got -1"),
        ({"max_length_ratio": float("nan")}, "decoding.max_length_ratio must be at least 0"),
        ({"max_length_ratio": float("inf")}, "decoding.max_length_ratio must be a finite number"),
        (
            {"method": "beam", "length_penalty": float("nan")},
            "decoding.length_penalty must be a finite number, got nan",
        ),
        ({"max_length_ratio": 1e30}, "decoding.max_length_ratio must be at most 1,000, got 1e+"),
        ({"max_length_extra": 10**11}, "decoding.max_length_extra must be at most 100,000, got 1"),
        ({"length_penalty": -11.0}, "length_penalty must be from -10 to 10, got -11.0"),
        ({"temperature": float("inf")}, "decoding.temperature must be a finite number, got inf"),
        ({"min_length": -1}, "decoding.min_length must be at least 0, got -1"),
        ({"no_repeat_ngram": -2}, "decoding.no_repeat_ngram must be at least 0, got -2"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(make_model, decode, src, options, message):
    with pytest.raises(UserError, match=message) as error:
        decode(make_model(), src, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([[3]], "a forced prefix is needed for each sentence, got 1 for 5"),
        ([[3], [], [EOS], [], []], "ordinary tokens only, got 2 for sentence 2"),
        ([[3], [17], [], [], []], "ordinary tokens only, got 17 for sentence 1"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused(make_model, decode, src, prefix, message):
    with pytest.raises(UserError, match=message):
        decode(make_model(), src, prefix=prefix)
