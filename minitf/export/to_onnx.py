"""`--to onnx`: encoder.onnx and decoder.onnx, for onnxruntime and others.

The decoder takes the whole prefix each time, so that a loop around it needs no state.
"""

import copy
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitf.evaluation import Translator
from minitf.evaluation.build import attention_path, build_model, is_named_by_the_user
from minitf.export.parts import (
    Check,
    compare_logits,
    need,
    num_positions,
    position_table,
    probe,
)
from minitf.model.embeddings import SinusoidalPositions

ENGINE = "onnx"


class _Encoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, src: Tensor) -> Tensor:
        memory: Tensor = self.model.encode(src)
        return memory


class _Decoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tgt: Tensor, memory: Tensor, src: Tensor) -> Tensor:
        hidden = self.model.decode(tgt, memory, self.model.src_padding_mask(src))
        logits: Tensor = self.model.project(hidden)
        return logits


def write(translator: Translator, directory: Path) -> None:
    """encoder.onnx, decoder.onnx, config.json and tokenizer.json.

    Raises:
        UserError: A package is not installed.
    """
    need("onnx", ENGINE)
    need("onnxscript", ENGINE)
    model = _traceable(translator)
    length = num_positions(translator)
    for positions in (model.src_positions, model.tgt_positions):
        if isinstance(positions, SinusoidalPositions):
            positions.table = position_table(positions, length)  # now: a graph cannot grow it
    src, tgt = probe(translator)
    B = torch.export.Dim("batch")
    S, T = (torch.export.Dim(name, max=length) for name in ("source", "target"))
    with torch.no_grad():
        memory = model.encode(src)
    _export(
        _Encoder(model), (src,), {"src": {0: B, 1: S}}, ["src"], ["memory"],
        directory / "encoder.onnx",
    )  # fmt: skip
    _export(
        _Decoder(model), (tgt, memory, src),
        {"tgt": {0: B, 1: T}, "memory": {0: B, 1: S}, "src": {0: B, 1: S}},
        ["tgt", "memory", "src"], ["logits"], directory / "decoder.onnx",
    )  # fmt: skip
    translator.tokenizer.save(directory / "tokenizer.json")
    names = ("pad_id", "bos_id", "eos_id", "unk_id", "vocab_size")
    content = {name: getattr(translator.tokenizer, name) for name in names}
    content |= {"format": "minitf-onnx", "max_length": length}
    (directory / "config.json").write_text(json.dumps(content, indent=2) + "\n")


def check(translator: Translator, directory: Path) -> Check:
    """Compare logits in onnxruntime, on other sizes than those the graph was made with.

    Short ones, and the longest that there are positions for, where float32 itself is less exact.
    """
    onnxruntime = need("onnxruntime", ENGINE)
    encoder, decoder = (
        onnxruntime.InferenceSession(
            str(directory / f"{side}.onnx"), providers=["CPUExecutionProvider"]
        )
        for side in ("encoder", "decoder")
    )
    src, tgt = probe(translator, seed=1)
    longest = num_positions(translator)
    first = src[:1, :3].repeat(1, -(-longest // 3))[:, :longest]  # the first sentence is unpadded
    checks = []
    short = (src[1:, :11], tgt[1:, :5], 1e-5)
    for source, target, tolerance in (short, (first, first, 1e-3)):
        memory = encoder.run(None, {"src": source.numpy()})[0]
        inputs = {"tgt": target.numpy(), "memory": memory, "src": source.numpy()}
        found = torch.from_numpy(decoder.run(None, inputs)[0])
        device = translator.device
        with torch.inference_mode():
            expected = translator.model(source.to(device), target.to(device)).cpu()
        checks.append(compare_logits(expected, found, tolerance))
    return next((check for check in checks if not check.passed), checks[0])


def _traceable(translator: Translator) -> Any:
    """A copy on the CPU whose attention is plain mathematics."""
    model = translator.model
    if is_named_by_the_user(attention_path(translator.config.attention)):
        return copy.deepcopy(model).cpu().eval()  # the user's own mathematics
    attention = {**translator.config.attention, "_target_": "custom", "kernel": "math"}
    plain = build_model(
        translator.config.model, attention, model.vocab_size, translator.tokenizer.pad_id
    )
    plain.load_state_dict(model.state_dict())
    return plain.cpu().eval()


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    shapes: dict[str, Any],
    inputs: list[str],
    outputs: list[str],
    file: Path,
) -> None:
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter tells what it optimises, and what it does not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                example,
                str(file),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=inputs,
                output_names=outputs,
                external_data=False,
                verbose=False,
            )
    finally:
        logging.disable(disabled)
