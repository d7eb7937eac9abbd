"""Students on a model hub: ``hf:ORG/NAME@REV`` in, and a bundle's folder out. Plain files only, no code is run."""

from pathlib import Path
from typing import Any

from promptstill.errors import DataError, MissingError, UsageError

FACTS = ("config.json", "vectors.json")
FILES = (*FACTS, "model.safetensors", "vectors.safetensors", "README.md")
PREFIX = "hf:"


def fetch(uri: str) -> Path:
    """The folder of a student on the hub, from the cache if it is there. ``@REV`` pins a commit, branch or tag.

    Its two small files are fetched first, so that a foreign model is refused before its weights come.

    Raises:
        MissingError: the hub does not have it, or cannot be reached. DataError: it is no student.
    """
    repo, _, revision = uri.removeprefix(PREFIX).partition("@")
    folder = _snapshot(uri, repo, revision or None, FACTS)
    if not all((folder / name).is_file() for name in FACTS):
        raise DataError(f"{uri} is no student: it has no config.json and vectors.json; give one that push uploaded")
    return _snapshot(uri, repo, folder.name, FILES)  # the very same commit


def _snapshot(uri: str, repo: str, revision: str | None, names: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(names)))
    except Exception as error:  # the hub's client and its own HTTP library each have their errors
        reason = _first_line(error)
        raise MissingError(f"cannot fetch {uri!r}: {reason}; check the name, the revision and the network") from None


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a bundle's files as one commit to ``ORG/NAME``, made if need be; returns its pinned URI.

    Raises:
        UsageError: no repository can have this name, or one of the files is missing.
        MissingError: the hub cannot be reached or says no.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    listed(folder)
    check_name(repo)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        made: Any = api.upload_folder(
            repo_id=repo, folder_path=folder, allow_patterns=list(FILES), commit_message="Student by promptstill"
        )
    except Exception as error:  # as above
        reason = _first_line(error)
        raise MissingError(
            f"cannot push to {repo!r}: {reason}; check the name, the network and `hf auth login`"
        ) from None
    return f"{PREFIX}{repo}@{made.oid}"


def check_name(repo: str) -> None:
    """Raise :class:`UsageError` for what no repository can be called."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise UsageError(f"{repo!r} is no name of a repository; give ORG/NAME") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")


def listed(folder: Path) -> dict[str, int]:
    """The files that :func:`push` uploads, and the bytes of each."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder} lacks {', '.join(missing)}; give RUN or RUN/4-student of a finished run")
    return {name: (folder / name).stat().st_size for name in FILES}
