"""A sample of all models, in which every piece appears, is trained for a step, exported and verified against its run."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path

import numpy as np
import pytest
from export_runs import LABEL_SIZE, make_run, run_forked
from pieces import REGISTRIES, senseless, tiny

from export import Manifest, export, onnx_graph, verify
from export.summary import summarise
from vae_tf.build import build_objective
from vae_tf.model import VAE

VAMP_PRIORS = ("vampprior", "top-down/vampprior")
SHAPES = ((8, 8, 1), (6, 5, 3))

Case = dict[str, str | None]


def generators() -> Iterator[Case]:
    """Every prior, with a posterior and a kind of label that are new if they fit; a VampPrior, which is made of it, with each posterior."""
    kinds, seen = [*REGISTRIES["condition"], None], Counter[str | None]()
    for prior in dict.fromkeys([*REGISTRIES["prior"], *VAMP_PRIORS]):
        every = ({"prior": prior, "posterior": posterior, "condition": kind} for posterior in REGISTRIES["posterior"] for kind in kinds)
        fitting = [case for case in every if not senseless(case)]
        posteriors = sorted({case["posterior"] for case in fitting}, key=lambda name: (seen[name], name))
        for posterior in posteriors if prior in VAMP_PRIORS else posteriors[:1]:
            case = min((case for case in fitting if case["posterior"] == posterior), key=lambda case: seen[case["condition"]])
            seen.update([posterior, case["condition"]])
            yield case


def fits(objective: str, case: Case) -> bool:
    lacks = [REGISTRIES["posterior"][case["posterior"]].lacks]
    lacks += [REGISTRIES["prior"][name].lacks for name in case["prior"].removeprefix("top-down/").split() if name != "top-down"]
    needs = build_objective(tiny(objective=objective), 10).needs
    return not any(needs & lacked.keys() for lacked in lacks)


def in_turn(networks: list[str]) -> Iterator[str]:
    """Each once, then the first two, which are small."""
    return chain(networks, cycle(networks[:2]))


def sample() -> list[Case]:
    """These generators, repeated as need be, with likelihoods, decoders and encoders in turn, and an objective that is new if one fits."""
    cases, seen, found = list(generators()), Counter[str](), []
    size = max(len(cases), *(len(REGISTRIES[axis]) for axis in ("likelihood", "objective")))
    axes = {axis: in_turn(list(REGISTRIES[axis])) for axis in ("decoder", "encoder")} | {"likelihood": cycle(REGISTRIES["likelihood"])}
    for case, _ in zip(cycle(cases), range(size)):
        objective = min((name for name in REGISTRIES["objective"] if fits(name, case)), key=lambda name: seen[name])
        seen.update([objective])
        found.append(case | {axis: next(names) for axis, names in axes.items()} | {"objective": objective})
    return found


SAMPLE = sample()


def train_a_step(vae: VAE) -> None:
    """Train, then move all weights far from where they start: a flow starts as the identity, and a part may be idle."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, [4, *vae.generator.image_shape]).astype(np.float32)
    y = None
    if vae.condition is not None:
        integer = vae.condition.label.dtype.is_integer
        y = np.arange(4) % LABEL_SIZE if integer else rng.normal(size=[4, LABEL_SIZE]).astype(np.float32)
    vae.run_eagerly = True  # to compile one step takes longer than to take it
    vae.fit(x, y, batch_size=4, verbose=0)
    for variable in vae.trainable_variables:
        variable.assign_add(rng.normal(0, 0.2, variable.shape))


@pytest.mark.parametrize("axis", REGISTRIES)
def test_every_piece_is_in_the_sample(axis: str):
    assert {case[axis] for case in SAMPLE} >= set(REGISTRIES[axis])


@pytest.mark.parametrize("number", range(len(SAMPLE)), ids=["-".join(filter(None, case.values())) for case in SAMPLE])
def test_what_can_be_trained_is_exported_and_verified(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (onnx_graph, verify):
        monkeypatch.setattr(module, "run_module", run_forked)
    run = make_run(tmp_path / "run", tiny(**SAMPLE[number]), SHAPES[number % len(SHAPES)], train_a_step)
    folder = export(run, tmp_path / "models", "any")
    manifest = Manifest.read(folder)
    generator, label = manifest.generator, SAMPLE[number]["condition"]
    assert sum(part.size for part in generator.noise_layout) == generator.latent_dim
    assert {signature: "label" in manifest.signatures[signature].inputs for signature in manifest.signatures} == dict.fromkeys(
        ("serving_default", "sample", "png"), label is not None
    )
    assert (generator.label is None) == (label is None)
    for told in ((folder / "MODEL_CARD.md").read_text(), summarise(manifest, {})):
        assert ("zero, " in told) == (label == "classes")
        assert (f"a vector of {LABEL_SIZE} numbers" in told) == (label == "vector")
        assert all(part.name in told for part in generator.noise_layout)
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(Path("MODEL_CARD.md").read_text().split("```python\n")[1].split("```")[0], names)
    assert names["mean"].shape == (64, *generator.image_shape)
    assert {name: list(form.parity) for name, form in manifest.formats.items()} == {
        "saved_model": ["mean", "x", "image_bytes"],
        "onnx": ["mean"],
    }
    assert all(value.largest <= value.tolerance for form in manifest.formats.values() for value in form.parity.values())
