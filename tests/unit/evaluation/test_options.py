"""Options given by name choose the method that reads them, and are checked."""

import pytest

from minitf.config.errors import UserError
from minitf.config.schema import DecodingConfig, DecodingMethod, EarlyStopping
from minitf.evaluation.options import decoding_options

GREEDY = DecodingConfig()
BEAM = DecodingConfig(method=DecodingMethod.beam, beam_size=7, length_penalty=0.6)


@pytest.mark.parametrize(
    ("base", "options", "method"),
    [
        (GREEDY, {}, "greedy"),
        (GREEDY, {"beam_size": 3}, "beam"),
        (GREEDY, {"early_stopping": "never"}, "beam"),
        (GREEDY, {"n_best": 2}, "beam"),
        (GREEDY, {"temperature": 0.7}, "sample"),
        (GREEDY, {"top_k": 5}, "sample"),
        (GREEDY, {"top_p": 0.9, "n_best": 3}, "sample"),
        (GREEDY, {"seed": 1}, "sample"),
        (GREEDY, {"length_penalty": 0.5, "min_length": 2}, "greedy"),
        (BEAM, {"n_best": 2}, "beam"),
        (BEAM, {"method": "greedy"}, "greedy"),
        (BEAM, {"temperature": 0.5, "method": "sample"}, "sample"),
    ],
)
def test_an_option_that_one_method_reads_chooses_it(base, options, method):
    chosen = decoding_options(base, **options)
    assert chosen.method == DecodingMethod(method)
    for name, value in options.items():
        assert getattr(chosen, name) == value


def test_what_is_not_given_stays():
    chosen = decoding_options(BEAM, n_best=2, length_penalty=None)
    assert (chosen.beam_size, chosen.length_penalty, chosen.n_best) == (7, 0.6, 2)
    assert BEAM.n_best == 1, "the run's own options are left as they are"
    assert decoding_options(BEAM, early_stopping="never").early_stopping is EarlyStopping.never


def test_whole_numbers_pass_for_fractions():
    assert decoding_options(GREEDY, length_penalty=2).length_penalty == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beamsize": 3}, "did you mean beam_size"),
        ({"beam_size": 2.5}, r"takes int; received 2\.5"),
        ({"beam_size": "5"}, "takes int; received '5'"),
        ({"seed": True}, "takes int; received True"),
        ({"method": "viterbi"}, "one of greedy, beam, sample; received 'viterbi'"),
        ({"top_p": 0.0}, "top_p"),
        (
            {"beam_size": 2, "top_k": 3},
            "beam_size is of beam search and decoding.top_k of sampling",
        ),
        ({"beam_size": 2, "method": "sample"}, "beam_size is read with method=beam only.*sample"),
        ({"method": "greedy", "seed": 2}, "seed is read with method=sample only.*greedy"),
    ],
)
def test_what_is_wrong_is_told(options, message):
    with pytest.raises(UserError, match=message):
        decoding_options(GREEDY, **options)
