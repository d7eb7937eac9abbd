"""What the image towers learn from: which icons are drawn how often, what they mean, and the losses."""

from dataclasses import dataclass
from pathlib import Path

import captions
import numpy as np
import torch
import torch.nn.functional as F
from kinds import added_kinds, kind_table, kinds_of, read_taxonomy
from pictures import Icons
from sentences import encode_cached, in_styles, load_space, objects
from text import embed, icon_phrases, load_tower
from torch import Tensor

# Each style's share of the pictures; "" are icons whose style nobody states.
SHARES = {"outline": 0.24, "solid": 0.21, "duotone": 0.08, "flat color": 0.14, "emoji": 0.16, "pixel art": 0.05,
          "hand drawn": 0.04, "3d": 0.04, "": 0.04}  # fmt: skip
# How often physical things, and names outside the bank, are drawn against the others: for the teacher, and for the
# student, which is too small for everything and learns first what users ask for.
TEACHER_TASTE, STUDENT_TASTE = (5.0, 0.1), (8.0, 0.05)
ITSELF, KINDS = 0.4, 0.3  # shares of the target on the name itself and on its kinds; likeness has the rest

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
    """Names (K), their unit vectors (K, D), those of each name in each style (K, S, D); then rarer names (R, D).

    The kinds of each of the K + R names: rows of the bank ``(K + R, M)`` and their shares.
    """

    names: list[str]
    vectors: Tensor
    styled: Tensor
    styles: list[str]
    concrete: np.ndarray
    rare: list[str]
    rare_vectors: Tensor
    rare_concrete: np.ndarray
    kinds: Tensor
    kind_shares: Tensor


def load_bank(work: Path) -> Bank:
    """The bank of the text tower, with wide kinds added that only few icons are named by."""
    a, taxonomy = np.load(work / "bank_tower.npz"), read_taxonomy(captions.fetch_wordnet(work))
    names = a["names"].tolist()
    known = set(names)
    phrases = [p for p in icon_phrases(captions.count_sets(captions.read_icons(work))) if p not in known]
    added = added_kinds(kinds_of(names, taxonomy), known)
    rare = sorted(set(phrases) - set(added))
    index, shares = kind_table(kinds_of([*names, *added, *rare], taxonomy), names, added)
    tower, styles = load_tower(work), a["styles"].tolist()
    styled = embed(tower, in_styles((n, s) for n in added for s in styles)).reshape(len(added), len(styles), -1)
    vectors = np.concatenate([a["vectors"], embed(tower, objects(added))])
    encoded = dict(zip(phrases, encode_cached(work / "text" / "phrases", objects(phrases)), strict=True))
    rare_vectors = load_space(work)(np.stack([encoded[p] for p in rare]))
    nouns = captions.read_nouns(captions.fetch_wordnet(work))
    concrete = np.array([captions.is_concrete(p, nouns) for p in [*added, *rare]])
    return Bank([*names, *added], unit(vectors), unit(np.concatenate([a["style_vectors"], styled])), styles,
                np.concatenate([a["concrete"], concrete[: len(added)]]), rare, torch.from_numpy(rare_vectors),
                concrete[len(added) :], torch.from_numpy(index), torch.from_numpy(shares))  # fmt: skip


def unit(rows: np.ndarray) -> Tensor:
    """Unit vectors along the last axis, float32."""
    return F.normalize(torch.from_numpy(rows).float(), dim=-1)


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


def make_lesson(icons: Icons, bank: Bank, taste: tuple[float, float]) -> Lesson:
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
    """Target probabilities over the bank, ``(b, K)``: on the name itself, on its kinds, on all names by their likeness.

    What a name lacks (a rarer name is not in the bank, some have no kinds) goes to its likeness.
    """
    rows = len(bank.names)
    known, row = name < rows, name.clamp(max=rows - 1)
    own = torch.where(known[:, None], bank.vectors[row], bank.rare_vectors[(name - rows).clamp(0)])
    given = (F.one_hot(row, rows) * (ITSELF * known[:, None])).float()
    given.scatter_add_(1, bank.kinds[name], KINDS * bank.kind_shares[name])
    return given + (1 - given.sum(1, keepdim=True)) * ((own @ bank.vectors.T) / temperature).softmax(1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Batch mean of the cross entropy to target probabilities, in nats."""
    return -(target * logits.log_softmax(1)).sum(1).mean()


def style_loss(v: Tensor, name: Tensor, style: Tensor, bank: Bank, scale: Tensor) -> Tensor:
    """Cross entropy over the styles of each image's own name; rarer names and unstated styles do not count."""
    known = (style >= 0) & (name < len(bank.names))
    logits = scale * torch.einsum("bd,bsd->bs", v[known], bank.styled[name[known]])
    return F.cross_entropy(logits, style[known], reduction="sum") / known.sum().clamp(min=1)
