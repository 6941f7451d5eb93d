"""A small search, for tests; and a toy in the place of its trials."""

import asyncio

import numpy as np

from vae_tf import config as configs
from vae_tf.tuning import worker
from vae_tf.tuning.record import COMPLETE, PRUNED
from vae_tf.tuning.search import tune
from vae_tf.tuning.space import Space

SMALL = ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latent_dim=2", "training.jit_compile=false"]
SMALL += ["training.batch_size=300", "training.epochs=3", "objective.warmup_epochs=0"]
BASE = configs.preset("digits").override(SMALL)
SPACE = Space.parse(["training.learning_rate=1e-3..1e-1:log", "model.latent_dim=2,3", "training.batch_size=200..400:int"])


CHECKED = {"settled": 0, "images": "a fingerprint"}


class Killed(BaseException):
    """Ends a search as a signal would: nothing catches it."""


async def in_this_process(request, log, environment, goes_on=None):
    return worker.respond(request, goes_on)


class Toy:
    """Trains nothing: the nearer the learning rate is to 10**best, the better, and the more the more epochs; dies after `lives` epochs.

    It trains for as many epochs as the configuration says.
    """

    def __init__(self, lives=np.inf, best=-2):
        self.lives, self.best, self.at_once, self.most = lives, best, 0, 0

    async def __call__(self, request, log, environment, goes_on=None):
        if "configs" in request:
            return CHECKED
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        value = -abs(np.log10(request["config"]["training"]["learning_rate"]) - self.best)
        epochs = request["config"]["training"]["epochs"]
        spent = {"epochs": epochs, "seconds": 60.0}
        try:
            for epoch in range(1, epochs + 1):
                await asyncio.sleep(0)
                go_on = goes_on(epoch, value - 1 / epoch)
                self.lives -= 1
                if self.lives <= 0:
                    raise Killed
                if not go_on:
                    return {"state": PRUNED, **spent, "epochs": epoch}
        finally:
            self.at_once -= 1
        return {"state": COMPLETE, "value": value, "standard_error": 0.1, "images": 162, **spent}


def tuned(folder, trials=14, base=BASE, space=SPACE, lines=None, **options):
    return tune(base, space, folder, trials=trials, say=(lambda line: None) if lines is None else lines.append, **options)
