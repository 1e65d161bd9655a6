"""hubel gives a program sight: from a folder of images to a network that is trained, checked and explained.

    run = hubel.train("digits", model="lenet5", epochs=10)
    run.evaluate(); run.predict(["a.jpg"]); hubel.Run.open("runs/digits-lenet5/1")

Names are imported when they are used, so that `import hubel` takes no time.
"""

import importlib
from typing import Any

from hubel.waiting import wait_briefly

wait_briefly()  # before torch is loaded

_PLACES = {
    "train": "hubel.api",
    "resume": "hubel.api",
    "Run": "hubel.api",
    "Ensemble": "hubel.ensembles.ensemble",
    "baseline": "hubel.baselines.traditional",
    "pixel_baseline": "hubel.baselines.clustered",
    "create_model": "hubel.api",
    "info": "hubel.api",
    "load_dataset": "hubel.api",
    "inspect_data": "hubel.inspecting",
    "convert_data": "hubel.converting",
    "Recipe": "hubel.recipe",
    "UserError": "hubel.errors",
    "Dataset": "hubel.data.dataset",
    "Task": "hubel.tasks.base",
    "Callback": "hubel.training.callbacks",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hubel")
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    try:  # hubel.train is the function; hubel.tasks and the like are packages
        return importlib.import_module(f"hubel.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module 'hubel' has no attribute '{name}'") from None


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
