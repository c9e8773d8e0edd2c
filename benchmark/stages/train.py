"""Train one model: a replica on its members, or an evaluator on the auxiliary pool."""

from typing import Literal, cast

import torch
from pydantic import Field

from benchmark import registry
from benchmark.data.members.pools import MOST_REPLICAS
from benchmark.models.classifier import Architecture
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
        ids = pools.members(self.replica) if self.pool == "members" else pools.auxiliary
        images, labels = data.pixels(ids).to(context.device), data.classes(ids).to(context.device)
        model = cast(Architecture, self.architecture).build(input_info(data, pools))
        model.initialise(context.generator("initialise"))
        model = model.to(context.device).to(memory_format=torch.channels_last)
        generator = context.generator("train")
        regime = cast(Regime, self.regime)
        losses = regime.fit(model, images, labels, generator, context.progress)
        history = checked(losses, model, registry.titled("regime", regime))
        rows = [Row(metric="num_trained_on", value=float(len(ids)))]
        rows += [Row(metric=f"train_loss_epoch_{i + 1}", value=loss, n=len(ids)) for i, loss in enumerate(history)]
        rows += regime.facts(model, len(ids))
        logits = apply(model, data.test_images[pools.test], context.device)
        accuracy = (logits.argmax(1) == data.test_labels[pools.test]).double().mean()
        rows.append(Row(metric="test_accuracy", value=float(accuracy), n=len(logits)))
        weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        return Outcome(rows=rows, tensors=weights)
