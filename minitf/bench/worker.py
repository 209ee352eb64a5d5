"""A worker's process: `python -m minitf.bench.worker`, told what to do on standard input."""

import contextlib
import importlib
import json
import resource
import sys
import traceback

from minitf.bench.rounds import Rounds, own_streams


def main() -> None:
    """Import what the parent names, run it, and say what memory it took."""
    with own_streams() as (receive, send):

        def answer(message: dict[str, object]) -> None:
            send.write(json.dumps(message) + "\n")
            send.flush()

        task = json.loads(receive.readline())
        try:
            function = getattr(importlib.import_module(task["module"]), task["function"])
            function(Rounds(receive, send), **task["arguments"])
        except ImportError as error:
            answer({"error": not_installed(error)})
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())
            answer({"error": f"{type(error).__name__}: {text}"[:300]})
        else:
            answer({"peak_memory": peak_memory(str(task["arguments"].get("device", "cpu")))})


def peak_memory(device: str) -> float | None:
    """MiB: what torch's CUDA allocator handed out at most, on a CPU the largest resident set.

    None where something else than torch computed on the GPU.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    return resident_peak() if device == "cpu" else None


def resident_peak() -> float:
    """MiB: this process' largest resident set so far."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:  # not ru_maxrss, which on Linux begins at the parent's
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage / (2**20 if sys.platform == "darwin" else 2**10)


def not_installed(error: ImportError) -> str:
    """What to install, in one line."""
    missing = (error.name or "").partition(".")[0]
    if missing in ("transformers", "accelerate", "x_transformers", "ctranslate2"):
        return f"{missing} is not installed: pip install 'minitf[bench]'"
    if isinstance(error, ModuleNotFoundError) and missing != "minitf":
        return f"{missing} is not installed: pip install {missing}"
    return f"ImportError: {' '.join(str(error).split())}"


if __name__ == "__main__":
    main()
