"""What the image towers learn from: which icons are drawn how often, what they mean, and the losses."""

from dataclasses import dataclass
from pathlib import Path

import captions
import numpy as np
import torch
import torch.nn.functional as F
from pictures import Icons
from sentences import encode_cached, load_space, objects
from text import icon_phrases
from torch import Tensor

# Each style's share of the pictures; "" are icons whose style nobody states.
SHARES = {"outline": 0.25, "solid": 0.22, "duotone": 0.08, "flat color": 0.14, "emoji": 0.15, "pixel art": 0.055,
          "hand drawn": 0.045, "3d": 0.02, "": 0.04}  # fmt: skip
# How often physical things, and names outside the bank, are drawn against the others: for both towers, and for the
# student alone, which is too small for everything and learns first what users ask for.
BOTH, ALONE = (3.0, 0.2), (8.0, 0.05)

# Validation: these names of these sets (with the sets that share their drawings) are put aside from training.
ASIDE_SETS = {"noto", "noto-v1", "lucide", "lucide-lab", "feather", "icon-park", "icon-park-outline", "icon-park-solid",
              "icon-park-twotone", "streamline-freehand", "streamline-freehand-color", "pixelarticons"}  # fmt: skip
ASIDE_NAMES = ("apple", "balloon", "banana", "bell", "bicycle", "bomb", "bone", "brain", "cactus", "cake", "carrot",
               "castle", "chair", "clock", "cookie", "crab", "crown", "diamond", "drum", "ear", "egg", "ghost",
               "guitar", "hammer", "helicopter", "key", "lollipop", "magnet", "microscope", "mountain", "octopus",
               "panda", "pencil", "pizza", "rabbit", "robot", "rocket", "scissors", "skull", "snail", "snowflake",
               "sofa", "telescope", "trophy", "turtle", "wrench")  # fmt: skip


@dataclass(frozen=True)
class Bank:
    """Names (K), their unit vectors (K, D), those of each name in each style (K, S, D); then rarer names (R, D)."""

    names: list[str]
    vectors: Tensor
    styled: Tensor
    styles: list[str]
    concrete: np.ndarray
    rare: list[str]
    rare_vectors: Tensor
    rare_concrete: np.ndarray


def load_bank(work: Path) -> Bank:
    """The bank of the trained text tower if there is one, else that of the sentence encoder."""
    a = np.load(work / ("bank_tower.npz" if (work / "text.done").exists() else "bank.npz"))
    vectors, styled = (F.normalize(torch.from_numpy(a[k]).float(), dim=-1) for k in ("vectors", "style_vectors"))
    known = set(a["names"].tolist())
    rare = [p for p in icon_phrases(captions.count_sets(captions.read_icons(work))) if p not in known]
    rare_vectors = load_space(work)(encode_cached(work / "text" / "phrases", objects(rare)))
    nouns = captions.read_nouns(captions.fetch_wordnet(work))
    concrete = np.array([captions.is_concrete(p, nouns) for p in rare])
    return Bank(a["names"].tolist(), vectors, styled, a["styles"].tolist(), a["concrete"], rare,
                torch.from_numpy(rare_vectors), concrete)  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """Which icons are drawn how often, and the name and style number (or -1) of every icon.

    A name below K is a row of the bank, one from K on a rarer name.
    """

    indices: np.ndarray
    cumulative: np.ndarray
    name: np.ndarray
    style: np.ndarray

    def draw(self, step: int, count: int) -> np.ndarray:
        """``count`` icon indices of a step, a function of the step alone."""
        return self.indices[np.searchsorted(self.cumulative, np.random.default_rng((7, step)).random(count))]


def is_aside(row: dict) -> bool:
    """Whether an icon is for validation only."""
    return row["set"] in ASIDE_SETS and row["words"] in ASIDE_NAMES


def make_lesson(icons: Icons, bank: Bank, taste: tuple[float, float] = BOTH) -> Lesson:
    """Names by the square root of their frequency, physical things oftener, and each style with its share."""
    number = {n: i for i, n in enumerate(bank.names + bank.rare)}
    style_number = {s: i for i, s in enumerate(bank.styles)}
    name = np.array([number.get(r["words"], number.get(captions.clean(r["words"]), -1)) for r in icons.rows])
    style = np.array([style_number.get(r["style"], -1) for r in icons.rows])
    indices = np.array([i for i in icons.train_indices if name[i] >= 0 and not is_aside(icons.rows[i])])
    count = np.bincount(name[indices], minlength=len(number))[name[indices]]
    concrete = np.concatenate([bank.concrete, bank.rare_concrete])[name[indices]]
    weight = np.where(concrete, taste[0], 1.0) * np.where(name[indices] < len(bank.names), 1.0, taste[1])
    weight /= np.sqrt(count)
    for word, share in SHARES.items():
        members = style[indices] == style_number.get(word, -1)
        weight[members] *= share / max(weight[members].sum(), 1e-9)
    return Lesson(indices, np.cumsum(weight / weight.sum()).clip(max=1 - 1e-12), name, style)


def soft_targets(name: Tensor, bank: Bank, temperature: float = 0.05) -> Tensor:
    """Target probabilities over the bank, ``(b, K)``: half on the name itself, half on all names by their likeness.

    A rarer name has the second half only.
    """
    rows = len(bank.names)
    known = name < rows
    own = torch.where(known[:, None], bank.vectors[name.clamp(max=rows - 1)], bank.rare_vectors[(name - rows).clamp(0)])
    alike = ((own @ bank.vectors.T) / temperature).softmax(1)
    itself = F.one_hot(name.clamp(max=rows - 1), rows)
    return torch.where(known[:, None], 0.5 * alike + 0.5 * itself, alike)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Batch mean of the cross entropy to target probabilities, in nats."""
    return -(target * logits.log_softmax(1)).sum(1).mean()


def style_loss(v: Tensor, name: Tensor, style: Tensor, bank: Bank, scale: Tensor) -> Tensor:
    """Cross entropy over the styles of each image's own name; rarer names and unstated styles do not count."""
    known = (style >= 0) & (name < len(bank.names))
    logits = scale * torch.einsum("bd,bsd->bs", v[known], bank.styled[name[known]])
    return F.cross_entropy(logits, style[known], reduction="sum") / known.sum().clamp(min=1)
