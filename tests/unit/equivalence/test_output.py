import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest
import torch
from plain_attention import OtherNames, PlainAttention

from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError
from minitf.equivalence.certify import Verification, verify
from minitf.equivalence.comparable import overall
from minitf.equivalence.figures import lockstep_figure
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.output import log_to_wandb, write_report
from minitf.equivalence.report import SCHEMA
from minitf.equivalence.settings import parse
from minitf.equivalence.verdict import Verdict

SMALL = [
    "level=training,properties", "dtype=float32", "data=letters", "steps=3", "batch_size=2",
    "model.embed_dim=14", "model.num_heads=2", "model.num_encoder_layers=1",
    "model.num_decoder_layers=1", "model.feedforward_dim=13", "seed=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def report():
    return verify(parse(SMALL), "minitf verify <seed=3>")


class Tags(HTMLParser):
    """Every tag that is opened is closed."""

    VOID = ("meta", "br", "path", "use", "link")

    def __init__(self):
        super().__init__()
        self.open = []
        self.sources = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [v for k, v in attributes if k in ("src", "href") and not v.startswith("#")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_json_has_every_documented_key(report, tmp_path):
    write_report(report, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert found["schema"] == SCHEMA
    assert found["verdict"] == "equivalent"
    assert found["exit_code"] == 0
    assert set(found) == {
        "schema", "verdict", "statement", "exit_code", "command", "created", "seconds",
        "reference", "candidate", "settings", "environment", "rules", "levels",
        "known_differences",
    }  # fmt: skip
    assert set(found["rules"]) == {"properties", "tensors", "training"}
    training, properties = found["levels"]
    assert training["verdict"] == "bit-identical"
    assert len(training["curves"]["runs"]["candidate"]["loss"]) == 3
    assert properties["title"] == "Properties, float64"
    assert found["settings"]["model"]["embed_dim"] == 14
    assert found["environment"]["torch"]


def test_the_page_stands_alone(report, tmp_path):
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text()
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    assert parser.sources == []
    assert "minitf verify &lt;seed=3&gt;" in page
    assert page.count("<svg") == 1
    assert "padding content" in page
    assert not re.search(r"\$[a-z]", page)  # no placeholder is left
    assert (tmp_path / "figures" / "training_float32.png").stat().st_size > 10_000


def test_the_figure_shows_both_runs_and_the_envelope(report):
    figure = lockstep_figure(report.levels[0].curves, "title", ("torch", "custom"))
    assert len(figure.axes) == 4
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert "candidate: zero throughout" in labels
    assert "rounding's envelope (10 ×)" in labels


def test_the_wandb_run_is_offline_and_complete(report, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    figures = write_report(report, tmp_path)
    run_dir = log_to_wandb(report, figures, tmp_path)
    files = {path.suffix for path in (tmp_path / "wandb").rglob("*") if path.is_file()}
    assert run_dir is not None
    assert ".wandb" in files
    assert {".html", ".png", ".json"} <= files


def test_an_attention_that_cannot_be_built_is_told_in_one_line():
    settings = parse([*SMALL[1:], "level=op"])
    wrong = {"_target_": "torch.nn.Linear"}
    with pytest.raises(
        UserError, match=r"Linear cannot be built with .*TypeError: .*unexpected keyword"
    ):
        next(Verification(dataclasses.replace(settings, candidate=wrong)).run("op"))


class OneMore(MultiHeadAttention):
    """Torch's parameters, and one beside them."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.gate = torch.nn.Parameter(torch.ones(()))


class Buffered(MultiHeadAttention):
    """Torch's parameters, and a table beside them."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.register_buffer("table", torch.zeros(3))


def test_a_buffer_is_no_other_parameter():
    settings = parse([*SMALL[1:], "level=op,model"])
    buffered = Implementation("buffered", Buffered)
    reports = Verification(settings, buffered, buffered).run_all()
    assert [r.verdict for r in reports if r.level == "model"] == [Verdict.bit_identical]
    assert all(r.verdict.equivalent for r in reports)


@pytest.mark.parametrize("other", [OtherNames, OneMore])
def test_what_the_oracle_cannot_read_is_not_judged_and_training_is(other):
    settings = parse([*SMALL[1:], "level=op,model,training"])
    other = Implementation("other", other)
    *unjudged, training = Verification(settings, other, other).run_all()
    assert [r.verdict for r in unjudged] == [Verdict.not_run] * 2
    assert all("the oracle computes: level=training" in r.findings[0] for r in unjudged)
    assert training.verdict is Verdict.bit_identical
    assert overall([*unjudged, training]) is Verdict.not_run
    assert overall([training]) is Verdict.bit_identical


def test_parameters_that_are_not_shared_leave_the_properties():
    settings = parse([*SMALL[1:], "level=op,properties"])
    other = Implementation("other", OtherNames)
    op, properties = Verification(settings, candidate=other).run_all()
    assert op.findings[0].startswith("the two do not share their parameters (in_proj_bias, ")
    assert properties.verdict is Verdict.not_run
    assert properties.summary.split(",")[1] == " 0 violated"


def test_a_finished_level_stays_when_a_later_one_cannot_run():
    settings = parse([*SMALL[1:], "level=op,model", "model.positions=rotary"])
    op, model = Verification(settings).run_all()
    assert op.verdict.equivalent
    assert model.verdict is Verdict.not_run
    assert "rotary" in model.findings[0]


def test_options_that_a_constructor_does_not_take_are_left_out_and_told():
    settings = parse([*SMALL[1:], "level=op"])
    plain = Implementation("plain", PlainAttention)
    verification = Verification(settings, candidate=plain)
    cases = verification.cases()
    assert not any(case.options.keys() - {"bias"} for case in cases)
    # What is left is compared in all its pairs.
    for mask in ("causal", "float_per_head"):
        assert {c.inputs for c in cases if c.attn_mask == mask} == {"self", "cross", "distinct"}
        assert {c.mode for c in cases if c.attn_mask == mask} == {"train", "eval", "inference"}
    (note,) = [note for note in next(verification.run("op")).notes if note.startswith("left out")]
    assert note.endswith("add_bias_kv, add_zero_attn, kdim, vdim")
