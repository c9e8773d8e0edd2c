"""Features of the data under an evaluator; computed once and used for every attacked model."""

from benchmark.memorization.whitening import Whitener
from benchmark.stages.shared.inputs import apply, input_info, load_data, load_model
from benchmark.trials.trial import Context, Outcome, Stage


class Embed(Stage):
    """Inputs: pools, model. Centres and whitens the evaluator's features on the auxiliary pool.

    Writes `private` (P, K), the whitened features of the private pool in its order, and the
    whitener's `mean` (D,) and `projection` (D, K).
    """

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        model = load_model(context, "model", input_info(data, pools))
        whitener = Whitener.fit(apply(model.features, data.pixels(pools.auxiliary), context.device))
        private = whitener(apply(model.features, data.pixels(pools.private), context.device))
        return Outcome(tensors={"private": private, "mean": whitener.mean, "projection": whitener.projection})
