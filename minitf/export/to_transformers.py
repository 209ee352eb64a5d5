"""`--to transformers`: loads with AutoModelForSeq2SeqLM and AutoTokenizer.

Two of its architectures compute what this project's model does: Marian normalises after each
residual, Pegasus before each sub-layer; both have this project's sinusoids, scaled embeddings and
plain attention.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitf.config.errors import UserError
from minitf.config.schema import (
    Activation,
    DecodingConfig,
    EarlyStopping,
    Norm,
    Positions,
    TiedEmbeddings,
)
from minitf.evaluation import Translator
from minitf.export.parts import (
    Check,
    check_known_attention,
    compare_logits,
    need,
    num_positions,
    position_table,
    probe,
    projections,
)

ENGINE = "transformers"
_LONGEST_OUTPUT = 256


def write(translator: Translator, directory: Path) -> None:
    """config.json, generation_config.json, model.safetensors and the tokenizer's files.

    Raises:
        UserError: An option has no counterpart there, or the package is not installed.
    """
    need("transformers", ENGINE)
    _refuse(translator)
    model = _empty_model(translator)
    missing, unexpected = model.load_state_dict(_weights(translator), strict=False)
    # Tied names are filled through the name they are tied to.
    assert not unexpected, unexpected
    assert all("embed_tokens" in name or "lm_head" in name for name in missing), missing
    model.tie_weights()
    with _no_progress_bars():
        model.save_pretrained(directory)
    _write_tokenizer(translator, directory)


def check(translator: Translator, directory: Path) -> Check:
    """Compare logits, as loaded from the directory."""
    from transformers import AutoModelForSeq2SeqLM

    with _no_progress_bars():
        model = AutoModelForSeq2SeqLM.from_pretrained(directory).eval()
    src, tgt = probe(translator)
    with torch.inference_mode():
        found = model(
            input_ids=src, attention_mask=src != translator.tokenizer.pad_id, decoder_input_ids=tgt
        ).logits
        device = translator.device
        expected = translator.model(src.to(device), tgt.to(device)).cpu()
    return compare_logits(expected, found)


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """A second's work needs no bars on stderr."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _refuse(translator: Translator) -> None:
    config = translator.config.model
    if config.positions == Positions.rotary:
        raise UserError(
            "model.positions=rotary: transformers has no encoder-decoder for it; "
            "use --to ctranslate2 or onnx"
        )
    if config.activation == Activation.swiglu:
        raise UserError(
            "model.activation=swiglu: transformers' Marian and Pegasus have no gated feed-forward; "
            "use --to ctranslate2 or onnx"
        )
    if config.positions == Positions.learned and config.norm == Norm.post:
        raise UserError(
            "model.positions=learned with model.norm=post: transformers' Marian computes its "
            "positions anew when it is loaded; use --to ctranslate2 or onnx"
        )
    check_known_attention(translator, ENGINE)


def _empty_model(translator: Translator) -> Any:
    from transformers import (
        GenerationConfig,
        MarianConfig,
        MarianMTModel,
        PegasusConfig,
        PegasusForConditionalGeneration,
    )

    config, tokenizer = translator.config.model, translator.tokenizer
    tied = config.tied_embeddings
    options: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "max_position_embeddings": num_positions(translator),
        "d_model": config.embed_dim,
        "encoder_layers": config.num_encoder_layers,
        "decoder_layers": config.num_decoder_layers,
        "encoder_attention_heads": config.num_heads,
        "decoder_attention_heads": config.num_heads,
        "encoder_ffn_dim": config.feedforward_dim,
        "decoder_ffn_dim": config.feedforward_dim,
        "activation_function": config.activation.value,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "scale_embedding": True,
        "decoder_start_token_id": tokenizer.bos_id,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "forced_eos_token_id": tokenizer.eos_id,
    }
    if config.norm == Norm.post:
        three_way = tied == TiedEmbeddings.three_way
        model: Any = MarianMTModel(
            MarianConfig(
                **options,
                decoder_vocab_size=tokenizer.vocab_size,
                share_encoder_decoder_embeddings=three_way,
                tie_word_embeddings=tied != TiedEmbeddings.untied,
            )
        )
    else:
        # Pegasus ties all three or none.
        model = PegasusForConditionalGeneration(
            PegasusConfig(**options, tie_word_embeddings=tied == TiedEmbeddings.three_way)
        )
    model.generation_config = GenerationConfig(
        decoder_start_token_id=tokenizer.bos_id,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        forced_eos_token_id=tokenizer.eos_id,
        suppress_tokens=[tokenizer.pad_id, tokenizer.bos_id],  # minitf never writes them
        max_length=min(_LONGEST_OUTPUT, num_positions(translator)),
        **generation_options(translator.config.evaluation.decoding),
    )
    return model.eval()


def generation_options(decoding: DecodingConfig) -> dict[str, Any]:
    """The run's way to decode, under the names that `generate` has for it."""
    options: dict[str, Any] = {"num_beams": 1}
    if decoding.method == "beam":
        early = {"first": True, "heuristic": False, "never": "never"}
        options["num_beams"] = decoding.beam_size
        if decoding.beam_size > 1:
            options["early_stopping"] = early[EarlyStopping(decoding.early_stopping).value]
            options["length_penalty"] = decoding.length_penalty
    elif decoding.method == "sample":
        options = {**options, "do_sample": True, "temperature": decoding.temperature,
                   "top_k": decoding.top_k, "top_p": decoding.top_p}  # fmt: skip
    if decoding.no_repeat_ngram:
        options["no_repeat_ngram_size"] = decoding.no_repeat_ngram
    if decoding.min_length:
        options["min_new_tokens"] = decoding.min_length
    return options


def _weights(translator: Translator) -> dict[str, Tensor]:
    """The model's weights under transformers' names."""
    model, config = translator.model, translator.config.model
    weights: dict[str, Tensor] = {
        "final_logits_bias": torch.zeros(1, model.vocab_size),
        "lm_head.weight": model.output_projection.weight,
    }
    if not (config.norm == Norm.post and config.tied_embeddings != TiedEmbeddings.three_way):
        weights["model.shared.weight"] = model.tgt_embedding.weight
    stacks = (
        ("encoder", model.encoder, model.src_embedding, model.src_positions),
        ("decoder", model.decoder, model.tgt_embedding, model.tgt_positions),
    )
    for side, stack, embedding, positions in stacks:
        place = f"model.{side}"
        weights[f"{place}.embed_tokens.weight"] = embedding.weight
        assert positions is not None  # rotary was refused
        table = position_table(positions, num_positions(translator))
        weights[f"{place}.embed_positions.weight"] = table
        if stack.norm is not None:
            weights |= _named(f"{place}.layer_norm", stack.norm)
        for number, layer in enumerate(stack.layers):
            weights |= _layer(f"{place}.layers.{number}", layer)
    return {name: weight.detach().cpu() for name, weight in weights.items()}


def _layer(place: str, layer: Any) -> dict[str, Tensor]:
    names = {"self_attn_layer_norm": layer.norm1, "fc1": layer.linear1, "fc2": layer.linear2}
    attentions = {"self_attn": layer.self_attn}
    if hasattr(layer, "multihead_attn"):
        attentions["encoder_attn"] = layer.multihead_attn
        names |= {"encoder_attn_layer_norm": layer.norm2, "final_layer_norm": layer.norm3}
    else:
        names["final_layer_norm"] = layer.norm2
    weights: dict[str, Tensor] = {}
    for name, module in names.items():
        weights |= _named(f"{place}.{name}", module)
    for name, attention in attentions.items():
        parts = projections(attention, ENGINE)
        for letter, (weight, bias) in (
            ("q", parts.query), ("k", parts.key), ("v", parts.value), ("out", parts.out)
        ):  # fmt: skip
            weights[f"{place}.{name}.{letter}_proj.weight"] = weight
            weights[f"{place}.{name}.{letter}_proj.bias"] = bias
    return weights


def _named(place: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{place}.{name}": weight for name, weight in module.state_dict().items()}


def _write_tokenizer(translator: Translator, directory: Path) -> None:
    """A fast tokenizer that ends sources and targets with EOS, as minitf does."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    own = directory / "tokenizer.json"
    translator.tokenizer.save(own)
    fast = Tokenizer.from_str(own.read_text(encoding="utf-8"))
    names = {
        name: fast.id_to_token(getattr(translator.tokenizer, f"{name}_id"))
        for name in ("pad", "bos", "eos", "unk")
    }
    eos = names["eos"]
    fast.post_processor = TemplateProcessing(
        single=f"$A {eos}", special_tokens=[(eos, translator.tokenizer.eos_id)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=fast,
        **{f"{name}_token": token for name, token in names.items()},
        split_special_tokens=True,  # "</s>" in a text is text
        clean_up_tokenization_spaces=False,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=num_positions(translator),
    ).save_pretrained(directory)
