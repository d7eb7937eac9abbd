"""A picture has the same answer as path, bytes, PIL image, array or tensor."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from promptstill.data.images import open_images
from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.stages.predict import Classifier, as_picture, load
from small_runs import CLASSES, as_png, distilled, vectors_of


@pytest.fixture(scope="module")
def classifier(clip: Clip, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = tmp_path_factory.mktemp("predict")
    distilled(clip, open_images(pictures), folder)
    return load(folder / "student")


def test_every_form_of_a_picture_has_the_same_answer(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "003.png"
    picture = Image.open(path).convert("RGB")
    array = np.asarray(picture)
    forms = [
        path,
        str(path),
        path.read_bytes(),
        as_png(picture),
        picture,
        picture.convert("RGBA"),
        array,
        torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255,
    ]
    rows = classifier.predict_proba(forms)
    assert rows.shape == (len(forms), 3)
    np.testing.assert_allclose(rows, np.repeat(rows[:1], len(forms), 0), atol=1e-6)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_answers_are_ordered_and_the_batch_does_not_matter(classifier: Classifier, pictures: Path) -> None:
    paths = sorted(pictures.iterdir())
    rows = classifier.predict(paths, top=2)
    assert len(rows) == len(paths)
    for row in rows:
        assert [p.probability for p in row] == sorted((p.probability for p in row), reverse=True)
        assert len({p.label for p in row} & set(CLASSES)) == 2
    np.testing.assert_allclose(
        classifier.predict_proba(paths, batch_size=1), classifier.predict_proba(paths), atol=1e-6
    )
    assert len(classifier.predict(paths[:1], top=50)[0]) == 3


def test_one_picture_needs_no_list(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "000.png"
    picture = Image.open(path).convert("RGB")
    wanted = classifier.predict([path])
    for form in (path, str(path), path.read_bytes(), picture, np.asarray(picture)):
        assert classifier.predict(form) == wanted  # pyright: ignore


def test_no_picture_has_no_answer(classifier: Classifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 3)


def test_the_module_gives_the_logits_of_the_same_answers(classifier: Classifier, pictures: Path) -> None:
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        logits = classifier.module()(images)
    arrays = [(image.permute(1, 2, 0) * 255).round().byte().numpy() for image in images]
    np.testing.assert_allclose(logits.softmax(-1).numpy(), classifier.predict_proba(arrays), atol=2e-2)


def test_it_is_made_like_a_classifier_of_scikit_learn(classifier: Classifier, pictures: Path) -> None:
    paths = sorted(pictures.iterdir())
    best = classifier.classes_[classifier.predict_proba(paths).argmax(1)]
    assert best.tolist() == [row[0].label for row in classifier.predict(paths, top=1)]


def test_other_classes_need_no_training(classifier: Classifier, clip: Clip, pictures: Path) -> None:
    names = ["yak", "dog"]
    by_name, given = classifier.retarget(names), classifier.retarget(vectors_of(clip, names))
    path = pictures / "000.png"
    assert by_name.classes_.tolist() == given.classes_.tolist() == names
    np.testing.assert_allclose(by_name.predict_proba([path]), given.predict_proba([path]), atol=1e-6)
    again = by_name.retarget(CLASSES)
    np.testing.assert_allclose(again.predict_proba([path]), classifier.predict_proba([path]), atol=1e-6)
    foreign = replace(vectors_of(clip, names), teacher_hash="another")
    with pytest.raises(DataError, match="own teacher"):
        classifier.retarget(foreign)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("no/such.png", DataError),
        (b"", DataError),
        (b"not a picture", DataError),
        (3, UsageError),
        (None, UsageError),
        (np.zeros((8, 8)), UsageError),
        (np.zeros((8, 8, 3), np.float32), UsageError),
        (np.zeros((3, 8, 8), np.uint8), UsageError),
        (np.zeros((0, 8, 3), np.uint8), UsageError),
        (torch.zeros(8, 8), UsageError),
        (torch.zeros(1, 8, 8), UsageError),
        (torch.full((3, 8, 8), 200, dtype=torch.uint8), UsageError),
        (torch.full((3, 8, 8), float("nan")), UsageError),
    ],
)
def test_what_is_no_picture_is_refused(classifier: Classifier, image: object, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        classifier.predict_proba([image])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "P", "L", "turned"])
def test_an_open_image_is_what_its_file_is(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8), "RGBA")
        picture = picture if mode == "RGBA" else picture.convert("RGB" if mode == "turned" else mode)
    exif = Image.Exif()
    exif[0x0112] = 6 if mode == "turned" else 1
    picture.save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as opened:
        assert as_picture(opened).tobytes() == as_picture(tmp_path / "x.png").tobytes()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: not a regular file"):
        as_picture(tmp_path / "pipe.png")
