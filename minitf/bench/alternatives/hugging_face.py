"""The Marian and M2M100 classes of Hugging Face transformers: post-norm and pre-norm."""

from typing import Any

from torch import Tensor, nn

from minitf.bench.task import Loss, TokenBatch, TrainingTask, cross_entropy


def marian(task: TrainingTask) -> tuple[nn.Module, Loss]:
    """MarianMTModel and torch's cross-entropy."""
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        **_options(task), decoder_vocab_size=task.vocab_size, share_encoder_decoder_embeddings=True
    )
    return _with_loss(MarianMTModel(config), task)


def m2m100(task: TrainingTask) -> tuple[nn.Module, Loss]:
    """M2M100ForConditionalGeneration and torch's cross-entropy."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    return _with_loss(M2M100ForConditionalGeneration(M2M100Config(**_options(task))), task)


def _options(task: TrainingTask) -> dict[str, Any]:
    return {
        "vocab_size": task.vocab_size,
        "max_position_embeddings": task.longest,
        "d_model": task.embed_dim,
        "encoder_layers": task.num_encoder_layers,
        "decoder_layers": task.num_decoder_layers,
        "encoder_attention_heads": task.num_heads,
        "decoder_attention_heads": task.num_heads,
        "encoder_ffn_dim": task.feedforward_dim,
        "decoder_ffn_dim": task.feedforward_dim,
        "activation_function": "relu",
        "dropout": task.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "scale_embedding": True,
        "tie_word_embeddings": True,
        "use_cache": False,
        "pad_token_id": task.pad_id,
        "bos_token_id": task.bos_id,
        "eos_token_id": task.eos_id,
        "decoder_start_token_id": task.bos_id,
        "forced_eos_token_id": task.eos_id,
        "attn_implementation": "sdpa",
    }


def _with_loss(model: Any, task: TrainingTask) -> tuple[nn.Module, Loss]:
    def loss(batch: TokenBatch) -> Tensor:
        logits = model(
            input_ids=batch.src,
            attention_mask=batch.src != task.pad_id,
            decoder_input_ids=batch.tgt[:, :-1],
            use_cache=False,
        ).logits
        return cross_entropy(logits, batch, task)

    return model, loss
