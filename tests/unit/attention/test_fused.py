"""Which of torch's kernels training and decoding let it choose among on a GPU."""

import pytest
import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

from minitf.attention.kernels.fused import suited_to_batches

FLASH, EFFICIENT, MATH = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


@pytest.mark.parametrize(
    ("longest", "order"),
    [
        (None, [FLASH, EFFICIENT, MATH]),
        (129, [FLASH, EFFICIENT, MATH]),
        (128, [EFFICIENT, FLASH, MATH]),
    ],
)
def test_the_order_depends_on_the_longest_sentence(longest, order):
    before = _cur_sdpa_kernel_backends(with_priority=True)
    with suited_to_batches(torch.device("cuda"), longest):
        assert _cur_sdpa_kernel_backends(with_priority=True) == order
    assert _cur_sdpa_kernel_backends(with_priority=True) == before
    with suited_to_batches(torch.device("cpu"), longest):
        assert _cur_sdpa_kernel_backends(with_priority=True) == before
