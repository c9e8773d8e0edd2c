"""An evaluator's features of the auxiliary images that models are asked about, for membership attacks that use them."""

from benchmark.memorization.whitening import Whitener
from benchmark.stages.shared.inputs import apply, input_info, load_data, load_model
from benchmark.stages.shared.queried import auxiliary_ids
from benchmark.trials.trial import Context, Outcome, Stage


class EmbedAuxiliary(Stage):
    """Inputs: pools, model, embed. Writes `features` (A, K), whitened as in `embed`, and `label`, `image_id` (A,).

    The images are those of `auxiliary` in the stage `query`, in its order.
    """

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        model = load_model(context, "model", input_info(data, pools))
        embedded, ids = context.tensors("embed"), auxiliary_ids(context, pools)
        whitener = Whitener(embedded["mean"], embedded["projection"])
        features = whitener(apply(model.features, data.pixels(ids), context.device))
        return Outcome(tensors={"features": features, "label": data.classes(ids), "image_id": ids})
