"""`bench run --cluster`: sends the run to the cluster's head, follows it from here and fetches its page.

All of it goes through ssh with the cluster file's own key: no port of the cluster has to be open but that one.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.cluster import detached
from benchmark.cluster.config import ENVIRONMENT, load_cluster
from benchmark.planning.models_of_suite import ExternalModel
from benchmark.planning.suite import Suite, load_suite
from benchmark.spec import SpecError
from benchmark.user_files import include

_NO_CONNECTION = 255  # what ssh itself exits with
_TRIES, _PAUSE_S = 40, 3.0
_NODE_LOCAL = ("/home/", "/root/", "/tmp/", "/var/tmp/", "/dev/")


@dataclass(frozen=True)
class Call:
    """A `bench run` for the head. given: files to send, below the run's folder. arguments: of `bench run` there."""

    suite: str
    given: dict[str, Path]
    arguments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Head:
    """The head of a cluster, by ssh. file: the cluster file, as the user named it."""

    file: str
    user: str
    address: str
    options: tuple[str, ...]

    def command(self, *arguments: str) -> list[str]:
        """The local command that runs `bench ARGUMENTS` on the head, with the environment of its Ray processes."""
        there = f". {ENVIRONMENT} 2> /dev/null || exit 254; exec bench {shlex.join(arguments)}"
        return ["ssh", *self.options, f"{self.user}@{self.address}", f"bash -c {shlex.quote(there)}"]

    def call(self, *arguments: str) -> str:
        """The output of `bench ARGUMENTS` on the head. Raises SpecError in one line if nobody answers or it fails."""
        done = subprocess.run(self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if done.returncode == _NO_CONNECTION:
            raise SpecError(f"{self.file}: nobody answers at {self.user}@{self.address} ({last}); {self._advice}")
        if done.returncode == 254:
            raise SpecError(f"{self.file}: {self.address} is not set up; {self._advice}")
        if done.returncode:
            raise SpecError(f"{self.file}: {self.address} answers: {last.removeprefix('bench: error: ')}")
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        """As `call`, of a command that answers in JSON."""
        return json.loads(self.call("on-head", *arguments))

    def check(self) -> None:
        """Raise SpecError unless Ray runs there, in the version and with the code of this machine."""
        try:
            there = self.ask("about")
        except SpecError as error:
            if "No such command" not in str(error):
                raise
            there = {}
        here, advice = detached.about(), f"`ray up {self.file}` sends this one"
        for name, what in (("ray", "Ray"), ("bench", "bench")):
            if there.get(name) != here[name]:
                found = there.get(name, "older")
                raise SpecError(f"{self.file}: on {self.address} {what} is {found}, here {here[name]}; {advice}")
        # Files that are only there were deleted here since; `ray up` does not delete.
        changed = [name for name, digest in here["code"].items() if there["code"].get(name) != digest]
        if changed:
            raise SpecError(f"{self.file}: {self.address} has another benchmark/{changed[0]} than here; {advice}")
        if not there["up"]:
            raise SpecError(f"{self.file}: no Ray runs on {self.address}; {self._advice}")

    def send(self, given: Mapping[str, Path], suite: str) -> None:
        """Copy files into the run's folder; files that are there already stay as they are."""
        with tempfile.TemporaryDirectory() as folder:
            for name, path in given.items():
                link = Path(folder) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
            target = f"{detached.RUNS}/{suite}/given/"
            self._rsync("--copy-links", "--mkpath", f"{folder}/", f"{self.user}@{self.address}:{target}")

    def fetch(self, suite: str, folder: str, target: Path) -> None:
        """Copy a folder of the run to this machine."""
        self._rsync(f"{self.user}@{self.address}:{detached.RUNS}/{suite}/{folder}/", f"{target}/")

    def _rsync(self, *arguments: str) -> None:
        shell = shlex.join(["ssh", *self.options])
        command = ["rsync", "--archive", "--compress", "--rsh", shell, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise SpecError(f"{self.file}: files could not be copied ({last})")

    @property
    def _advice(self) -> str:
        return f"allowed: a cluster that is up; to start it: ray up {self.file}"


def find_head(file: str) -> Head:
    """The head of the cluster of a file. Raises SpecError in one line."""
    config = load_cluster(file)
    for tool in ("ssh", "rsync"):
        if shutil.which(tool) is None:
            raise SpecError(f"--cluster: there is no {tool} on this machine; allowed: install it")
    auth, aws = config["auth"], config["provider"]["type"] == "aws"
    key = Path(auth["ssh_private_key"]).expanduser()
    if not key.exists():
        raise SpecError(f"{file}: auth.ssh_private_key: {str(key)!r} is not there; allowed: the key of the cluster")
    # Machines of a cloud get addresses that others had before, so their keys cannot be remembered.
    known = Path("/dev/null") if aws else Path("~/.ssh/known_hosts").expanduser()
    settings = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "StrictHostKeyChecking": "no" if aws else "accept-new",
        "UserKnownHostsFile": str(known),
    }
    if "ssh_proxy_command" in auth:
        settings["ProxyCommand"] = auth["ssh_proxy_command"]
    options = ["-i", str(key), *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    return Head(file, auth["ssh_user"], _address(file, config), tuple(options))


def _address(file: str, config: Mapping[str, Any]) -> str:
    provider = config["provider"]
    if provider["type"] == "local":
        return str(provider.get("external_head_ip") or provider["head_ip"])
    from botocore.exceptions import BotoCoreError, ClientError
    from ray.autoscaler.sdk import get_head_node_ip

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return str(get_head_node_ip(file))
    except (RuntimeError, BotoCoreError, ClientError) as error:
        raise SpecError(f"{file}: no head is found ({error}); allowed: a cluster that is up: ray up {file}") from error


def compose(file: str, suite_file: str, options: Mapping[str, Any]) -> Call:
    """What the head has to run, and with which files. options: of `bench run`, as given by the user.

    Raises SpecError for what cannot be meant for a cluster.
    """
    config = load_cluster(file)
    for path in options["include"]:
        include.load(path)
    suite, _ = load_suite(suite_file)
    results = _shared(options["results"], config)
    given, there = _given(suite, Path(suite_file))
    arguments = [f"given/{there}", "--address", "auto", "--results", results, "--site", "site"]
    for index, path in enumerate(options["include"]):
        name = f"include/{index}/{Path(path).name}"
        given[name] = Path(path)
        arguments += ["--include", f"given/{name}"]
    for name in ("rerun", "device", "slots", "data_root", "gpus_per_trial"):
        if options.get(name) is not None:
            arguments += [f"--{name.replace('_', '-')}", str(options[name])]
    for model in options["only"]:
        arguments += ["--only", model]
    return Call(detached.folder_name(suite.name), given, arguments)


def _shared(results: str | None, config: Mapping[str, Any]) -> str:
    """Where all nodes write to."""
    allowed = "allowed with --cluster: a URL, such as s3://BUCKET/FOLDER, or an absolute folder that all nodes share"
    if results is None:
        raise SpecError(f"--results: is missing; {allowed}")
    if "://" not in results:
        if not PurePosixPath(results).is_absolute():
            raise SpecError(f"--results: {results!r} is a folder of this machine; {allowed}")
        if config["provider"]["type"] == "aws" and results.startswith(_NODE_LOCAL):
            raise SpecError(f"--results: {results!r} is a folder of one machine of the cluster; {allowed}")
    return results


def _given(suite: Suite, file: Path) -> tuple[dict[str, Path], str]:
    """Files that a suite names relative to itself, and itself: place on the head -> file; and its own place.

    They keep their places relative to each other, so that the suite needs no change.
    """
    base = file.parent.absolute()
    names = [file.name]
    for model in suite.models:
        if isinstance(model, ExternalModel):
            members = model.checkpoint.members
            more = [members] if isinstance(members, str) and members != "all" else []
            names += [name for name in (model.checkpoint.path, *more) if not Path(name).is_absolute()]
    places = [Path(os.path.normpath(base / name)) for name in names]
    for place in places[1:]:
        if not place.is_file():
            raise SpecError(f"{str(place)!r}, which the suite names, is not there; allowed: a file")
    root = Path(os.path.commonpath([place.parent for place in places]))
    given = {f"suite/{place.relative_to(root)}": place for place in places}
    return given, f"suite/{places[0].relative_to(root)}"


def follow(head: Head, suite: str, write: Callable[[bytes], object], say: Callable[[str], object]) -> int:
    """Show the log of a run until it ends; returns its exit code. A lost connection is made again.

    Raises SpecError when the head does not answer any more.
    """
    offset = tries = 0
    while tries < _TRIES:
        command = head.command("on-head", "follow", suite, "--offset", str(offset))
        # A session of its own: Ctrl-C is for us, and we say how to look again.
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            try:
                while chunk := process.stdout.read1(2**16):  # type: ignore[attr-defined]
                    offset, tries = offset + len(chunk), 0
                    write(chunk)
                errors = process.stderr.read().decode(errors="replace").strip()
            except BaseException:
                process.terminate()
                raise
        if process.returncode != _NO_CONNECTION:
            if errors:
                say(errors)
            return process.returncode
        say(f"the connection to {head.address} was lost; trying again")
        tries += 1
        time.sleep(_PAUSE_S)
    raise SpecError(f"{head.file}: {head.address} does not answer any more; the run goes on there if the machine does")
