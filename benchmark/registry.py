"""Every method by name, one dict a kind. A new method is one file and one line here.

The values are import paths, so that `bench --help` loads none of them.
"""

import importlib
import json
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from benchmark.reading.text import shown
from benchmark.spec import Spec, SpecError, suggest
from benchmark.user_files import include

DATA = {
    "fashion_mnist_13k": "benchmark.data.embedded:FashionMNIST13k",
    "fashion_mnist": "benchmark.data.fashion_mnist:FashionMNIST",
    "mnist": "benchmark.data.mnist:MNIST",
    "cifar10": "benchmark.data.cifar:CIFAR10",
    "cifar100": "benchmark.data.cifar:CIFAR100",
    "svhn": "benchmark.data.svhn:SVHN",
    "fer2013": "benchmark.data.fer2013:FER2013",
    "olivetti": "benchmark.data.faces:Olivetti",
    "lfw": "benchmark.data.faces:LFW",
    "lfw_subset": "benchmark.data.faces:LFWSubset",
    "imagefolder": "benchmark.data.imagefolder:ImageFolder",
    "npz": "benchmark.data.npz:NPZ",
    "parquet": "benchmark.data.parquet:Parquet",
}
ARCHITECTURE = {
    "softmax_regression": "benchmark.models.softmax_regression:SoftmaxRegression",
    "small_vgg": "benchmark.models.small_vgg:SmallVGG",
    "small_resnet": "benchmark.models.small_resnet:SmallResNet",
    "vgg16": "benchmark.models.vgg:VGG16",
    "vgg11": "benchmark.models.vgg:VGG11",
    "resnet18": "benchmark.models.resnet:ResNet18",
    "resnet50": "benchmark.models.resnet:ResNet50",
    "preact_resnet18": "benchmark.models.preact_resnet:PreActResNet18",
    "wide_resnet_28_10": "benchmark.models.wide_resnet:WideResNet",
    "mlp": "benchmark.models.mlp:MLP",
    "torchvision": "benchmark.models.torchvision_model:TorchvisionModel",
    "timm": "benchmark.models.timm_model:TimmModel",
    "group_norm": "benchmark.models.group_norm:GroupNormed",
    "function": "benchmark.models.users_function:IncludedModel",
    "in_memory": "benchmark.models.in_memory:InMemory",
    "memoriser": "benchmark.models.memoriser:Memoriser",
}
REGIME = {
    "standard": "benchmark.regimes.standard:Standard",
    "pgd_at": "benchmark.regimes.pgd_at:PGDAdversarialTraining",
    "trades": "benchmark.regimes.trades:TRADES",
    "mart": "benchmark.regimes.mart:MART",
    "fgsm_rs": "benchmark.regimes.fgsm_rs:FGSMRandomStart",
    "free_at": "benchmark.regimes.free_at:FreeAdversarialTraining",
    "label_smoothing": "benchmark.regimes.label_smoothing:LabelSmoothing",
    "gaussian_noise": "benchmark.regimes.gaussian_noise:GaussianNoise",
    "dp_sgd": "benchmark.regimes.dp_sgd:DPSGD",
    "memorise": "benchmark.regimes.memorise:Memorise",
    "untrained": "benchmark.regimes.untrained:Untrained",
}
EVASION = {
    "fgsm": "benchmark.evasion.fgsm:FGSM",
    "pgd": "benchmark.evasion.pgd:PGD",
    "apgd": "benchmark.evasion.apgd:APGD",
    "pmd": "benchmark.evasion.pmd:PMD",
    "fab": "benchmark.evasion.fab:FAB",
    "square": "benchmark.evasion.square:Square",
    "autoattack": "benchmark.evasion.autoattack:AutoAttack",
    "autoattack_quick": "benchmark.evasion.autoattack:AutoAttackQuick",
    "given": "benchmark.evasion.given:Given",
}
INVERSION = {
    "gradient": "benchmark.inversion.gradient:GradientInversion",
    "multiscale": "benchmark.inversion.multiscale:MultiscaleInversion",
    "deepinversion": "benchmark.inversion.deepinversion:DeepInversion",
    "mi_face": "benchmark.inversion.mi_face:MIFace",
    "generator": "benchmark.inversion.generator:GeneratorInversion",
    "injected": "benchmark.inversion.injected:Injected",
}
PRIOR = {
    "dcgan": "benchmark.inversion.dcgan:DCGAN",
}
MEMBERSHIP = {
    "loss_threshold": "benchmark.membership.loss_threshold:LossThreshold",
    "lira": "benchmark.membership.lira:LiRA",
    "rmia": "benchmark.membership.rmia:RMIA",
    "bavaria": "benchmark.membership.bavaria:BaVarIA",
    "calibrated_loss": "benchmark.membership.calibrated_loss:CalibratedLoss",
    "adversarial_loss": "benchmark.membership.adversarial_loss:AdversarialLoss",
    "quantile": "benchmark.membership.quantile:Quantile",
}
STAGE = {
    "pools": "benchmark.stages.make_pools:MakePools",
    "train": "benchmark.stages.train:Train",
    "declare_members": "benchmark.stages.declare_members:DeclareMembers",
    "import": "benchmark.stages.import_model:ImportModel",
    "fit_prior": "benchmark.stages.fit_prior:FitPrior",
    "tuning_pools": "benchmark.stages.tuning_pools:TuningPools",
    "recognise": "benchmark.stages.recognise:Recognise",
    "embed": "benchmark.stages.embed:Embed",
    "embed_auxiliary": "benchmark.stages.embed_auxiliary:EmbedAuxiliary",
    "predict": "benchmark.stages.predict:Predict",
    "query": "benchmark.stages.query:Query",
    "narrow_pools": "benchmark.stages.narrow_pools:NarrowPools",
    "evade": "benchmark.stages.evade:Evade",
    "probe": "benchmark.stages.probe:Probe",
    "invert": "benchmark.stages.invert:Invert",
    "neighbours": "benchmark.stages.find_neighbors:FindNeighbors",
    "leakage": "benchmark.stages.measure_leakage:Leakage",
    "infer_membership": "benchmark.stages.infer_membership:InferMembership",
    "memorization": "benchmark.stages.measure_memorization:MeasureMemorization",
}
KINDS: dict[str, dict[str, str]] = {
    "data": DATA,
    "architecture": ARCHITECTURE,
    "regime": REGIME,
    "evasion": EVASION,
    "inversion": INVERSION,
    "prior": PRIOR,
    "membership": MEMBERSHIP,
    "stage": STAGE,
}
_BASES = {
    "data": "benchmark.data.images:Dataset",
    "architecture": "benchmark.models.classifier:Architecture",
    "regime": "benchmark.regimes.regime:Regime",
    "evasion": "benchmark.evasion.attack:Evasion",
    "inversion": "benchmark.inversion.attack:Inversion",
    "prior": "benchmark.inversion.prior:Prior",
    "membership": "benchmark.membership.attack:MembershipAttack",
    "stage": "benchmark.trials.trial:Stage",
}
"""What a method of each kind is a subclass of."""


def base_of(kind: str) -> type[Spec]:
    """What a method of this kind is a subclass of."""
    return _load(_BASES[kind])


def lookup(kind: str, name: str) -> type[Spec]:
    """The Spec class registered as `name`. Raises SpecError with the nearest name."""
    if not isinstance(name, str) or name not in KINDS[kind]:
        own = "; a method of your own: --include FILE.py"
        raise SpecError(f"unknown {kind} {shown(name)}{suggest(name, KINDS[kind])}{own}")
    return _load(KINDS[kind][name])


def _load(path: str) -> type[Spec]:
    module, _, attribute = path.partition(":")
    found: type[Spec] = getattr(importlib.import_module(module), attribute)
    return found


def register(kind: str, name: str, method: type[Spec]) -> None:
    """Add a user's method; for files given with `--include`.

    Raises SpecError for what is no class of its kind, or does not define every method that the kind asks for.
    """
    if kind not in KINDS:
        raise SpecError(f"unknown kind {kind!r}{suggest(kind, KINDS)}")
    base = base_of(kind)
    if not isinstance(method, type) or not issubclass(method, base) or "." in method.__qualname__:
        raise SpecError(f"{kind} {name!r} is {method!r}; allowed: a subclass of {base.__name__} at the top of its file")
    if missing := sorted(getattr(method, "__abstractmethods__", ())):
        wanted = ", ".join(missing)
        raise SpecError(f"{kind} {name!r}: {method.__name__} does not define {wanted}; allowed: a class that does")
    path = f"{method.__module__}:{method.__qualname__}"
    if KINDS[kind].setdefault(name, path) != path:
        raise SpecError(f"{kind} {name!r} is taken by {KINDS[kind][name]}")


def parse(kind: str, value: Any) -> Spec:
    """A Spec from `pgd` or `{method: pgd, epsilon: 8/255}`. Raises SpecError."""
    if isinstance(value, Spec):
        return value
    if isinstance(value, str):
        value = {"method": value}
    if not isinstance(value, dict) or "method" not in value:
        raise SpecError(f"{shown(value)} is no {kind}; allowed: a name or a mapping with the key 'method'")
    fields = {k: v for k, v in value.items() if k not in ("method", "version", "source_sha256")}
    return lookup(kind, value["method"]).parse(fields)


def name_of(kind: str, spec: Spec) -> str:
    """The name that the class of a Spec is registered under."""
    path = f"{type(spec).__module__}:{type(spec).__qualname__}"
    return next(name for name, known in KINDS[kind].items() if known == path)


def titled(kind: str, spec: Spec) -> str:
    """How messages name a method: "evasion 'pgd'"."""
    return f"{kind} {name_of(kind, spec)!r}"


def dump(kind: str, spec: Spec) -> dict[str, Any]:
    """JSON of a Spec that `parse` reads back: name, VERSION and every field, but those of `LATER` that are not set.

    The identity.
    """
    settings = spec.model_dump(mode="json", exclude=spec.unset or None)
    identity = {"method": name_of(kind, spec), "version": spec.VERSION, **settings}
    if found := include.source_of(spec):
        identity["source_sha256"] = found.sha256
    return identity


def _field(kind: str) -> Any:
    return Annotated[
        Spec,
        BeforeValidator(lambda value: parse(kind, value)),
        PlainSerializer(lambda spec: dump(kind, spec), return_type=dict[str, Any]),
    ]


DataField = _field("data")
ArchitectureField = _field("architecture")
RegimeField = _field("regime")
EvasionField = _field("evasion")
InversionField = _field("inversion")
PriorField = _field("prior")
MembershipField = _field("membership")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return _CANONICAL.encode(value)
