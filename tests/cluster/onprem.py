"""A Ray cluster on test hosts: the shipped cluster-onprem.yaml, filled in as a user would, and `ray up`."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command
import yaml
from hosts import Host, hosts, until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
_WATCH = """
import json, sys, time, ray
ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
seen = None
while True:
    alive = sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
    if alive != seen:
        with open(sys.argv[1], "a") as seen_by:  # Ray itself prints to stdout
            seen_by.write(json.dumps([time.time(), alive]) + "\\n")
        seen = alive
    time.sleep(0.05)
"""


@dataclass
class Cluster:
    """A running cluster. folder: shared by its hosts and by us. laptop: the home of who called `ray up`.

    up_s: seconds that `ray up` took; ready_s: until all hosts were in.
    """

    folder: Path
    hosts: list[Host]
    file: Path
    laptop: Path
    up_s: float = 0.0
    ready_s: float = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """Of a laptop: a home and a /tmp/ray of its own, and no Ray variables."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        paths = {
            "HOME": str(self.laptop),
            "RAY_TMPDIR": str(self.laptop / "ray"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        return {**plain, **paths, "CUDA_VISIBLE_DEVICES": ""}

    @property
    def naps(self) -> Path:
        return self.folder / "naps"

    def ray(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`ray` on the laptop, where the file's mounts are found."""
        return subprocess.run(
            [BIN / "ray", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=600
        )

    def on_head(self, command: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        return self.hosts[0].ssh(f". ~/robust-or-private/env; {command}", timeout)

    def alive(self) -> list[tuple[float, list[str]]]:
        """(time, addresses of the nodes that Ray takes for alive), each time that changed."""
        with contextlib.suppress(FileNotFoundError):
            return [tuple(json.loads(line)) for line in (self.folder / "alive").read_text().splitlines()]
        return []

    def wait_for(self, addresses: list[str], seconds: float) -> float:
        """Until exactly these nodes are alive; returns when they were, as `time.time()`."""
        for _ in until(seconds):
            seen = self.alive()
            if seen and seen[-1][1] == sorted(addresses):
                return seen[-1][0]
        raise AssertionError(f"not {addresses} within {seconds} s: {self.alive()}\n{self.log()}")

    def log(self) -> str:
        return self.hosts[0].ssh("tail -n 40 /tmp/ray/session_latest/logs/monitor.*").stdout


def lossy_suite(folder: Path) -> Path:
    """The tiny suite, whose trainings nap where they are told to."""
    naps = {"method": "napping", "epochs": 1, "lr": 0.02}
    edits = (("name", "lossy"), ("models.0.regime", naps), ("models.1.regime", naps))
    return command.write(folder, command.tiny(*edits), "lossy.yaml")


def filled(name: str, addresses: list[str], key: Path, naps: Path) -> dict[str, Any]:
    """The shipped file as a user fills it in: addresses, user, key, Python, and what this small machine needs."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster-onprem.yaml").read_text())
    config["cluster_name"] = name
    config["provider"].update(head_ip=addresses[0], worker_ips=addresses[1:])
    config["auth"].update(ssh_user="root", ssh_private_key=str(key))
    mine = {"$HOME/robust-or-private/venv/bin": str(BIN)}
    mine["RAY_AUTH_MODE="] = f"BENCH_TEST_NAPS={naps} CUDA_VISIBLE_DEVICES= RAY_AUTH_MODE="
    mine |= {"ray start": "ray start --num-cpus=1", "=2000000000": "=100000000"}
    config["setup_commands"] = [command for command in config["setup_commands"] if "venv/bin/pip" not in command]
    for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for old, new in mine.items():
            config[key] = [command.replace(old, new) for command in config[key]]
    return config


@contextlib.contextmanager
def cluster(folder: Path, count: int) -> Iterator[Cluster]:
    """`ray up` on `count` hosts; yields when all of them are in."""
    with hosts(folder, count) as made:
        laptop = folder / "laptop"
        (laptop / ".ray").mkdir(parents=True)
        token = laptop / ".ray" / "robust-or-private.token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        (folder / "naps").mkdir()
        addresses = [host.address for host in made]
        name = f"test-{secrets.token_hex(4)}"
        up = Cluster(folder, made, folder / "cluster-onprem.yaml", laptop)
        up.file.write_text(yaml.safe_dump(filled(name, addresses, folder / "id", up.naps)))
        begin = time.time()
        done = up.ray("up", "--yes", str(up.file))
        up.up_s = time.time() - begin
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "watch.py").write_text(_WATCH)
        made[0].ssh(
            f". ~/robust-or-private/env; nohup python {folder}/watch.py {folder}/alive > {folder}/watch.log 2>&1 &"
        )
        up.ready_s = up.wait_for(addresses, 400) - begin
        try:
            yield up
        finally:
            shutil.rmtree(_ssh_sockets(name), ignore_errors=True)


def _ssh_sockets(cluster_name: str) -> str:
    """Where Ray keeps its connections to the cluster's nodes."""
    from getpass import getuser
    from hashlib import sha256

    user, name = (sha256(text.encode()).hexdigest()[:10] for text in (getuser(), cluster_name))
    return f"/tmp/ray_ssh_{user}/{name}"
