"""What the pictogram benchmark is made of: classes, words for them, and domains. Data only.

The names of icons that are put up for a class are in pictograms_names.txt; what a look at the pictures then took out
again is in pictograms_rejects.txt.
"""

VERSION, SEED = "1.0", 2024

BASE = ("airplane", "bird", "book", "bottle", "bus", "cake", "cat", "cup", "dog", "flower", "hand", "house", "insect",
        "person", "tree", "umbrella")  # fmt: skip
NOVEL = ("bag", "boat", "camera", "car", "cow", "fish", "glass", "hat", "horse", "leaf", "motorcycle", "phone", "shoe",
         "tent", "train", "truck")  # fmt: skip

# domain: the sets in it; a set in two domains is divided by the style that its names (or its pixels) state.
LINE_SETS = ("carbon", "fa-regular", "fa6-regular", "fa7-regular", "la", "tabler")
SHAPE_SETS = ("fa", "fa-solid", "fa6-solid", "fa7-solid", "healthicons", "maki", "pinhead", "temaki")
MIXED_SETS = ("mingcute", "ph", "streamline-ultimate")
DOMAINS = {
    "emoji": ("emojione", "fluent-emoji-flat", "twemoji"),
    "shaded": ("fluent-emoji",),
    "monochrome": ("emojione-monotone", "fluent-emoji-high-contrast"),
    "outline": LINE_SETS + SHAPE_SETS + MIXED_SETS,
    "solid": LINE_SETS + SHAPE_SETS + MIXED_SETS,
}
# Sets that share drawings: an icon of one may be the same icon in another.
FAMILIES = {"fluent-emoji-flat": "fluent", "fluent-emoji": "fluent", "fluent-emoji-high-contrast": "fluent",
            "emojione-monotone": "emojione", "fa": "fa", "fa-solid": "fa", "fa-regular": "fa", "fa6-solid": "fa",
            "fa6-regular": "fa", "fa7-solid": "fa", "fa7-regular": "fa", "la": "fa", "maki": "map", "temaki": "map",
            "pinhead": "map"}  # fmt: skip

# class: other words for it, to test a text tower with
SYNONYMS = {
    "airplane": ("aeroplane", "jet"),
    "bag": ("handbag", "tote bag"),
    "bird": ("songbird", "fowl"),
    "boat": ("ship", "vessel"),
    "book": ("volume", "textbook"),
    "bottle": ("flask", "carafe"),
    "bus": ("coach", "omnibus"),
    "cake": ("gateau", "birthday cake"),
    "camera": ("photo camera", "camcorder"),
    "car": ("automobile", "motorcar"),
    "cat": ("kitten", "kitty"),
    "cow": ("cattle", "ox"),
    "cup": ("mug", "teacup"),
    "dog": ("puppy", "hound"),
    "fish": ("trout", "goldfish"),
    "flower": ("blossom", "bloom"),
    "glass": ("wine glass", "goblet"),
    "hand": ("palm", "fist"),
    "hat": ("cap", "sombrero"),
    "horse": ("pony", "stallion"),
    "house": ("home", "cottage"),
    "insect": ("bug", "beetle"),
    "leaf": ("foliage", "leaves"),
    "motorcycle": ("motorbike", "motor scooter"),
    "person": ("human", "man"),
    "phone": ("telephone", "mobile phone"),
    "shoe": ("sneaker", "footwear"),
    "tent": ("marquee", "wigwam"),
    "train": ("locomotive", "railway train"),
    "tree": ("palm", "pine"),
    "truck": ("lorry", "pickup truck"),
    "umbrella": ("parasol", "brolly"),
}  # fmt: skip
CLASSES = tuple(SYNONYMS)
