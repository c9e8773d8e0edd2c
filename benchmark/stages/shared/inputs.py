"""Loads what a stage needs from its parents: the data, the pools and the models."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmark import data, registry
from benchmark.data import cache
from benchmark.data.images import ImageData
from benchmark.data.members.pools import Pools
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.regimes.regime import to_float
from benchmark.spec import Spec
from benchmark.stages.shared.outputs import finite
from benchmark.trials import trial
from benchmark.trials.trial import Context

_BATCH = 500
EVADED = "evaded test images"
"""Purpose for which test images are drawn that evasion attacks get, and what is compared with them."""


def load_data(context: Context) -> tuple[ImageData, Pools]:
    """The data set and pools of a trial with the input `pools`."""
    stage = context.parent("pools").stage
    if "fingerprint" not in stage:  # pools that were cut from the suite's: of one model, or of a search
        stage = {**stage, "fingerprint": context.parent("pools", "pools").stage["fingerprint"]}
    images = planned_data(context, registry.parse("data", stage["data"]), stage["fingerprint"])
    labels = torch.cat([images.labels, images.test_labels])
    return images, Pools(context.tensors("pools"), context.trial.inputs["pools"], labels)


def planned_data(context: Context, data_set: Spec, fingerprint: str) -> ImageData:
    """The data set with this content, from wherever this machine has it. Raises ValueError if it has other content."""
    settings = context.settings
    return data.planned(data_set, settings.data_root, fingerprint, settings.decoded, context.fetch)


def suite_pools_key(context: Context) -> str:
    """Key of the trial that cut the suite's pools, also where the input `pools` holds others, cut from those."""
    return context.parent("pools").inputs.get("pools", context.trial.inputs["pools"])


def named_file(context: Context, sha256: str) -> Path:
    """The file whose content has this sha256: the one that was named, or what the driver sent of it.

    Raises ValueError if there is none, or it was changed since the plan.
    """
    path = dict(context.settings.files).get(sha256)
    if path is None:
        raise ValueError(f"no file with sha256 {sha256[:12]} was given to this run; run the suite that names it")
    try:
        found = cache.digest(Path(path))
        if found == sha256:
            return Path(path)
        problem = f"{path!r} has changed: its sha256 is {found[:12]}, planned was {sha256[:12]}; run again"
    except OSError as error:
        problem = f"{path!r} cannot be read on this machine ({error.strerror})"
    try:
        return cache.fetched(sha256, Path(path).suffix, context.fetch)
    except FileNotFoundError as error:  # a run on one machine sends nothing
        raise ValueError(problem) from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{problem}; nor does it come from the results ({error})") from error


def input_info(images: ImageData, pools: Pools) -> InputInfo:
    """What a network for these images looks like from outside."""
    _, channels, height, width = images.images.shape
    num_classes = int(images.classes(pools.private).max()) + 1
    return InputInfo(channels, height, width, num_classes, images.mean, images.std)


def load_model(context: Context, role: str, info: InputInfo) -> Classifier:
    """The trained model of the parent in this role: on the device, in eval mode, weights frozen."""
    architecture = registry.parse("architecture", context.parent(role).stage["architecture"])
    assert isinstance(architecture, Architecture)
    model = architecture.build(info)
    model.load(context.tensors(role))
    return model.to(context.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def load_target(context: Context) -> tuple[ImageData, Pools, Classifier]:
    """The data, the pools, and the model under attack, of a trial with the inputs `pools` and `target`."""
    images, pools = load_data(context)
    return images, pools, load_model(context, "target", input_info(images, pools))


def sample(ids: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A random choice, the same for every model; all of them if there are fewer."""
    return ids[torch.randperm(len(ids), generator=generator)[:count]]


def sampled_test_ids(context: Context, pools: Pools, count: int, purpose: str = EVADED) -> Tensor:
    """Of test images, the same for every model of a suite; for one purpose fewer are the first of more."""
    return sample(pools.test, count, trial.generator(suite_pools_key(context), purpose))


def replica_of(context: Context, role: str) -> int:
    """Replica that the model in this role was trained as; a model that was trained elsewhere has but one."""
    return int(context.parent(role).stage.get("replica", 0))


@torch.no_grad()
def apply(
    function: Callable[[Tensor], Tensor], images: Tensor, device: torch.device, batch_size: int = _BATCH
) -> Tensor:
    """`function` over images (N, C, H, W), uint8 or float in [0, 1], in batches; result on the CPU.

    function: a pass in eval mode, which treats each image by itself. Where the GPU's memory is too small for a batch,
    the batch is halved, and halved again; the result is that of whole batches up to rounding.
    Raises torch.OutOfMemoryError if not even one image fits, FloatingPointError if a result is NaN or infinite.
    """
    parts: list[Tensor] = []
    size, begin = batch_size, 0
    while begin < len(images) or not parts:
        batch = images[begin : begin + size]
        try:
            x = batch.to(device, memory_format=torch.channels_last)
            parts.append(function(to_float(x) if x.dtype == torch.uint8 else x).float().cpu())
            begin += size
            continue
        except torch.OutOfMemoryError:
            if len(batch) <= 1:
                raise
        # Here the error is gone, and with it what the pass had allocated.
        size = len(batch) // 2
        torch.cuda.empty_cache()
    return finite(torch.cat(parts))
