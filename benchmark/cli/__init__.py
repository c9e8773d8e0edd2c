"""`bench`: the command. The only package that prints. Heavy imports wait until a command needs them."""

from benchmark.machine import interrupts

with interrupts.told():
    import click

    from benchmark.cli.common import Commands
    from benchmark.cli.compact import compact
    from benchmark.cli.leaderboard_figures import figures, leaderboard
    from benchmark.cli.list_doctor import doctor, list_methods
    from benchmark.cli.on_cluster import on_head, stop
    from benchmark.cli.run_plan_status import plan, run, status
    from benchmark.cli.tune import tune
    from benchmark.cli.verify import verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robust-or-private")
def main() -> None:
    """Robust or private? Measure what adversarial robustness costs in training-data privacy."""


for command in (run, plan, status, stop, tune, on_head, leaderboard, figures, compact, verify, list_methods, doctor):
    main.add_command(command)
