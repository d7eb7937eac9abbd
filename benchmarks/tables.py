"""Fill the tables of the documents from ``benchmarks/results/*.json``; with ``--check`` only compare.

python benchmarks/tables.py [--check]
"""

import argparse
import json
import re
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


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "main_job": main_job,
    "nano": nano,
    "quality_promptkd": quality_promptkd,
    "photographs": photographs,
    "promptkd": promptkd,
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
