"""Objectives: from the log densities of one draw to a bound per example, in nats. Higher is better."""

from vae_tf.objective.base import Draw, Objective
from vae_tf.objective.capacity import ControlledCapacity
from vae_tf.objective.dip_vae import DipVae
from vae_tf.objective.elbo import Elbo
from vae_tf.objective.free_bits import FreeBits
from vae_tf.objective.importance import ImportanceWeighted
from vae_tf.objective.info_vae import InfoVae
from vae_tf.objective.renyi import Renyi
from vae_tf.objective.total_correlation import TotalCorrelation

__all__ = [
    "OBJECTIVES",
    "ControlledCapacity",
    "DipVae",
    "Draw",
    "Elbo",
    "FreeBits",
    "ImportanceWeighted",
    "InfoVae",
    "Objective",
    "Renyi",
    "TotalCorrelation",
]

OBJECTIVES = {
    "elbo": Elbo,
    "controlled-capacity": ControlledCapacity,
    "free-bits": FreeBits,
    "iwae": ImportanceWeighted,
    "renyi": Renyi,
    "beta-tcvae": TotalCorrelation,
    "info-vae": InfoVae,
    "dip-vae": DipVae,
}
