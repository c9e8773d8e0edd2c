"""Checks a cluster file for `ray up`, also inside the sections that Ray does not check, and what it opens to whom."""

import re
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.spec import SpecError, suggest
from benchmark.user_files.yaml_file import read_yaml

ENVIRONMENT = "~/robust-or-private/env"
"""File on every node with the variables that Ray processes need there, as the shipped cluster files write it."""
PLACEHOLDER = "EDIT"
HEALTH_CHECK = {
    "RAY_health_check_initial_delay_ms": 0,
    "RAY_health_check_period_ms": 500,
    "RAY_health_check_timeout_ms": 1000,
    "RAY_health_check_failure_threshold": 3,
}
"""Variables that decide when a node is lost, and the most that still notices it in under 5 s."""

Where = tuple[str | int, ...]
_COMMANDS = ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
_REQUIRED = ("cluster_name", "provider", "auth", "file_mounts", *_COMMANDS)
_OPTIONAL = ("max_workers", "idle_timeout_minutes", "upscaling_speed", "rsync_exclude", "rsync_filter")
_AWS_ONLY = ("available_node_types", "head_node_type")
_MORE_COMMANDS = ("initialization_commands", "head_setup_commands", "worker_setup_commands")
_PROVIDER: dict[str, tuple[str, ...]] = {
    "aws": ("type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"),
    "local": ("type", "head_ip", "worker_ips", "external_head_ip"),
}
_AUTH = ("ssh_user", "ssh_private_key", "ssh_proxy_command")
_NODE_TYPE = ("resources", "min_workers", "max_workers", "priority", "node_config", "labels", "idle_timeout_s")
_NODE_REQUIRED = ("InstanceType", "ImageId", "KeyName", "SecurityGroupIds", "IamInstanceProfile")
_NODE_OPTIONAL = (
    "BlockDeviceMappings",
    "CapacityReservationSpecification",
    "EbsOptimized",
    "InstanceMarketOptions",
    "MetadataOptions",
    "Placement",
    "SubnetIds",
    "TagSpecifications",
)
_EVERYWHERE = re.compile(r"0\.0\.0\.0|(?<![\w:])::(?![\w:])|--(?:dashboard-host|ray-debugger-external)\S*")
_RAY = re.compile(r"ray(?:\[[\w,]*\])?\s*(?:==|@)\s*([^\s'\"]+)")


def load_cluster(path: str | Path) -> dict[str, Any]:
    """Read and check a cluster file that was filled in.

    Raises SpecError in one line: the file, the key, the value and what is allowed.
    """
    file = Path(path)
    try:
        config, _ = read_yaml(file)
    except OSError as error:
        allowed = "a cluster file, such as cluster.yaml"
        raise SpecError(f"--cluster: {str(path)!r} cannot be read ({error.strerror}); allowed: {allowed}") from error
    except SpecError as error:
        raise SpecError(f"--cluster: {str(path)!r}: {error}") from error
    try:
        check(config)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    return dict(config)


def check(config: Any, filled: bool = True) -> None:
    """Raise SpecError for what `ray up` would take and should not. filled: the places to edit were edited."""
    if not isinstance(config, dict):
        raise SpecError(f"{type(config).__name__} is no cluster; allowed: a mapping with cluster_name, provider, ...")
    provider = _mapping(config, "provider")
    kind = provider.get("type")
    if kind not in _PROVIDER:
        raise SpecError(f"{kind!r} is not supported; allowed: {', '.join(_PROVIDER)}", ("provider", "type"))
    more = _AWS_ONLY if kind == "aws" else ()
    _keys(config, (*_REQUIRED, *(("max_workers", *more) if more else ())), (*_OPTIONAL, *_MORE_COMMANDS), ())
    _keys(
        provider,
        ("type", *(("region",) if kind == "aws" else ("head_ip", "worker_ips"))),
        _PROVIDER[kind],
        ("provider",),
    )
    _keys(_mapping(config, "auth"), ("ssh_user", "ssh_private_key"), _AUTH, ("auth",))
    _text(config, "cluster_name", r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "letters, digits, - and _")
    if filled:
        for path, value in _strings(config):
            if PLACEHOLDER in value.replace("-", " ").split():
                raise SpecError(f"{value!r} was not filled in; the comments of the file say how", path)
    if kind == "aws":
        _aws(config, provider)
    else:
        _local(provider, filled)
    _start_commands(config)
    _pinned(config)


def _aws(config: Mapping[str, Any], provider: Mapping[str, Any]) -> None:
    if provider.get("cache_stopped_nodes") is not False:
        allowed = "false: a stopped machine still costs its disk, and a spot machine cannot be stopped"
        raise SpecError(
            f"{provider.get('cache_stopped_nodes')!r}; allowed: {allowed}", ("provider", "cache_stopped_nodes")
        )
    types = _mapping(config, "available_node_types")
    head = config["head_node_type"]
    if head not in types:
        raise SpecError(f"{head!r} is none of the node types{suggest(str(head), types)}", ("head_node_type",))
    for name in types:
        path = ("available_node_types", name)
        node = _mapping(types, name, path[:1])
        _keys(node, ("resources", "min_workers", "max_workers", "node_config"), _NODE_TYPE, path)
        launch = _mapping(node, "node_config", path)
        _keys(launch, _NODE_REQUIRED, _NODE_OPTIONAL, (*path, "node_config"))
        low, high = (_count(node, key, path) for key in ("min_workers", "max_workers"))
        if low > high:
            raise SpecError(f"{low} is more than max_workers, {high}", (*path, "min_workers"))
        market = launch.get("InstanceMarketOptions", {"MarketType": "spot"})
        if market.get("MarketType") != "spot":
            allowed = "{MarketType: spot}, or no InstanceMarketOptions for an on-demand machine"
            raise SpecError(f"{market!r}; allowed: {allowed}", (*path, "node_config", "InstanceMarketOptions"))
        for resource, number in _mapping(node, "resources", path).items():
            if type(number) is not int or number < 0:
                raise SpecError(f"{number!r}; allowed: a whole number", (*path, "resources", resource))
    path = ("available_node_types", head)
    if types[head]["resources"].get("CPU") != 0:
        raise SpecError("the head must run no trials; allowed: CPU: 0", (*path, "resources"))
    if types[head]["max_workers"] != 0:
        raise SpecError(f"{types[head]['max_workers']}; allowed: 0, there is one head", (*path, "max_workers"))


def _local(provider: Mapping[str, Any], filled: bool) -> None:
    workers = provider["worker_ips"]
    if not isinstance(workers, list) or not all(isinstance(address, str) and address for address in workers):
        raise SpecError(f"{workers!r}; allowed: a list of addresses", ("provider", "worker_ips"))
    everyone = [provider["head_ip"], *workers]
    for address in everyone if filled else ():
        if everyone.count(address) > 1:
            raise SpecError(f"{address!r} is there twice; allowed: each machine once", ("provider", "worker_ips"))


def _start_commands(config: Mapping[str, Any]) -> None:
    """Who may come in: token authentication everywhere, the dashboard on loopback, nothing on all addresses."""
    for key in (*_COMMANDS, *_MORE_COMMANDS):
        commands = config.get(key, [])
        if not isinstance(commands, list) or not all(isinstance(command, str) for command in commands):
            raise SpecError(f"{commands!r}; allowed: a list of commands", (key,))
        for index, command in enumerate(commands):
            for found in _EVERYWHERE.findall(command):
                if found != "--dashboard-host=127.0.0.1":
                    allowed = "--dashboard-host=127.0.0.1 alone: `ray dashboard` forwards it through ssh"
                    raise SpecError(f"{found!r} may be reached from outside; allowed: {allowed}", (key, index))
            if re.search(r"\bRAY_AUTH_MODE=(?!token\b)", command):
                raise SpecError(f"{command!r} switches authentication off; allowed: RAY_AUTH_MODE=token", (key, index))
            if re.search(r"\bray start\b", command) and ENVIRONMENT not in command.partition("ray start")[0]:
                raise SpecError(f"{command!r}; allowed: `. {ENVIRONMENT};` before `ray start`", (key, index))
    for key, needed in (("head_start_ray_commands", "--dashboard-host=127.0.0.1"), ("worker_start_ray_commands", "")):
        starts = [command for command in config[key] if re.search(r"\bray start\b", command)]
        if not starts or not all(needed in command for command in starts):
            raise SpecError(f"allowed: one `ray start{' ' + needed if needed else ''} ...`", (key,))
    everything = " ".join(config["setup_commands"])
    if not re.search(r"\bRAY_AUTH_MODE=token\b", everything) or ENVIRONMENT not in everything:
        raise SpecError(f"RAY_AUTH_MODE=token is not written to {ENVIRONMENT}", ("setup_commands",))
    if "~/.ray/auth_token" not in config["file_mounts"]:
        raise SpecError("no token is copied to the nodes; allowed: ~/.ray/auth_token: FILE", ("file_mounts",))
    for name, most in HEALTH_CHECK.items():
        match = re.search(rf"\b{name}=(\d+)", everything)
        if match is None or int(match[1]) > most:
            value = match[1] if match else "missing"
            raise SpecError(
                f"{name} is {value}; allowed: up to {most}, or a lost node is noticed late", ("setup_commands",)
            )


def _pinned(config: Mapping[str, Any]) -> None:
    """The nodes' Ray is this machine's: another cannot read its files."""
    for key in ("setup_commands", *_MORE_COMMANDS):
        for index, command in enumerate(config.get(key, [])):
            for version in _RAY.findall(command):
                if version != metadata.version("ray"):
                    raise SpecError(f"Ray {version}; allowed: {metadata.version('ray')}, as here", (key, index))


def _mapping(parent: Mapping[str, Any], key: str, path: Where = ()) -> Mapping[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise SpecError("is missing" if value is None else f"{value!r}; allowed: a mapping", (*path, key))
    return value


def _keys(found: Mapping[str, Any], needed: Collection[str], more: Collection[str], path: Where) -> None:
    for key in found:
        if key not in needed and key not in more:
            raise SpecError(f"unknown key {key!r}{suggest(str(key), {*needed, *more})}", path)
    for key in needed:
        if found.get(key) in (None, "", []) and key != "worker_ips":
            raise SpecError("is missing", (*path, key))


def _count(node: Mapping[str, Any], key: str, path: Where) -> int:
    value = node[key]
    if type(value) is not int or value < 0:
        raise SpecError(f"{value!r}; allowed: a whole number", (*path, key))
    return value


def _text(config: Mapping[str, Any], key: str, pattern: str, allowed: str) -> None:
    if not isinstance(config[key], str) or re.fullmatch(pattern, config[key]) is None:
        raise SpecError(f"{config[key]!r}; allowed: {allowed}", (key,))


def _strings(value: Any, path: Where = ()) -> Iterator[tuple[Where, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _strings(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _strings(below, (*path, index))
