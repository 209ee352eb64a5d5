import itertools

import pytest

from minitf.equivalence.cases import AXES, Case, covering_array, possible


@pytest.mark.parametrize("strength", [2, 3])
def test_every_possible_combination_occurs(strength):
    cases = [vars(case) for case in covering_array(strength, seed=1)]
    for axes in itertools.combinations(AXES, strength):
        seen = {tuple(case[axis] for axis in axes) for case in cases}
        for values in itertools.product(*(AXES[axis] for axis in axes)):
            chosen = dict(zip(axes, values, strict=True))
            # A combination may contradict itself only together with a further axis.
            if possible(chosen) and values not in seen:
                assert not _completable(chosen), chosen


def _completable(chosen: dict[str, object]) -> bool:
    rest = [axis for axis in ("mode", "batch", "zero_attn", "fully_masked") if axis not in chosen]
    return any(
        possible({**chosen, **dict(zip(rest, values, strict=True))})
        for values in itertools.product(*(AXES[axis] for axis in rest))
    )


@pytest.mark.parametrize("option", ["bias", "add_bias_kv", "add_zero_attn", "kdim"])
def test_all_pairs_of_what_is_left_occur_without_an_option(option):
    cases = list(covering_array(2, seed=1, without=[option]))
    assert not any(option in case.options for case in cases)
    whole = {
        p for case in covering_array(2, seed=1) if option not in case.options for p in pairs(case)
    }
    assert whole <= {pair for case in cases for pair in pairs(case)}
    assert list(covering_array(2, seed=1, without=["slope"])) == list(covering_array(2, seed=1))


def pairs(case: Case) -> set[tuple[object, ...]]:
    return set(itertools.combinations(vars(case).items(), 2))


def test_the_seed_decides():
    assert list(covering_array(2, 5)) == list(covering_array(2, 5))
    assert list(covering_array(2, 5)) != list(covering_array(2, 6))


def test_impossible_cases_do_not_occur():
    for case in covering_array(3, seed=2):
        assert possible(vars(case)), case
        assert not (case.fully_masked and case.attn_mask == case.key_padding == "none")


def test_pairs_are_few_and_triples_not_too_many():
    assert len(list(covering_array(2, 0))) < 70
    assert len(list(covering_array(3, 0))) < 320


def test_a_label_names_what_is_not_default():
    case = Case(inputs="cross", attn_mask="causal", lengths=(9, 1))
    assert case.label == "inputs=cross attn_mask=causal lengths=9x1"
