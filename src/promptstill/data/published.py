"""What the papers print: the numbers beside ours. Accuracies in per cent."""

# PromptKD (CVPR 2024), tables 1 and 10: (base, novel, HM) of the ViT-B/16 student and of its ViT-L/14 teacher.
BASE_TO_NOVEL: dict[str, dict[str, tuple[float, float, float]]] = {
    "ImageNet": {"student": (80.83, 74.66, 77.62), "teacher": (83.24, 76.83, 79.91)},
    "Caltech101": {"student": (98.91, 96.65, 97.77), "teacher": (98.71, 98.03, 98.37)},
    "OxfordPets": {"student": (96.30, 98.01, 97.15), "teacher": (96.86, 98.82, 97.83)},
    "StanfordCars": {"student": (82.80, 83.37, 83.13), "teacher": (84.53, 84.25, 84.39)},
    "OxfordFlowers": {"student": (99.42, 82.62, 90.24), "teacher": (99.05, 82.60, 90.08)},
    "Food101": {"student": (92.43, 93.68, 93.05), "teacher": (94.56, 95.15, 94.85)},
    "FGVCAircraft": {"student": (49.12, 41.81, 45.17), "teacher": (54.44, 43.07, 48.09)},
    "SUN397": {"student": (83.69, 81.54, 82.60), "teacher": (84.97, 81.09, 82.98)},
    "DescribableTextures": {"student": (85.84, 71.37, 77.94), "teacher": (85.76, 70.65, 77.48)},
    "EuroSAT": {"student": (97.54, 82.08, 89.14), "teacher": (94.79, 83.15, 88.59)},
    "UCF101": {"student": (89.71, 82.27, 86.10), "teacher": (89.50, 82.26, 85.73)},
}

# Tables 2, 9 and 11: teacher and student tuned on ImageNet alone, the student distilled on the target's own images.
TRANSFER: dict[str, dict[str, float]] = {
    "Caltech101": {"student": 93.61, "teacher": 95.61},
    "OxfordPets": {"student": 91.59, "teacher": 94.19},
    "StanfordCars": {"student": 73.93, "teacher": 77.70},
    "OxfordFlowers": {"student": 75.33, "teacher": 77.54},
    "Food101": {"student": 88.84, "teacher": 91.59},
    "FGVCAircraft": {"student": 26.24, "teacher": 31.29},
    "SUN397": {"student": 68.57, "teacher": 70.86},
    "DescribableTextures": {"student": 55.08, "teacher": 56.32},
    "EuroSAT": {"student": 63.74, "teacher": 47.55},
    "UCF101": {"student": 76.39, "teacher": 76.20},
    "ImageNetV2": {"student": 69.77},
    "ImageNetSketch": {"student": 58.72},
    "ImageNetA": {"student": 70.36},
    "ImageNetR": {"student": 87.01},
}
