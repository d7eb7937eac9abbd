"""The text tower of the nano models: a small CLIP text transformer that learns to say what a sentence encoder says.

    python recipes/nano/text.py WORK [STEPS]

Run after icons.py. It writes, in this order, and skips what is there:

* ``space.npz``            ``mean`` (384,) and ``basis`` (384, 128): target(x) = normalise((x - mean) @ basis)
* ``bank.npz``             the names that icons are trained with, and their vectors by the sentence encoder
* ``text.safetensors``     the text tower, under open_clip's CLIP names
* ``bank_tower.npz``       the bank again, by the text tower
* ``text.json``            what was measured on texts that were never trained on
"""

import json
import math
import random
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import captions
import numpy as np
import torch
import torch.nn.functional as F
from kinds import nearest_kinds, read_taxonomy
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from safetensors.torch import load_file, save_file
from sentences import (
    DIM,
    encode_averaged,
    encode_cached,
    in_styles,
    load_encoder,
    load_space,
    make_space_and_bank,
    normalise,
    objects,
    save_bank,
)
from torch import Tensor

CONTEXT = 32
TOWER = {"context_length": CONTEXT, "vocab_size": 49408, "width": 112, "heads": 7, "layers": 4}
SLICE = 128  # rows that go through the tower together: of like length, and small enough for the cache
LEAN = 0.8  # how far a noun outside the bank is moved towards its nearest kind in it
RELATIONAL = 0.5  # weight of the relational term; without it the cosine is higher and the neighbours are worse


# --- the corpus -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Texts of one kind: (name, style) with "" for no style, their targets (n, 128), and their share of a batch."""

    texts: list[tuple[str, str]]
    targets: np.ndarray
    share: float

    def split(self) -> tuple["Group", "Group"]:
        """The texts to train on and the held-out ones (about 2%, chosen by their checksum)."""
        out = np.array([zlib.crc32(" / ".join(t).encode()) % 50 == 0 for t in self.texts])
        parts = [([t for t, o in zip(self.texts, out, strict=True) if o == want], self.targets[out == want])
                 for want in (False, True)]  # fmt: skip
        return Group(*parts[0], self.share), Group(*parts[1], self.share)


def icon_phrases(counts: dict[str, int]) -> list[str]:
    """The words of all training icons, and the runs of words that at least two of them hold."""
    names = {n for n in map(captions.clean, counts) if len(n) > 2 and not any(c.isdigit() for c in n)}
    runs = Counter(run for name in names for run in captions.phrases(name))
    return sorted(names | {run for run, count in runs.items() if count > 1 and len(run) > 2})


def make_corpus(work: Path) -> tuple[list[Group], dict[str, Group]]:
    """Training groups, and held-out groups by what they hold: icon phrases, nouns, styled names."""
    space, bank = load_space(work), np.load(work / "bank.npz")
    names, known = bank["names"].tolist(), set(bank["names"].tolist())
    nouns = captions.read_nouns(captions.fetch_wordnet(work))
    phrases = [p for p in icon_phrases(captions.count_sets(captions.read_icons(work))) if p not in known]
    things = [n.text for n in nouns.values() if n.common and (captions.is_thing(n) or " " not in n.text)]
    things = sorted((set(things) | set(captions.OTHER_STYLES)) - known - set(phrases))
    rng = random.Random(1)
    pairs = [(rng.choice(names if rng.random() < 0.7 else things), rng.choice(captions.OTHER_STYLES))
             for _ in range(32768)]  # fmt: skip

    icons, seen = Group([(p, "") for p in phrases], space(encode_cached(work / "text" / "phrases", objects(phrases))),
                        0.2).split()  # fmt: skip
    meant = space(encode_cached(work / "text" / "things", objects(things)))
    nearest = nearest_kinds(things, names, read_taxonomy(captions.fetch_wordnet(work)))
    words, unseen = Group([(n, "") for n in things], lean(meant, bank["vectors"], nearest), 1.0).split()
    kin = np.isin(np.array([n for n, _ in words.texts]), np.array(things)[nearest >= 0])
    relatives, strangers = (
        Group([t for t, k in zip(words.texts, kin, strict=True) if k == want], words.targets[kin == want], share)
        for want, share in ((True, 0.35), (False, 0.1))
    )
    painted, new = Group(pairs, space(encode_cached(work / "text" / "painted", in_styles(pairs))), 0.1).split()
    plain = Group([(n, "") for n in names], bank["vectors"], 0.2)
    styled = Group([(n, s) for n in names for s in captions.STYLES], bank["style_vectors"].reshape(-1, DIM), 0.2)
    return [plain, icons, relatives, strangers, styled, painted], {"icon phrases": seen, "nouns": unseen, "styled": new}


def lean(vectors: np.ndarray, bank: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Vectors (n, D) moved towards their rows of the bank, where they have one (-1 is none).

    The sentence encoder does not know that a brolly is an umbrella; WordNet does.
    """
    return normalise(vectors + LEAN * (row >= 0)[:, None] * bank[row]).astype(np.float32)


# --- the text tower -------------------------------------------------------------------------------------------------


class Wording:
    """Token ids of captions. A byte-pair tokenizer works word by word, so ids of parts are joined, and kept."""

    def __init__(self) -> None:
        self.tokenizer = SimpleTokenizer(context_length=CONTEXT)
        self.ids = lru_cache(maxsize=None)(self.tokenizer.encode)

    def caption(self, template: str, *parts: str) -> list[int]:
        """``template.format(*parts)`` as ids with start and end."""
        ids = [self.tokenizer.sot_token_id]
        for piece in re.split(r"(\{\d?\})", template):
            ids += self.ids(parts[int(piece[1:-1] or 0)] if piece.startswith("{") else piece.strip())
        return [*ids[: CONTEXT - 1], self.tokenizer.eot_token_id]

    @staticmethod
    def pad(rows: Sequence[list[int]]) -> Tensor:
        """(n, longest row) int64; the causal tower never looks past the end token, so shorter is the same."""
        out = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for row, ids in enumerate(rows):
            out[row, : len(ids)] = ids
        return torch.from_numpy(out)

    def draw(self, text: tuple[str, str], rng: random.Random) -> list[int]:
        """A random caption of (name, style); half of the icon styles are said in other words."""
        name, style = text
        if not style:
            return self.caption(rng.choice(captions.TEMPLATES), name)
        if style in captions.STYLES and rng.random() < 0.5:
            style = rng.choice(captions.STYLES[style])
        return self.caption(rng.choice(captions.STYLE_TEMPLATES), name, style)


def draw_batch(groups: Sequence[Group], wording: Wording, size: int, step: int) -> tuple[Tensor, Tensor]:
    """Batch number ``step``, shortest first: tokens (size, length) and targets (size, 128); a pure function."""
    rng, drawn = random.Random(step), []
    for group in rng.choices(groups, [g.share for g in groups], k=size):
        pick = rng.randrange(len(group.texts))
        drawn.append((wording.draw(group.texts[pick], rng), group.targets[pick]))
    drawn.sort(key=lambda pair: len(pair[0]))
    return wording.pad([ids for ids, _ in drawn]), torch.from_numpy(np.stack([t for _, t in drawn], dtype=np.float32))


def distance(output: Tensor, target: Tensor, temperature: float = 0.05) -> Tensor:
    """1 - cosine, plus the divergence of each text's similarities to the batch's targets from what they should be.

    The second term keeps neighbours apart where the first is already small (relational distillation).
    """
    output = F.normalize(output.float(), dim=-1)
    wanted = F.softmax(target @ target.T / temperature, dim=-1)
    got = F.log_softmax(output @ target.T / temperature, dim=-1)
    return (1 - (output * target).sum(-1)).mean() + RELATIONAL * F.kl_div(got, wanted, reduction="batchmean")


def optimiser(tower: TextTransformer, rate: float) -> torch.optim.AdamW:
    """Weight decay on matrices only: the embedding rows of words that no caption has stay as they were drawn."""
    decayed = [p for p in tower.transformer.parameters() if p.ndim == 2] + [tower.text_projection]
    chosen = {id(p) for p in decayed}
    rest = [p for p in tower.parameters() if id(p) not in chosen]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}],
                             lr=rate, betas=(0.9, 0.98), fused=True)  # fmt: skip


def new_tower() -> TextTransformer:
    """The untrained tower; its parameter names are those of open_clip's CLIP."""
    torch.manual_seed(0)
    return TextTransformer(**TOWER, output_dim=DIM)


def forward(tower: TextTransformer, tokens: Tensor) -> Tensor:
    """The tower on tokens (n, length <= 32): (n, 128). It stops at the last end token; open_clip's own would not."""
    length = int(tokens.argmax(-1).max()) + 1
    x = tower.token_embedding(tokens[:, :length]) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ tower.text_projection


def train(work: Path, groups: Sequence[Group], steps: int, size: int = 512, rate: float = 2e-3) -> None:
    """Train on random captions, one thread; a stopped run goes on from its last two minutes."""
    tower, wording, saved = new_tower().train(), Wording(), work / "text" / "tower.pt"
    adam, first, kept = optimiser(tower, rate), 0, time.time()
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        tower.load_state_dict(state["tower"])
        adam.load_state_dict(state["adam"])
        first = state["step"]
    for step in range(first, steps):
        for part in adam.param_groups:
            part["lr"] = rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        tokens, targets = draw_batch(groups, wording, size, step)
        with torch.autocast("cpu", torch.bfloat16):
            output = torch.cat([forward(tower, part) for part in tokens.split(SLICE)])
        loss = distance(output, targets)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f} length {tokens.shape[1]} {time.time() - kept:.0f}s", flush=True)
        if time.time() - kept > 120 or step == steps - 1:
            state = {"tower": tower.state_dict(), "adam": adam.state_dict(), "step": step + 1}
            torch.save(state, saved.with_suffix(".part"))
            saved.with_suffix(".part").rename(saved)
            kept = time.time()
    save_file({k: v.contiguous() for k, v in tower.state_dict().items()}, work / "text.safetensors")


# --- what came of it ------------------------------------------------------------------------------------------------


@torch.inference_mode()
def embed(tower: TextTransformer, variants: Sequence[tuple[str, ...]], batch: int = 512) -> np.ndarray:
    """Mean of the tower's unit vectors over the wordings of each text, made unit again: (n, 128) float32."""
    wording, flat = Wording(), [text for wordings in variants for text in wordings]
    rows = [F.normalize(forward(tower, wording.pad([wording.caption(t) for t in flat[i : i + batch]])), dim=-1)
            for i in range(0, len(flat), batch)]  # fmt: skip
    return normalise(torch.cat(rows).numpy().reshape(len(variants), -1, DIM).mean(1))


def agreement(ours: np.ndarray, theirs: np.ndarray, our_bank: np.ndarray, their_bank: np.ndarray) -> dict[str, float]:
    """Cosine to the target, and how often the nearest bank name is the encoder's (or among its nearest five)."""
    near = np.argsort(-(theirs @ their_bank.T), axis=1)[:, :5]
    mine = np.argmax(ours @ our_bank.T, axis=1)
    return {"texts": len(ours), "cosine": float((ours * theirs).sum(-1).mean()),
            "nearest name as the encoder": float((mine == near[:, 0]).mean()),
            "nearest name in its five": float((mine[:, None] == near).any(1).mean())}  # fmt: skip


def synonym_ranks(vectors: Callable[[list[str]], np.ndarray]) -> dict[str, float]:
    """Share of synonyms whose class among captions.COMMON is first, and among the first five."""
    right_class = [captions.COMMON.index(c) for c in captions.SYNONYMS.values()]
    similarity = vectors(list(captions.SYNONYMS)) @ vectors(list(captions.COMMON)).T
    own = similarity[np.arange(len(right_class)), right_class]
    rank = (similarity > own[:, None]).sum(1)
    return {"top-1": float((rank == 0).mean()), "top-5": float((rank < 5).mean())}


def measure(work: Path, tower: TextTransformer, held_out: dict[str, Group]) -> dict:
    """Held-out texts and synonyms, by the tower and by the encoder."""
    space, theirs, ours = load_space(work), np.load(work / "bank.npz"), np.load(work / "bank_tower.npz")
    report: dict = {}
    for kind, group in held_out.items():
        wordings = [in_styles([t])[0] if t[1] else objects([t[0]])[0] for t in group.texts]
        report[kind] = agreement(embed(tower, wordings), group.targets, ours["vectors"], theirs["vectors"])
    report["bank cosine"] = float((ours["vectors"] * theirs["vectors"]).sum(-1).mean())
    report["bank in styles cosine"] = float((ours["style_vectors"] * theirs["style_vectors"]).sum(-1).mean())
    load_encoder()
    report["synonyms, tower"] = synonym_ranks(lambda names: embed(tower, objects(names)))
    report["synonyms, encoder"] = synonym_ranks(lambda names: space(encode_averaged(objects(names))))
    return report


def load_tower(work: Path) -> TextTransformer:
    """The trained tower."""
    tower = new_tower().eval()
    tower.load_state_dict(load_file(work / "text.safetensors"))
    return tower


def write_bank(work: Path, tower: TextTransformer) -> None:
    """Write ``bank_tower.npz``: the bank's names, and in each style, by the tower."""
    bank, styles = np.load(work / "bank.npz"), list(captions.STYLES)
    names = bank["names"].tolist()
    styled = embed(tower, in_styles((n, s) for n in names for s in styles)).reshape(len(names), len(styles), DIM)
    save_bank(work / "bank_tower.npz", names, embed(tower, objects(names)), styled, bank["concrete"])


def make_tower(work: Path, steps: int) -> None:
    """Write ``text.safetensors``, ``bank_tower.npz`` and ``text.json``."""
    if (work / "text.done").exists():
        return
    groups, held_out = make_corpus(work)
    torch.set_num_threads(1)
    if not (work / "text.safetensors").exists():
        train(work, groups, steps)
    tower = load_tower(work)
    write_bank(work, tower)
    report = measure(work, tower, held_out)
    (work / "text.json").write_text(json.dumps(report, indent=2))
    (work / "text.done").write_text(f"{steps} steps\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    make_space_and_bank(folder)
    make_tower(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 5000)
