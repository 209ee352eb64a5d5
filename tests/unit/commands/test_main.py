"""The dispatcher: help, exit codes, one line for an error."""

import subprocess
import sys
import types

import pytest

from minitf.commands import COMMANDS, main
from minitf.config.errors import UserError


@pytest.fixture
def command(monkeypatch):
    """`minitf verify` does what the test says."""

    def install(action):
        module = types.ModuleType("minitf.commands.verify")
        module.main = action
        monkeypatch.setitem(sys.modules, "minitf.commands.verify", module)

    return install


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_lists_every_command(argument, capsys):
    assert main([argument]) == 0
    shown = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert f"  {name}" in shown
        assert text in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_without_a_command_help_is_shown_and_the_exit_code_says_so(capsys):
    assert main([]) == 2
    assert "usage: minitf COMMAND" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("minitf 0.")


def test_an_unknown_command_is_answered_with_its_neighbour(capsys):
    assert main(["tranlate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minitf: there is no command 'tranlate'; did you mean translate?")
    assert error.count("\n") == 1


def test_arguments_and_exit_code_are_passed_through(command):
    received = []
    command(lambda argv: received.append(list(argv)) or 1)
    assert main(["verify", "--level", "op", "x=1"]) == 1
    assert received == [["--level", "op", "x=1"]]


def test_a_warning_is_one_line_without_code():
    done = subprocess.run(
        [sys.executable, "-c", _WARNS], capture_output=True, text=True, check=True
    )
    assert done.stderr == "minitf: warning: half of it is left out\n"


_WARNS = """
import sys, types, warnings
from minitf.commands import main
module = types.ModuleType("minitf.commands.verify")
module.main = lambda argv: warnings.warn("half of\\nit is left out")
sys.modules["minitf.commands.verify"] = module
main(["verify"])
"""


def raising(error):
    def action(argv):
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("x must be 1; received 2"), 2, "minitf: x must be 1; received 2\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), 2, "minitf: a.txt: No such file\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_errors_of_the_user_take_one_line(command, capsys, error, code, message):
    command(raising(error))
    assert main(["verify"]) == code
    assert capsys.readouterr().err == message


def test_ctrl_c_in_another_error_is_ctrl_c(command, capsys):
    def wrap(argv):
        try:
            raise KeyboardInterrupt
        except BaseException as stopped:
            raise RuntimeError("Create an issue") from stopped

    command(wrap)
    assert main(["verify"]) == 130
    assert capsys.readouterr().err == "\n"


def test_errors_of_ours_are_not_hidden(command):
    # Of no file: what stands in one outside of the package is the user's own code.
    command(eval("lambda argv: 1 / 0"))
    with pytest.raises(ZeroDivisionError):
        main(["verify"])


def test_help_is_quick():
    code = (
        "import sys; from minitf.commands import main; main(['--help']);"
        "assert not {'torch', 'hydra', 'lightning', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_ctrl_c_while_the_process_ends_is_not_heard():
    code = (
        "import atexit, signal, sys, types; from minitf.commands import main\n"
        "def stop(argv): raise KeyboardInterrupt('stopped')\n"
        "sys.modules['minitf.commands.verify'] = types.SimpleNamespace(main=stop)\n"
        "atexit.register(signal.raise_signal, signal.SIGINT)\n"
        "sys.exit(main())"
    )
    ended = subprocess.run([sys.executable, "-c", code, "verify"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "\nstopped\n")
