"""`bench`: the command. The only package that prints. Heavy imports wait until a command needs them."""

from benchmark import interrupts

with interrupts.told():
    import click

    from benchmark.cli.asking import doctor, list_methods
    from benchmark.cli.clustering import on_head, stop
    from benchmark.cli.common import Commands
    from benchmark.cli.keeping import compact
    from benchmark.cli.running import plan, run, status
    from benchmark.cli.showing import figures, leaderboard
    from benchmark.cli.tuning import tune
    from benchmark.cli.verifying import verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robust-or-private")
def main() -> None:
    """Robust or private? Measure what adversarial robustness costs in training-data privacy."""


for command in (run, plan, status, stop, tune, on_head, leaderboard, figures, compact, verify, list_methods, doctor):
    main.add_command(command)
