"""Every command of README.md runs, in the README's order, in one folder, made quick."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from minitf import commands
from minitf.training.command import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
QUICK = ["debug=fast", "trainer.max_steps=3", "batching.tokens=512"]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [
    line
    for block in _blocks("bash")
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


def _write_own_data(directory: Path) -> None:
    directory.mkdir()
    pairs = [(f"the number {n}", f"die Zahl {n}") for n in range(60)]
    for split in ("train", "val", "test"):
        (directory / f"{split}.en").write_text("".join(f"{s}\n" for s, _ in pairs))
        (directory / f"{split}.de").write_text("".join(f"{t}\n" for _, t in pairs))
        rows = "".join(f"{s},{t}\n" for s, t in pairs)
        (directory / f"{split}.csv").write_text("english,german\n" + rows)


def _train(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    quick = [] if "--help" in arguments or "resume=" in " ".join(arguments) else list(QUICK)
    if quick and not any(a.startswith("data=") for a in arguments):
        quick.append("data.train_size=300")
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, *quick])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    _write_own_data(tmp_path / "DIR")
    scripts = []
    for block in _blocks("python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block)
        else:
            scripts.append(block)
    assert _train([], monkeypatch) == 0, capsys.readouterr().err  # what the first line leaves
    for command in COMMANDS:
        before, _, piped = command.rpartition(" | ")
        words = shlex.split(piped, comments=True)
        expected = int(said[1]) if (said := re.search(r"# exits with (\d)", command)) else 0
        if words[:3] == ["python", "-m", "pip"]:
            continue  # .ci/run does
        if words[:2] == ["python", "train.py"]:
            code = _train(words[2:], monkeypatch)
        elif words[:2] == ["wandb", "leet"]:
            # The viewer needs a terminal; its reader shows that it would find the run.
            tool = str(Path(sys.executable).with_name("wandb"))
            code = subprocess.run([tool, "leet", "inspect", "--summary", *words[2:]]).returncode
        elif before:
            code = subprocess.run(
                [str(Path(sys.executable).with_name("minitf")), *words[1:]],
                input=before.removeprefix("echo ").strip('"') + "\n",
                text=True,
            ).returncode
        else:
            assert words[0] == "minitf", command
            words += ["--limit", "20"] if words[1] == "evaluate" else []
            code = commands.main(words[1:])
        out, err = capsys.readouterr()
        assert code == expected, f"{command}\n{out}\n{err}"
    assert scripts
    for block in scripts:
        exec(compile(block, "README.md", "exec"), {})  # as a reader would paste it
        assert capsys.readouterr().out.count("\n") == 1


def test_the_test_command_is_what_ci_runs() -> None:
    test_line = next(c for c in COMMANDS if "pytest" in c)
    for part in test_line.split(" && "):
        script = (ROOT / ".ci" / "run").read_text()
        assert part.replace("install -e", "install --quiet -e") in script


def test_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
