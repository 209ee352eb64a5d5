"""`--to ctranslate2`: a directory for ctranslate2.Translator."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitf.config.schema import Activation, DecodingConfig, Norm, Positions
from minitf.decoding import generate
from minitf.decoding.batches import pad
from minitf.evaluation import Translator
from minitf.export.parts import (
    Check,
    check_known_attention,
    need,
    num_positions,
    position_table,
    probe,
    projections,
)

ENGINE = "ctranslate2"
_NEVER = -1e4
"""Added to the logits of padding and BOS, which minitf never writes; finite in float16."""


def write(translator: Translator, directory: Path) -> None:
    """model.bin, config.json, shared_vocabulary.json and tokenizer.json.

    Raises:
        UserError: The attention has no counterpart there, or the package is not installed.
    """
    need("ctranslate2", ENGINE)
    check_known_attention(translator, ENGINE)
    spec = _spec(translator)
    tokens = vocabulary(translator)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    names = translator.tokenizer
    spec.config.bos_token = spec.config.decoder_start_token = tokens[names.bos_id]
    spec.config.eos_token = tokens[names.eos_id]
    spec.config.unk_token = tokens[names.unk_id]
    spec.config.add_source_eos = True
    spec.validate()
    spec.optimize(quantization=None)
    # It checks that its directory is new, so it gets one of its own.
    with tempfile.TemporaryDirectory(dir=directory) as own:
        spec.save(own)
        for file in Path(own).iterdir():
            shutil.move(file, directory / file.name)
    translator.tokenizer.save(directory / "tokenizer.json")


def vocabulary(translator: Translator) -> list[str]:
    """Each token as the engine names it."""
    own = translator.tokenizer.backend
    return [str(own.id_to_token(number)) for number in range(translator.tokenizer.vocab_size)]


def check(translator: Translator, directory: Path) -> Check:
    """Compare greedy output on random sources."""
    import ctranslate2

    engine = ctranslate2.Translator(str(directory), device="cpu")
    tokens = vocabulary(translator)
    ids = {token: number for number, token in enumerate(tokens)}
    eos, pad_id = translator.tokenizer.eos_id, translator.tokenizer.pad_id
    sources = [
        [token for token in row if token not in (eos, pad_id)]
        for row in probe(translator)[0].tolist()
    ]
    length = min(20, num_positions(translator) - 1)  # BOS needs one too
    found = engine.translate_batch(
        [[tokens[i] for i in row] for row in sources],
        beam_size=1,
        min_decoding_length=0,
        max_decoding_length=length,
    )
    src = pad([[*row, eos] for row in sources], pad_id).to(translator.device)
    expected = generate(
        translator.model,
        src,
        bos_id=translator.tokenizer.bos_id,
        eos_id=eos,
        pad_id=pad_id,
        config=DecodingConfig(max_length_ratio=0, max_length_extra=length),
    )
    equal = sum(
        [ids[token] for token in theirs.hypotheses[0]] == ours[0].tokens[:length]
        for theirs, ours in zip(found, expected, strict=True)
    )
    return Check(equal == len(sources), f"{equal} of {len(sources)} greedy outputs equal")


def _spec(translator: Translator) -> Any:
    from ctranslate2.specs import TransformerSpec, common_spec, transformer_spec

    model, config = translator.model, translator.config.model
    activation = {
        Activation.relu: common_spec.Activation.RELU,
        Activation.gelu: common_spec.Activation.GELU,
        Activation.swiglu: common_spec.Activation.SWISH,
    }[config.activation]
    options: dict[str, Any] = {
        "pre_norm": config.norm == Norm.pre,
        "activation": activation,
        "ffn_glu": config.activation == Activation.swiglu,
    }
    if config.positions == Positions.rotary:
        # 0: all dimensions; not interleaved: a pair is (i, i + D/2), as in minitf.attention.rotary.
        options |= {"rotary_dim": 0, "rotary_interleave": False, "rotary_base": 10_000.0}
    encoder = transformer_spec.TransformerEncoderSpec(
        config.num_encoder_layers, config.num_heads, **options
    )
    decoder = transformer_spec.TransformerDecoderSpec(
        config.num_decoder_layers, config.num_heads, **options
    )
    _embeddings(
        encoder, encoder.embeddings[0], model.src_embedding, model.src_positions, translator
    )
    _embeddings(decoder, decoder.embeddings, model.tgt_embedding, model.tgt_positions, translator)
    for spec, stack in ((encoder, model.encoder), (decoder, model.decoder)):
        if stack.norm is not None:
            _norm(spec.layer_norm, stack.norm)
        for layer_spec, layer in zip(spec.layer, stack.layers, strict=True):
            _layer(layer_spec, layer)
    bias = torch.zeros(model.vocab_size)
    bias[[translator.tokenizer.pad_id, translator.tokenizer.bos_id]] = _NEVER
    _linear(decoder.projection, [(model.output_projection.weight, bias)])
    return TransformerSpec(encoder, decoder)


def _embeddings(
    spec: Any, embedding_spec: Any, embedding: Any, positions: Any, translator: Translator
) -> None:
    embedding_spec.weight = _array(embedding.weight)
    spec.scale_embeddings = True
    if positions is not None:
        table = position_table(positions, num_positions(translator))
        spec.position_encodings.encodings = _array(table)
    elif hasattr(spec, "position_encodings"):
        del spec.position_encodings


def _layer(spec: Any, layer: Any) -> None:
    own = projections(layer.self_attn, ENGINE)
    _linear(spec.self_attention.linear[0], [own.query, own.key, own.value])
    _linear(spec.self_attention.linear[1], [own.out])
    _norm(spec.self_attention.layer_norm, layer.norm1)
    last_norm = layer.norm2
    if hasattr(layer, "multihead_attn"):
        cross = projections(layer.multihead_attn, ENGINE)
        _linear(spec.attention.linear[0], [cross.query])
        _linear(spec.attention.linear[1], [cross.key, cross.value])
        _linear(spec.attention.linear[2], [cross.out])
        _norm(spec.attention.layer_norm, layer.norm2)
        last_norm = layer.norm3
    _norm(spec.ffn.layer_norm, last_norm)
    first = (layer.linear1.weight, layer.linear1.bias)
    if hasattr(spec.ffn, "linear_0_noact"):  # SwiGLU: [gate | value], the gate is activated
        (gate, value), (gate_bias, value_bias) = (part.chunk(2) for part in first)
        _linear(spec.ffn.linear_0, [(gate, gate_bias)])
        _linear(spec.ffn.linear_0_noact, [(value, value_bias)])
    else:
        _linear(spec.ffn.linear_0, [first])
    _linear(spec.ffn.linear_1, [(layer.linear2.weight, layer.linear2.bias)])


def _linear(spec: Any, parts: list[tuple[Tensor, Tensor]]) -> None:
    """One linear map out of several that read the same input."""
    spec.weight = _array(torch.cat([weight for weight, _ in parts]))
    spec.bias = _array(torch.cat([bias for _, bias in parts]))


def _norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().float().cpu().numpy()
