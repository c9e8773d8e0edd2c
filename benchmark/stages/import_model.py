"""Stage `import`: takes a model that was trained elsewhere, if its clean accuracy is what its user declares."""

from typing import Annotated, cast

from pydantic import Field

from benchmark.models import checkpoint
from benchmark.models.classifier import Architecture
from benchmark.regimes.regime import to_float
from benchmark.registry import ArchitectureField
from benchmark.spec import SpecError
from benchmark.stages.predict import accuracy
from benchmark.stages.shared.clean_check import check_clean_accuracy, normalise_with
from benchmark.stages.shared.inputs import input_info, load_data, named_file
from benchmark.stages.shared.network_check import NUM_IMAGES, check_network
from benchmark.trials.trial import Context, Outcome, Stage

Constants = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=1)]


class ImportModel(Stage):
    """Input: pools, the suite's. Writes the weights, as `train` does.

    sha256: of the checkpoint's content. mean, std: a number a channel, of pixels in [0, 1]. clean_accuracy: declared.
    Fails, and with it all that is to be measured on the model, if its logits of an image are not those of this image
    alone, or its clean accuracy is not what was declared, or shows a wrong normalisation or order of classes: an attack
    on a misread model measures nothing.
    """

    architecture: ArchitectureField
    sha256: str
    mean: Constants
    std: Constants
    clean_accuracy: float | None = Field(default=None, ge=0, le=1)

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        info = input_info(data, pools)
        model = cast(Architecture, self.architecture).build(info)
        checkpoint.fit(model, checkpoint.read(named_file(context, self.sha256)).weights)
        normalise_with(model, self.mean, self.std)
        model = model.to(context.device).eval().requires_grad_(False)
        images, labels = data.test_images[pools.test], data.test_labels[pools.test]
        try:
            check_network(model, to_float(images[:NUM_IMAGES].to(context.device)), info.num_classes)
        except SpecError as error:
            raise ValueError(f"checkpoint: {error}; nothing else was measured on it") from error
        correct = check_clean_accuracy(
            model, images, labels, info, self.clean_accuracy, context.device, context.generator("halves")
        )
        weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        return Outcome(rows=[accuracy("test_accuracy", correct)], tensors=weights)
