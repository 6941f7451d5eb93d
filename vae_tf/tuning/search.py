"""The search: trials side by side, each in a process of its own, until the study holds as many as are wanted.

This process suggests, listens and decides; it holds no TensorFlow, and is the only one that writes the study. A trial has a process of its
own so that all memory comes back when it ends, and one that needs too much takes nothing with it. If this process ends, in whatever way, so
do the others; the same search then goes on with the trials that were running, by the exact resumption of their runs.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any, final

from vae_tf.config import Config
from vae_tf.errors import ConfigError, InterruptedRun, RunError
from vae_tf.files import locked
from vae_tf.tuning.children import answer, share_of_cores
from vae_tf.tuning.record import FAILED, RUNNING, Trial
from vae_tf.tuning.results import TRIALS, best, told, write_csv
from vae_tf.tuning.space import Setting, Space, Value, refusal
from vae_tf.tuning.study import JOURNAL, Study

__all__ = ["tune"]

_SPARED = 0.1  # of the epochs, at the beginning, in which no trial is pruned
_Ends = Sequence[tuple[Setting, Value, Config]]


def tune(
    base: Config,
    space: Space,
    folder: str | Path,
    *,
    trials: int,
    jobs: int = 1,
    seed: int = 0,
    prune: bool = True,
    data_dir: str | None = None,
    say: Callable[[str], Any] = print,
) -> list[Trial]:
    """Search for the settings with the highest log p(x) of validation images, or go on with a search.

    Args:
        base: the configuration that is varied.
        space: what is varied.
        folder: of the study; created. Each trial is a run folder in it.
        trials: how many the study shall hold, at least 1.
        jobs: how many are trained at a time, each by its share of the cores.
        seed: of the suggestions; with one job they are a function of it.
        prune: end trials early whose validation ELBO falls behind.
        data_dir: as in `train`.
        say: is told a line for each trial.

    Returns:
        All trials of the study, by number.

    Raises:
        ConfigError: the space can not work.
        RunError: the folder holds something else, is damaged or in use, or something is wrong that every trial would meet.
        InterruptedRun: the user pressed Ctrl-C.
    """
    folder, ends = Path(folder), list(space.ends(base))
    begun = (folder / JOURNAL).exists()
    if folder.exists() and not begun and (not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())):
        raise RunError(f"`{folder}` exists and holds no search; choose another for --study, nothing was changed.")
    try:
        checked = None if begun else asyncio.run(_check(ends, base, data_dir))
        with locked(folder):
            study = Study(folder, base, space, seed)
            search = _Search(study, folder, trials, jobs, data_dir, say)
            if search.left:
                checked = checked or asyncio.run(_check(ends, base, data_dir))
                study.require_images(checked["images"])
                longest = max(config.training.epochs for *_, config in ends)
                search.spared = ceil(max(checked["settled"], _SPARED * longest)) if prune else None
                asyncio.run(search.run())
            return study.trials()
    except BlockingIOError:
        raise RunError(f"`{folder}` is being searched by another process; wait for it, or choose another for --study.") from None
    except KeyboardInterrupt:
        raise InterruptedRun("stopped by the user; what was complete is kept: the same command goes on from there.") from None


@final
class _Search:
    """The trials of one call that are still to be trained."""

    def __init__(self, study: Study, folder: Path, trials: int, jobs: int, data_dir: str | None, say: Callable[[str], Any]):
        self.study, self.folder, self.trials, self.jobs, self.data_dir, self.say = study, folder, trials, jobs, data_dir, say
        self.spared: int | None = None  # epochs before which no trial is pruned; None where none is at all
        self._stopped = [trial for trial in study.trials()[:trials] if trial.state == RUNNING]
        self._environment = share_of_cores(jobs)

    @property
    def left(self) -> int:
        """How many trials are still to be ended."""
        return len(self._stopped) + max(0, self.trials - len(self.study.trials()))

    async def run(self) -> None:
        """Train all that are left."""
        await asyncio.gather(*(self._work() for _ in range(min(self.jobs, self.left))))

    async def _work(self) -> None:
        while (trial := self._next()) is not None:
            await self._train(trial)

    def _next(self) -> Trial | None:
        if self._stopped:
            self.say(f"trial {self._stopped[0].number} goes on where it was stopped")
            return self._stopped.pop(0)
        if len(self.study.trials()) >= self.trials:
            return None
        trial = self.study.suggest()
        if trial is None:
            self.trials = len(self.study.trials())
            what = "nothing new was suggested" if self.study.space.size is None else "all that there is to try was tried"
            self.say(f"{what}, in {self.trials} trials")
        return trial

    async def _train(self, trial: Trial) -> None:
        config = self.study.space.config(self.study.base, trial.values)
        request = {"config": config.to_dict(), "folder": str(self.folder / trial.name), "data_dir": self.data_dir}

        def goes_on(epoch: int, elbo: float) -> bool:
            self.study.report(trial.number, epoch, elbo)
            last = epoch >= config.training.epochs  # nothing is saved any more, and its value would be lost
            return last or self.spared is None or not self.study.hopeless(trial.number, self.spared)

        path = self.folder / f"{trial.name}.log"
        with path.open("ab") as log:
            outcome = await answer(request, log, self._environment, goes_on)
        if not path.stat().st_size:
            path.unlink()
        if "error" in outcome:
            if not outcome.pop("of_trial"):
                raise RunError(f"trial {trial.number} was stopped: {outcome['error']} The same command goes on from there.")
            outcome["state"] = FAILED
        ended = self.study.finish(trial.number, outcome.pop("state"), outcome)
        trials = self.study.trials()
        write_csv(self.folder / TRIALS, trials, self.study.space)
        done = sum(trial.state != RUNNING for trial in trials)
        mark = ", the best so far" if ended == best(trials) else ""
        where = f" ({path} has more)" if ended.state == FAILED else ""
        self.say(f"[{done}/{self.trials}] trial {ended.number}{mark}: {told(ended, self.study.space)}{where}")


async def _check(ends: _Ends, base: Config, data_dir: str | None) -> dict[str, Any]:
    """Build what stands at the ends of a space, in a process that ends with it, and return what `check_ends` found.

    Raises:
        ConfigError: one can not work, or the base by itself.
        RunError: the images are not there, or the process died.
    """
    configs: list[Config] = []
    for *_, config in ends:
        if config not in configs:
            configs.append(config)
    with tempfile.TemporaryFile() as log:
        request = {"configs": [config.to_dict() for config in configs], "base": base.to_dict(), "data_dir": data_dir}
        found = await answer(request, log, {})
    if "index" in found:
        if found["index"] is None:
            raise ConfigError(f"the configuration that is varied can not work: {found['error']}")
        setting, value, _ = next(end for end in ends if end[2] == configs[found["index"]])
        raise refusal(setting, value, found["error"])
    if "error" in found:
        raise RunError(found["error"])
    return found
