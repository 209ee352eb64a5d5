"""x-transformers: the parts of its XTransformer, put together so that all embeddings are tied."""

from torch import Tensor, nn

from minitf.bench.task import Loss, TokenBatch, TrainingTask, cross_entropy


class EncoderDecoder(nn.Module):
    """What XTransformer is, whose own constructor ties two of the three matrices only."""

    def __init__(self, task: TrainingTask) -> None:
        from x_transformers import Decoder, Encoder, TransformerWrapper

        super().__init__()
        self._pad_id = task.pad_id
        common = {
            "dim": task.embed_dim,
            "heads": task.num_heads,
            "attn_dim_head": task.embed_dim // task.num_heads,
            "attn_flash": True,
            "attn_sublayer_dropout": task.dropout,
            "ff_mult": task.feedforward_dim / task.embed_dim,
            "ff_custom_activation": nn.ReLU(),
            "ff_sublayer_dropout": task.dropout,
            "pre_norm": task.pre_norm,
        }
        sizes = {
            "num_tokens": task.vocab_size,
            "max_seq_len": task.longest,
            "emb_dropout": task.dropout,
            "scaled_sinu_pos_emb": True,
        }
        self.encoder = TransformerWrapper(
            **sizes,
            return_only_embed=True,
            attn_layers=Encoder(depth=task.num_encoder_layers, **common),
        )
        self.decoder = TransformerWrapper(
            **sizes,
            tie_embedding=True,
            token_emb=self.encoder.token_emb,
            attn_layers=Decoder(depth=task.num_decoder_layers, cross_attend=True, **common),
        )

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """(B, T, V) logits."""
        mask = src != self._pad_id
        memory = self.encoder(src, mask=mask, return_embeddings=True)
        logits: Tensor = self.decoder(tgt, context=memory, context_mask=mask)
        return logits


def build(task: TrainingTask) -> tuple[nn.Module, Loss]:
    """The model and torch's cross-entropy."""
    model = EncoderDecoder(task)

    def loss(batch: TokenBatch) -> Tensor:
        return cross_entropy(model(batch.src, batch.tgt[:, :-1]), batch, task)

    return model, loss
