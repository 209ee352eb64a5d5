"""How the weights start.

- Matrices: Xavier uniform (Glorot and Bengio 2010), as in tensor2tensor and `torch.nn.Transformer`.
  The packed (3E, E) input projection of an attention counts as one matrix, which gives query, key
  and value projections 1/sqrt(2) of the bound that they would have alone; fairseq chooses the same.
- Embeddings and learned positions: N(0, 1/E), the padding's vector zero (Vaswani et al.'s code).
- Biases: zero. Normalisation weights: one.
- What an attention class has beyond torch's parameters (a temperature, a gate, projections of other
  names) keeps the values that its constructor gave.

Every draw is made here, after the model is built, in the order in which its parameters stand. So
attention classes with torch's parameters start from the same numbers under the same seed, if their
constructors have drawn as many before, as minitf's and torch's do.
"""

import re

from torch import nn

_TORCHS = (
    "in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight",
    "out_proj.weight", "out_proj.bias", "bias_k", "bias_v",
)  # fmt: skip
"""The parameters of torch.nn.MultiheadAttention."""

_IN_ATTENTION = re.compile(r".*\.(?:self_attn|multihead_attn)\.(.+)")


def initialize(model: nn.Module) -> None:
    """Draw the parameters of `model` anew, from torch's global generator."""
    embeddings = {
        id(module.weight): module.padding_idx
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    }
    for name, parameter in model.named_parameters():
        if (own := _IN_ATTENTION.fullmatch(name)) and own[1] not in _TORCHS:
            continue
        if id(parameter) in embeddings or name.endswith("positions.weight"):
            nn.init.normal_(parameter, std=parameter.size(1) ** -0.5)
            padding = embeddings.get(id(parameter))
            if padding is not None:
                nn.init.zeros_(parameter.data[padding])
        elif parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
