"""Records where and with what a trial was computed: machine, device, versions, commit. None of it is in its key."""

import functools
import hashlib
import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "robust-or-private"
PACKAGES = ("torch", "torchvision", "faiss-gpu", "faiss-cpu", "ray", "numpy", "pyarrow")


def provenance(device: str, threads: int) -> dict[str, Any]:
    """Columns of `schema.PROVENANCE` that this process knows, stamped with the present time.

    device: "cpu" or "cuda[:i]". threads: CPU threads the trial used.
    """
    return {
        "git_commit": git_commit(),
        "versions": versions(),
        "device": device_name(device),
        "host": host(),
        "threads": threads,
        "created_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def host() -> str:
    """Hash of this machine's name, which itself is not for the results."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


@functools.cache
def git_commit() -> str:
    """Commit of the checkout this package runs from (-dirty if changed), else the distribution's version."""
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            return commit + ("-dirty" if _git(root, "status", "--porcelain", "--", "benchmark") else "")
    version = _version(DISTRIBUTION)
    return f"{DISTRIBUTION} {version}" if version else "unknown"


def _git(root: Path, *arguments: str) -> str:
    """Output of git, empty where git is absent or refuses (a checkout of another user)."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@functools.cache
def versions() -> str:
    """'python 3.11.7, torch 2.11.0, ...', read from the installed metadata: imports nothing."""
    found = [("python", platform.python_version()), *((name, _version(name)) for name in PACKAGES)]
    return ", ".join(f"{name} {version}" for name, version in found if version)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def device_name(device: str) -> str:
    """Name of the GPU or the processor."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
