"""A process that does one thing for a search: check the ends of its space, or train a trial. `python -m vae_tf.tuning.worker`

It is asked by one line of JSON on standard input, and answers by lines on what was standard output; what libraries print goes to standard
error. After each epoch it waits for a word whether to go on. When standard input closes, whoever asked is gone, and the process ends at
once: what a training loses by that, it does again when it is resumed.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TextIO

from vae_tf.errors import ConfigError, DivergedRun, VaeTfError
from vae_tf.startup import start_tensorflow

__all__ = ["GO_ON", "PRUNE", "main", "respond"]

GO_ON, PRUNE = "go on", "prune"


def main() -> None:
    """Answer one request."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    words: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, words), daemon=True).start()

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    def goes_on(epoch: int, elbo: float) -> bool:
        say({"epoch": epoch, "elbo": elbo})
        return words.get() == GO_ON

    say(respond(json.loads(words.get()), goes_on))


def respond(request: dict[str, Any], goes_on: Callable[[int, float], bool]) -> dict[str, Any]:
    """Do what is asked and return the answer, or the `error`, and whether it is one `of_trial` or would stop every trial.

    Args:
        request: arguments of `train_trial`, or of `check_ends`.
        goes_on: as in `train_trial`.
    """
    try:
        start_tensorflow(alone=True)
        from vae_tf.tuning import trial

        return trial.train_trial(**request, goes_on=goes_on) if "folder" in request else trial.check_ends(**request)
    except Exception as error:
        traceback.print_exc()
        ours = isinstance(error, VaeTfError | OSError)
        text = str(error) if ours else f"{type(error).__name__}: {(str(error).splitlines() or ['out of memory'])[0][:300]}"
        # What is wrong with these values, or too much for the machine, is told from what would stop every trial.
        return {"error": text, "of_trial": isinstance(error, ConfigError | DivergedRun) or not ours}


def _listen(source: TextIO, words: "SimpleQueue[str]") -> None:
    for line in source:
        words.put(line.removesuffix("\n"))
    os._exit(1)


if __name__ == "__main__":
    main()
