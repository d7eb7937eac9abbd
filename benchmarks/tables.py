"""Fill the tables of the documents from ``benchmarks/results/*.json``; with ``--check`` only compare.

python benchmarks/tables.py [--check]
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "docs/guide.md",
    "docs/benchmarks.md",
    "docs/photographs.md",
    "docs/distillation.md",
    "docs/from-names.md",
    "docs/deploy.md",
    "recipes/nano/RESULTS.md",
)
MARK = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rows(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main_job(figures: dict[str, Any]) -> str:
    """Teacher and student of both pipelines by domain, and the time it took."""
    images, names = figures["from-images"], figures["from-names"]
    body = []
    for title, row in images["domains"].items():
        other = names["domains"][title]
        body.append(
            [title, *(f"{value:.1f}" for value in (row["teacher"], row["student"], other["teacher"], other["student"]))]
        )
    each = ", ".join(f"{value:.1f}" for value in images["student_each"])
    mean = (images["teacher"], images["student"], names["teacher"], names["student"])
    body.append(["**mean**", *(f"**{value:.1f}**" for value in mean)])
    head = ["domain", f"teacher, {images['classes']} classes", "student from images"]
    head += [f"teacher, {names['classes']} classes", "student from names"]
    spent = f"{sum(images['seconds'].values()):.0f} s from images, {sum(names['seconds'].values()):.0f} s from names"
    chance = f"{images['chance']:.1f} and {names['chance']:.1f} %"
    told = f"Chance is {chance}. By domain: seed 0; the mean from images is over seeds ({each}). Time: {spent}."
    return rows(head, body) + f"\n{told}\n"


def nano(figures: dict[str, Any]) -> str:
    """Zero-shot accuracy of the embedded models, cost and size."""
    body = []
    for uri in ("nano", "nano-student"):
        row, cost = figures[uri]["zero_shot"]["a photo of a {}."], figures[uri]["cost"]
        worst = min(value for name, value in row.items() if name != "mean")
        synonyms = " / ".join(f"{value:.1f}" for value in figures[uri]["synonyms"].values())
        size = f"{figures['megabytes'][uri]:.1f} MB"
        ten = figures[uri]["demo_classes"]["mean"]
        body.append(
            [
                f"`{uri}`",
                f"{row['mean']:.1f}",
                f"{ten:.1f}",
                f"{worst:.1f}",
                synonyms,
                f"{cost['macs'] / 1e6:.0f} M",
                size,
            ]
        )
    head = [
        "model",
        "zero-shot, mean over domains",
        "on the demo's ten classes",
        "worst domain",
        "with synonyms",
        "image tower MACs",
        "size",
    ]
    picture = figures["nano-vqgan"]
    share = f"{100 * picture['codes_used']:.0f} % of its codes in use"
    return (
        rows(head, body)
        + f"\n`nano-vqgan` ({figures['megabytes']['nano-vqgan']:.1f} MB): {picture['psnr']:.1f} dB PSNR, {share}.\n"
    )


def quality_promptkd(figures: dict[str, Any]) -> str:
    """Base-to-novel over seeds, and the ablations of the student."""
    found, body = figures["base_to_novel"], list[list[str]]()
    titles = {"student zero-shot": "the student before it learned", "teacher zero-shot": "the teacher before tuning"}
    for who in ("student zero-shot", "teacher zero-shot", "teacher", "student"):
        each = found[who]
        spread = ", ".join(f"{value:.1f}" for value in each["hm"]["each"])
        means = [f"{each[figure]['mean']:.1f}" for figure in ("base", "novel", "hm", "joint")]
        body.append([titles.get(who, f"**{who}**"), *means, spread])
    text = rows(["pictograms", "base", "novel", "HM", "joint", "HM of each seed"], body)
    text += f"\nThe student is {figures['below_teacher']:.1f} points of HM below its teacher and "
    text += f"{figures['above_own_zero_shot']:.1f} above its own zero-shot; seeds {figures['seeds']}.\n"
    for key, lines in figures["ablations"].items():
        cells = [
            [str(line["value"]), *(f"{line[figure]:.1f}" for figure in ("base", "novel", "hm", "joint"))]
            for line in lines
        ]
        text += "\n" + rows([f"`distill.{key}`", "base", "novel", "HM", "joint"], cells)
    return text


def promptkd(figures: dict[str, Any]) -> str:
    """The speed of PromptKD here against a plain loop, and what store, step and memory cost."""
    rate, body = figures["images_per_second"], list[list[str]]()
    for count, times in figures["speedup"].items():
        body.append([count, f"{rate['plain'][count]:.1f}", f"{rate['here'][count]:.1f}", f"{times:.1f}x"])
    text = rows(["classes", "plain loop, images/s", "here, images/s", "speed-up"], body)
    small, growth = figures["batch"]["speedup"], 100 * figures["growth_10_1000"]
    text += f"\nThe store is built at {100 * figures['store_build_ratio']:.0f} % of the teacher's own rate. "
    text += f"A step costs {figures['step_overhead']:.2f}x the student's bare forward and backward "
    text += f"({figures['step_overhead_small_batch']:.2f}x at batch {small}), and {growth:+.0f} % with 1,000 classes "
    text += "in place of 10. Memory beside libraries, teacher and images, with 1,000 classes: at most "
    text += "{here} MB, the plain loop's {plain} MB.\n".format(**figures["peak_megabytes"])
    if real := figures["real_sizes"]:
        text += f"At real sizes (ViT-L/14, ViT-B/16, random weights, {real['classes']:.0f} classes, batch "
        text += f"{real['batch']:.0f}) a step takes {real['here']:.0f} s, the plain loop's {real['plain']:.0f} s: "
        text += f"{real['speedup']:.1f}x.\n"
    return text


def photographs(figures: dict[str, Any]) -> str:
    """Teacher and student on real photographs, and their speed."""
    accuracy, rate, macs = (figures[name] for name in ("accuracy", "images_per_second", "macs"))
    body = [
        [who, f"{accuracy[who]:.1f}", f"{rate[who]:.0f}", f"{macs[who] / 1e6:.0f} M"] for who in ("teacher", "student")
    ]
    spent = sum(figures["seconds"].values())
    told = f"{figures['classes']} classes; {figures['images']['train']} photographs to learn from, "
    told += f"{figures['images']['test']} to test on; {spent:.0f} s in all, {figures['threads']} thread(s); "
    told += ", ".join(f"{key} {value}" for key, value in figures["distill"].items()) + "."
    return rows(["photographs", "accuracy", "images/s", "MACs an image"], body) + f"\n{told}\n"


def quality_datafree(figures: dict[str, Any]) -> str:
    """Students by strategy and domain, in the form of the paper's Table 1; then the ablations, if any."""
    found = figures["strategies"]
    teacher = [*found["baseline"]["teacher"].values(), found["baseline"]["teacher_mean"]]
    body = [["CLIP (teacher)", *(f"{value:.1f}" for value in teacher), "", "", ""]]
    for name, row in found.items():
        cells = [f"{value:.1f}" for value in row["domains"].values()] + [f"{row['mean']:.1f} ± {row['deviation']:.1f}"]
        told = [f"{row['prompts']['retention']:.2f}", f"{abs(row['prompts']['within']):.3f}"]
        body.append([name, *cells, *told, f"{row['images']['within_classes']:.3f}"])
    head = ["prompts", *found["baseline"]["domains"], "Avg.", "retention", "spread of prompts", "of images"]
    counts = {f"contrastive, {count} a class": row for count, row in figures.get("images_a_class", {}).items()}
    others = figures.get("ablations", {}) | counts
    more = [[name, f"{row['mean']:.1f} ± {row['deviation']:.1f}"] for name, row in others.items()]
    told = (
        f"\nStudent `{figures['student']}`; {figures['each']} images a class, {figures['seeds']} students each, mean ± "
    )
    told += "standard deviation.\n"
    return rows(head, body) + told + ("\n" + rows(["ablation", "Avg."], more) if more else "")


def synthesis(figures: dict[str, Any]) -> str:
    """Published settings of synthesis against ours, and the cost of a step."""
    body = []
    for name, label in (
        ("published", f"published: 500 steps, 32 cutouts ({figures['published']})"),
        ("fast", "`fast`"),
    ):
        each = figures["student_accuracy"][name]
        found = f"{statistics.fmean(each):.1f} ± {statistics.stdev(each) if len(each) > 1 else 0:.1f}"
        agreed = f"{100 * figures['teacher_agreement'][name]:.0f} %"
        body.append([label, f"{figures['seconds_an_image'][name]:.2f}", agreed, found])
    text = rows(["settings", "s an image", "recognised", "student"], body)
    text += f"\n{figures['speedup']:.0f}x as fast. A step costs {figures['step_overhead']:.2f}x "
    text += "the bare forward and backward of generator and teacher. Pseudo-words through texts that end at their end "
    text += f"take {figures['text_speedup']:.1f}x less time than at full length (a text tower of ViT-B/32's size; "
    return text + f"{figures['text_speedup_nano']:.1f}x with `nano`).\n"


def synthesis_prices(figures: dict[str, Any]) -> str:
    """``fast`` changed in one setting at a time."""
    lines = []
    for name, row in figures["prices"].items():
        each = row["student_accuracy"]
        found = f"{statistics.fmean(each):.1f} ± {statistics.stdev(each) if len(each) > 1 else 0:.1f}"
        agreed = f"{100 * row['teacher_agreement']:.0f} %"
        lines.append([f"`{name}`", f"{row['seconds_an_image']:.2f}", f"{row['mean_steps']:.0f}", agreed,
                      f"{row['spread']:.2f}", found])  # fmt: skip
    return rows(["`fast`, but", "s an image", "steps", "recognised", "spread", "student"], lines)


def few_shot(figures: dict[str, Any]) -> str:
    """Accuracy after fine-tuning on few labels, of the distilled student and of the same one undistilled."""
    who = list(figures["features"])
    body = [[count, *(f"{found[w]['mean']:.1f} ± {found[w]['sd']:.1f}" for w in who)]
            for count, found in sorted(figures["shots"].items(), key=lambda pair: int(pair[0]))]  # fmt: skip
    told = "; ".join(f"{w}: silhouette {row['silhouette']:.3f}, leave-one-out k-NN {row['knn']:.1f} %"
                     for w, row in figures["features"].items())  # fmt: skip
    return rows(["labelled images a class", *who], body) + f"\nFeatures before any label: {told}.\n"


def export(figures: dict[str, Any]) -> str:
    """Each student in each format: agreement with PyTorch, size, and latency of one image against eager PyTorch."""
    body = []
    for student, formats in figures["students"].items():
        for name, row in formats.items():
            if "refused" in row:
                why = row["refused"].partition("(")[2].partition(")")[0]
                body.append([f"`{student}`", name, f"refused: {why}", "", "", "", ""])
                continue
            drop = f"{row['accuracy_drop']:+.2f}" if "accuracy_drop" in row else ""
            size, one = f"{row['bytes'] / 1e6:.2f} MB", row["latency_ms"]["batch_1"]
            size += f", {row['smaller_than_fp32']:.1f}x smaller" if "smaller_than_fp32" in row else ""
            difference = f"{row['max_logit_difference']:.1g}"
            speed = f"{one['export']:.2f} ms, PyTorch {one['student']:.2f}"
            body.append([f"`{student}`", name, f"{row['top1_agreement']:.1f} %", difference, drop, size, speed])
    head = ["student", "format", "agreement", "largest difference of a logit", "points lost", "size", "one image"]
    return rows(head, body)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "main_job": main_job,
    "nano": nano,
    "quality_promptkd": quality_promptkd,
    "photographs": photographs,
    "promptkd": promptkd,
    "quality_datafree": quality_datafree,
    "quality_datafree_imagenet": quality_datafree,
    "quality_datafree_prompted": quality_datafree,
    "synthesis": synthesis,
    "synthesis_prices": synthesis_prices,
    "few_shot": few_shot,
    "export": export,
}


def fill(text: str) -> str:
    """A document with every marked table made anew."""

    def table(match: re.Match[str]) -> str:
        path = ROOT / "benchmarks" / "results" / f"{match[2]}.json"
        if not path.is_file():
            return match[0]  # not measured yet
        source = f"\n<sub>benchmarks/results/{path.name}</sub>\n"
        return match[1] + TABLES[match[2]](json.loads(path.read_text(encoding="utf-8"))) + source + match[3]

    return MARK.sub(table, text)


def main() -> None:
    """Write the documents, or check them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for name in DOCUMENTS:
        path = ROOT / name
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        new = fill(old)
        if check and old != new:
            raise SystemExit(f"{name} is not what benchmarks/results say; run python benchmarks/tables.py")
        if old != new:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
