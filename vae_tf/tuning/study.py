"""The study: what a search has tried and found, in a file that Optuna and its tools read too.

`study.journal` is Optuna's journal, one line of JSON for each event; no code is read from it. One process at a time writes it, the one that
holds the folder. A trial begins with one line that holds all of its values, so that a search killed at any moment has it or has it not, and
what is suggested next is a function of the seed, the number of the trial and the trials before it: a search that was stopped goes on as if
it had not been.
"""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from vae_tf.config import Config, difference
from vae_tf.errors import RunError
from vae_tf.tuning.record import COMPLETE, FAILED, PRUNED, RUNNING, Trial
from vae_tf.tuning.space import Choices, Setting, Space, Value

__all__ = ["JOURNAL", "Study"]

JOURNAL = "study.journal"
_NAME = "vae_tf"
_IDENTITY, _IMAGES, _OUTCOME = "search", "images", "outcome"  # attributes
_ATTEMPTS = 10, 100  # to suggest what was not tried yet: where the rest can be counted, and where it can not
_STARTUP = 5  # complete trials before any is pruned


@final
class Study:
    """A search in a folder that this process holds; created if there is none.

    Args:
        folder: of the search; exists.
        base: the configuration that is varied.
        space: what is varied.
        seed: of the suggestions.

    Raises:
        RunError: the folder holds another search, or its journal is damaged.
    """

    def __init__(self, folder: Path, base: Config, space: Space, seed: int = 0):
        self.base, self.space, self.seed = base, space, seed
        self._path = folder / JOURNAL
        self._distributions = {setting.key: _distribution(setting) for setting in space.settings}
        # Whoever held the folder and its locks before is gone; of the line that it was writing, part may stand there.
        for stale in folder.glob(f"{JOURNAL}.lock*"):
            stale.unlink()
        if self._path.exists():
            whole = self._path.read_bytes()
            if not whole.endswith(b"\n"):
                with self._path.open("r+b") as file:
                    file.truncate(whole.rfind(b"\n") + 1)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._storage = JournalStorage(JournalFileBackend(str(self._path)))
            if _NAME not in [study.study_name for study in self._storage.get_all_studies()]:
                optuna.create_study(storage=self._storage, study_name=_NAME, direction="maximize")
            self._study = optuna.load_study(storage=self._storage, study_name=_NAME)
            self._identify()
            self.trials()
        except (ValueError, LookupError, TypeError, AssertionError, AttributeError, optuna.exceptions.OptunaError) as error:
            if isinstance(error, RunError):
                raise
            reason = (str(error).splitlines() or [""])[0]
            raise RunError(
                f"`{self._path}` is damaged ({type(error).__name__}: {reason}); restore it, or choose another --study."
            ) from None

    def trials(self) -> list[Trial]:
        """Return all trials, by number."""
        return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def suggest(self) -> Trial | None:
        """Begin the next trial: at first the values of the base configuration, if they are in the space.

        Returns:
            A running trial with values that no other has; None where all were tried, or, where they can not be counted, a hundred
            suggestions held nothing new.
        """
        trials = self._study.get_trials()
        tried = {self._key(frozen.params) for frozen in trials}
        values = next((values for values in self._candidates(trials) if self._key(values) not in tried), None)
        if values is None:
            return None
        self._study.add_trial(optuna.create_trial(state=TrialState.RUNNING, params=values, distributions=self._distributions))
        return self.trials()[-1]

    def require_images(self, fingerprint: str) -> None:
        """Refuse images that are not those of the trials before.

        Raises:
            RunError: the fingerprint is another.
        """
        known = self._study.user_attrs.get(_IMAGES)
        if known is None:
            self._study.set_user_attr(_IMAGES, fingerprint)
        elif known != fingerprint:
            raise RunError(
                f"the images of `{self.base.data.source}` are not those of the search in `{self._path.parent}`; restore them, or choose "
                "another --study."
            )

    def report(self, number: int, epoch: int, elbo: float) -> None:
        """Keep the validation ELBO of an epoch; one that is known already stays as it is."""
        trial_id, frozen = self._frozen(number)
        if epoch not in frozen.intermediate_values:
            self._storage.set_trial_intermediate_value(trial_id, epoch, elbo)

    def hopeless(self, number: int, after: int) -> bool:
        """Return whether a trial is to be pruned: its best ELBO so far is below the median of the complete trials at the same epoch.

        Args:
            number: of the trial.
            after: epochs before which none is pruned.
        """
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=after)
        return pruner.prune(self._study, self._frozen(number)[1])

    def finish(self, number: int, state: str, outcome: Mapping[str, Any]) -> Trial:
        """End a trial.

        Args:
            number: of the trial.
            state: `complete`, `pruned` or `failed`.
            outcome: as in `Trial`.
        """
        self._storage.set_trial_user_attr(self._frozen(number)[0], _OUTCOME, dict(outcome))
        if state == COMPLETE:
            self._study.tell(number, outcome["value"])
        else:
            # To the optimizer a failed trial is a pruned one: it then looks elsewhere, while it forgets what it is told has failed.
            self._study.tell(number, state=TrialState.PRUNED)
        return self.trials()[number]

    def _candidates(self, trials: list[FrozenTrial]) -> Iterator[dict[str, Value]]:
        """Yield values for the next trial, the best guess first, until all that can be counted are named."""
        own = None if trials else self.space.values_of(self.base)
        if own is not None:
            yield own
        size = self.space.size
        for attempt in range(_ATTEMPTS[size is None]):
            yield self._ask(trials, attempt)
        if size is not None:
            start = random.Random(self._seed(trials, 0)).randrange(size)
            yield from (self.space.at((start + step) % size) for step in range(size))

    def _seed(self, trials: list[FrozenTrial], attempt: int) -> int:
        return int(np.random.SeedSequence([self.seed, len(trials), attempt]).generate_state(1)[0])

    def _ask(self, trials: list[FrozenTrial], attempt: int) -> dict[str, Value]:
        """Return a suggestion, by a sampler that remembers nothing but the trials."""
        seed = self._seed(trials, attempt)
        scratch = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        scratch.add_trials(trials)
        return scratch.ask(self._distributions).params

    def _frozen(self, number: int) -> tuple[int, FrozenTrial]:
        study_id = self._storage.get_study_id_from_name(_NAME)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return trial_id, self._storage.get_trial(trial_id)

    def _key(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        return tuple(setting.text(values[setting.key]) for setting in self.space.settings)

    def _identify(self) -> None:
        """Write down what is searched, or refuse what is another search."""
        identity = {"base": self.base.to_dict(), "search": {s.key: str(s) for s in self.space.settings}, "seed": self.seed}
        identity = json.loads(json.dumps(identity))  # as it comes back
        stored = self._study.user_attrs.get(_IDENTITY)
        if stored is None:
            self._study.set_user_attr(_IDENTITY, identity)
            return
        stored["base"] = json.loads(json.dumps(Config.from_dict(stored["base"]).to_dict()))  # keys that are younger have their defaults
        if stored != identity:
            raise RunError(
                f"`{self._path.parent}` holds another search ({difference(stored, identity)}); choose another folder for --study, or give "
                "the settings that it began with."
            )


def _distribution(setting: Setting) -> BaseDistribution:
    if isinstance(setting, Choices):
        return CategoricalDistribution(setting.texts)
    if setting.integer:
        return IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return FloatDistribution(setting.low, setting.high, log=setting.log)


def _trial(frozen: FrozenTrial) -> Trial:
    outcome = frozen.user_attrs.get(_OUTCOME, {})
    state = RUNNING
    if frozen.state.is_finished():
        state = FAILED if "error" in outcome else COMPLETE if frozen.state == TrialState.COMPLETE else PRUNED
    return Trial(frozen.number, dict(frozen.params), state, dict(sorted(frozen.intermediate_values.items())), outcome)
