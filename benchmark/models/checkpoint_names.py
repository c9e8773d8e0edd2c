"""Matches the names of a checkpoint's weights with those of a network's parts, below any prefix of a wrapper."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from benchmark.reading.text import shown

_STATISTICS = (("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std"))
"""Names that normalising models give to the mean and the standard deviation of pixels."""
_STATISTIC_NAMES = {name for pair in _STATISTICS for name in pair}
_OF_TRAINING = re.compile(
    "(criterion|loss|loss_fn|losses|loss_.*|.*_loss|optim.*|.*_optimizer|.*scheduler|scaler|epochs?|steps?|global_step"
    "|iterations?|n_averaged|num_updates|ema_decay|decay|lr|learning_rate|best_(acc|loss|epoch|score).*|seed|.*rng_state)"
)
"""What a name begins with that is of the training and no part of the network."""
_AVERAGED = re.compile(r"(.*_)?(ema|swa|averaged)(_.*)?")
"""A key of a file, or a part of a prefix, below which the weights are averages over the training."""
_MOST_PREFIXES = 32
"""That are tried: the widest ones."""
_UNUSED = "sub_block1."
"""The second block of TRADES' WideResNet, which its forward pass never uses."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_FOREIGN = "not in the architecture"
_COUNTER = "num_batches_tracked"
"""Of no effect where a norm has a momentum, and old files have none."""
Naming = Callable[[str], str]
"""A name -> the same name written in one way, to be compared."""


@dataclass(frozen=True)
class Match:
    """A network's parts in a file. pairs: name in the network -> name in the file, both as they are.

    problems: what does not fit, in words -> names. left_out: what of the file is no part of the network, in words.
    """

    prefix: str
    pairs: Mapping[str, str]
    problems: Mapping[str, list[str]]
    left_out: tuple[str, ...] = ()

    @property
    def num_problems(self) -> int:
        """The number of names that do not fit."""
        return sum(map(len, self.problems.values()))


def is_of_training(name: str) -> bool:
    """Whether a key or name is a loss's, an optimizer's or a counter's, by its first part."""
    return _OF_TRAINING.fullmatch(name.partition(".")[0].lower()) is not None


def is_averaged(name: str) -> bool:
    """Whether weights under this key or prefix are averages over the training (EMA, SWA)."""
    return any(_AVERAGED.fullmatch(part.lower()) for part in name.split("."))


def is_float(tensor: Tensor) -> bool:
    """Whether it is of a kind of float that weights come in; those of eight bits mean nothing without their scales."""
    return tensor.dtype in _FLOATS


def kind(tensor: Tensor) -> str:
    """The kind of the tensor's numbers: float32, int64, ..."""
    return str(tensor.dtype).removeprefix("torch.")


def match(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Match:
    """Find a network's parts in a file: below any prefix, with the names changed as little as possible.

    own: parts of the network. Of equal networks under several prefixes the first counts; of weights and their averages
    the weights. If nothing fits, the match with the fewest problems. Raises ValueError if networks differ that fit.
    """
    prefixes = _prefixes(weights, len(own))
    tried: list[Match] = []
    for naming in (_as_it_is, _bare, _canonical):
        for stem in _common_prefixes([naming(name) for name in own]):
            found = [m for prefix in prefixes if (m := _below(own, stem, weights, prefix, naming)) is not None]
            whole = sorted((m for m in found if not m.num_problems), key=lambda m: is_averaged(m.prefix))
            judged = [_one_of(whole, weights)] if whole else [_with_beside(m, weights) for m in found]
            if whole and not judged[0].num_problems:
                return judged[0]
            tried += judged
    return min(tried, key=lambda m: m.num_problems)


def statistics(weights: Mapping[str, Tensor], parts: Collection[str]) -> list[tuple[Tensor, Tensor]]:
    """(mean, std) of every normalisation of pixels in a file; parts: names that count as the network's own."""
    names = [name for name in weights if name not in parts and _is_statistic(name, weights)]
    owners = dict.fromkeys(name.rpartition(".")[0] for name in names)
    pairs = [
        (f"{owner}.{mean}".lstrip("."), f"{owner}.{std}".lstrip(".")) for owner in owners for mean, std in _STATISTICS
    ]
    return [(weights[mean], weights[std]) for mean, std in pairs if mean in names and std in names]


def _prefixes(weights: Iterable[str], num_parts: int) -> list[str]:
    """Under which at least half as many names lie as the network has parts; the widest first."""
    counts = Counter(name[: dot.end()] for name in weights for dot in re.finditer(r"\.", name))
    return ["", *(prefix for prefix, count in counts.most_common(_MOST_PREFIXES) if 2 * count >= num_parts)]


def _common_prefixes(names: Collection[str]) -> Iterator[str]:
    """Those of all names, the empty one first: a file may hold the inside of a network that wraps another."""
    prefix = ""
    while True:
        yield prefix
        first = {name[len(prefix) :].partition(".")[:2] for name in names}
        if len(first) != 1 or "." not in (part := "".join(first.pop())):
            return
        prefix += part


def _below(
    own: Mapping[str, Tensor], stem: str, weights: Mapping[str, Tensor], prefix: str, naming: Naming
) -> Match | None:
    """The names below a prefix against the network's below its stem; None if a name would stand for two parts."""
    wanted = {naming(name).removeprefix(stem): name for name in own}
    below = [name for name in weights if name.startswith(prefix)]
    new = {name: naming(name.removeprefix(prefix)) for name in below}
    new = {old: name for old, name in new.items() if name in wanted or not _is_passed_over(old, prefix, weights)}
    given = {name: old for old, name in new.items()}
    if len(wanted) < len(own) or len(given) < len(new):
        return None
    pairs = {wanted[name]: given[name] for name in sorted(wanted.keys() & given.keys())}
    problems = {
        "missing": sorted(name for name in wanted.keys() - given.keys() if _leaf(name) != _COUNTER),
        _FOREIGN: sorted(given[name] for name in given.keys() - wanted.keys()),
        "of other shape": [
            f"{there} {tuple(weights[there].shape)} for {tuple(own[name].shape)}"
            for name, there in pairs.items()
            if weights[there].shape != own[name].shape
        ],
        "of another kind of number": [
            f"{there} {kind(weights[there])} for {kind(own[name])}"
            for name, there in pairs.items()
            if not _converts(weights[there], own[name])
        ],
    }
    return Match(prefix, pairs, problems)


def _is_passed_over(name: str, prefix: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a name that the network has not may lie below its prefix."""
    rest = name.removeprefix(prefix)
    return rest.startswith(_UNUSED) or is_of_training(rest) or _is_statistic(name, weights)


def _one_of(whole: Sequence[Match], weights: Mapping[str, Tensor]) -> Match:
    """The first of several networks that fit, if the others are copies or averages of it."""
    first, *others = whole
    copies = {}
    for other in others:
        if is_averaged(other.prefix) and not is_averaged(first.prefix):
            copies[other.prefix] = "an average"
        elif all(torch.equal(weights[there], weights[first.pairs[name]]) for name, there in other.pairs.items()):
            copies[other.prefix] = "a copy"
        else:
            places = " and ".join(shown(f"{m.prefix}*") for m in (first, other))
            raise ValueError(f"it holds two networks that differ, {places}; save the one that is meant alone")
    return _with_beside(first, weights, copies)


def _with_beside(
    found: Match, weights: Mapping[str, Tensor], copies: Mapping[str, str] = MappingProxyType({})
) -> Match:
    """The match, with what lies beside the network: a part of a training may, a part of a network not.

    copies: prefix -> what the network below it is.
    """
    around = [found.prefix[: dot.end()] for dot in re.finditer(r"\.", found.prefix)]
    outside = [n for n in weights if not n.startswith((found.prefix, *copies)) and not _is_statistic(n, weights)]
    of_training = [n for n in outside if any(is_of_training(n.removeprefix(prefix)) for prefix in ("", *around))]
    foreign = sorted(set(outside) - set(of_training))
    parts = set(found.pairs.values())
    below = [n for n in weights if n.startswith(found.prefix) and n not in parts and not _is_statistic(n, weights)]
    left_out = [f"{prefix}* ({what})" for prefix, what in copies.items()]
    problems = {**found.problems, _FOREIGN: [*found.problems[_FOREIGN], *foreign]}
    return replace(found, problems=problems, left_out=(*left_out, *of_training, *below))


def _converts(given: Tensor, own: Tensor) -> bool:
    """Whether numbers of one kind can stand for the other's: floats of any length, and counts however written."""
    if given.dtype == own.dtype:
        return True
    if own.is_floating_point():
        return is_float(given)
    whole = not given.is_floating_point() and not given.is_complex()
    return own.dtype in _WHOLE and (whole or own.ndim == 0) and not given.is_complex()


def _as_it_is(name: str) -> str:
    return name


def _bare(name: str) -> str:
    """Without what our classifiers put in front of a name."""
    return name.removeprefix("body.")


def _canonical(name: str) -> str:
    """One name for a part in our networks and in the usual code."""
    return re.sub(r"^(head|fc|linear|classifier)\.(?=weight|bias)", "logits.", _bare(name).replace(".inner.", "."))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _is_statistic(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a name is a constant of pixels: its owner, unlike a layer, has no weight."""
    owner, _, leaf = name.rpartition(".")
    return leaf in _STATISTIC_NAMES and f"{owner}.weight".lstrip(".") not in weights
