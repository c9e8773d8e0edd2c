"""Runs a search with Ray Tune: a Tune trial is a candidate, and ASHA stops the poor ones after their first rung.

Tune keeps no state of ours. Whatever was evaluated is a trial in the store, and the suggestions follow from the seed,
so the same command finds its way again after a kill, without unpickling anything.
"""

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from benchmark.planning.gpu_shares import gpus_of
from benchmark.results.store import Store
from benchmark.running.executors.ray import given_device
from benchmark.trials.trial import Settings
from benchmark.tuning.objective import Evaluation, Failed
from benchmark.tuning.search import Candidate, Search

_MERIT, _RUNG, _TIME, _FATAL = "merit", "rung", "quarters", "fatal"
_REDUCTION = 4
_FAILED = -1.0
_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # prints a box even when it is told to be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
}
_RETRIES = 2
"""How often a candidate is tried again whose worker was lost."""

Work = Callable[[Candidate], tuple[Evaluation, ...]]
Listener = Callable[[Candidate, int], None]


def spend(
    search: Search,
    work: Work,
    settings: Settings,
    on_result: Listener = lambda candidate, rung: None,
) -> None:
    """Spend the budget of every model. Ray must be running.

    work: the evaluation of each rung of a candidate. Each holds the share of a GPU that `settings` has for its stage,
    where there are GPUs. Raises ValueError where no evaluation can go on: the disk is full, or a parent cannot be read.
    """
    os.environ.update(_QUIET)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what failed is in our own lines
    driver = _Driver(search, work, on_result)
    with tempfile.TemporaryDirectory(prefix="bench-tune-") as folder:
        gpus = _gpus(search, work, settings)
        resources = {"cpu": settings.threads, "gpu": gpus}
        settings = replace(settings, share=min(1.0, gpus or 1.0))
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(Evaluator, settings=settings), resources),
            tune_config=tune.TuneConfig(
                metric=_MERIT,
                mode="max",
                num_samples=-1,
                search_alg=_Suggestions(driver),
                scheduler=_Schedulers(driver),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
                trial_name_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    if driver.fatal:
        raise ValueError(driver.fatal)
    search.check_equal()


def _gpus(search: Search, work: Work, settings: Settings) -> float:
    """What an evaluation holds: the share of its first stage, which is the attack."""
    if settings.device == "cpu" or not ray.cluster_resources().get("GPU", 0):  # type: ignore[no-untyped-call]
        return 0.0
    attack = work(Candidate(search.models[0], 0, {}))[0].trials[0]
    return gpus_of(attack.stage["method"], dict(settings.gpus))


class Evaluator(tune.Trainable):
    """A worker: each step evaluates the next rung of its candidate. It never says that it is done: Tune would keep such
    a result from the scheduler, which stops it in any case.
    """

    def setup(self, config: dict[str, Any], settings: Settings | None = None) -> None:
        assert settings is not None
        self._settings = settings
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._evaluations: tuple[Evaluation, ...] = new_config["work"].evaluations
        self._rung = 0
        return True

    def step(self) -> dict[str, Any]:
        settings = replace(self._settings, device=given_device(self._settings.device, ray.get_gpu_ids()))
        rung, evaluation = self._rung, self._evaluations[self._rung]
        error, merit, fatal = "", _FAILED, False
        try:
            evaluation.compute(settings)
            merit = evaluation.score(Store(settings.results)).merit
        except Failed as failed:
            error, fatal = str(failed), failed.fatal
        self._rung += 1
        quarters = _REDUCTION if self._rung == len(self._evaluations) else 1
        return {_MERIT: merit, _RUNG: rung, _TIME: quarters, "error": error, _FATAL: fatal}


class _Opaque:
    """Keeps Tune from looking into a configuration."""

    def __init__(self, evaluations: tuple[Evaluation, ...]) -> None:
        self.evaluations = evaluations

    def __repr__(self) -> str:
        return f"{len(self.evaluations)} rungs"


class _Driver:
    """What the searcher and the schedulers share. Tune pickles both into its folder, which nobody reads: not this."""

    def __init__(self, search: Search, work: Work, on_result: Listener) -> None:
        self.search, self.work, self.on_result = search, work, on_result
        self.running: dict[str, Candidate] = {}
        self.fatal = ""
        self.asha = {
            model: ASHAScheduler(_TIME, _MERIT, "max", max_t=_REDUCTION, grace_period=1, reduction_factor=_REDUCTION)
            for model in search.models
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()

    def __deepcopy__(self, memo: object) -> "_Driver":
        return self


class _Suggestions(Searcher):
    """Random settings by the seed, one at a time for a model."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__(metric=_MERIT, mode="max")
        self._driver = driver

    def suggest(self, trial_id: str) -> Any:
        candidate = None if self._driver.fatal else self._driver.search.take()
        if candidate is None:
            return Searcher.FINISHED if self._driver.fatal or self._driver.search.is_spent else None
        self._driver.running[trial_id] = candidate
        return {"work": _Opaque(self._driver.work(candidate))}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        candidate = self._driver.running.pop(trial_id)
        if error:
            search, rung = self._driver.search, len(candidate.merits)
            if search.goes_on(candidate):
                search.record(candidate, rung, _FAILED, "its worker was lost, again and again")
                self._driver.on_result(candidate, rung)
        self._driver.search.release(candidate)

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


class _Schedulers(FIFOScheduler):
    """An ASHA for each model: models are not held against each other."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._driver = driver

    def _of(self, trial: Any) -> Any:
        return self._driver.asha[self._driver.running[trial.trial_id].model]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        candidate = self._driver.running[trial.trial_id]
        self._driver.search.record(candidate, result[_RUNG], result[_MERIT], result["error"])
        self._driver.on_result(candidate, result[_RUNG])
        if result[_FATAL]:
            self._driver.fatal = result["error"]
        decision: str = self._of(trial).on_trial_result(tune_controller, trial, result)
        candidate.stopped = decision == TrialScheduler.STOP
        return decision if self._driver.search.goes_on(candidate) else TrialScheduler.STOP
