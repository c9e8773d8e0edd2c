"""Stage `recognise`: whether the judges recognise reconstructions, without members; what `bench tune` raises."""

from benchmark.schema import EVALUATORS
from benchmark.stages.shared.inputs import apply, input_info, load_data, load_model
from benchmark.stages.shared.samples import Samples, rows_of
from benchmark.trials.trial import Context, Outcome, Row, Stage


class Recognise(Stage):
    """Inputs: pools, inversion, evaluator, evaluator_robust. Rows: evaluator_accuracy of both, target_confidence.

    Writes the table `samples`, one value a reconstruction and metric. A search that looked at `in_rate` would choose
    by members, which no attacker could.
    """

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        info = input_info(data, pools)
        made = context.tensors("inversion")
        samples = Samples(made["targets"])
        samples.add("", "target_confidence", made["confidence"])
        for space in EVALUATORS:
            judge = load_model(context, space, info)
            right = apply(judge, made["images"], context.device).argmax(1) == made["targets"]
            samples.add(space, "evaluator_accuracy", right)
        return Outcome(rows=samples.rows(context.trial.key), tables={"samples": samples.table()})

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the value of every reconstruction."""
        return rows_of(context.own_table("samples"), context.trial.key)
