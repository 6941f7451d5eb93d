"""Every piece with tiny options, for tests that run over all of them. A piece without a line here fails the suite."""

from vae_tf.condition import CONDITIONS
from vae_tf.config import Config
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.networks import DECODERS, ENCODERS
from vae_tf.objective import OBJECTIVES
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS

_FLOW = {"layers": 2, "hidden": 4}
_RESIDUAL = {"filters": [4, 4], "hidden": 6}

OPTIONS = {
    "encoder": {"mlp": {"hidden": [6]}, "conv": {"filters": [3], "hidden": 6}, "residual": _RESIDUAL},
    "decoder": {"mlp": {"hidden": [6]}, "conv": {"filters": [3], "hidden": 6}, "residual": _RESIDUAL},
    "posterior": {
        "diagonal-normal": {},
        "full-normal": {},
        "mixture": {"components": 2},
        "coupling-flow": {**_FLOW, "context": 3},
        "iaf": {**_FLOW, "context": 3},
        "hierarchical": {"hidden": [4]},
        "ladder": {"hidden": [4]},
    },
    "prior": {
        "standard-normal": {},
        "conditional-normal": {"hidden": [4]},
        "mixture": {"components": 3},
        "vampprior": {"components": 3},
        "coupling-flow": _FLOW,
        "iaf": _FLOW,
        "top-down": {"hidden": [4]},
    },
    "likelihood": {
        "bernoulli": {},
        "continuous-bernoulli": {},
        "binomial": {},
        "normal": {},
        "normal-learned-scale": {},
        "normal-pixel-scale": {},
        "laplace": {},
        "laplace-learned-scale": {},
        "beta": {},
        "categorical": {},
        "discretized-logistic": {},
        "discretized-logistic-mixture": {"components": 2},
    },
    "objective": {
        "elbo": {},
        "iwae": {"samples": 3},
        "controlled-capacity": {},
        "free-bits": {},
        "renyi": {"samples": 2},
        "beta-tcvae": {},
        "info-vae": {},
        "dip-vae": {},
    },
    "condition": {"classes": {}, "vector": {}},
}

REGISTRIES = {
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "likelihood": LIKELIHOODS,
    "objective": OBJECTIVES,
    "condition": CONDITIONS,
}

LAYERED = {"posterior": ("hierarchical", "ladder"), "prior": ("top-down",)}
LAYERS = [2, 3]


def spec(axis, name, **options):
    """A piece as a configuration has it; `top-down/vampprior` is a hierarchy with that top."""
    name, _, top = name.partition("/")
    inner = {"top": spec("prior", top)} if top else {}
    return {"name": name, **OPTIONS[axis][name], **inner, **options}


def tiny(data=None, training=None, **axes):
    """A configuration of tiny pieces by name; `elbo` for what is not named."""
    chosen = {
        "encoder": "mlp",
        "decoder": "mlp",
        "posterior": "diagonal-normal",
        "prior": "standard-normal",
        "likelihood": "bernoulli",
    } | axes
    objective = chosen.pop("objective", None) or "elbo"
    layered = chosen["posterior"] in LAYERED["posterior"] or chosen["prior"].partition("/")[0] in LAYERED["prior"]
    model = {axis: spec(axis, name) for axis, name in chosen.items() if name}
    options = {"gradient": "total"} if objective == "elbo" and chosen["posterior"] == "iaf" else {}
    return Config.from_dict(
        {
            "data": data or {"source": "digits"},
            "model": {"latent_dim": LAYERS if layered else sum(LAYERS), **model},
            "objective": spec("objective", objective, **options),
            "training": training or {"epochs": 1, "batch_size": 4},
        }
    )


def senseless(axes):
    """Why a combination by name makes no sense, as the message must say it; None where it does."""
    posterior, prior, condition = axes["posterior"], axes["prior"], axes.get("condition")
    if posterior == "ladder" and not prior.startswith("top-down"):
        return "this prior has no layers; choose `model.prior=top-down`, or `model.posterior=hierarchical`"
    if prior.endswith("conditional-normal") and not condition:
        return "a conditional prior needs a condition, and the model has none; set `model.condition=classes`"
    if prior.endswith("vampprior"):
        if condition:
            return "a pseudo-input has no label; choose `model.prior=mixture`"
        if prior == "vampprior" and posterior in LAYERED["posterior"]:
            return "choose `model.prior={name: top-down, top: vampprior}`"
        if prior == "top-down/vampprior" and posterior not in LAYERED["posterior"]:
            return "the posterior has one layer of 5; choose `model.posterior=hierarchical`"
        if posterior == "iaf":
            return "a VampPrior needs the density of q(z | x) at any z"
    return None
