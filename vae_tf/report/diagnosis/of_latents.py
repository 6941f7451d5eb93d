"""What may be wrong with latents: nobody uses them, or the prior draws others than the encoder."""

from collections.abc import Mapping

import numpy as np

from vae_tf.report.diagnosis.finding import Finding

__all__ = ["collapsed", "holed"]

_IDLE = 0.5  # share of idle latents from which on it is worth a word
_HOLES = 0.1  # share of prior draws


def collapsed(kl: np.ndarray, active: np.ndarray, layers: Mapping[str, int] | None = None) -> Finding | None:
    """Look for latents that carry nothing.

    Args:
        kl: [D] nats per image.
        active: bool [D], whether the posterior mean varies over images.
        layers: name -> how many dimensions, top first; None for one layer.
    """
    ends = np.cumsum(list((layers or {"": len(kl)}).values()))[:-1]
    idle = [name for name, part in zip(layers or {"": 0}, np.split(active, ends)) if not part.any()]
    if idle:
        where = "No latent dimension" if layers is None else f"No dimension of {' and '.join(idle)}"
        cost = sum(part.sum() for name, part in zip(layers or {"": 0}, np.split(kl, ends)) if name in idle)
        rest = "samples differ by chance alone" if layers is None else "the other layers do the work alone"
        return Finding(
            "Posterior collapse",
            f"{where} is active: posterior means are the same for all images, up to a variance of 0.01. The KL there is {cost:.2f} nats.",
            f"Posterior means say nothing of the image there; {rest}.",
            "A smaller weight of the KL (objective.weight), if it is above 1; a KL warm-up (objective.warmup_epochs), an objective with "
            "free bits, a smaller learning rate, or a weaker decoder.",
        )
    if (~active).mean() < _IDLE:
        return None
    return Finding(
        "Most latent dimensions are idle",
        f"{(~active).sum()} of {len(active)} latent dimensions do not vary over images; together they cost "
        f"{kl[~active].sum():.2f} of {kl.sum():.2f} nats of KL.",
        "They cost the likelihood next to nothing, but the model uses far less of its latent space than it was given.",
        "Fewer latents (model.latent_dim), if that is as good; or a KL warm-up (objective.warmup_epochs), which wakes some of them.",
    )


def holed(share: float, error: float) -> Finding | None:
    """Look whether much of what the prior draws is far from what the encoder knows.

    Args:
        share: of prior draws that lie in holes of the aggregated posterior, as `report.holes` measures it.
        error: its standard error.
    """
    if share - 2 * error <= _HOLES:
        return None
    return Finding(
        "Holes of the aggregated posterior",
        f"Of draws from the prior {share:.0%} are farther from the posteriors of test images than 99 % of those are from each other.",
        "Much of what generation decodes is unlike what the decoder was trained on: expect samples that are worse than reconstructions.",
        "A prior that is learned (model.prior: vampprior, mixture or a flow), more weight of the KL, which draws posteriors to the prior, "
        "or fewer latents.",
    )
