import itertools

import pytest
import torch

from minitf.attention import module as attention_file
from minitf.equivalence.cases import Case, covering_array
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.op_level import check_case
from minitf.equivalence.planted_bugs import BUGS, HARMLESS
from minitf.equivalence.properties import Outcome, run_properties_level

CPU = torch.device("cpu")
TORCH = resolve("reference", "torch")


def first_finding(candidate: Implementation) -> str:
    for number, case in enumerate(covering_array(2, seed=0)):
        result = check_case(TORCH, candidate, case, torch.float32, CPU, number)
        if result.finding:
            return f"op: {result.finding}"
    for found in run_properties_level(candidate, CPU, seed=0):
        if found.outcome is Outcome.violated:
            return f"properties: {found.name}: {found.finding}"
    return ""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_is_caught(bug):
    assert first_finding(bug.implementation())


@pytest.mark.parametrize("change", HARMLESS, ids=lambda change: change.name)
def test_no_harmless_change_is_taken_for_a_bug(change):
    assert first_finding(change.implementation()) == ""


def test_there_are_enough_and_each_is_another():
    assert len(BUGS) >= 20
    assert len(HARMLESS) >= 2
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_planting_leaves_the_attention_as_it_was():
    before = dict(vars(attention_file))
    for bug in itertools.islice(BUGS, 5):
        check_case(TORCH, bug.implementation(), Case(), torch.float32, CPU, seed=1)
    assert before == dict(vars(attention_file))
    custom = resolve("candidate", "custom")
    assert check_case(TORCH, custom, Case(), torch.float32, CPU, seed=1).verdict.equivalent
