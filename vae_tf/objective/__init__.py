"""Objectives: from the log densities of one draw to a bound per example, in nats. Higher is better."""

from vae_tf.objective.base import Draw, Objective
from vae_tf.objective.elbo import Elbo
from vae_tf.objective.importance import ImportanceWeighted

__all__ = ["OBJECTIVES", "Draw", "Elbo", "ImportanceWeighted", "Objective"]

OBJECTIVES = {"elbo": Elbo, "iwae": ImportanceWeighted}
