"""The settings of the one training loop; they stand apart from the others because they are many."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from promptstill.config import Settings


class Distill(Settings):
    """The one training loop; read by ``stages.distill``."""

    train: Literal["auto", "projector", "prompts", "all"] = Field(
        default="auto",
        description="what learns: projector | prompts (and projector) | all; auto: prompts if the student has any",
    )
    prompt_depth: int = Field(default=9, ge=1, description="blocks of a prompted: student that get prompt tokens")
    prompt_length: int = Field(default=4, ge=1, description="tokens in each of these blocks")
    share: bool = Field(
        default=True, description="a student with the teacher's own text tower starts from its embeddings as they are"
    )
    epochs: int = Field(default=20, ge=1, description="passes over the images")
    warm_epochs: int = Field(default=0, ge=0, description="passes before them in which the projector alone learns")
    warm_lr: float | None = Field(default=None, gt=0, description="peak learning rate of these; lr if not given")
    batch_size: int = Field(default=64, ge=2, description="images a step, over all processes")
    micro_batch: int | None = Field(
        default=None, ge=2, description="at most so many go through the student together; gradients are added up"
    )
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="what takes the steps")
    schedule: Literal["step", "epoch"] = Field(
        default="step", description="step: linear warm-up, cosine to zero; epoch: 1e-5 for one epoch, then cosine"
    )
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate of the projector")
    prompt_lr: float = Field(default=1.0, gt=0, le=100, description="the prompts' learning rate, as a share of lr")
    backbone_lr: float = Field(default=0.1, ge=0, le=10, description="the backbone's learning rate, as a share of lr")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="SGD's momentum")
    weight_decay: float = Field(default=0.05, ge=0, description="the optimizer's weight decay")
    target: Literal["embedding", "spherical", "neg_spherical", "cosine", "logit", "prob"] = Field(
        default="embedding", description="what the student gives: an embedding, or such scores by a head of its own"
    )
    centred: bool = Field(default=False, description="a head learns the scores less each image's mean")
    temperature: float = Field(default=1.0, gt=0, description="softens the scores of teacher and student alike")
    kl: float = Field(default=1.0, ge=0, description="weight of the batch-mean KL between soft labels")
    kl_per_class: bool = Field(
        default=False, description="divide that weight by the number of classes, as PromptKD's 1000 over B K does"
    )
    symmetric: float = Field(default=0.0, ge=0, description="weight of the mean of that KL in both directions")
    feature: float = Field(default=10.0, ge=0, description="weight of the squared distance between unit embeddings")
    l1: float = Field(default=0.0, ge=0, description="weight of the mean absolute difference of scores")
    select: Literal["last", "ema", "agreement", "test"] = Field(
        default="last",
        description="which weights are kept: last epoch | moving average | epoch of best agreement with the teacher on "
        "held-out images | epoch of best accuracy on the benchmark (as PromptKD did; no honest figure)",
    )
    ema: float = Field(default=0.99, gt=0, lt=1, description="how much of the moving average a step keeps")
    held_out: float = Field(default=0.1, gt=0, lt=1, description="share of the images held out for select=agreement")
    view_seed: int = Field(default=0, ge=0, description="views follow from it and not from the seed of the run")
    consistent: bool = Field(
        default=True, description="the teacher sees the student's very crop; false: the whole picture, once"
    )
    views: int = Field(default=5, ge=1, description="views an image; epochs go round them")
    crop: float = Field(default=0.5, gt=0, le=1, description="smallest share of the picture's area in a view")
    flip: bool = Field(default=True, description="mirror half of the views")
    image_size: int | None = Field(default=None, ge=8, description="side of the student's input; its own by default")

    @model_validator(mode="after")
    def check_objective(self) -> Self:
        """Something must be learned from, and a head of K outputs has no embedding to compare."""
        if self.target != "embedding" and self.feature:
            remedy = "set distill.feature=0, distill.kl=0 and distill.l1=1"
            raise ValueError(f"a head of {self.target} scores has no embedding to compare; {remedy}")
        if self.target not in ("embedding", "logit") and (self.kl or self.symmetric):
            raise ValueError(f"{self.target} scores are no logits; set distill.kl=0, distill.symmetric=0, distill.l1=1")
        if not any((self.kl, self.symmetric, self.feature, self.l1)):
            raise ValueError("nothing to learn from; give one of distill.kl, symmetric, feature and l1 a weight")
        return self


# As published. PromptKD's code weighs the KL with 1000 / (B K): ours is a mean over the batch, so 1000 / K is left. Its
# rate is constant for one epoch, then a cosine; it shows a new crop in each of 20 epochs, and keeps the epoch that is
# best on the test data. Two things differ: all is fp32, so that weight decay counts, and a last short batch is used.
PROMPTKD: dict[str, Any] = {
    "share": False,
    "epochs": 20,
    "batch_size": 8,
    "optimizer": "sgd",
    "schedule": "epoch",
    "lr": 0.005,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "kl": 1000.0,
    "kl_per_class": True,
    "feature": 0.0,
    "select": "test",
    "views": 20,
    "crop": 0.08,
}

# The paper gives SGD, its rates, two times 150 epochs, L1 and the student's head; batch, weight decay and augmentation
# it does not tell. Its eq. 4 has distances (target=spherical); under these rates logits are what can be learned.
DFKD: dict[str, Any] = {
    "warm_epochs": 150,
    "warm_lr": 0.1,
    "epochs": 150,
    "batch_size": 128,
    "optimizer": "sgd",
    "lr": 0.01,
    "backbone_lr": 1.0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "target": "logit",
    "kl": 0.0,
    "feature": 0.0,
    "l1": 1.0,
    "consistent": False,
    "views": 10,
    "crop": 0.7,
}
