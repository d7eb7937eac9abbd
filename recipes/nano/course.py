"""A course of training: what teacher and student share. Steps, checkpoints, validation, a curve (``towers.jsonl``)."""

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from augment import augment, normalise
from learner import Learner, embed
from lesson import Bank, is_aside, load_bank, make_lesson
from pictures import Icons
from redraw import redrawn_batch
from torch import Tensor

VALIDATION_SEED, BATCH = 10**9, 128


class Course:
    """A learner, what it learns from, and where it has got to. ``learn`` is one step; subclasses say which."""

    name, size, hard = "", 0, False

    def __init__(self, work: Path, minutes: float, learner: Learner, taste: tuple[float, float], first: int) -> None:
        self.work, self.minutes, self.learner, self.step, self.spent = work, minutes, learner, first, 0.0
        self.icons, self.bank = Icons(work), load_bank(work)
        self.lesson = make_lesson(self.icons, self.bank, taste)
        self.path = work / "towers" / f"{self.name}.pt"
        self.path.parent.mkdir(exist_ok=True)
        if self.path.exists():
            self.load(torch.load(self.path, weights_only=True))

    @property
    def progress(self) -> float:
        """The share of the plan that is done, in processor time: a slow machine sees fewer pictures, not less of the
        schedule; a longer plan goes on from the checkpoint of a shorter one."""
        return self.spent / 60 / self.minutes

    def learn(self) -> dict[str, float]:
        """One batch; returns the loss terms."""
        raise NotImplementedError

    def state(self) -> dict:
        """Everything a restart needs."""
        return {"learner": self.learner.state(), "step": self.step, "spent": self.spent}

    def load(self, state: dict) -> None:
        """Go on from a checkpoint."""
        self.learner.load(state["learner"])
        self.step, self.spent = state["step"], state["spent"]

    def save(self) -> None:
        """Write the checkpoint; a crash in between leaves the old one."""
        torch.save(self.state(), self.path.with_suffix(".part"))
        self.path.with_suffix(".part").rename(self.path)

    def pictures(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of this step: normalised pictures, names, styles."""
        index = self.lesson.draw(self.step, BATCH)
        raw, styles = redrawn_batch(self.icons, index, self.step)
        style = torch.tensor([self.bank.styles.index(s) if s else -1 for s in styles])
        x = augment(torch.from_numpy(raw), size, torch.Generator().manual_seed(self.step), hard=self.hard)
        return x, torch.from_numpy(self.lesson.name[index]), style

    def run(self) -> None:
        """Until the plan is done: a checkpoint and a line of the curve every two minutes."""
        told, recent = self.spent, Counter[str]()
        while self.progress < 1:
            start, start_cpu = time.perf_counter(), time.process_time()
            terms = self.learn()
            self.step += 1
            self.spent += (time.process_time() - start_cpu) / torch.get_num_threads()
            recent.update(terms | {"steps": 1, "seconds": time.perf_counter() - start})
            if self.spent - told > 120 or self.progress >= 1:
                self.tell(recent)
                self.save()
                told, recent = self.spent, Counter[str]()

    def tell(self, recent: Counter[str]) -> None:
        """Append means of the loss terms, speed and validation to ``towers.jsonl``."""
        steps, seconds = recent.pop("steps"), recent.pop("seconds")
        line = {"who": self.name, "minutes": round(self.spent / 60, 2), "images": self.step * BATCH,
                "images/s": round(steps * BATCH / seconds, 1)}  # fmt: skip
        line |= {k: round(v / steps, 4) for k, v in recent.items()}
        line |= validate(self.learner, self.size, self.icons, self.bank, self.lesson.name)
        with (self.work / "towers.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


@torch.inference_mode()
def validate(learner: Learner, size: int, icons: Icons, bank: Bank, names: np.ndarray) -> dict[str, float]:
    """Zero-shot accuracy of the average on the icons put aside, as they are and redrawn: among their names, and of
    style among styles."""
    index = np.array([i for i in icons.train_indices if is_aside(icons.rows[i]) and 0 <= names[i] < len(bank.names)])
    row, out = torch.from_numpy(names[index]), {}
    among = torch.unique(row)
    redrawn, styles = redrawn_batch(icons, index, VALIDATION_SEED)
    own = [icons.rows[i]["style"] for i in index]
    for kind, raw, words in (("", icons.batch(index, VALIDATION_SEED), own), ("_redrawn", redrawn, styles)):
        v = embed(learner.average, normalise(torch.from_numpy(raw).float() / 255), size)
        right = among[(v @ bank.vectors[among].T).argmax(1)] == row
        guess = torch.einsum("bd,bsd->bs", v, bank.styled[row]).argmax(1)
        style = torch.tensor([bank.styles.index(w) if w else -1 for w in words])
        out[f"val{kind}"] = round(right.float().mean().item(), 4)
        out[f"val{kind}_style"] = round((guess == style)[style >= 0].float().mean().item(), 4)
    return out
