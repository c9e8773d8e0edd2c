"""Train an attack's prior on the auxiliary pool; every target of a suite shares it."""

from typing import cast

from benchmark.inversion.prior import Prior
from benchmark.registry import PriorField
from benchmark.stages.shared.inputs import input_info, load_data
from benchmark.trials.trial import Context, Outcome, Row, Stage


class FitPrior(Stage):
    """Input: pools. Writes the prior's weights."""

    prior: PriorField

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        ids = pools.auxiliary
        images, labels = data.pixels(ids).to(context.device), data.classes(ids).to(context.device)
        num_classes = input_info(data, pools).num_classes
        prior, generator = cast(Prior, self.prior), context.generator("prior")
        weights, losses = prior.fit(images, labels, num_classes, generator, context.progress)
        rows = [Row(metric="num_trained_on", value=float(len(ids)))]
        rows += [Row(metric=f"prior_loss_part_{i + 1}", value=loss) for i, loss in enumerate(losses)]
        return Outcome(rows=rows, tensors=weights)
