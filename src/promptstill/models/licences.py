"""Under which licence models and data come, as far as they say so themselves."""

import json
from importlib.resources import files
from pathlib import Path

EMBEDDED = "Apache-2.0 (embedded; NOTICE names what it was made from)"
NAMES = ("nano", "nano-student", "nano-vqgan")
OWN = "your own data"


def model_licence(uri: str) -> str:
    """The licence of a model's weights by its URI; where it tells none, who must be asked."""
    if "+" in uri:  # an ensemble
        return "; ".join(f"{part}: {model_licence(part)}" for part in uri.split("+"))
    name = uri.removeprefix("prompted:")
    kind, _, rest = name.partition(":")
    if name in NAMES:
        return EMBEDDED
    if not rest:
        return "none, it has no weights" if uri == "pixels" else f"that of the model that {name} was made from"
    if kind == "timm":
        return _timm(rest)
    if kind == "openclip":
        return f"that of the publisher of {rest}"
    if kind == "dir":
        about = Path(rest) / "about.json"
        stated = json.loads(about.read_text(encoding="utf-8")).get("licence") if about.is_file() else None
        return str(stated or "not stated in its folder")
    return f"that of the publisher of {rest}"


def _timm(name: str) -> str:
    import timm

    if "." not in name:
        return "trained from random weights"
    config = timm.get_pretrained_cfg(name)
    return str((config and config.license) or f"that of the publisher of {name}")


def data_licence(uri: str) -> str:
    """The licences of pictures by their source."""
    if uri != "pictograms":
        kind, _, rest = uri.partition(":")
        return f"that of the publisher of {uri}" if rest and kind != "dir" else OWN
    about = json.loads(files("promptstill.assets").joinpath("pictograms", "pictograms.json").read_text("utf-8"))
    stated = sorted({str(each["licence"]) for each in about["sets"].values()})
    return f"{', '.join(stated)} (by icon set; NOTICE-ICONS.md)"
