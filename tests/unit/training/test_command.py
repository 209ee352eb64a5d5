"""What the command line means beyond Hydra's own reading of it."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minitf.config import UserError
from minitf.config.compose import compose_config
from minitf.training import command
from minitf.training.command import choose_decoding

PLACE = "evaluation.decoding."


@pytest.mark.parametrize(
    ("typed", "method"),
    [
        (["beam_size=5"], "beam"),
        (["n_best=2"], "beam"),
        (["early_stopping=never"], "beam"),
        (["top_k=0"], "sample"),
        (["method=greedy", "length_penalty=0.5"], "greedy"),
        (["min_length=2"], "greedy"),
        ([], "greedy"),
    ],
)
def test_typed_decoding_options_imply_their_method(typed: list[str], method: str) -> None:
    """As in the commands, and though the value is the default."""
    overrides = [PLACE + option for option in typed]
    config = compose_config(overrides)
    choose_decoding(config, overrides)
    assert config.evaluation.decoding.method.value == method


def test_an_option_that_the_typed_method_does_not_read_is_refused() -> None:
    overrides = [PLACE + "method=greedy", PLACE + "beam_size=5"]
    message = r"^evaluation\.decoding\.beam_size is read with method=beam only; received method="
    with pytest.raises(UserError, match=message):
        choose_decoding(compose_config(overrides), overrides)


def test_an_experiments_method_stays_where_nothing_is_typed() -> None:
    config = compose_config(["experiment=multi30k_published"])
    choose_decoding(config, ["experiment=multi30k_published", "seed=3"])
    assert config.evaluation.decoding.method.value == "beam"


def test_threads_are_told_how_long_to_wait_before_torch_is_loaded() -> None:
    program = (
        "import os, sys\n"
        "from minitf.training.command import main\n"
        "assert 'torch' not in sys.modules\n"
        "sys.argv = ['train.py', '--model', 'tiny']\n"
        "try: main()\n"
        "finally: print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    clean = {name: value for name, value in os.environ.items() if "OMP" not in name}
    for given, expected in (
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "passive"}, "None"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**clean, **given}, capture_output=True, text=True
        )
        assert done.stdout == f"{expected}\n", done.stderr


@pytest.fixture
def run_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Of what main would run, under signals as at first; main leaves them ignored at its end."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "argv", ["train.py", f"run_dir={tmp_path / 'run'}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "run"
    for signum, handler in before.items():
        signal.signal(signum, handler)
    command._heard.clear()


def test_ctrl_c_is_not_lost_where_python_drops_what_is_raised(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a destructor, as while libraries are loaded: the run does not begin."""

    class Dropped:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def prepared(arguments: list[str]) -> list[str]:
        Dropped()
        return arguments

    monkeypatch.setattr(command, "prepared", prepared)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not run_dir.exists()


@pytest.mark.usefixtures("run_dir")
def test_lightnings_answer_to_ctrl_c_is_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends the process with 1 and without a word."""

    def train(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr("minitf.training.run.train", train)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_of_the_help_may_go_away() -> None:
    program = "from minitf.training.command import main; main()"
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" --help | head -1; exit ${PIPESTATUS[0]}',
         sys.executable, program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 141)  # it may have said all before
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_full_disk_takes_one_line_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_checkpoint: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "results.json")

    monkeypatch.setattr("minitf.training.run.train", full)
    monkeypatch.chdir(tmp_path)
    if has_checkpoint:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    advice = "go on with resume=run" if has_checkpoint else "start the run again"
    config = compose_config([f"run_dir={tmp_path / 'run'}"])
    with pytest.raises(UserError, match=f"results.json: No space left on device: .*{advice}$"):
        command._run(config)
