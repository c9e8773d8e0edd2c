"""Every method is found by its name, says what it is, and comes back from its JSON."""

import json
import signal
import sys
import traceback
from pathlib import Path

import command
import pytest

from benchmark import registry
from benchmark.spec import Spec, SpecError
from benchmark.user_files import include, users_code

EVERY = [
    (kind, name)
    for kind, names in registry.KINDS.items()
    for name, where in names.items()
    if where.startswith("benchmark.")
]
"""All that are shipped: other files of tests may have registered classes of theirs by now."""


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_registered_method_is_there_and_describes_itself(kind: str, name: str) -> None:
    method = registry.lookup(kind, name)
    assert issubclass(method, registry._load(registry._BASES[kind]))
    assert (method.__doc__ or "").strip() and method.__doc__ != Spec.__doc__
    if kind != "stage":
        assert method.SOURCE, f"{name} does not say where it is from"


@pytest.mark.parametrize("value", ["loss_threshold", {"method": "loss_threshold"}])
def test_a_method_is_a_name_or_a_mapping(value: object) -> None:
    assert registry.dump("membership", registry.parse("membership", value)) == {
        "method": "loss_threshold",
        "version": 1,
    }


def test_json_of_a_method_reads_back_to_an_equal_one() -> None:
    spec = registry.parse("evasion", {"method": "pgd", "norm": "l2", "epsilon": "1/3", "steps": 7})
    text = json.dumps(registry.dump("evasion", spec))
    assert registry.parse("evasion", json.loads(text)) == spec
    assert json.loads(text)["epsilon"] == 1 / 3


def test_unknown_methods_are_met_with_the_nearest() -> None:
    said = r"^unknown evasion .pdg. \(did you mean .pgd.\?\); allowed: .*fgsm, given, pgd, .*; a method of your own: -"
    with pytest.raises(SpecError, match=said):
        registry.lookup("evasion", "pdg")
    for value in (3, None, [1], {}, {"epsilon": 1}):
        with pytest.raises(SpecError, match=r"is no evasion; allowed|unknown evasion"):
            registry.parse("evasion", value)


def written_and_loaded(folder: Path, text: str, name: str = "mine.py") -> None:
    path = folder / name
    path.write_text(text)
    include.load(str(path))


MINE = """
from benchmark.evasion.attack import Evasion
from benchmark.registry import register

class Mine(Evasion):
    'Does nothing.'

    def perturb(self, model, images, labels, generator):
        raise NotImplementedError

register("evasion", "mine", Mine)
"""


@pytest.mark.usefixtures("registered")
def test_an_included_method_carries_the_hash_of_its_file(tmp_path: Path) -> None:
    written_and_loaded(tmp_path, MINE)
    written_and_loaded(tmp_path, MINE)  # twice is once
    before = registry.dump("evasion", registry.parse("evasion", {"method": "mine", "epsilon": 1}))
    assert len(before["source_sha256"]) == 64
    assert registry.parse("evasion", before).model_dump() == {"norm": "linf", "epsilon": 1.0}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (", " line 1: SyntaxError: '(' was never closed"),
        ("\n\n1 / 0", " line 3: ZeroDivisionError: division by zero"),
        ("import nothing_of_the_kind", " line 1: ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        (MINE.replace('"mine"', '"pgd"'), " line 11: evasion 'pgd' is taken by benchmark.evasion.pgd:PGD"),
        (
            MINE.replace('"evasion"', '"evasoin"'),
            " line 11: unknown kind 'evasoin' (did you mean 'evasion'?)",
        ),
        (MINE.replace("(Evasion)", ""), "allowed: a subclass of Evasion at the top of its file"),
        (MINE.replace(", Mine)", ", 3)"), "evasion 'mine' is 3; allowed: a subclass of Evasion"),
        ("a\0b", "null bytes"),
        ("\nraise SystemExit", " line 2: SystemExit"),
        ("import sys\nsys.exit(3)", " line 2: SystemExit: 3"),
        ("raise KeyboardInterrupt", " line 1: KeyboardInterrupt"),
        ("class Odd(BaseException): pass\nraise Odd('a\\nb\\x1b[31m')", r" line 2: Odd: a b\x1b[31m"),
        ("raise ValueError", " line 1: ValueError"),
        (
            "class Mute(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Mute",
            " line 4: Mute: (its text cannot be made)",
        ),
        ("\nimport ast\nast.parse('x = (', 'other.py')", " line 3: SyntaxError: '(' was never closed"),
    ],
)
def test_a_broken_file_is_refused_each_time(tmp_path: Path, text: str, said: str) -> None:
    for _ in range(2):  # the failed import is not taken for a done one
        with pytest.raises(SpecError) as error:
            written_and_loaded(tmp_path, text)
        assert str(error.value).startswith(f"--include: {str(tmp_path / 'mine.py')!r}") and said in str(error.value)


@pytest.mark.usefixtures("registered")
def test_whatever_a_file_raises_is_one_line_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\n\nsys.exit()")
    line = command.refusal(command.call("list", "--include", tmp_path / "mine.py"))
    assert line == f"--include: {str(tmp_path / 'mine.py')!r} line 3: SystemExit"


LEAVING = """
import sys

class Leaving(Evasion):
    'Ends whoever asks for its passes.'

    def perturb(self, model, images, labels, generator):
        raise NotImplementedError

    @property
    def passes(self):
        sys.exit(5)

register("evasion", "leaving", Leaving)
"""


@pytest.mark.usefixtures("registered")
def test_what_a_method_raises_while_the_plan_is_made_is_one_line(tmp_path: Path) -> None:
    file, broken = tmp_path / "leaving.py", tmp_path / "broken.py"
    imports = MINE.partition("class")[0]
    file.write_text(imports + LEAVING)
    broken.write_text(imports + LEAVING.replace("sys.exit(5)", "return 1 / 0").replace('"leaving"', '"broken"'))
    for path, said in ((file, "SystemExit: 5"), (broken, "ZeroDivisionError: division by zero")):
        attack = {"method": path.stem, "epsilon": 0.5}
        suite = command.write(tmp_path, command.tiny(("evasion", [attack])), f"{path.stem}.yaml")
        line = command.refusal(command.call("plan", suite, "--include", path, "--results", tmp_path / "r"))
        assert line == f"--include: {str(path)!r} line 16: {said}"


@pytest.mark.usefixtures("registered")
def test_ctrl_c_says_which_line_was_running(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import signal\n\nsignal.raise_signal(signal.SIGINT)")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = command.call("list", "--include", file)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130
    assert done.stderr.strip() == f"bench: interrupted, --include: {str(file)!r} line 3 was running"


@pytest.mark.usefixtures("registered")
def test_a_file_that_does_not_return_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(users_code, "SAY_AFTER_S", 0.1)
    written_and_loaded(tmp_path, "import time\n\ntime.sleep(0.3)")
    said = [
        f"bench: --include: {str(tmp_path / 'mine.py')!r} line 3 still runs after {s} s; Ctrl-C ends it"
        for s in (0.1, 0.2)
    ]
    assert caplog.messages[:2] == said and len(caplog.messages) <= 2


@pytest.mark.usefixtures("registered")
def test_a_text_is_included_where_there_is_no_such_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    travelling = include.source(str(file))
    include.load(str(file))
    digest = registry.dump("evasion", registry.parse("evasion", {"method": "mine", "epsilon": 1}))["source_sha256"]
    file.write_text("1 / 0")
    assert include.source(str(file)) == travelling, "the text that the plan was made with"
    file.unlink()
    name = list(include._INCLUDED)[-1]
    del include._INCLUDED[name], sys.modules[name], registry.KINDS["evasion"]["mine"]  # as in another process
    include.load(travelling)
    spec = registry.parse("evasion", {"method": "mine", "epsilon": 1})
    assert registry.dump("evasion", spec)["source_sha256"] == digest
    assert "mine" in include.modules()


@pytest.mark.usefixtures("registered")
def test_tracebacks_show_a_text_whose_file_is_elsewhere() -> None:
    text = b"# -*- coding: latin-1 -*-\ndef broken():\n    raise RuntimeError('caf\xe9')\n"
    include.load(include.Source("/nowhere/mine.py", text))
    with pytest.raises(RuntimeError, match="café") as error:
        include.modules()["mine"].broken()
    assert "raise RuntimeError" in "".join(traceback.format_exception(error.value))
    with pytest.raises(SpecError, match=r"^--include: '/nowhere/yours.py' line 1: ZeroDivisionError"):
        include.load(include.Source("/nowhere/yours.py", b"1 / 0"))


@pytest.mark.usefixtures("registered")
def test_what_is_no_python_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--include: no file"):
        include.load(str(tmp_path))
    with pytest.raises(SpecError, match="is not a Python file"):
        written_and_loaded(tmp_path, "x = 1", "mine.txt")
