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

# DFKD-VLFM (ACM MM 2023), tables 1 to 4: by row and domain; the teacher is CLIP ViT-B/32, R18 and R50 the students.
# Two means are recomputed, as the paper prints another than that of its own row: R50 baseline on ImageCLEF-DA (76.46)
# and R18 random on VisDA synthetic (68.85).
DATA_FREE: dict[str, dict[str, dict[str, float]]] = {
    "PACS": {
        "teacher": {"photo": 99.46, "art painting": 95.56, "cartoon": 97.44, "sketch": 84.14, "mean": 94.15},
        "R18 baseline": {"photo": 86.18, "art painting": 51.21, "cartoon": 48.57, "sketch": 25.27, "mean": 52.81},
        "R18 mix": {"photo": 90.24, "art painting": 72.29, "cartoon": 78.17, "sketch": 50.10, "mean": 72.70},
        "R18 random": {"photo": 91.27, "art painting": 69.26, "cartoon": 77.29, "sketch": 38.18, "mean": 69.00},
        "R18 contrastive": {"photo": 93.44, "art painting": 79.74, "cartoon": 80.42, "sketch": 52.78, "mean": 76.59},
        "R50 baseline": {"photo": 89.04, "art painting": 56.08, "cartoon": 54.86, "sketch": 22.42, "mean": 55.60},
        "R50 contrastive": {"photo": 94.69, "art painting": 81.76, "cartoon": 81.74, "sketch": 55.04, "mean": 78.31},
    },
    "VLCS": {
        "teacher": {"VOC2007": 70.65, "LabelMe": 56.37, "Caltech101": 99.70, "SUN09": 74.27, "mean": 75.25},
        "R18 baseline": {"VOC2007": 46.59, "LabelMe": 51.55, "Caltech101": 79.01, "SUN09": 54.43, "mean": 57.90},
        "R18 mix": {"VOC2007": 62.46, "LabelMe": 61.52, "Caltech101": 90.58, "SUN09": 67.96, "mean": 70.63},
        "R18 random": {"VOC2007": 63.46, "LabelMe": 62.27, "Caltech101": 91.00, "SUN09": 69.22, "mean": 71.49},
        "R18 contrastive": {"VOC2007": 66.55, "LabelMe": 61.72, "Caltech101": 95.52, "SUN09": 73.53, "mean": 74.33},
        "R50 baseline": {"VOC2007": 54.64, "LabelMe": 56.20, "Caltech101": 81.72, "SUN09": 62.95, "mean": 63.88},
        "R50 contrastive": {"VOC2007": 69.75, "LabelMe": 62.51, "Caltech101": 96.02, "SUN09": 75.86, "mean": 76.04},
    },
    "ImageCLEF-DA": {
        "teacher": {"Caltech": 94.00, "ImageNet": 93.83, "Pascal": 82.33, "mean": 90.06},
        "R18 baseline": {"Caltech": 79.80, "ImageNet": 75.23, "Pascal": 64.27, "mean": 73.10},
        "R18 mix": {"Caltech": 85.57, "ImageNet": 80.60, "Pascal": 65.77, "mean": 77.31},
        "R18 random": {"Caltech": 86.33, "ImageNet": 82.10, "Pascal": 67.23, "mean": 78.56},
        "R18 contrastive": {"Caltech": 87.33, "ImageNet": 84.60, "Pascal": 69.33, "mean": 80.42},
        "R50 baseline": {"Caltech": 83.67, "ImageNet": 77.70, "Pascal": 68.20, "mean": 76.52},
        "R50 contrastive": {"Caltech": 90.75, "ImageNet": 87.75, "Pascal": 73.00, "mean": 83.83},
    },
    "VisDA-2017": {  # mean recall of the twelve classes
        "teacher": {"synthetic": 85.71, "real": 82.12},
        "R18 baseline": {"synthetic": 69.99, "real": 65.58},
        "R18 mix": {"synthetic": 69.85, "real": 69.24},
        "R18 random": {"synthetic": 67.85, "real": 67.56},
        "R18 contrastive": {"synthetic": 70.08, "real": 70.48},
        "R50 baseline": {"synthetic": 70.41, "real": 68.66},
        "R50 contrastive": {"synthetic": 70.24, "real": 74.54},
    },
}
