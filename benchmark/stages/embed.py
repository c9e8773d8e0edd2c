"""Features of the data under an evaluator; computed once and used for every attacked model."""

from benchmark.stages.inputs import apply, input_info, load_data, load_model
from benchmark.trial import Context, Outcome, Stage


class Embed(Stage):
    """Inputs: pools, model. Writes `private` (P, D) and `auxiliary` (A, D), in the pools' order."""

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        model = load_model(context, "model", input_info(data, pools))
        tensors = {
            "private": apply(model.features, data.images[pools.private], context.device),
            "auxiliary": apply(model.features, data.images[pools.auxiliary], context.device),
        }
        return Outcome(tensors=tensors)
