"""A device that is not the CPU, for machines that have no other: its tensors hold CPU tensors.

What it shows: no operation is given tensors of two devices, none needs float64 (some accelerators
have none), and what is computed is right. What it cannot show: kernels, precision, speed.

Run as a program it is `train.py`, where `trainer.accelerator` and `trainer.strategy` can be
`simulated`.
"""

import collections
import sys
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_registered: list[torch.device] = []
_INDEXED = {"index", "index_put", "index_put_"}
"""Operations that take indices from host memory on every device."""


def register() -> torch.device:
    """Make the device known to torch, for all of the process: no other test may run in it."""
    if not _registered:
        _setup_privateuseone_for_python_backend("simulated")
        torch.__future__.set_swap_module_params_on_conversion(True)  # a tied weight stays one
        _registered.append(torch.device("simulated", 0))
    return _registered[0]


class SimulatedTensor(torch.Tensor):
    """A tensor of the simulated device; `held` is where its numbers are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "SimulatedTensor":
        if held.dtype == torch.float64:
            raise TypeError("the simulated device has no float64")
        with torch.inference_mode(held.is_inference()):  # a view of a usual tensor is a usual one
            made = torch.Tensor._make_wrapper_subclass(
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
                dtype=held.dtype, device=register(),
            )  # fmt: skip
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **options: Any) -> Any:
        raise TypeError("can't convert a tensor of the simulated device to numpy")

    def __repr__(self) -> str:
        return f"SimulatedTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class SimulatedDevice(TorchDispatchMode):
    """While it is entered, `device="simulated"` works everywhere."""

    def __enter__(self) -> "SimulatedDevice":
        register()
        self._tensor = torch.tensor
        torch.tensor = self._on_device  # from lists it asks no mode
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        torch.tensor = self._tensor
        super().__exit__(*raised)

    def _on_device(self, data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
        made = self._tensor(data, **options)
        return made if device is None else made.to(device)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on what its tensors hold; the result lies where torch would put it."""
    name = func._schema.name.removeprefix("aten::")
    given = [x for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)]
    simulated = [x for x in given if isinstance(x, SimulatedTensor)]
    others = [x.shape for x in given if not isinstance(x, SimulatedTensor) and x.dim() > 0]
    device = kwargs.get("device")
    result_is_simulated = bool(simulated)
    if name == "copy_":
        result_is_simulated = isinstance(args[0], SimulatedTensor)
    elif name != "_to_copy" and name not in _INDEXED and simulated and others:
        raise RuntimeError(f"{name}: tensors on two devices; on the CPU: {others}")
    if device is not None:
        result_is_simulated = torch.device(device).type == "simulated"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    held = {id(x.held): x for x in simulated}
    args, kwargs = tree_map(_unwrap, (args, kwargs))
    found = func(*args, **kwargs)

    def wrap(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not result_is_simulated:
            return x
        return held.get(id(x)) if id(x) in held else SimulatedTensor(x)  # in place, or new

    return tree_map(wrap, found)


def _unwrap(x: Any) -> Any:
    return x.held if isinstance(x, SimulatedTensor) else x


class SimulatedAccelerator(Accelerator):
    """One simulated device, as Lightning sees it."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [register()]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "simulated"

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}


def _held(content: Any) -> Any:
    """A checkpoint's content in host memory: a wrapper cannot be pickled."""
    if isinstance(content, dict):
        copy = {key: _held(value) for key, value in content.items()}
        return type(content)(copy) if type(content) is collections.OrderedDict else copy
    if isinstance(content, list):
        return [_held(value) for value in content]
    return _unwrap(content)


def main() -> None:
    """`train.py` on the simulated device."""
    from minitf.training.checkpoint_io import AtomicCheckpointIO
    from minitf.training.command import main as train

    AcceleratorRegistry.register("simulated", SimulatedAccelerator)
    StrategyRegistry.register("simulated", SingleDeviceStrategy, device=register())
    save: Callable[..., None] = AtomicCheckpointIO.save_checkpoint
    AtomicCheckpointIO.save_checkpoint = lambda self, content, *rest, **options: save(
        self, _held(content), *rest, **options
    )
    with SimulatedDevice():
        train()


if __name__ == "__main__":
    sys.exit(main())
