"""From what sides printed to a table: rates, ratios, and whether it was the same work."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from peers.work import Work

__all__ = ["TOLERANCE", "Row", "markdown", "wrong"]

TOLERANCE = 0.03  # of the loss in the last epoch: seeds differ by less, other models by more
_OURS = "vae_tf"


@dataclass
class Row:
    """A side in one variant, and what it printed in each round.

    Attributes:
        side: whose.
        variant: which of its ways.
        runs: what it printed, one for each round.
        failure: why it has no numbers, or "".
    """

    side: str
    variant: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    @property
    def name(self) -> str:
        """For people, and to choose rows by."""
        return f"{self.side} {self.variant}"

    @property
    def precision(self) -> str:
        """Of the arithmetic."""
        return self.runs[0]["precision"]

    @property
    def loss(self) -> float:
        """The mean of the last epoch, in nats per image: the median over rounds."""
        return median(run["losses"][-1] for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """The largest resident memory of any round."""
        return max(run["peak_bytes"] for run in self.runs)

    @property
    def epoch_s(self) -> float:
        """How long an epoch takes: the median over all but the first, of all rounds."""
        return median(seconds for run in self.runs for seconds in run["epoch_s"])

    def first_step_s(self, steps: int) -> float:
        """Return the time from the making of the model to the end of the first step, the median over rounds.

        Where a program tells only after several steps, the time that the others take later is taken off.

        Args:
            steps: of an epoch.
        """
        return median(max(0.0, run["first_s"] - (run["first_steps"] - 1) * self.epoch_s / steps) for run in self.runs)


def wrong(work: Work, found: dict[str, Any]) -> str:
    """Return why what a side printed can not be compared, or ""."""
    if found["parameters"] not in (None, work.parameters):
        return f"another model: it has {found['parameters']:,} parameters, and not {work.parameters:,}"
    return ""


def markdown(work: Work, rows: list[Row], images: int, limit: float) -> str:
    """Return a table, fastest first; those without numbers come last.

    The best peer is the fastest of another project that did the same work, as its loss tells.

    Args:
        work: what was done.
        rows: by whom.
        images: of an epoch.
        limit: the machine's rate of multiplying large float32 matrices, FLOP/s.
    """
    done, steps = [row for row in rows if not row.failure], images // work.batch
    taken = steps * max((len(row.runs[0]["losses"]) for row in done), default=0)
    lines = [
        "| side | precision | images/s | of the best peer | of the best in its precision | of the limit "
        f"| first step, s | peak memory, MB | loss after {taken:,} steps |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    usual = median(row.loss for row in done) if done else 0.0
    same = [row for row in done if abs(row.loss - usual) <= TOLERANCE * abs(usual)]
    for row in sorted(done, key=lambda row: row.epoch_s):
        peers = [peer for peer in same if peer.side != _OURS]
        share = work.flop * steps / row.epoch_s / limit
        cells = (
            row.name,
            row.precision,
            f"{steps * work.batch / row.epoch_s:,.0f}",
            _ratio(row, peers),
            _ratio(row, [peer for peer in peers if peer.precision == row.precision]),
            f"{share:.0%}",
            f"{row.first_step_s(steps):.1f}",
            f"{row.peak_bytes / 1e6:,.0f}",
            f"{row.loss:.2f}{'' if row in same else ', not the same work'}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {row.name} | no numbers: {row.failure.replace('|', '/')} | | | | | | | |" for row in rows if row.failure]
    return "\n".join(lines)


def _ratio(row: Row, peers: list[Row]) -> str:
    best_s = min((peer.epoch_s for peer in peers), default=None)
    return "" if best_s is None else f"{best_s / row.epoch_s:.2f}"
