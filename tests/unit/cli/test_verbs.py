"""Every module of a command's package is a verb; only the one that was asked for is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli._verbs import Tree, run
from bench.errors import WrongUsage

VERB = (
    '"""Says {word}.\n\nAnd more."""\ndef add_arguments(parser): parser.add_argument("--loud", action="store_true")\n'
)
RUN = 'def run(arguments):\n    print("{word}!" if arguments.loud else "{word}")\n    return {status}\n'


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A command with a verb, a verb of two words, a verb with verbs, a broken verb and a module that is none."""
    package = tmp_path / f"verbs_{tmp_path.name.replace('-', '_')}"
    nested = package / "nest"
    nested.mkdir(parents=True)
    (package / "__init__.py").write_text('"""A command."""')
    (nested / "__init__.py").write_text('"""A nest."""')
    for path, word, status in (
        (package / "hello", "hello", 0),
        (package / "two_words", "two", 3),
        (nested / "egg", "egg", 1),
    ):
        path.with_suffix(".py").write_text(VERB.format(word=word) + RUN.format(word=word, status=status))
    (package / "_inner.py").write_text("raise AssertionError('not a verb')")
    monkeypatch.syspath_prepend(tmp_path)
    return Tree(program="command", package=package.name)


def test_a_verb_is_run_with_its_options(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tree, ["hello", "--loud"]) == 0
    assert run(tree, ["two-words"]) == 3
    assert run(tree, ["nest", "egg"]) == 1
    assert capsys.readouterr().out == "hello!\ntwo\negg\n"


def test_help_lists_every_verb_with_its_first_line(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tree, ["--help"])

    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "Says hello" in told
    assert "two-words" in told
    assert "And more" not in told
    assert "inner" not in told


@pytest.mark.parametrize("argv", [[], ["sing"], ["nest"], ["nest", "sing"]])
def test_a_verb_that_is_none_exits_with_2(tree: Tree, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tree, argv)

    assert ended.value.code == 2
    assert "usage: command" in capsys.readouterr().err


def test_a_wrong_option_is_told_in_one_sentence(tree: Tree) -> None:
    with pytest.raises(WrongUsage, match="--wrong; `command hello --help` lists"):
        run(tree, ["hello", "--wrong"])


def test_a_broken_verb_does_not_break_the_others(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / tree.package / "broken.py").write_text("raise AssertionError('imported')")

    assert run(tree, ["hello"]) == 0


def test_our_errors_are_one_line_and_their_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "status", "--name", "No Name"]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("bench: 'No Name' is no name for a lab")


def test_status_does_not_wait_for_libraries_that_it_does_not_use() -> None:
    program = (
        "import sys; from bench.cli import main; main(['lab', 'status', '--name', 'there-is-none']); "
        "print(sorted({'numpy', 'kubernetes', 'locust', 'aiohttp', 'cryptography'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)

    assert done.stdout.strip() == "[]", done.stderr


def test_an_unexpected_exception_is_the_benchs_fault_and_exits_with_4(tmp_path: Path) -> None:
    (tmp_path / "divide.py").write_text("def add_arguments(parser): pass\ndef run(arguments): return 1 / 0\n")
    program = (
        f"import bench.cli, sys; bench.cli.__path__.append({str(tmp_path)!r}); sys.exit(bench.cli.main(['divide']))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 4
    assert "ZeroDivisionError" in done.stderr
    assert "fault of the bench" in done.stderr


def test_output_that_finds_no_room_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "speak.py").write_text("def add_arguments(parser): pass\ndef run(arguments): print('word'); return 0\n")
    program = (
        f"import bench.cli, sys; bench.cli.__path__.append({str(tmp_path)!r}); sys.exit(bench.cli.main(['speak']))"
    )

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20, check=False
        )

    assert done.returncode == 3
    assert done.stderr == (
        "bench: no room to write to standard output: No space left on device. Make room, and run again.\n"
    )
