"""A trained model ready for use: `minitf.load(DIRECTORY).translate([...])`."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitf.config.errors import UserError
from minitf.config.schema import TrainConfig
from minitf.evaluation.build import (
    AttentionChoice,
    build_model,
    other_attention,
    stored_attention,
)
from minitf.evaluation.options import decoding_options
from minitf.evaluation.stored import Stored, read_stored
from minitf.evaluation.translate import Translation, translate_texts
from minitf.model import Transformer
from minitf.tokenizer import TextTokenizer


@dataclass(repr=False)
class Translator:
    """A model, its tokenizer, and the configuration it was trained with."""

    model: Transformer
    tokenizer: TextTokenizer
    config: TrainConfig
    """Its `attention` is what the model runs with, which may not be what it was trained with."""
    origin: str
    """The file, or files, that the weights came from."""

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.model.parameters())
        return (
            f"Translator({self.origin}: {parameters:,} parameters, vocabulary "
            f"{self.model.vocab_size:,}, on {self.device})"
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def lowercases(self) -> bool:
        """Whether the training data were lower-cased (`data.lowercase`)."""
        return bool(getattr(self.config.data, "lowercase", False))

    def as_trained(self, text: str) -> str:
        """The text in the form of the training data: lower-cased where those were."""
        return text.lower() if self.lowercases else text

    def translate(self, texts: Iterable[str], **options: Any) -> list[str]:
        """The best translation of each text, in order.

        Where the training data were lower-cased (`data.lowercase`), so are the texts.

        Args:
            texts: Sentences; an empty one gives an empty one.
            options: Fields of `minitf.config.schema.DecodingConfig`, as in `beam_size=5`; what is
                not given is as the run's `evaluation.decoding` has it.

        Raises:
            UserError: An option is unknown or out of range.
        """
        return [translation.text for translation in self.translations(texts, **options)]

    def translations(
        self,
        texts: Iterable[str],
        *,
        prefixes: Iterable[str] | None = None,
        max_source_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> list[Translation]:
        """As `translate`, with all hypotheses, their tokens and scores.

        Args:
            texts: Sentences.
            prefixes: What each translation must begin with.
            max_source_tokens: Cut sources after this many tokens.
            progress: Called with the number of sentences done, after each batch.
            options: Fields of DecodingConfig.

        Raises:
            UserError: An option is unknown or out of range, what should be a text is none, or there
                are not as many prefixes as texts.
        """
        texts = _listed("translate", texts)
        if prefixes is not None:
            prefixes = _listed("prefixes", prefixes)
            if len(prefixes) != len(texts):
                raise UserError(
                    f"prefixes must hold one for each text, {len(texts)}; received {len(prefixes)}"
                )
        translations = translate_texts(
            self.model,
            self.tokenizer,
            [self.as_trained(text) for text in texts],
            decoding_options(self.config.evaluation.decoding, **options),
            max_source_tokens=max_source_tokens,
            prefixes=None if prefixes is None else [self.as_trained(p) for p in prefixes],
            progress=progress,
        )
        pairs = zip(texts, translations, strict=True)
        return [dataclasses.replace(found, source=text) for text, found in pairs]


def _listed(name: str, texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise UserError(f"{name} takes a list of texts; received one text: write [text]")
    if not isinstance(texts, Iterable):
        raise UserError(f"{name} takes a list of texts; received {texts!r}")
    texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"{name} takes texts, received {text!r}")
    return texts


def load(
    directory: str | Path,
    *,
    attention: AttentionChoice | None = None,
    device: str | torch.device = "auto",
    checkpoint: str | Path | None = None,
) -> Translator:
    """Load a trained model from a run directory, or from a safetensors export.

    Args:
        directory: What `train.py` or `minitf export --to safetensors` wrote.
        attention: The attention to run with, if not the one of the training: `custom`, `torch`, a
            class or its import path, or a mapping with `_target_` and options. Weights of one fit
            the other.
        device: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, …
        checkpoint: Of a run directory: `best`, `last`, `average`, `average:last:N`,
            `average:best:N`, or a file; None: what training tested with.

    Raises:
        UserError: The directory is no run, or a file in it is missing, torn, or does not fit.
    """
    chosen_device = pick_device(device)
    stored = read_stored(Path(directory), None if checkpoint is None else str(checkpoint))
    config = stored.config
    if attention is None:
        factory = stored_attention(config.attention)
    else:
        chosen, factory = other_attention(config.attention, attention)
        config = dataclasses.replace(config, attention=chosen)
    tokenizer = stored.tokenizer
    model = build_model(config.model, factory, tokenizer.vocab_size, tokenizer.pad_id)
    _load_weights(model, stored)
    model.to(chosen_device).eval()
    return Translator(model, tokenizer, config, stored.origin)


def pick_device(device: str | torch.device) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        UserError: There is no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen).cpu()  # which `meta` has none to give to
    except (RuntimeError, AssertionError, ImportError) as error:  # NotImplementedError among them
        reason = str(error).strip().splitlines()[0].partition(". ")[0]
        raise UserError(f"device={device} cannot be used: {reason}") from error
    return chosen


def _load_weights(model: nn.Module, stored: Stored) -> None:
    """Fill the model; every difference of names and shapes is an error of the user's files."""
    expected = model.state_dict()
    found: dict[str, Tensor] = stored.weights
    rows = found.get("src_embedding.weight")
    size = stored.tokenizer.vocab_size
    if rows is not None and rows.size(0) != size:
        raise UserError(
            f"{stored.directory / 'tokenizer.json'} has {size} tokens, but the model in "
            f"{stored.origin} was trained with {rows.size(0)}: put the run's own tokenizer back"
        )
    missing = sorted(expected.keys() - found.keys())
    unknown = sorted(found.keys() - expected.keys())
    other = [n for n in expected.keys() & found.keys() if expected[n].shape != found[n].shape]
    for names, trouble in (
        (missing, "lacks weights that the model needs"),
        (unknown, "has weights that the model has no place for"),
        (sorted(other), "has weights of another shape"),
    ):
        if names:
            shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if names[2:] else "")
            raise UserError(
                f"{stored.origin} {trouble} ({shown}): do the configuration and the attention "
                f"belong to it?"
            )
    model.load_state_dict(found)
