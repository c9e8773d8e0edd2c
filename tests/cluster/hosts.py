"""Hosts on one Linux machine, to lose power and cables for real.

A host has its own network, processes, host name, home, /tmp/ray, shared memory and sshd; it shares the other files,
as over NFS. Needs root, and Debian's openssh-server, rsync, iproute2 and util-linux.
"""

import contextlib
import ipaddress
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SSHD = "/usr/sbin/sshd"
_PATH = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
_NEEDED = {SSHD: "openssh-server", "ssh-keygen": "openssh-client", "rsync": "rsync", "ip": "iproute2"}
# The first process of a host: waits for its cable, hides what would mix with other hosts, and becomes sshd.
_FIRST = """
set -e
until ip link show eth0 > /dev/null 2>&1; do sleep 0.02; done
ip addr add {address}/24 dev eth0; ip link set eth0 up; ip link set lo up; ip route add default via {gateway}
hostname {name}
mount -t tmpfs tmpfs /run; mkdir -p /run/sshd
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp/ray
mount --bind {folder}/passwd /etc/passwd
exec {sshd} -D -e -f /dev/null -o ListenAddress={address} -h {key} -o AuthorizedKeysFile={authorized} \
  -o StrictModes=no -o UsePAM=no -o PidFile=none -o MaxStartups=100
"""


def missing() -> str:
    """Why no hosts can be made here, else empty."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [package for tool, package in _NEEDED.items() if shutil.which(tool, path=_PATH["PATH"]) is None]
    if lacking:
        return f"needs the Debian packages {', '.join(lacking)}"
    tried = subprocess.run(
        [
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--uts",
            "--fork",
            "--mount-proc",
            "mount",
            "-t",
            "tmpfs",
            "x",
            "/run",
        ],
        env=_PATH,
        capture_output=True,
        text=True,
    )
    return f"cannot make namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, env=_PATH, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stderr}"
    return done.stdout


def free_subnet() -> ipaddress.IPv4Network:
    """A /24 that no route of this machine touches."""
    words = run("ip", "-4", "route", "show", "table", "all").split() + run("ip", "-4", "addr").split()
    used = []
    for word in words:
        with contextlib.suppress(ValueError):
            used.append(ipaddress.ip_network(word, strict=False))
    while True:
        subnet = ipaddress.ip_network((int(ipaddress.ip_address("10.0.0.0")) + secrets.randbelow(2**16) * 256, 24))
        if not any(subnet.overlaps(network) for network in used if network.prefixlen):  # 0.0.0.0/0 touches all
            return subnet


@dataclass
class Host:
    """One host. `address` is where its sshd answers; `home` is its root's home, seen from everywhere."""

    name: str
    address: str
    folder: Path
    net: "Net"
    cable: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self) -> None:
        """Power on; returns when its sshd answers."""
        script = _FIRST.format(
            address=self.address,
            gateway=self.net.gateway,
            name=self.name,
            folder=shlex.quote(str(self.folder)),
            sshd=SSHD,
            key=self.net.folder / "hostkey",
            authorized=self.net.folder / "id.pub",
        )
        # The host dies with the thread that started it, should the tests themselves be killed.
        fences = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--uts", "--fork"]
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*fences, "--kill-child", "--mount-proc", "bash", "-c", script],
                env={**_PATH, "HOME": str(self.home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        own = Path("/proc/self/ns/net").readlink()
        for _ in until(10):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{self.process.pid}/ns/net").readlink() != own:
                    break
        # The same network card each time: the others' address tables stay true.
        card = "02:" + ":".join(f"{byte:02x}" for byte in (77, *ipaddress.ip_address(self.address).packed))
        peer = ("peer", "name", "eth0", "address", card, "netns", str(self.process.pid))
        run("ip", "link", "add", self.cable, "type", "veth", *peer)
        run("ip", "link", "set", self.cable, "master", self.net.bridge, "up")
        for _ in until(20):
            if self.ssh("true").returncode == 0:
                return
        raise AssertionError(f"{self.name} does not answer: {(self.folder / 'sshd.log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Lose power: nothing is said to anybody, and no process is left."""
        if self.process is not None:
            with contextlib.suppress(AssertionError):
                self.cut()
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            with contextlib.suppress(AssertionError):  # it goes with its namespace, at some time
                run("ip", "link", "del", self.cable)

    def cut(self) -> None:
        """Unplug the cable."""
        run("ip", "link", "set", self.cable, "down")

    def plug(self) -> None:
        run("ip", "link", "set", self.cable, "up")

    def ssh(self, command: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run a command here; it may leave processes behind."""
        with self.popen(command) as process:
            output, errors = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def popen(self, command: str) -> "subprocess.Popen[str]":
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        target = ["-o", "ConnectTimeout=2", "-i", str(self.net.folder / "id"), f"root@{self.address}"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(["ssh", "-F", "/dev/null", *options, *target, command], env=_PATH, text=True, **pipes)


@dataclass
class Net:
    """The switch, and what its hosts share."""

    folder: Path
    bridge: str
    gateway: str
    hosts: list[Host] = field(default_factory=list)


@contextlib.contextmanager
def hosts(folder: Path, count: int) -> Iterator[list[Host]]:
    """`count` hosts that see each other and this machine; gone afterwards, whatever happened. folder: theirs."""
    subnet, mark = free_subnet(), secrets.token_hex(3)
    net = Net(folder, f"rb{mark}", str(subnet[254]))
    for name in ("id", "hostkey"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    Path("/tmp/ray").mkdir(exist_ok=True)  # where hosts mount their own
    run("ip", "link", "add", net.bridge, "type", "bridge")
    try:
        run("ip", "addr", "add", f"{net.gateway}/24", "dev", net.bridge)
        run("ip", "link", "set", net.bridge, "up")
        for index in range(count):
            host = Host(f"h{index}-{mark}", str(subnet[index + 1]), folder / f"h{index}", net, f"rv{mark}{index}")
            host.home.mkdir(parents=True)
            (host.folder / "passwd").write_text(_passwd(host.home))
            net.hosts.append(host)
            host.start()
        yield net.hosts
    finally:
        for host in net.hosts:
            host.kill()
        run("ip", "link", "del", net.bridge)


def _passwd(home: Path) -> str:
    """This machine's users, with another home and bash for root."""
    lines = Path("/etc/passwd").read_text().splitlines()
    return "\n".join([f"root:x:0:0:root:{home}:/bin/bash", *(x for x in lines if not x.startswith("root:"))]) + "\n"


def until(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
