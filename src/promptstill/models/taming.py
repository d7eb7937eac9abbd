"""VQGANs published by taming-transformers (a yaml and a ckpt) -> a diffusers ``VQModel`` directory, once.

The two libraries have the same network under other names; the directory is what ``dir:PATH`` loads as a generator.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from promptstill.artifacts import sha256, write_atomic, write_json
from promptstill.errors import DataError, MissingError, UsageError
from promptstill.models.pickles import read_pickle

WEIGHTS, CONFIG = "diffusion_pytorch_model.safetensors", "config.json"
CODEBOOKS = {"VQModel": "quantize.embedding.weight", "GumbelVQ": "quantize.embed.weight"}

# Names inside the encoder and the decoder; the levels of the decoder are counted from the other end.
RENAMED: tuple[tuple[str, str], ...] = (
    (r"\.down\.(\d+)\.", r".down_blocks.\1."),
    (r"\.up\.(\d+)\.", r".up_blocks.\1."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.attn\.(\d+)\.", r".attentions.\1."),
    (r"\.downsample\.", ".downsamplers.0."),
    (r"\.upsample\.", ".upsamplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"(\.attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(\.attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(\.attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
)


def import_taming(checkpoint: Path, config: Path, folder: Path, trained_on: str | None = None) -> Path:
    """Convert a published checkpoint into a directory of :func:`promptstill.models.generator.load_generator`.

    A directory that was made from the same two files is left as it is. ``trained_on`` says which images the VQGAN
    saw, for the report. Returns ``folder``.

    Raises:
        MissingError: a file is not there. UsageError: the yaml describes no VQGAN, or ``folder`` holds something else.
        DataError: the checkpoint is unreadable, or its weights are not those of the yaml.
    """
    wanted = read_config(config)
    if not checkpoint.is_file():
        raise MissingError(f"checkpoint {checkpoint} does not exist; give the file that its makers published")
    source = {"checkpoint": sha256(checkpoint), "config": sha256(config)}
    if _holds(folder, source):
        return folder
    state = convert_weights(read_weights(checkpoint, wanted), wanted)
    about = {"image_size": wanted["ddconfig"]["resolution"], "source": source, "made_from": checkpoint.name}
    about["encodes"] = wanted["kind"] == "VQModel"  # a Gumbel VQGAN's encoder leads to scores of codes instead
    _write(folder, convert_config(wanted), state, about | ({"trained_on": trained_on} if trained_on else {}))
    return folder


def read_config(path: Path) -> dict[str, Any]:
    """``{kind, prefix, n_embed, embed_dim, ddconfig}`` from a model's yaml.

    ``kind`` is VQModel or GumbelVQ; ``prefix`` is where a transformer's checkpoint keeps its VQGAN.
    """
    if not path.is_file():
        raise MissingError(f"model config {path} does not exist; give the yaml published beside the checkpoint")
    try:
        model = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
        kind, prefix = str(model["target"]).rpartition(".")[2], ""
        if kind == "Net2NetTransformer":
            model, prefix = model["params"]["first_stage_config"], "first_stage_model."
            kind = str(model["target"]).rpartition(".")[2]
        params = model["params"]
        found: dict[str, Any] = {key: params[key] for key in ("n_embed", "embed_dim", "ddconfig")}
        _check(found["ddconfig"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no config of a taming-transformers VQGAN ({_brief(error)})") from None
    if kind not in CODEBOOKS:
        raise UsageError(f"{path} describes a {kind}; only {' and '.join(CODEBOOKS)} can be imported")
    if found["ddconfig"].get("double_z"):
        raise UsageError(f"{path} has double_z: it is no VQGAN but an autoencoder without a codebook")
    return found | {"kind": kind, "prefix": prefix}


def convert_config(found: Mapping[str, Any]) -> dict[str, Any]:
    """What diffusers' ``VQModel`` is built with.

    Attention stands where the *configured* resolution says, whatever size is painted later.
    """
    dd = found["ddconfig"]
    levels = len(dd["ch_mult"])
    attends = [dd["resolution"] // 2**level in dd["attn_resolutions"] for level in range(levels)]
    return {
        "_class_name": "VQModel",
        "in_channels": dd["in_channels"],
        "out_channels": dd["out_ch"],
        "block_out_channels": [dd["ch"] * each for each in dd["ch_mult"]],
        "down_block_types": ["AttnDownEncoderBlock2D" if yes else "DownEncoderBlock2D" for yes in attends],
        "up_block_types": ["AttnUpDecoderBlock2D" if yes else "UpDecoderBlock2D" for yes in reversed(attends)],
        "layers_per_block": dd["num_res_blocks"],
        "latent_channels": dd["z_channels"],
        "num_vq_embeddings": found["n_embed"],
        "vq_embed_dim": found["embed_dim"],
        "norm_num_groups": 32,
        "sample_size": dd["resolution"],
    }


def read_weights(checkpoint: Path, found: Mapping[str, Any]) -> dict[str, Tensor]:
    """The VQGAN's own tensors under their published names; losses, optimisers and a transformer are left behind."""
    content = read_pickle(checkpoint, ignore=None)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise DataError(f"{checkpoint}: its state_dict is no dictionary; give another file")
    prefix = str(found["prefix"])
    own = {key.removeprefix(prefix): value for key, value in state.items() if str(key).startswith(prefix)}
    return {key: value for key, value in own.items() if isinstance(value, Tensor)}


def convert_weights(state: Mapping[str, Tensor], found: Mapping[str, Any]) -> dict[str, Tensor]:
    """Published names and shapes -> those of ``VQModel``, in float32.

    A Gumbel VQGAN's codebook is its ``embed`` table: guided synthesis looks for the nearest row, so the projection to
    code scores is not kept.

    Raises:
        DataError: a weight is missing or has another shape than the yaml says.
    """
    from diffusers.models.autoencoders.vq_model import VQModel

    with torch.device("meta"):
        wanted = VQModel(**{k: v for k, v in convert_config(found).items() if k != "_class_name"}).state_dict()
    renamed = {_rename(key, found): tensor for key, tensor in state.items()}
    made = {key: _shaped(renamed[key], like) for key, like in wanted.items() if key in renamed}
    wrong = [key for key, like in wanted.items() if key not in made or made[key].shape != like.shape]
    if wrong:
        what = "lacks" if wrong[0] not in made else "has another shape of"
        raise DataError(
            f"the checkpoint {what} {wrong[0]} (and {len(wrong) - 1} more); the yaml belongs to another model"
        )
    return made


def _rename(key: str, found: Mapping[str, Any]) -> str:
    if key == CODEBOOKS[found["kind"]]:
        return "quantize.embedding.weight"
    for old, new in RENAMED:
        key = re.sub(old, new, key)
    top = len(found["ddconfig"]["ch_mult"]) - 1
    turned: Callable[[re.Match[str]], str] = lambda level: f"decoder.up_blocks.{top - int(level[1])}."  # noqa: E731
    return re.sub(r"^decoder\.up_blocks\.(\d+)\.", turned, key)


def _shaped(tensor: Tensor, like: Tensor) -> Tensor:
    """Attention's 1x1 convolutions become linear layers."""
    linear = tensor.flatten(1) if tensor.dim() == 4 and like.dim() == 2 else tensor
    return linear.detach().float().contiguous()


def _check(dd: Mapping[str, Any]) -> None:
    """Raise KeyError or TypeError unless all of the network's sizes are there."""
    for key in ("ch", "num_res_blocks", "z_channels", "resolution", "in_channels", "out_ch"):
        int(dd[key])
    for key in ("ch_mult", "attn_resolutions"):
        [int(each) for each in dd[key]]


def _holds(folder: Path, source: dict[str, str]) -> bool:
    """Whether the folder was made from these files; another content is refused."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    about = folder / "about.json"
    if about.is_file() and json.loads(about.read_text(encoding="utf-8")).get("source") == source:
        return (folder / CONFIG).is_file()
    raise UsageError(f"{folder} holds something else; choose another folder for the converted VQGAN, or delete it")


def _write(folder: Path, config: dict[str, Any], state: dict[str, Tensor], about: dict[str, Any]) -> None:
    """The weights first and the configuration last, so that a part of a directory is not taken for a whole one."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "about.json", about)
    write_atomic(folder / WEIGHTS, lambda part: save_file(state, part, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)


def _brief(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else (str(error).splitlines() or [type(error).__name__])[0]
