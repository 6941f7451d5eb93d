"""What a study remembers of a trial."""

from dataclasses import dataclass
from typing import Any, final

from vae_tf.tuning.space import Value

__all__ = ["COMPLETE", "FAILED", "PRUNED", "RUNNING", "Trial"]

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"


@final
@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: from 0.
        values: of the settings, by key.
        state: `complete`, `pruned`, `failed` or `running`.
        elbo: validation ELBO by epoch, from 1; nats per image.
        outcome: what the training found: `value`, `standard_error`, `images`, `epochs`, `seconds`, or `error`.
    """

    number: int
    values: dict[str, Value]
    state: str
    elbo: dict[int, float]
    outcome: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return f"trial-{self.number:03}"

    @property
    def last_elbo(self) -> float | None:
        """The validation ELBO of its last epoch, None if it had none."""
        return self.elbo[max(self.elbo)] if self.elbo else None
