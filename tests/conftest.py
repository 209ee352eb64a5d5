"""What every test shares: quiet, offline, one thread count."""

import os

import jaxtyping

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

if os.environ.get("MINITF_TYPECHECK", "1") != "0":
    # Shapes written in attention/ and model/ are checked while testing. torch.compile cannot trace
    # the check: tests that compile do so in a process of their own, with MINITF_TYPECHECK=0.
    jaxtyping.install_import_hook(["minitf.attention", "minitf.model"], "beartype.beartype")
