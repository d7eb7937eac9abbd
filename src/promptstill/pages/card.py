"""The model card: the README.md of a student's folder, as model hubs read it."""

from typing import Any

import yaml

from promptstill.pages.words import count, listed

USE = """\
```python
import promptstill

student = promptstill.load("this folder, or hf:ORG/NAME@REV")
for answer in student.predict("picture.jpg", top=3)[0]:
    print(answer.label, answer.probability)
other = student.retarget(["a", "b", "c"])  # other classes by the teacher's text tower, no training
module = student.module()  # a plain torch.nn.Module: images (B, 3, S, S) in [0, 1] -> logits
```"""

INTENDED = """\
To tell these classes apart in pictures like those it was measured on. It always answers with one of its classes, also
for a picture of none of them. Its teacher's errors and biases are its own too. Do not use it to decide about people."""


def card(report: dict[str, Any]) -> str:
    """The card of a report's student: what it is, for what, how good, from what, under which licences."""
    classes = list(report["classes"])
    made = (
        f"It was distilled by promptstill {report['versions']['promptstill']} "
        f"({report['pipeline']}) from the teacher `{report['teacher']}`; its backbone's first weights: "
        f"{report['backbone']}. {report['strictness']}"
    )
    parts = [
        f"# A classifier of {count(len(classes), 'class', 'classes')}",
        f"Classes: {listed(classes, 60)}.",
        made,
        "## Intended use",
        INTENDED,
        "## How good it is",
        *_accuracy(report),
        "## Use it",
        USE,
        "## Where it comes from",
        *_origin(report),
    ]
    return (
        f"---\n{yaml.safe_dump(_facts(report), sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(parts) + "\n"
    )


def _facts(report: dict[str, Any]) -> dict[str, Any]:
    """The head that hubs read: library, task, and the results in their form."""
    facts: dict[str, Any] = {"library_name": "promptstill", "pipeline_tag": "image-classification"}
    facts |= {"license": "other", "license_name": "see-licences-below", "tags": ["knowledge-distillation", "clip"]}
    evaluation = report["evaluation"]
    if evaluation:
        name, value = evaluation["benchmark"], round(evaluation["mean"]["student"] / 100, 4)
        metric = {"type": "accuracy", "value": value, "name": "accuracy, mean over domains"}
        result: dict[str, Any] = {"task": {"type": "image-classification"}, "metrics": [metric]}
        result["dataset"] = {"name": name, "type": name}
        facts["model-index"] = [{"name": "student", "results": [result]}]
    return facts


def _accuracy(report: dict[str, Any]) -> list[str]:
    evaluation = report["evaluation"]
    if not evaluation:
        return ["It was not measured on labelled images."]
    rows = [
        f"| {name} | {row['teacher']:.1f} | {row['student']:.1f} | {row['n']} |"
        for name, row in sorted(evaluation["domains"].items())
    ]
    mean = evaluation["mean"]
    rows.append(f"| mean | {mean['teacher']:.1f} | {mean['student']:.1f} | |")
    head = f"Accuracy in per cent on {evaluation['benchmark']} (chance {evaluation['chance']:.1f}):"
    told = [head, "\n".join(["| domain | teacher | student | images |", "|---|---|---|---|", *rows])]
    chosen = "yes, on test data" if report["selected_on_test_data"] else "no"
    ece = 100 * report["calibration"]["student"]["ece"]
    return [*told, f"Expected calibration error {ece:.1f} %. Was anything selected on test data: {chosen}."]


def _origin(report: dict[str, Any]) -> list[str]:
    licences = [f"- {who}: {text}" for who, text in report["licences"].items()]
    hashes = f"sha256 of the student `{report['student_sha256']}`, of the teacher's weights `{report['teacher_hash']}`."
    return ["Licences, as far as they are stated:", "\n".join(licences), hashes + f" Seed {report['seed']}."]
