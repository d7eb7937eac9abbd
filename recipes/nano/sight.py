"""The text tower after it has seen drawings: every text moves a little towards what icons of such names look like.

    python recipes/nano/sight.py WORK [STEPS]

Run after ``towers.py WORK teacher``, before the student. A name's vector comes from a sentence encoder, which has never
seen anything; the teacher's mean embedding of a name's icons lies elsewhere, because drawings of different things can
look alike. A text x becomes normalise(x + SEEN * s(x)), where s(x) is the mean embedding of the drawings of the names
nearest to it; the tower learns that map from its own former answers. The validation icons are not among the drawings.

It keeps the former tower as ``text_unseen.safetensors`` and writes ``text.safetensors`` and ``bank_tower.npz`` again.
"""

import math
import random
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import captions
import numpy as np
import torch
import torch.nn.functional as F
from augment import normalise
from learner import embed as look
from learner import folded, make_teacher
from lesson import ITSELF, KINDS, TEACHER_TASTE, Bank, Lesson, load_bank, make_lesson
from open_clip.transformer import TextTransformer
from pictures import Icons
from redraw import redrawn_batch
from safetensors.torch import save_file
from sentences import DIM
from text import SLICE, Wording, distance, forward, load_tower, optimiser, write_bank
from torch import Tensor
from tower_files import BIG

SEEN, NEAR = 0.4, 0.05  # weight of the drawings; temperature at which a text's nearest names speak for it
DRAWINGS, BATCH, RATE = 8, 512, 1e-3  # drawings a name at most, texts a step, peak learning rate
Groups = dict[str, list[tuple[str, str]]]  # (name, style) by group
SHARES = {"name": 0.3, "styled": 0.25, "rare": 0.15, "noun": 0.3}  # of a batch of texts


def some_of_each(lesson: Lesson, names: int) -> np.ndarray:
    """At most DRAWINGS training icons of each name of the bank, spread over its icons."""
    order = lesson.indices[np.argsort(lesson.name[lesson.indices], kind="stable")]
    order = order[lesson.name[order] < names]
    groups = np.split(order, np.flatnonzero(np.diff(lesson.name[order])) + 1)
    return np.concatenate([g[np.linspace(0, len(g) - 1, min(len(g), DRAWINGS)).astype(int)] for g in groups])


@torch.inference_mode()
def appearances(work: Path, icons: Icons, lesson: Lesson, bank: Bank) -> Tensor:
    """Unit mean embedding (K, D) of the drawings of each name of the bank and of its kinds; 0 where there are none."""
    teacher = make_teacher()
    teacher.load_state_dict(torch.load(work / "towers" / "teacher.pt", weights_only=True)["learner"]["average"])
    tower, seen, total = folded(teacher), some_of_each(lesson, len(bank.names)), torch.zeros(len(bank.names), DIM)
    for part in np.array_split(seen, len(seen) // 256 + 1):
        pixels = normalise(torch.from_numpy(redrawn_batch(icons, part, 1)[0]) / 255)
        large = F.interpolate(pixels, (BIG, BIG), mode="bicubic", antialias=True)
        v = F.normalize(look(tower, large.bfloat16(), BIG).float(), dim=-1)
        name = torch.from_numpy(lesson.name[part])
        total.index_add_(0, name, ITSELF * v)
        for rows, shares in zip(bank.kinds[name].T, bank.kind_shares[name].T, strict=True):
            total.index_add_(0, rows, KINDS * shares[:, None] * v)
    return F.normalize(total, dim=-1)


def towards(x: Tensor, bank: Tensor, drawn: Tensor, weight: float = SEEN) -> Tensor:
    """Unit texts (n, D) moved by ``weight`` towards ``drawn`` (K, D), how the nearest names of ``bank`` (K, D) look."""
    near = (x @ bank.T / NEAR).softmax(1) @ drawn
    return F.normalize(x + weight * F.normalize(near, dim=-1), dim=-1)


def texts(work: Path, bank: Bank) -> Groups:
    """(name, style) by group: names, names in styles, rarer names, nouns that name a thing."""
    nouns = captions.read_nouns(captions.fetch_wordnet(work))
    things = sorted({n.text for n in nouns.values() if n.common and captions.is_thing(n)} - {*bank.names, *bank.rare})
    plain = {"name": bank.names, "rare": bank.rare, "noun": things}
    return {g: [(n, "") for n in row] for g, row in plain.items()} | {
        "styled": [(n, s) for n in bank.names for s in bank.styles]
    }


def see(tower: TextTransformer, bank: Tensor, drawn: Tensor, groups: Groups, steps: int) -> None:
    """Train the tower to say :func:`towards` of what it said before, on random captions."""
    before, wording, adam = deepcopy(tower).eval(), Wording(), optimiser(tower.train(), RATE)
    for step in range(steps):
        for part in adam.param_groups:
            part["lr"] = RATE * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        rng = random.Random(f"sight {step}")
        chosen = rng.choices(list(SHARES), list(SHARES.values()), k=BATCH)
        captioned = sorted((wording.draw(rng.choice(groups[g]), rng) for g in chosen), key=len)
        tokens = wording.pad(captioned)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                old = torch.cat([forward(before, part) for part in tokens.split(SLICE)])
            new = torch.cat([forward(tower, part) for part in tokens.split(SLICE)])
        loss = distance(new, towards(F.normalize(old.float(), dim=-1), bank, drawn))
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main(work: Path, steps: int) -> None:
    """Look at the drawings, train, write the tower and its bank."""
    torch.set_num_threads(1)
    done, former = work / "sight.done", work / "text_unseen.safetensors"
    if done.exists():
        return
    if former.exists():  # stopped while it wrote
        shutil.copy(former, work / "text.safetensors")
    icons, bank = Icons(work), load_bank(work)
    drawn = appearances(work, icons, make_lesson(icons, bank, TEACHER_TASTE), bank)
    tower = load_tower(work)
    see(tower, bank.vectors, drawn, texts(work, bank), steps)
    shutil.copy(work / "text.safetensors", former.with_suffix(".part"))
    former.with_suffix(".part").rename(former)
    save_file({k: v.contiguous() for k, v in tower.state_dict().items()}, work / "text.safetensors")
    write_bank(work, tower.eval())
    done.write_text(f"{steps} steps\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1500)
