"""The README.md of an export: what it is, how to use it, what it was made from, how good it is."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from minitf import __version__
from minitf.config.compose import load_config, plain
from minitf.config.schema import DecodingConfig
from minitf.evaluation import Translator
from minitf.evaluation.build import is_named_by_the_user
from minitf.evaluation.checkpoints import tested_checkpoint
from minitf.export.command import training_command, without_places

_LIBRARY = {
    "safetensors": "minitf",
    "transformers": "transformers",
    "ctranslate2": "ctranslate2",
    "onnx": "onnx",
}

_USE = {
    "safetensors": """\
import minitf

model = minitf.load("{name}"{attention})
print(*model.translate([{text!r}]))""",
    "transformers": """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForSeq2SeqLM.from_pretrained("{name}")
inputs = tokenizer([{text!r}], return_tensors="pt", padding=True)
print(*tokenizer.batch_decode(model.generate(**inputs), skip_special_tokens=True))""",
    "ctranslate2": """\
import ctranslate2, tokenizers

translator = ctranslate2.Translator("{name}")
tokenizer = tokenizers.Tokenizer.from_file("{name}/tokenizer.json")
tokenizer.encode_special_tokens = True
tokens = tokenizer.encode({text!r}, add_special_tokens=False).tokens
best = translator.translate_batch([tokens], beam_size=1)[0].hypotheses[0]
print(tokenizer.decode([tokenizer.token_to_id(token) for token in best]))""",
    "onnx": """\
import numpy, onnxruntime, tokenizers

encoder = onnxruntime.InferenceSession("{name}/encoder.onnx")
decoder = onnxruntime.InferenceSession("{name}/decoder.onnx")
tokenizer = tokenizers.Tokenizer.from_file("{name}/tokenizer.json")
tokenizer.encode_special_tokens = True
PAD, BOS, EOS = 0, 1, 2
src = numpy.array([tokenizer.encode({text!r}, add_special_tokens=False).ids + [EOS]])
memory = encoder.run(None, {{"src": src}})[0]
tgt = [BOS]
while len(tgt) < 100:  # greedy
    inputs = {{"tgt": numpy.array([tgt]), "memory": memory, "src": src}}
    logits = decoder.run(None, inputs)[0][0, -1]
    logits[[PAD, BOS]] = -numpy.inf
    tgt.append(int(logits.argmax()))
    if tgt[-1] == EOS:
        break
print(tokenizer.decode(tgt[1:], skip_special_tokens=True))""",
}


def model_card(translator: Translator, format: str, name: str, run_dir: Path | None = None) -> str:
    """The text of the card, in Markdown.

    Args:
        translator: The model.
        format: One of FORMATS.
        name: The export directory's name, for the example.
        run_dir: The run; its results.json, where there is one, gives the scores.
    """
    config = translator.config
    trained = dataclasses.replace(config, attention=_trained_with(run_dir, config.attention))
    data = without_places(vars(config.data))
    model = plain_fields(config.model)
    parameters = sum(p.numel() for p in translator.model.parameters())
    target = str(config.attention.get("_target_"))
    named = f', attention="{target}"' if is_named_by_the_user(target) else ""
    example = _USE[format].format(name=name, text=_sentence(run_dir), attention=named)
    weights = Path(translator.origin).name
    scores = _scores(run_dir, translator.origin, config.evaluation.decoding)
    before = str(trained.attention.get("_target_"))
    if before != target and (is_named_by_the_user(before) or is_named_by_the_user(target)):
        scores = (
            f"Not measured: training tested with `{before}`, exported is `{target}`. "
            f"`minitf evaluate` measures."
        )
    parts = [
        _front_matter(format, data),
        f"# {name}",
        f"An encoder-decoder Transformer with {parameters:,} parameters that turns "
        f"{_direction(data)}, trained with minitf {__version__}. Weights: {weights}.",
        f"## Use\n\n```python\n{example}\n```" + _lowercase_note(format, data),
        f"## Data\n\n{_data(data)}",
        "## Recipe\n\n"
        + _table([("model", _listed(model)), ("attention", _attention(trained.attention)),
                  ("tokenizer", _listed(plain_fields(config.tokenizer))
                   + f", {translator.tokenizer.vocab_size:,} tokens"),
                  ("optimizer", _listed(plain_fields(config.optimizer))),
                  ("schedule", _listed(plain_fields(config.schedule))),
                  ("objective", _listed(plain_fields(config.objective))),
                  ("seed", str(config.seed))])
        + f"\n\nTo train it again:\n\n```\n{training_command(trained)}\n```",
        f"## Scores\n\n{scores}",
        "## Licence\n\nThe licence of these weights is for whoever publishes them to state. Look "
        "first at the terms of the data that they were trained on; minitf's own licence (MIT) "
        "covers its code, not weights or data.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _trained_with(run_dir: Path | None, attention: dict[str, Any]) -> dict[str, Any]:
    """The run's own attention, which an export may replace; `attention` where there is no run."""
    file = None if run_dir is None else run_dir / "config.yaml"
    if file is None or not file.is_file():
        return attention
    found: dict[str, Any] = plain(load_config(file).attention)
    return found


def plain_fields(node: Any) -> dict[str, Any]:
    """A configuration dataclass as plain data."""
    from omegaconf import OmegaConf

    fields: dict[str, Any] = plain(OmegaConf.structured(node))
    return fields


def _sentence(run_dir: Path | None) -> str:
    """A source sentence for the example: the run's first sample, if there is one."""
    file = None if run_dir is None else run_dir / "samples.txt"
    if file is not None and file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("source "):
                return line.removeprefix("source ").strip()
    return "A small dog sleeps in the garden."


def _lowercase_note(format: str, data: dict[str, Any]) -> str:
    if not data.get("lowercase") or format == "safetensors":  # minitf does it by itself
        return ""
    return "\n\nThe model was trained on lower-cased text: lower-case what you give it."


def _front_matter(format: str, data: dict[str, Any]) -> str:
    languages = _languages(data)
    lines = ["---", f"library_name: {_LIBRARY[format]}"]
    if languages:
        lines += ["language:", *(f'- "{language}"' for language in languages)]  # "no" is no switch
    lines += ["tags:", "- translation", "- minitf", "---"]
    return "\n".join(lines)


def _languages(data: dict[str, Any]) -> tuple[str, ...]:
    if data["name"] == "scenes":
        return "en", "de"
    codes = (str(data.get("src", "")), str(data.get("tgt", "")))
    return codes if all(len(code) in (2, 3) and code != "src" for code in codes) else ()


def _direction(data: dict[str, Any]) -> str:
    languages = _languages(data)
    return f"{languages[0]} into {languages[1]}" if languages else "source text into target text"


def _data(data: dict[str, Any]) -> str:
    named = {k: v for k, v in data.items() if k not in ("name", "root") and v is not None}
    return f"minitf's `data={data['name']}`: {_listed(named)}."


def _attention(attention: dict[str, Any]) -> str:
    options = {k: v for k, v in attention.items() if k != "_target_"}
    target = attention.get("_target_", "minitf.attention.MultiHeadAttention")
    return f"`{target}`" + (f", {_listed(options)}" if options else "")


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={getattr(value, 'value', value)}" for key, value in options.items())


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def _scores(run_dir: Path | None, origin: str, decoding: DecodingConfig) -> str:
    """Test scores out of the run's results.json, if they are those of these weights."""
    chosen = {"beam": ("beam_size", "length_penalty"), "sample": ("temperature", "top_k", "top_p")}
    fields = plain_fields(decoding)
    heeded = {k: fields[k] for k in ("method", *chosen.get(fields["method"], ()))}
    how = f"Translations were decoded with {_listed(heeded)}."
    file = None if run_dir is None else run_dir / "results.json"
    if run_dir is None or file is None or not file.is_file():
        return "Not measured: there is no results.json beside it. `minitf evaluate` measures."
    tested = tested_checkpoint(run_dir)
    if tested is None or Path(origin).resolve() != tested.resolve():
        return "Not measured: training tested other weights. `minitf evaluate` measures."
    try:
        return _score_table(json.loads(file.read_text(encoding="utf-8"))) + f"\n\n{how}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "Not measured: the run's results.json is torn. `minitf evaluate` measures."


def _score_table(results: dict[str, Any]) -> str:
    splits = {name: r for name, r in results.items() if isinstance(r, dict) and "bleu" in r}
    lines = [
        "| split | sentences | loss | perplexity | BLEU | chrF | exact match |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in splits.items():
        lines.append(
            f"| {name} | {r['sentences']:,} | {r['loss']:.4f} | {r['perplexity']:.2f} | "
            f"{r['bleu']:.2f} | {r['chrf']:.2f} | {r['exact_match']:.1f} % |"
        )
    signatures: dict[str, str] = next((r["signatures"] for r in splits.values()), {})
    lines += ["", *(f"{name}: `{signature}`  " for name, signature in signatures.items())]
    facts: dict[str, Any] = {
        k: results[k] for k in ("updates", "train_seconds", "device") if k in results
    }
    if facts:
        lines += ["", f"As measured at the end of training ({_listed(facts)})."]
    return "\n".join(lines)
