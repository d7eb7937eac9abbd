"""promptstill: class names in, small verified classifier out.

Importing this package imports nothing heavy; each public name is fetched when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptstill.errors import PromptstillError as PromptstillError
    from promptstill.pipelines.frame import evaluate_student as evaluate
    from promptstill.pipelines.from_images import from_images as from_images
    from promptstill.pipelines.from_names import from_names as from_names
    from promptstill.pipelines.teach import teach as teach
    from promptstill.pipelines.vectors import vectors as vectors
    from promptstill.stages.predict import Classifier as Classifier
    from promptstill.stages.predict import load as load

__version__ = version("promptstill")
__all__ = ["Classifier", "PromptstillError", "evaluate", "from_images", "from_names", "load", "teach", "vectors"]

_HOMES = {
    "Classifier": ("promptstill.stages.predict", "Classifier"),
    "PromptstillError": ("promptstill.errors", "PromptstillError"),
    "evaluate": ("promptstill.pipelines.frame", "evaluate_student"),
    "from_images": ("promptstill.pipelines.from_images", "from_images"),
    "from_names": ("promptstill.pipelines.from_names", "from_names"),
    "load": ("promptstill.stages.predict", "load"),
    "teach": ("promptstill.pipelines.teach", "teach"),
    "vectors": ("promptstill.pipelines.vectors", "vectors"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'promptstill' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
