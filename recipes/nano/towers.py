"""The image towers of the nano models: the teacher (EfficientNet-Lite0), then the student (a small ViT) behind it.

    python recipes/nano/towers.py WORK teacher [--minutes 120]    train; the same command goes on where it stopped
    python recipes/nano/towers.py WORK student [--minutes 120]    the same, from the teacher's last checkpoint
    python recipes/nano/towers.py WORK export                     write WORK/assets/{nano,nano-student}

Run after text.py. Held-out icons are never trained on, nor are the validation icons of lesson.py.

An image v (unit length) learns the direction of its name among all names of the bank (CLIP's image-to-text half,
Radford et al. 2021, with fixed texts and soft targets for synonyms and kinds) and of its style among the styles of its
name. The student learns the teacher's direction, its maps, and its probabilities over the bank, from the same pictures.
"""

import argparse
from collections import deque
from pathlib import Path

import torch
import torch.nn.functional as F
from course import Course
from fast import speed_up, speed_up_vit
from guide import Guide
from learner import Learner, embed, folded, make_teacher, rate_factor
from lesson import STUDENT_TASTE, TEACHER_TASTE, cross_entropy, soft_targets, style_loss
from torch import Tensor
from tower_files import BIG, SMALL, STUDENT, export, make_clip

RATE, STUDENT_RATE, DECAY, MEMORY = 1e-3, 2e-3, 0.05, 0.998  # MEMORY: of the moving average of the weights
STYLE, NAME, DIRECTION, MAPS = 0.3, 0.3, 10.0, 4.0  # weights of the loss terms
SIZES = (80, BIG, 112, BIG)  # of the teacher's batches in turn; with one size it knew lines by their width in pixels
AGAIN = 16  # batches that the student sees a second time, drawn from the last so many


class Teacher(Course):
    """Pictures of 96 pixels against the bank."""

    name, size, hard = "teacher", BIG, True

    def __init__(self, work: Path, minutes: float) -> None:
        torch.manual_seed(0)
        learner = Learner(make_teacher(), RATE, DECAY)
        speed_up(learner.tower.trunk)
        super().__init__(work, minutes, learner, TEACHER_TASTE, first=0)

    def learn(self) -> dict[str, float]:
        t = self.learner
        size = SIZES[self.step % len(SIZES)]
        x, name, style = self.pictures(size)
        v = embed(t.tower.train(), x, size)
        name_ce = cross_entropy(t.scale(0) * v @ self.bank.vectors.T, soft_targets(name, self.bank))
        style_ce = style_loss(v, name, style, self.bank, t.scale(1))
        t.step(name_ce + STYLE * style_ce, rate_factor(self.progress), MEMORY)
        return {"name": name_ce.item(), "style": style_ce.item()}


class Student(Course):
    """Pictures of 64 pixels: the teacher's direction, maps and probabilities for them at 96 pixels, and the labels.

    The teacher is the dearer half of a step, so each batch comes a second time, with new noise and the same answers.
    The pictures are not bent: this tower is too small to learn drawings by heart.
    """

    name, size = "student", SMALL

    def __init__(self, work: Path, minutes: float) -> None:
        torch.manual_seed(1)
        state, teacher = torch.load(work / "towers" / "teacher.pt", weights_only=True)["learner"], make_teacher()
        teacher.load_state_dict(state["average"])
        self.lead, self.lead_scale = folded(teacher), min(100.0, state["scales"][0].exp().item())
        tower = make_clip(STUDENT).visual
        speed_up_vit(tower)
        self.guide = Guide(tower, self.lead, STUDENT["width"])
        matrices = [p for p in tower.transformer.parameters() if p.ndim == 2]
        learner = Learner(tower, STUDENT_RATE, DECAY, matrices, list(self.guide.parameters()))
        self.before: deque[tuple[Tensor, ...]] = deque(maxlen=AGAIN)
        super().__init__(work, minutes, learner, STUDENT_TASTE, first=10**7)

    def state(self) -> dict:
        return super().state() | {"guide": self.guide.state_dict()}

    def load(self, state: dict) -> None:
        super().load(state)
        self.guide.load_state_dict(state["guide"])

    def learn(self) -> dict[str, float]:
        x, name, style = self.pictures(BIG)
        with torch.no_grad():
            lead = F.normalize(embed(self.lead, x.bfloat16(), BIG).float(), dim=-1)
            small = F.interpolate(x, (SMALL, SMALL), mode="bicubic", antialias=True)
        batch = (small, name, style, lead, *self.guide.targets())
        terms = self.follow(*batch)
        if len(self.before) == AGAIN:
            again = self.before[self.step * 7 % AGAIN]
            self.follow(again[0] + 0.1 * torch.randn_like(again[0]), *again[1:])
        self.before.append(batch)
        return terms

    def follow(self, x: Tensor, name: Tensor, style: Tensor, lead: Tensor, *maps: Tensor) -> dict[str, float]:
        """A step towards the teacher's embeddings ``lead`` (b, D), its maps and its probabilities, and the labels."""
        s = self.learner
        with torch.autocast("cpu", torch.bfloat16):
            v = embed(s.tower.train(), x, SMALL)
        v = F.normalize(v.float(), dim=-1)
        with torch.no_grad():
            probability = (self.lead_scale * lead @ self.bank.vectors.T).softmax(1)
            target = 0.5 * (probability + soft_targets(name, self.bank))
        name_ce = cross_entropy(s.scale(0) * v @ self.bank.vectors.T, target)
        style_ce = style_loss(v, name, style, self.bank, s.scale(1))
        away, dense = 1 - (v * lead).sum(1).mean(), self.guide.loss(maps)
        s.step(NAME * name_ce + STYLE * style_ce + DIRECTION * away + MAPS * dense, rate_factor(self.progress), MEMORY)
        return {"name": name_ce.item(), "style": style_ce.item(), "away": away.item(), "dense": dense.item()}


def main() -> None:
    """Parse the command line and train or export."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("what", choices=["teacher", "student", "export"])
    parser.add_argument("--minutes", type=float, default=120.0, help="planned training time, restarts included")
    parser.add_argument("--threads", type=int, default=1, help="of the processor")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "export":
        export(arguments.work)
    else:
        course = Teacher if arguments.what == "teacher" else Student
        course(arguments.work, arguments.minutes).run()


if __name__ == "__main__":
    main()
