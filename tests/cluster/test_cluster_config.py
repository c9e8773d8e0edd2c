"""The shipped cluster files, against Ray's schema and scheduler, AWS's schema, and our check of what Ray lets pass."""

import copy
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from benchmark.cluster import config as checker
from benchmark.running.executors import ray_start
from benchmark.spec import SpecError

ROOT = Path(__file__).parents[2]
FILES = ("cluster.yaml", "cluster-onprem.yaml")


def shipped(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return config


def filled(name: str) -> dict[str, Any]:
    """As a user fills it in."""
    config = shipped(name)
    if name == "cluster.yaml":
        for node in config["available_node_types"].values():
            node["node_config"].update(ImageId="ami-0abcdef1234567890", SecurityGroupIds=["sg-0abcdef1234567890"])
    else:
        config["provider"].update(head_ip="192.0.2.1", worker_ips=["192.0.2.2", "192.0.2.3"])
        config["auth"]["ssh_user"] = "me"
    return config


@pytest.mark.parametrize("name", FILES)
def test_shipped_files_pass_rays_own_check_and_ours(name: str, tmp_path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(shipped(name)))
    checker.check(shipped(name), filled=False)
    with pytest.raises(SpecError, match="EDIT' was not filled in"):
        checker.check(shipped(name))
    (tmp_path / name).write_text(yaml.safe_dump(filled(name)))
    assert checker.load_cluster(tmp_path / name) == filled(name)


def test_aws_takes_what_the_nodes_are_started_with() -> None:
    """Against the API model that boto3 carries. Ray itself chooses one of SubnetIds."""
    import botocore.session
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
    allowed = set(checker._NODE_REQUIRED) | set(checker._NODE_OPTIONAL)
    assert allowed - {"SubnetIds"} <= set(model.input_shape.members)
    for node in shipped("cluster.yaml")["available_node_types"].values():
        given = {**node["node_config"], "MinCount": 1, "MaxCount": 1}
        assert not ParamValidator().validate(given, model.input_shape).has_errors()
        assert set(given) <= set(model.input_shape.members), "boto lets unknown keys pass"


def test_versions_are_the_pins() -> None:
    pin = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pin is not None and pin[1] == metadata.version("ray")
    for name in FILES:
        installs = [command for command in shipped(name)["setup_commands"] if "pip install" in command]
        assert len(installs) == 1 and "-c constraints.txt" in installs[0]
        assert checker._RAY.findall(installs[0]) == [pin[1]]


@pytest.mark.parametrize("name", FILES)
def test_a_lost_node_is_noticed_as_fast_as_by_rays_that_we_start(name: str) -> None:
    setup = " ".join(shipped(name)["setup_commands"])
    for variable, value in ray_start.OWN_CLUSTER.items():
        if "health_check" in variable:
            assert f"{variable}={value} " in setup
            assert int(value) <= checker.HEALTH_CHECK[variable]
    most = checker.HEALTH_CHECK
    period, timeout, failures = (
        most[f"RAY_health_check_{key}"] for key in ("period_ms", "timeout_ms", "failure_threshold")
    )
    assert failures * (period + timeout) < 5000


@pytest.mark.parametrize("name", FILES)
def test_every_mounted_file_is_there_and_the_code_is_whole(name: str) -> None:
    mounts = {target: source for target, source in shipped(name)["file_mounts"].items() if "/code/" in target}
    assert all((ROOT / source).exists() and target.endswith(f"/{source}") for target, source in mounts.items())
    assert {"benchmark", "leaderboard", "pyproject.toml", "constraints.txt", "README.md"} <= set(mounts.values())


def test_ray_asks_for_spot_and_for_on_demand_where_there_is_none() -> None:
    """Ray's own scheduler with our score on our node types: what the comments of cluster.yaml say."""
    assert launched(16) == {"spot": 8}, "8 workers at most"
    assert launched(3) == {"spot": 3}
    assert launched(3, refused={"spot": 0}) == {"ondemand": 2, "spot": 1}, "2 on-demand machines at most"
    assert launched(1, refused={"spot": 29}) == {"ondemand": 1}
    assert launched(1, refused={"spot": 31}) == {"spot": 1}, "forgotten after half an hour"
    assert launched(1, refused={"spot": 0, "ondemand": 0}) == {"spot": 1}, "neither: spot, at the least"
    assert launched(1, refused={"spot": 0}, scorer="") == {"spot": 1}, "Ray of itself does not fall back"


def launched(num_trials: int, refused: Mapping[str, int] = MappingProxyType({}), scorer: str | None = None) -> Any:
    """Node type -> machines that Ray would start for so many trials of one GPU.

    refused: node type -> minutes since AWS refused one. scorer: instead of that of cluster.yaml.
    """
    from ray.autoscaler._private import resource_demand_scheduler as ray_scheduler
    from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
    from ray.autoscaler._private.util import prepare_config
    from ray.autoscaler.node_launch_exception import NodeLaunchException

    cluster = prepare_config(filled("cluster.yaml"))
    (start,) = (command for command in cluster["head_start_ray_commands"] if "ray start" in command)
    named = re.search(r"\b(RAY_AUTOSCALER_UTILIZATION_SCORER)=(\S+)", start)
    assert named is not None and "RAY_enable_autoscaler_v2=0" in start
    tracker = NodeProviderAvailabilityTracker()
    for node_type, minutes in refused.items():
        error = NodeLaunchException("InsufficientInstanceCapacity", "none left", None)
        tracker.update_node_availability(node_type, int(time.time() - 60 * minutes), error)
    with pytest.MonkeyPatch.context() as patch:
        if scorer is None:
            patch.setenv(named[1], named[2])
        scheduler = ray_scheduler.ResourceDemandScheduler(
            None, cluster["available_node_types"], cluster["max_workers"], "head", cluster["upscaling_speed"]
        )
    found, _ = ray_scheduler.get_nodes_for(
        scheduler.node_types,
        {"head": 1},
        "head",
        scheduler.max_workers,
        [{"CPU": 1, "GPU": 1}] * num_trials,
        partial(scheduler.utilization_scorer, node_availability_summary=tracker.summary()),
    )
    return dict(found)


def set_at(*way: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        place: Any = config
        for key in way[:-1]:
            place = place[key]
        if to is None:
            del place[way[-1]]
        else:
            place[way[-1]] = to

    return edit


def replaced(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    """In every command."""

    def edit(config: dict[str, Any]) -> None:
        keys = [key for key in config if key.endswith("_commands")]
        before = copy.deepcopy(config)
        for key in keys:
            config[key] = [command.replace(old, new) for command in config[key]]
        assert config != before

    return edit


TYPES, HEAD, SPOT = "available_node_types", ("available_node_types", "head"), ("available_node_types", "spot")
BROKEN = {
    "provider": [
        (set_at("provider", "worker_ip", to=["192.0.2.9"]), "unknown key 'worker_ip' (did you mean 'worker_ips'?)"),
        (set_at("provider", "type", to="awss"), "provider.type: 'awss' is not supported; allowed: aws, local"),
        (set_at("provider", to=None), "provider: is missing"),
        (set_at("provider", "head_ip", to=None), "provider.head_ip: is missing"),
        (set_at("provider", "worker_ips", to="192.0.2.2"), "provider.worker_ips: '192.0.2.2'; allowed: a list"),
        (set_at("provider", "worker_ips", to=["192.0.2.1"]), "'192.0.2.1' is there twice"),
        (set_at("auth", "ssh_key", to="x"), "auth: unknown key 'ssh_key'"),
        (set_at("auth", "ssh_user", to=""), "auth.ssh_user: is missing"),
        (set_at("head_start_rya_commands", to=[]), "did you mean 'head_start_ray_commands'?"),
        (set_at("cluster_name", to="a b"), "cluster_name: 'a b'; allowed: letters"),
        (set_at("file_mounts", "~/.ray/auth_token", to=None), "file_mounts: no token is copied"),
    ],
    "commands": [
        (replaced("127.0.0.1", "0.0.0.0"), "'--dashboard-host=0.0.0.0' may be reached from outside"),
        (replaced("--dashboard-host=127.0.0.1", ""), "allowed: one `ray start --dashboard-host=127.0.0.1 ...`"),
        (replaced("--dashboard-host=127.0.0.1", "--dashboard-host 127.0.0.1"), "may be reached from outside"),
        (replaced("--dashboard-host=127.0.0.1", "--dashboard-host=::"), "may be reached from outside"),
        (replaced("ray start", "ray start --ray-debugger-external"), "may be reached from outside"),
        (replaced("AUTH_MODE=token", "AUTH_MODE=disabled"), "switches authentication off"),
        (replaced("RAY_AUTH_MODE=token", ""), "RAY_AUTH_MODE=token is not written"),
        (replaced("ray start", "RAY_AUTH_MODE=disabled ray start"), "switches authentication off"),
        (replaced(". ~/robust-or-private/env;", ""), "before `ray start`"),
        (replaced("threshold=3", "threshold=10"), "RAY_health_check_failure_threshold is 10; allowed: up to 3"),
        (replaced("RAY_health_check_period_ms=500", ""), "RAY_health_check_period_ms is missing"),
        (replaced("==2.60.0", "==2.9.0"), "Ray 2.9.0; allowed: "),
        (replaced("ray[default]==2.60.0", "ray @ https://example.org/ray-3.0.whl"), "Ray https://example.org/ray-3.0.whl"),
        (set_at("worker_start_ray_commands", to=["true"]), "worker_start_ray_commands: allowed: one `ray start ...`"),
        (set_at("setup_commands", to="pip install x"), "setup_commands: 'pip install x'; allowed: a list"),
    ],
    "aws": [
        (set_at("provider", "regoin", to="x"), "unknown key 'regoin' (did you mean 'region'?)"),
        (set_at("provider", "security_group", to={"IpPermissions": []}), "unknown key 'security_group'"),
        (set_at("provider", "aws_credentials", to={"aws_access_key_id": "x"}), "unknown key 'aws_credentials'"),
        (set_at("provider", "cache_stopped_nodes", to=True), "provider.cache_stopped_nodes: True; allowed: false"),
        (set_at("provider", "cache_stopped_nodes", to=None), "provider.cache_stopped_nodes: None; allowed: false"),
        (set_at("head_node_type", to="haed"), "head_node_type: 'haed' is none of the node types (did you mean"),
        (set_at("max_workers", to=None), "max_workers: is missing"),
        (set_at(*HEAD, "max_workers", to=None), "available_node_types.head.max_workers: is missing"),
        (set_at(*HEAD, "min_workers", to=None), "available_node_types.head.min_workers: is missing"),
        (set_at(*HEAD, "max_workers", to=1), "there is one head"),
        (set_at(*HEAD, "resources", "CPU", to=4), "the head must run no trials; allowed: CPU: 0"),
        (set_at(*SPOT, "resources", "GPU", to="1"), "spot.resources.GPU: '1'; allowed: a whole number"),
        (set_at(*SPOT, "min_workers", to=9), "spot.min_workers: 9 is more than max_workers, 8"),
        (set_at(*SPOT, "max_worker", to=9), "available_node_types.spot: unknown key 'max_worker'"),
        (set_at(*SPOT, "node_config", "InstaceType", to="x"), "(did you mean 'InstanceType'?)"),
        (set_at(*SPOT, "node_config", "SecurityGroupIds", to=None), "spot.node_config.SecurityGroupIds: is missing"),
        (set_at(*SPOT, "node_config", "IamInstanceProfile", to=None), "node_config.IamInstanceProfile: is missing"),
        (set_at(*SPOT, "node_config", "InstanceMarketOptions", "MarketType", to="sopt"), "'sopt'}; allowed: {Mark"),
    ],
}  # fmt: skip
CASES = [
    (name, edit, message)
    for part, cases in BROKEN.items()
    for edit, message in cases
    for name in {"provider": FILES[1:], "commands": FILES, "aws": FILES[:1]}[part]
]


@pytest.mark.parametrize(("name", "edit", "message"), CASES, ids=[f"{name} {message}" for name, _, message in CASES])
def test_what_is_refused(name: str, edit: Callable[[dict[str, Any]], None], message: str, tmp_path: Path) -> None:
    config = filled(name)
    edit(config)
    (tmp_path / name).write_text(yaml.safe_dump(config))
    with pytest.raises(SpecError) as refused:
        checker.load_cluster(tmp_path / name)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("a: [", "not YAML"), ("- a", "list is no cluster")]
)
def test_what_is_no_cluster_file(text: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SpecError, match=message):
        checker.load_cluster(file)
