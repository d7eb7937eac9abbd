"""The image towers of the nano models: the teacher (EfficientNet-Lite0) and the student (a small ViT), together.

    python recipes/nano/towers.py WORK [--minutes 75]     train; the same command goes on where it stopped
    python recipes/nano/towers.py WORK --export           write WORK/assets/{nano,nano-student} from the last checkpoint
    python recipes/nano/towers.py WORK --evaluate         zero-shot figures of the exported folders -> towers.json

Run after icons.py; text.py may still be at work: the bank of the sentence encoder is used until that of the trained
text tower is there. Held-out icons are never trained on, nor are the validation icons of lesson.py.

An image v (unit length) learns the direction of its name among all names of the bank (CLIP's image-to-text half,
Radford et al. 2021, with fixed texts and soft targets for synonyms) and of its style among the styles of its name.
The student learns the teacher's direction and its probabilities over the bank from the same augmented batch.
"""

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import augment, normalise
from fast import speed_up, speed_up_vit
from guide import Guide
from learner import Learner, embed, folded, make_teacher, rate_factor
from lesson import ALONE, cross_entropy, is_aside, load_bank, make_lesson, soft_targets, style_loss
from pictures import Icons
from torch import Tensor, nn
from tower_checks import evaluate
from tower_files import BIG, SMALL, STUDENT, export, make_clip

VALIDATION_SEED = 10**9


@dataclass(frozen=True)
class Plan:
    """What a run is. Fractions are of ``minutes`` of processor time spent training, so a slow machine sees fewer
    pictures, not less of the schedule; a longer plan goes on from the checkpoint of a shorter one."""

    minutes: float = 75.0
    teacher_minutes: float = 64.0  # the teacher is finished then, the student goes on
    batch: int = 128
    rate: float = 1e-3
    student_rate: float = 1.5e-3
    decay: float = 0.05
    grow_at: float = 0.7  # of the teacher's time: pictures of 96 instead of 64 pixels from here on
    memory: float = 0.998  # of the moving average of the weights
    style_weight: float = 0.3
    feature_weight: float = 10.0
    guide_weight: float = 4.0


class School:
    """Both learners, what they learn from, and where the run has got to."""

    def __init__(self, work: Path, plan: Plan) -> None:
        self.work, self.plan, self.folder = work, plan, work / "towers"
        self.folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        self.teacher = Learner(make_teacher(), plan.rate, plan.decay)
        self.student = Learner(make_clip(STUDENT).visual, plan.student_rate, plan.decay)
        speed_up(self.teacher.tower.trunk)
        speed_up_vit(self.student.tower)
        self.guide = Guide(self.student.tower, [self.teacher.tower, self.teacher.average], STUDENT["width"])
        self.student.optimizer.add_param_group({"params": list(self.guide.parameters()), "weight_decay": 0.0})
        self.finished: nn.Module | None = None
        self.icons, self.step, self.spent = Icons(work), 0, 0.0
        self.read_bank()
        if (self.folder / "last.pt").exists():
            self.load(torch.load(self.folder / "last.pt", weights_only=True))

    def read_bank(self) -> None:
        """Take the best bank there is."""
        self.bank_kind = (self.work / "text.done").exists()
        self.bank = load_bank(self.work)
        self.lesson = make_lesson(self.icons, self.bank)

    @property
    def progress(self) -> float:
        """The share of the plan that is done."""
        return self.spent / 60 / self.plan.minutes

    @property
    def teacher_progress(self) -> float:
        """The share of the teacher's time that is over."""
        return self.spent / 60 / self.plan.teacher_minutes

    def save(self) -> None:
        """Write the checkpoint; a crash in between leaves the old one."""
        state = {"teacher": self.teacher.state(), "student": self.student.state(), "step": self.step,
                 "spent": self.spent, "guide": self.guide.state_dict()}  # fmt: skip
        torch.save(state, self.folder / "part.pt")
        (self.folder / "part.pt").rename(self.folder / "last.pt")

    def load(self, state: dict) -> None:
        """Go on from a checkpoint."""
        self.teacher.load(state["teacher"])
        self.student.load(state["student"])
        self.guide.load_state_dict(state["guide"])
        self.step, self.spent = state["step"], state["spent"]

    def pictures(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of this step: normalised pictures, names, styles."""
        index = self.lesson.draw(self.step, self.plan.batch)
        raw = torch.from_numpy(self.icons.batch(index, self.step))
        name, style = (torch.from_numpy(a[index]) for a in (self.lesson.name, self.lesson.style))
        return augment(raw, size, torch.Generator().manual_seed(self.step)), name, style

    def teach(self, x: Tensor, name: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
        """A teacher step; returns its detached embeddings ``(b, D)``. A finished teacher only embeds."""
        t, plan = self.teacher, self.plan
        if self.teacher_progress >= 1:
            if self.finished is None:
                self.finished, self.lesson = folded(t.average), make_lesson(self.icons, self.bank, ALONE)
            with torch.no_grad():
                return F.normalize(embed(self.finished, x.bfloat16(), x.shape[-1]).float(), dim=-1), {}
        v = embed(t.tower.train(), x, x.shape[-1])
        name_ce = cross_entropy(t.scale(0) * v @ self.bank.vectors.T, target)
        style_ce = style_loss(v, name, style, self.bank, t.scale(1))
        t.step(name_ce + plan.style_weight * style_ce, rate_factor(self.teacher_progress), plan.memory)
        return v.detach(), {"name": name_ce.item(), "style": style_ce.item()}

    def follow(self, x: Tensor, name: Tensor, style: Tensor, target: Tensor, lead: Tensor) -> dict[str, float]:
        """A student step towards the teacher's embeddings ``lead`` and probabilities, and the labels."""
        s, plan = self.student, self.plan
        with torch.autocast("cpu", torch.bfloat16):
            v = embed(s.tower.train(), x, SMALL)
        v = F.normalize(v.float(), dim=-1)
        with torch.no_grad():
            probability = (self.teacher.scale(0) * lead @ self.bank.vectors.T).softmax(1)
        name_ce = cross_entropy(s.scale(0) * v @ self.bank.vectors.T, 0.5 * (probability + target))
        style_ce = style_loss(v, name, style, self.bank, s.scale(1))
        away, dense = 1 - (v * lead).sum(1).mean(), self.guide.loss()
        loss = 0.3 * name_ce + plan.style_weight * style_ce + plan.feature_weight * away + plan.guide_weight * dense
        s.step(loss, rate_factor(self.progress), plan.memory)
        return {"student_name": name_ce.item(), "student_style": style_ce.item(), "student_away": away.item(),
                "student_dense": dense.item()}  # fmt: skip

    def train_step(self) -> dict[str, float]:
        """One batch for both; returns the loss terms."""
        x, name, style = self.pictures(SMALL if self.teacher_progress < self.plan.grow_at else BIG)
        target = soft_targets(name, self.bank)
        lead, terms = self.teach(x, name, style, target)
        terms |= self.follow(x, name, style, target, lead)
        self.step += 1
        return terms


def train(school: School) -> None:
    """The whole run: a checkpoint and validation every 90 seconds, an export every 5 minutes."""
    saved = exported = school.spent
    recent: Counter[str] = Counter()
    while school.progress < 1:
        start, start_cpu = time.perf_counter(), time.process_time()
        terms = school.train_step()
        school.spent += (time.process_time() - start_cpu) / torch.get_num_threads()
        recent.update(terms | {"steps": 1, "seconds": time.perf_counter() - start})
        if school.spent - saved > 90 or school.progress >= 1:
            report(school, recent)
            school.save()
            saved, recent = school.spent, Counter()
            if school.bank_kind != (school.work / "text.done").exists():
                school.read_bank()
        if school.spent - exported > 300 or school.progress >= 1:
            export(school.work)
            exported = school.spent


def report(school: School, recent: Counter[str]) -> None:
    """Append means of the loss terms, speed and validation to ``towers.jsonl``."""
    steps, seconds = recent.pop("steps"), recent.pop("seconds")
    line = {"minutes": round(school.spent / 60, 2), "images": school.step * school.plan.batch,
            "images/s": round(steps * school.plan.batch / seconds, 1), "tower_bank": school.bank_kind,
            "scales": [round(school.teacher.scale(i).item(), 1) for i in (0, 1)]}  # fmt: skip
    line |= {k: round(v / steps, 4) for k, v in recent.items()} | validate(school)
    with (school.work / "towers.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


@torch.inference_mode()
def validate(school: School) -> dict[str, float]:
    """Zero-shot accuracy of both averages on the icons put aside: among their names, and of style among styles."""
    icons, bank, lesson = school.icons, school.bank, school.lesson
    aside = [i for i in icons.train_indices if is_aside(icons.rows[i])]
    index = np.array([i for i in aside if 0 <= lesson.name[i] < len(bank.names)])
    x = normalise(torch.from_numpy(icons.batch(index, VALIDATION_SEED)).float() / 255)
    row, style = torch.from_numpy(lesson.name[index]), torch.from_numpy(lesson.style[index])
    among = torch.unique(row)
    known, out = style >= 0, {}
    towers = [("teacher64", school.teacher, SMALL), ("teacher96", school.teacher, BIG),
              ("student", school.student, SMALL)]  # fmt: skip
    for name, learner, size in towers:
        v = embed(learner.average, x, size)
        guess = torch.einsum("bd,bsd->bs", v, bank.styled[row]).argmax(1)
        out[f"val_{name}"] = round((among[(v @ bank.vectors[among].T).argmax(1)] == row).float().mean().item(), 4)
        out[f"val_{name}_style"] = round((guess == style)[known].float().mean().item(), 4)
    return out


def main() -> None:
    """Parse the command line and train or export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="planned training time, restarts included")
    parser.add_argument("--teacher-minutes", type=float, default=Plan.teacher_minutes, help="of these, for the teacher")
    parser.add_argument("--threads", type=int, default=1, help="of the processor")
    parser.add_argument("--evaluate", action="store_true", help="only measure the exported folders")
    parser.add_argument("--export", action="store_true", help="only write the folders from the last checkpoint")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.export:
        export(arguments.work)
    elif arguments.evaluate:
        evaluate(arguments.work)
    else:
        train(School(arguments.work, Plan(arguments.minutes, arguments.teacher_minutes)))


if __name__ == "__main__":
    main()
