"""``index.html``: one run, or several side by side, as one file that loads nothing from elsewhere."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import yaml
from markupsafe import Markup

from promptstill.data.finished import Finished
from promptstill.pages import sections
from promptstill.pages.sections import Section, Shown
from promptstill.pages.words import NONE, big, count, listed, percent, seconds, signed, table

SEEN = 0.01  # a soft label below this is not worth a line
MAP_NOTE = (
    "t-SNE of the student's embeddings of the test pictures: near means alike to it, the axes mean nothing. "
    "A dot was named rightly, a cross wrongly; a name stands at the middle of its class."
)
STAGES = {"1-vectors": "class vectors", "2-prompts": "prompts", "3-images": "images", "4-student": "student"}
STORY = {"from-images": "from images", "from-names": "from names"}


def render(runs: Sequence[Finished]) -> str:
    """The page of one or more finished runs."""
    import jinja2

    home = files("promptstill.pages")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    page = environment.from_string(home.joinpath("report.html").read_text("utf-8"))
    shown = [Shown(run, name, at) for at, (run, name) in enumerate(zip(runs, _names(runs), strict=True), start=1)]
    # the style sheet is ours: it is data for nobody, and holds no closing tag
    style = Markup(home.joinpath("report.css").read_text("utf-8"))
    return page.render(style=style, **_content(shown)) + "\n"


def _names(runs: Sequence[Finished]) -> list[str]:
    """Folder names, numbered where two are alike."""
    often = Counter(run.name for run in runs)
    return [run.name if often[run.name] == 1 else f"{run.name} ({at})" for at, run in enumerate(runs, start=1)]


def _content(shown: Sequence[Shown]) -> Section:
    many, measured = len(shown) > 1, [each for each in shown if each.run.predictions is not None]
    head = _several(shown) if many else _one(shown[0])
    parts: Section = {"many": many, "version": shown[0].run.report["versions"]["promptstill"]}
    parts |= {"classes": [], "confusion": []}
    for each in measured:
        assert each.run.predictions is not None
        parts["classes"].append(sections.classes(each, each.run.predictions))
        parts["confusion"].append(sections.confusion(each, each.run.predictions))
    return (
        head
        | parts
        | {
            "domains": sections.domains(shown),
            "other": sections.other_classes(shown),
            "calibration": sections.calibration(shown),
            "mistakes": [part for each in shown if (part := _mistakes(each))],
            "sheets": [part for each in shown if (part := _sheet(each))],
            "maps": [part for each in shown if (part := sections.feature_map(each))],
            "map_note": MAP_NOTE,
            "training": sections.training(shown),
            "cost": _cost(shown),
            "provenance": [_provenance(each) for each in shown],
        }
    )


def _one(each: Shown) -> Section:
    """Title, one sentence of what was asked and what came out, and the key figures."""
    report, evaluation = each.run.report, each.evaluation
    number = len(report["classes"])
    origin = "unlabeled images" if report["pipeline"] == "from-images" else "their names alone"
    return {
        "title": f"A classifier of {count(number, 'class', 'classes')} from {origin}",
        "eyebrow": f"{STORY[report['pipeline']]} · run {each.name}",
        "lede": sentence(report),
        "warnings": _warnings(report),
        "tiles": _tiles(report, evaluation),
        "overview": None,
    }


def sentence(report: dict[str, Any]) -> str:
    """What was asked and what came out."""
    images = report["stages"].get("3-images", {}).get("images", 0)
    kind = "unlabeled" if report["pipeline"] == "from-images" else "surrogate"
    asked = f"Asked to tell {listed(list(report['classes']), 10)} apart, {report['student']} learned from its teacher"
    begun = f"{asked} {report['teacher']} on {count(images, f'{kind} image')}"
    size = f"{report['cost']['student']['megabytes']:.1f} MB"
    evaluation = report["evaluation"]
    if not evaluation:
        return f"{begun} and became a student of {size}; it was not measured on labelled pictures."
    mean = evaluation["mean"]
    return (
        f"{begun}, and became a student of {size} that is right on {percent(mean['student'])} of "
        f"{evaluation['benchmark']}, where the teacher is right on {percent(mean['teacher'])} (mean over "
        f"{count(len(evaluation['domains']), 'domain')}, chance {percent(evaluation['chance'])})."
    )


def _warnings(report: dict[str, Any]) -> list[str]:
    told: list[str] = []
    if report.get("selected_on_test_data"):
        told.append("Something was selected on test data in this run: its figures flatter it.")
    if report["evaluation"] and report["evaluation"].get("not_tested"):
        told.append(f"The benchmark has no picture of {listed(report['evaluation']['not_tested'], 10)}.")
    return told


def _tiles(report: dict[str, Any], evaluation: dict[str, Any] | None) -> list[Section]:
    student, teacher = report["cost"]["student"], report["cost"]["teacher"]
    tiles: list[Section] = []

    def tile(figure: str, text: str) -> None:
        tiles.append({"figure": figure, "text": text})

    if evaluation:
        mean = evaluation["mean"]
        tile(percent(mean["student"]), "student's accuracy")
        tile(signed(mean["student"] - mean["teacher"]), "points from its teacher")
    tile(f"{student['megabytes']:.1f} MB", f"on disk; the teacher's image tower {teacher['megabytes']:.1f} MB")
    tile(
        f"{teacher['macs'] / max(student['macs'], 1):.1f} \N{MULTIPLICATION SIGN}",
        "fewer operations an image than the teacher",
    )
    tile(f"{student['latency_ms']:.1f} ms", f"an image; the teacher {teacher['latency_ms']:.1f} ms")
    tile(
        seconds(sum(stage["seconds"] for stage in report["stages"].values())),
        "from the names to the student" if report["pipeline"] == "from-names" else "from the images to the student",
    )
    return tiles


def _several(shown: Sequence[Shown]) -> Section:
    rows: list[list[str]] = []
    for each in shown:
        report, evaluation = each.run.report, each.evaluation
        mean = evaluation["mean"] if evaluation else {}
        gap = mean["student"] - mean["teacher"] if evaluation else None
        spent = seconds(sum(stage["seconds"] for stage in report["stages"].values()))
        images, size = report["stages"]["3-images"]["images"], f"{report['cost']['student']['megabytes']:.1f} MB"
        figures = (percent(mean.get("teacher")), percent(mean.get("student")), signed(gap))
        rows.append([each.name, STORY[report["pipeline"]], *figures, f"{images:,}", size, spent])
    head = ["run", "story", "teacher", "student", "gap", "images", "size", "time"]
    told = "; ".join(f"{row[0]}: {row[3]}" for row in rows if row[3] != NONE)
    lists = {tuple(each.run.report["classes"]) for each in shown}
    return {
        "title": f"{len(shown)} runs side by side",
        "eyebrow": "comparison",
        "lede": f"Accuracy of the students: {told}."
        if told
        else "None of these runs was measured on labelled pictures.",
        "warnings": _differences(shown, lists),
        "tiles": [],
        "overview": table("The runs", head, rows),
    }


def _differences(shown: Sequence[Shown], lists: set[tuple[str, ...]]) -> list[str]:
    """Why figures of these runs may not be comparable."""
    found: list[str] = [text for each in shown for text in _warnings(each.run.report)]
    if len(lists) > 1:
        found.append("These runs have different classes: compare each with its own teacher, not with each other.")
    tests = {(each.evaluation or {}).get("benchmark") for each in shown}
    if len(tests) > 1:
        found.append("These runs were not measured on the same benchmark; the charts show that of the first.")
    if len({each.run.report["teacher_hash"] for each in shown}) > 1:
        found.append("These runs have different teachers; the charts show that of the first.")
    return found


def _mistakes(each: Shown) -> Section | None:
    pictures: list[Section] = []
    for found in each.run.pictures.get("mistakes", []):
        facts = {"image": found["image"], "said": found["said"], "truth": found["class"], "domain": found["domain"]}
        told = f"Picture of {found['class']} in {found['domain']}, which the student called {found['said']}"
        facts |= {"teacher": found.get("teacher"), "alt": told, "confidence": percent(100 * found["confidence"], 0)}
        pictures.append(facts)
    return each.facts() | {"pictures": pictures} if pictures else None


def _sheet(each: Shown) -> Section | None:
    pictures: list[Section] = []
    for found in each.run.pictures.get("sheet", []):
        bars = [
            {"name": name, "share": f"{100 * share:.1f}%", "told": percent(100 * share, 0)}
            for at, (name, share) in enumerate(found["labels"])
            if at == 0 or share >= SEEN
        ]
        name, share = found["labels"][0]
        made = f"Surrogate picture for the prompt {found['prompt']}" if "prompt" in found else "Unlabeled picture"
        told = f"{made}; the teacher sees {name} with {percent(100 * share, 0)}"
        pictures.append({"image": found["image"], "alt": told, "prompt": found.get("prompt"), "labels": bars})
    if not pictures:
        return None
    total, prompted = each.run.report["stages"]["3-images"]["images"], pictures[0]["prompt"]
    what = "surrogate pictures that the generator painted, each with its prompt" if prompted else "unlabeled pictures"
    note = f"{len(pictures)} of {total:,} {what}, evenly chosen, and what the teacher sees in them."
    if left := each.run.report["stages"]["3-images"].get("rejected"):
        note += f" {count(left, 'picture')} could not be used and {'was' if left == 1 else 'were'} left out."
    share = each.run.report["stages"]["3-images"].get("recognised_by_teacher")
    if prompted and share is not None:
        note += f" The teacher calls {percent(100 * share, 0)} of all by the class they were painted for."
    return each.facts() | {"pictures": pictures, "note": note}


def _cost(shown: Sequence[Shown]) -> Section:
    rows: list[list[str]] = []
    models: list[tuple[str, dict[str, Any]]] = []
    for each in shown:
        cost, single = each.run.report["cost"], len(shown) == 1
        teacher = (f"teacher {each.run.report['teacher']}", cost["teacher"])
        models += [teacher] if teacher[0] not in [name for name, _ in models] else []
        models.append(
            (f"student {each.run.report['student']}" if single else f"student of {each.name}", cost["student"])
        )
    for name, row in models:
        figures = [f"{row['parameters'] / 1e6:.2f} M", big(row["macs"]), f"{row['latency_ms']:.2f} ms"]
        rows.append([name, *figures, f"{row['megabytes']:.1f} MB"])
    head = ["model", "parameters", "MACs", "latency", "size"]
    names = [each.name for each in shown] if len(shown) > 1 else ["seconds"]
    stages: list[list[str]] = []
    for key, title in STAGES.items():
        spent = [each.run.report["stages"].get(key) for each in shown]
        if any(spent):
            images = next((str(s["images"]) for s in spent if s and "images" in s), "")
            work = [each.run.report.get("macs", {}).get(key) for each in shown]
            macs = " / ".join(big(value) for value in work if value)
            stages.append([title, *(f"{s['seconds']:.1f}" if s else NONE for s in spent), images, macs])
    note = "MACs of a stage are counted from the image towers' own: a step of training as three passes."
    if any("2-prompts" in each.run.report["stages"] for each in shown):
        note += " The generator's own work is not in them."
    heading = ["stage", *names, "images", "MACs, about"]
    made = table("Time, images and operations by stage", heading, stages)
    return {"models": table("Cost of one image", head, rows), "stages": made, "note": note}


def _provenance(each: Shown) -> Section:
    report = each.run.report
    facts: list[tuple[str, str]] = [
        ("Strictness", report["strictness"]),
        ("Selected on test data", "yes" if report.get("selected_on_test_data") else "no, nothing"),
        ("Classes", listed(list(report["classes"]), 60)),
        ("Teacher", f"{report['teacher']}, weights sha256 {report['teacher_hash']}"),
        ("Student", f"{report['student']}, began with {report['backbone']}, sha256 {report['student_sha256']}"),
    ]
    if report.get("generator_hash"):
        generator = report["settings"]["generator"]
        facts.append(("Generator", f"{generator}, weights sha256 {report['generator_hash']}"))
    facts += [(f"Licence of the {who}", text) for who, text in report.get("licences", {}).items()]
    facts.append(("Seed", str(report["seed"])))
    versions = dict(report["versions"])
    facts.append(("Machine", versions.pop("machine")))
    facts.append(("Versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    settings = yaml.safe_dump(report["settings"], sort_keys=False, allow_unicode=True, width=100)
    return each.facts() | {"facts": facts, "settings": settings}
