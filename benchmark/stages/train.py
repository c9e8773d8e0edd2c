"""Train one model: a replica on its members, or an evaluator on the auxiliary pool."""

from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from benchmark import registry
from benchmark.data.images import ImageData
from benchmark.data.members.pools import MOST_REPLICAS, Pools
from benchmark.data.members.stratified import cut
from benchmark.models.classifier import Architecture
from benchmark.regimes.epochs import History
from benchmark.regimes.regime import Regime, checked
from benchmark.registry import ArchitectureField, RegimeField
from benchmark.stages.shared.inputs import apply, input_info, load_data
from benchmark.trials.trial import Context, Outcome, Row, Stage


class Train(Stage):
    """Input: pools. Writes the weights, one tensor a name of the state dict.

    replica: which half of the private pool are its members; of no meaning for `auxiliary`.
    """

    architecture: ArchitectureField
    regime: RegimeField
    pool: Literal["members", "auxiliary"] = "members"
    replica: int = Field(default=0, ge=0, lt=MOST_REPLICAS)

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        regime = cast(Regime, self.regime)
        ids, watched = self._ids(data, pools, regime.num_validation, context)
        images, labels = data.pixels(ids).to(context.device), data.classes(ids).to(context.device)
        model = cast(Architecture, self.architecture).build(input_info(data, pools))
        model.initialise(context.generator("initialise"))
        model = model.to(context.device).to(memory_format=torch.channels_last)
        generator = context.generator("train")
        further: dict[str, Any] = {}
        if len(watched):
            further["validation"] = data.pixels(watched).to(context.device), data.classes(watched).to(context.device)
        losses = regime.fit(model, images, labels, generator, context.progress, **further)
        history = checked(losses, model, registry.titled("regime", regime))
        rows = [Row(metric="num_trained_on", value=float(len(ids)))]
        rows += [Row(metric=f"train_loss_epoch_{i + 1}", value=loss, n=len(ids)) for i, loss in enumerate(history)]
        rows += history.rows if isinstance(history, History) else []
        rows += regime.facts(model, len(ids))
        logits = apply(model, data.test_images[pools.test], context.device)
        accuracy = (logits.argmax(1) == data.test_labels[pools.test]).double().mean()
        rows.append(Row(metric="test_accuracy", value=float(accuracy), n=len(logits)))
        weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        return Outcome(rows=rows, tensors=weights)

    def _ids(self, data: ImageData, pools: Pools, num_validation: int, context: Context) -> tuple[Tensor, Tensor]:
        """Images to train on, and auxiliary images to watch the training on, none of which is trained on.

        A replica is trained on all of its members, so that each of them is one; an evaluator on the other auxiliary
        images. Watched are at least one and at most half of each class of the pool, near-duplicates together.
        """
        trained = pools.members(self.replica) if self.pool == "members" else pools.auxiliary
        if num_validation == 0:
            return trained, trained[:0]
        labels = data.classes(pools.auxiliary)
        counts = labels.bincount()
        share = min(0.5, max(num_validation / len(labels), 1 / int(counts[counts > 0].min())))
        chosen = cut(labels, pools.groups(pools.auxiliary), share, context.generator("validation"))
        if not chosen.any():
            raise ValueError(f"validation: {len(labels)} auxiliary images are too few to watch a training on some")
        return trained if self.pool == "members" else pools.auxiliary[~chosen], pools.auxiliary[chosen]
