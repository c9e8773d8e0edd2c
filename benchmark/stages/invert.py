"""Invert a model: images from the model alone."""

from typing import cast

from benchmark import registry
from benchmark.inversion.attack import Inversion, Victim
from benchmark.registry import InversionField
from benchmark.stages.shared.inputs import input_info, load_data, load_model, replica_of
from benchmark.stages.shared.judged_attack import inverted
from benchmark.trials.trial import Context, Outcome, Row, Stage


class Invert(Stage):
    """Inputs: pools, target, and prior for an attack that has one.

    Writes `images` (N, C, H, W) in [0, 1], `targets`, `confidence` (N,).

    Rows: the budget as it was spent. `passes_per_sample` went forward and backward through the target,
    `forward_passes_per_sample` forward alone.
    """

    attack: InversionField

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        info = input_info(data, pools)
        model = load_model(context, "target", info)
        replica = replica_of(context, "target")
        known = {
            name: (data.pixels(ids), data.classes(ids))
            for name, ids in (
                ("members", pools.members(replica)),
                ("non_members", pools.non_members(replica)),
                ("auxiliary", pools.auxiliary),
            )
        }
        prior = context.tensors("prior") if "prior" in context.trial.inputs else {}
        shape = (info.channels, info.height, info.width)
        victim = Victim(model, shape, info.num_classes, context.device, **known, prior=prior)
        attack = cast(Inversion, self.attack)
        found = inverted(attack, registry.titled("inversion", attack), victim, context.generator("invert"))
        passes, confidence, n = found.passes, found.confidence, len(found.targets)
        rows = [
            Row(metric="target_confidence", value=float(confidence.double().mean()), n=n),
            Row(metric="passes_per_sample", value=passes.backward / n, n=n, note=attack.remark(model) or None),
            Row(metric="forward_passes_per_sample", value=(passes.forward - passes.backward) / n, n=n),
        ]
        tensors = {"images": found.images, "targets": found.targets, "confidence": confidence}
        return Outcome(rows=rows, tensors=tensors)
