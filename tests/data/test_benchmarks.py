"""A benchmark is matched by class name, never by index, and refused early if it does not fit."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from promptstill.data.benchmarks import load_benchmark
from promptstill.errors import DataError, UsageError
from tiny import make_pictures


def test_a_folder_has_domains_and_classes(bench_dir: Path) -> None:
    benchmark = load_benchmark(f"dir:{bench_dir}")
    assert benchmark.name == "bench"
    assert benchmark.classes == ("cat", "dog", "hot_air balloon")
    assert set(benchmark.domains) == {"ink", "paint"}
    for title, domain in benchmark.domains.items():
        assert len(domain.images) == len(domain.labels) == 9
        for name, label in zip(domain.images.ids, domain.labels, strict=True):
            assert name.startswith(f"{title}/{benchmark.classes[label]}/")


@pytest.mark.parametrize("names", [("dog", "cat"), ("cat", "dog"), ("Hot Air-Balloon", "zebra", "DOG")])
def test_images_are_labelled_by_their_names_place_in_the_students_classes(
    bench_dir: Path, names: tuple[str, ...]
) -> None:
    restricted = load_benchmark(f"dir:{bench_dir}").restrict(names)
    wanted = {name.casefold().replace("_", " ").replace("-", " "): place for place, name in enumerate(names)}
    assert restricted.classes == names
    for domain in restricted.domains.values():
        shown = [name.split("/")[1].replace("_", " ") for name in domain.images.ids]
        assert [wanted[name] for name in shown] == list(domain.labels)
        assert len(shown) == 3 * len(wanted.keys() & {"dog", "cat", "hot air balloon"})


def test_reading_a_restricted_benchmark_gives_the_right_pictures(bench_dir: Path) -> None:
    domain = load_benchmark(f"dir:{bench_dir}").restrict(["dog"]).domains["paint"]
    with Image.open(bench_dir / "paint" / "dog" / "001.png") as wanted:
        assert domain.images.read(1).tobytes() == wanted.convert("RGB").tobytes()


def test_a_domain_without_the_classes_is_left_out(bench_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bench_dir, tmp_path / "b")
    shutil.rmtree(folder / "ink" / "dog")
    assert set(load_benchmark(f"dir:{folder}").restrict(["dog"]).domains) == {"paint"}


def test_a_benchmark_without_any_of_the_classes_is_refused(bench_dir: Path) -> None:
    with pytest.raises(DataError, match=r"bench has none of the classes zebra, yak; it has cat, dog"):
        load_benchmark(f"dir:{bench_dir}").restrict(["zebra", "yak"])


@pytest.mark.parametrize("uri", ["pictogram", "dir:", "imagenet"])
def test_an_unknown_benchmark_is_a_usage_error(uri: str) -> None:
    with pytest.raises(UsageError, match=r"unknown benchmark .* use pictograms"):
        load_benchmark(uri)


@pytest.mark.parametrize("place", ["a.png", "dog/a.png", "ink/dog/more/a.png"])
def test_images_outside_the_two_levels_are_named(bench_dir: Path, tmp_path: Path, place: str) -> None:
    folder = shutil.copytree(bench_dir, tmp_path / "b")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "ink" / "dog" / "000.png", folder / place)
    with pytest.raises(DataError, match=f"{place} does not stand in DOMAIN/CLASS/"):
        load_benchmark(f"dir:{folder}")


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_benchmark(f"dir:{tmp_path / 'none'}")
    with pytest.raises(DataError):
        load_benchmark(f"dir:{tmp_path}")
    make_pictures(tmp_path, 1)
    with pytest.raises(DataError, match="DOMAIN/CLASS"):
        load_benchmark(f"dir:{tmp_path}")
