"""`bench run --cluster` without a cluster: what is sent, what is refused, over an `ssh` that stays on this machine."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import command
import pytest
import yaml
from command import call, refusal
from test_cluster_config import filled

from benchmark.cluster import detached, remote_run
from benchmark.spec import SpecError

# `ssh OPTIONS user@host COMMAND ...`: keeps what it was asked in a file, then does it here, in another home.
SSH = """#!/bin/bash
echo "$@" >> "$SSH_ASKED"
[ -e "$SSH_HOME" ] || { echo "ssh: connect to host: Connection refused" >&2; exit 255; }
while [ "${1#-}" != "$1" ]; do shift 2; done
shift; HOME=$SSH_HOME bash -c "cd; exec $*" <&0 &
echo $! > "$SSH_ASKED.pid"; wait $!; code=$?
[ $code = 137 ] && exit 255 || exit $code
"""


class Laptop:
    """A laptop whose cluster's head is this machine. head: its home there, not made yet."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.head, self.asked, self.file = folder / "head", folder / "asked", folder / "cluster.yaml"
        (folder / "bin").mkdir()
        (folder / "bin" / "ssh").write_text(SSH)
        (folder / "bin" / "ssh").chmod(0o755)
        patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        patch.setenv("SSH_HOME", str(self.head))
        patch.setenv("SSH_ASKED", str(self.asked))
        patch.setenv("HOME", str(folder / "laptop"))
        (folder / "key").touch()
        config = filled("cluster-onprem.yaml")
        config["auth"]["ssh_private_key"] = str(folder / "key")
        self.file.write_text(yaml.safe_dump(config))
        self.site = folder / "laptop site"

    def up(self, *commands: str) -> None:
        """As after `ray up`; commands: more to do before each `bench` there."""
        place = self.head / "robust-or-private"
        place.mkdir(parents=True, exist_ok=True)
        path = f'export PATH="{Path(sys.executable).parent}:$PATH" PYTHONPATH="{command.ROOT}"'
        (place / "env").write_text("\n".join([path, *commands]))

    def run(self, *arguments: str | Path, results: str = "/shared/results") -> Any:
        places = ("--results", results, "--site", self.site)
        return call("run", command.TINY, "--cluster", self.file, *places, *arguments)


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    if shutil.which("rsync") is None or shutil.which("ssh") is None:
        pytest.skip("needs ssh and rsync")
    return Laptop(tmp_path, monkeypatch)


def test_heads_that_cannot_be_used(laptop: Laptop) -> None:
    advice = f"allowed: a cluster that is up; to start it: ray up {laptop.file}"
    assert refusal(laptop.run()) == (
        f"{laptop.file}: nobody answers at me@192.0.2.1 (ssh: connect to host: Connection refused); {advice}"
    )
    laptop.head.mkdir()
    assert refusal(laptop.run()) == f"{laptop.file}: 192.0.2.1 is not set up; {advice}"
    laptop.up()
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)):
            assert refusal(laptop.run()) == f"{laptop.file}: no Ray runs on 192.0.2.1; {advice}"
    assert not (laptop.head / "robust-or-private" / "runs").exists(), "nothing was sent"


HERE = detached.about()
ADVICE = "`ray up c.yaml` sends this one"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"ray": "2.9.0"}, f"c.yaml: on 192.0.2.1 Ray is 2.9.0, here {HERE['ray']}; {ADVICE}"),
        ({"bench": "9.9"}, f"c.yaml: on 192.0.2.1 bench is 9.9, here {HERE['bench']}; {ADVICE}"),
        (
            {"code": HERE["code"] | {"running/run.py": "0"}},
            f"192.0.2.1 has another benchmark/running/run.py than here; {ADVICE}",
        ),
        ({"code": HERE["code"] | {"deleted_here.py": "0"}}, None),
    ],
)
def test_another_version_on_the_head(
    facts: dict[str, Any], message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = remote_run.Head("c.yaml", "me", "192.0.2.1", ())
    monkeypatch.setattr(remote_run.Head, "ask", lambda *_: {**HERE, "up": True, **facts})
    with pytest.raises(SpecError) if message else contextlib.nullcontext() as refused:
        head.check()
    assert message is None or str(refused.value).endswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--results", "results"), "--results: 'results' is a folder of this machine; allowed with --cluster: a URL"),
        ((), "--results: is missing; allowed with --cluster: a URL, such as s3://BUCKET/FOLDER, or an absolute folder"),
        (("--address", "auto"), "--address: 'auto' with --cluster; allowed: no --address, Ray is there"),
        (("--executor", "local"), "--executor: 'local' with --cluster; allowed: no --executor, Ray is there"),
        (("--results", "/nfs", "--include", "/nowhere/x.py"), "/nowhere/x.py"),
    ],
)
def test_calls_that_are_not_for_a_cluster(laptop: Laptop, arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(call("run", command.TINY, "--cluster", laptop.file, *arguments))
    assert not laptop.asked.exists(), "found out before anybody is asked"


def test_results_that_only_one_machine_of_a_cloud_has(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(filled("cluster.yaml")))
    options = {"include": (), "only": (), "device": "auto", "results": "/home/ubuntu/results"}
    with pytest.raises(SpecError, match="'/home/ubuntu/results' is a folder of one machine of the cluster"):
        remote_run.compose(str(file), str(command.TINY), options)
    assert (
        "/efs/results"
        in remote_run.compose(str(file), str(command.TINY), {**options, "results": "/efs/results"}).arguments
    )


def test_all_that_a_run_needs_is_sent_and_passed_on(laptop: Laptop, tmp_path: Path, registered: None) -> None:
    external = {"name": "given", "architecture": "softmax_regression", "checkpoint": {"path": "../w.safetensors"}}
    external["checkpoint"] |= {"members": "lists/members.txt"}
    suite = command.tiny()
    suite["models"].append(external)
    file = command.write(tmp_path / "a" / "suites", suite, "mine.yaml")
    (tmp_path / "a" / "suites" / "lists").mkdir()
    for name in ("w.safetensors", "suites/lists/members.txt"):
        (tmp_path / "a" / name).write_text(name)
    (tmp_path / "own.py").write_text("x = 1")
    laptop.up()
    options = {"include": (str(tmp_path / "own.py"),), "only": ("given",), "device": "cpu", "results": "s3://b/c"}
    call = remote_run.compose(
        str(laptop.file), str(file), {**options, "rerun": "failed", "slots": 3, "data_root": "/d"}
    )
    remote_run.find_head(str(laptop.file)).send(call.given, call.suite)
    given = laptop.head / "robust-or-private" / "runs" / "tiny" / "given"
    sent = {str(path.relative_to(given)): path.read_text() for path in given.rglob("*") if path.is_file()}
    assert sent == {
        "suite/suites/mine.yaml": file.read_text(),
        "suite/w.safetensors": "w.safetensors",
        "suite/suites/lists/members.txt": "suites/lists/members.txt",
        "include/0/own.py": "x = 1",
    }
    assert shlex.join(call.arguments) == (
        "given/suite/suites/mine.yaml --address auto --results s3://b/c --site site --include given/include/0/own.py"
        " --rerun failed --device cpu --slots 3 --data-root /d --only given"
    )
    (tmp_path / "a" / "w.safetensors").unlink()
    with pytest.raises(SpecError, match=r"w.safetensors', which the suite names, is not there"):
        remote_run.compose(str(laptop.file), str(file), options)


def test_status_and_stop(laptop: Laptop, tiny_run: command.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop.up()
    nothing = call("status", "--cluster", laptop.file)
    assert (nothing.exit_code, nothing.stdout) == (0, "nothing was run on 192.0.2.1 yet\n")
    assert "'tiny' does not run on 192.0.2.1" in refusal(call("stop", "tiny", "--cluster", laptop.file))
    runs = laptop.head / "robust-or-private" / "runs"
    detached.start(runs / "tiny", [sys.executable, "-c", "input()"], {"results": str(tiny_run.results)})
    detached.start(runs / "slow", ["sleep", "60"], {"results": str(tiny_run.results)})
    assert detached.follow(runs / "tiny", 0, lambda data: None) == 1
    there = call("status", "--cluster", laptop.file)
    assert there.exit_code == 0
    lines = there.stdout.splitlines()
    assert lines[0].startswith("slow: running, begun 20") and lines[1].startswith("tiny: ended with code 1, begun 20")
    own = call("status", "--results", tiny_run.results)
    assert there.stdout.partition("\n")[2].partition("\n")[2] == own.stdout, "and how the results stand, once"
    stopped = call("stop", "slow", "--cluster", laptop.file)
    assert (stopped.exit_code, stopped.stdout) == (0, "slow is stopped\n")
    assert not detached.running(runs / "slow")


def test_a_lost_connection_is_made_again(laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop.up()
    folder = laptop.head / "robust-or-private" / "runs" / "toys"
    detached.start(folder, ["bash", "-c", "echo one; while [ ! -e go ]; do sleep 0.1; done; echo two; exit 3"], {})
    monkeypatch.setattr(remote_run, "_PAUSE_S", 0.1)
    read, said = bytearray(), []
    away = tmp_path / "away"

    def write(data: bytes) -> None:
        read.extend(data)
        if b"one" in data:  # the cable is pulled, and put back when it was noticed
            laptop.head.rename(away)
            os.kill(int(Path(f"{laptop.asked}.pid").read_text()), signal.SIGKILL)

    def say(text: str) -> None:
        said.append(text)
        if away.exists():
            away.rename(laptop.head)
            (folder / "go").touch()

    assert remote_run.follow(remote_run.find_head(str(laptop.file)), "toys", write, say) == 3
    assert bytes(read) == b"one\ntwo\n", "nothing is lost, nothing is shown twice"
    assert said == ["the connection to 192.0.2.1 was lost; trying again"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray leaves its files to be closed
def test_the_head_of_a_cluster_on_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto's EC2, where a head with Ray's tags is running, or not."""
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    config = filled("cluster.yaml")
    (tmp_path / "key").touch()
    config["auth"]["ssh_private_key"] = str(tmp_path / "key")
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(config))
    file = str(tmp_path / "cluster.yaml")
    with mock_aws():
        with pytest.raises(SpecError, match=rf"no head is found .*; allowed: a cluster that is up: ray up {file}"):
            remote_run.find_head(file)
        ec2 = boto3.resource("ec2", region_name=config["provider"]["region"])
        (machine,) = ec2.create_instances(MinCount=1, MaxCount=1, ImageId="ami-12c6146b")
        tags = {"ray-cluster-name": config["cluster_name"], "ray-node-type": "head", "ray-node-status": "up-to-date"}
        machine.create_tags(Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        machine.reload()
        head = remote_run.find_head(file)
        assert (head.user, head.address) == ("ubuntu", machine.public_ip_address)
