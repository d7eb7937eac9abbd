"""Texts with a hole for a class name."""

from collections.abc import Sequence

PLAIN = "a photo of a {}."

# What CoOp and its followers ask CLIP about a data set without learning; the others get the plain one.
DATASET_TEMPLATES = {
    "OxfordPets": "a photo of a {}, a type of pet.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a photo of {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
}


def context_template(length: int, words: str = "a photo of a") -> str:
    """The text into which ``length`` learned tokens are put, in place of the words in front of the class name.

    They take the place of the first of these words; if there are more tokens than words, a place holder each.
    """
    return f"{words.strip()} {{}}." if length <= len(words.split()) else " ".join(["X"] * length) + " {}."


def expand(templates: Sequence[str]) -> tuple[str, ...]:
    """Templates and names of sets (``settings.TEMPLATE_SETS``) -> templates, each once, in order."""
    found = [text for name in templates for text in ((name,) if "{}" in name else _set(name))]
    return tuple(dict.fromkeys(found))


def _set(name: str) -> tuple[str, ...]:
    kind, _, count = name.partition("-")
    return imagenet_templates(int(count)) if kind == "imagenet" else (DATASET_TEMPLATES[name],)


def imagenet_templates(count: int = 80) -> tuple[str, ...]:
    """OpenAI's 80 templates for ImageNet in their order; the first ``count`` of them with the plainest put in front.

    The 60 are those that PromptSRC averages its frozen class vectors over, in its order.
    """
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    every = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
    if count >= len(every):
        return every
    return (PLAIN, *(template for template in every[:count] if template != PLAIN))[:count]
