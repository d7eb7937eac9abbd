"""Names -> class vectors: the text tower runs here, once, and never in a loop of training or evaluation."""

from promptstill.artifacts import ClassVectors
from promptstill.data.templates import expand
from promptstill.models.clip import Clip
from promptstill.models.vectors import make_vectors
from promptstill.settings import Vectors


def class_vectors(teacher: Clip, names: tuple[str, ...], settings: Vectors) -> ClassVectors:
    """Class vectors (K, D) of the names in the templates that the settings name, see :func:`make_vectors`."""
    confident = settings.weights == "confidence"
    return make_vectors(teacher, names, expand(settings.templates), confidence=confident)
