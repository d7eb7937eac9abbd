"""A student goes to a hub and comes back, against a server that speaks the hub's protocol on this machine."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from huggingface_hub import constants

import promptstill
from promptstill.artifacts import write_atomic
from promptstill.cli import main
from promptstill.errors import DataError, MissingError, UsageError
from promptstill.models.bundle import load_bundle, save_bundle
from promptstill.models.clip import Clip
from promptstill.models.hub import FILES, push
from promptstill.models.student import make_student
from small_runs import vectors_of


class Hub(ThreadingHTTPServer):
    """Repositories by name: each commit's files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def etag(data: bytes) -> str:
    """What stands for a file's content."""
    return hashlib.sha1(data).hexdigest()


class Answers(BaseHTTPRequestHandler):
    """The few requests that uploading and downloading a small repository makes."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return cast(Hub, self.server)

    def say(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.commits.setdefault(name, {})
            self.say({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        elif self.path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [each["path"] for each in json.loads(body)["files"]]
            self.say({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]})
        else:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {r["value"]["path"]: base64.b64decode(r["value"]["content"]) for r in lines if r["key"] == "file"}
            commit, name = hashlib.sha1(body).hexdigest(), "/".join(self.path.split("/")[3:5])
            self.hub.commits[name][commit] = files
            self.say({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit, "success": True})

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        kind, name, revision = "file", "/".join(parts[:2]), parts[3]
        if parts[0] == "api":  # /api/models/ORG/NAME[/revision/REV or /tree/REV]
            kind, name, revision = (*parts[4:5], "revision")[0], "/".join(parts[2:4]), (*parts[5:6], "main")[0]
        known = self.hub.commits.get(name, {})
        commit = revision if revision in known else next(reversed(known), "") if revision == "main" else ""
        if name not in self.hub.commits or (known and not commit):
            self.say({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
        elif kind == "revision":
            siblings = [{"rfilename": path} for path in known.get(commit, {})]
            self.say({"id": name, "sha": commit or "0" * 40, "siblings": siblings})
        elif kind == "tree":
            files = known.get(commit, {})
            self.say(
                [{"type": "file", "path": path, "oid": etag(data), "size": len(data)} for path, data in files.items()]
            )
        else:
            data = known[commit]["/".join(parts[4:])]
            self.say(data, ETag=f'"{etag(data)}"', X_Repo_Commit=commit)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = "{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}/{template}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(clip: Clip, tmp_path: Path) -> Path:
    save_bundle(make_student("timm:test_byobnet", clip, None, None, 0).eval(), vectors_of(clip), {}, tmp_path)
    write_atomic(tmp_path / "README.md", "# A student\n")
    return tmp_path


def test_it_comes_back_the_same(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "done.json").write_text("{}")
    assert main(["push", str(folder), "some/student", "--private"]) == 0
    uri = capsys.readouterr().out.strip()
    assert uri.startswith("hf:some/student@")
    (commit,) = hub.commits["some/student"].values()
    assert set(commit) == set(FILES), "what is not of the bundle stays at home"
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = load_bundle(folder).module()(images)
        for name in (uri, "hf:some/student"):
            torch.testing.assert_close(promptstill.load(name).module()(images), wanted)


def test_an_altered_student_is_not_pushed(hub: Hub, folder: Path) -> None:
    (folder / "vectors.json").write_text("{}")
    assert main(["push", str(folder), "some/student"]) == 3
    assert not hub.commits


def test_a_dry_run_uploads_nothing(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(folder), "some/student", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in FILES)
    assert not hub.commits


def test_a_model_that_is_no_student_is_refused_before_its_weights_come(hub: Hub) -> None:
    hub.commits["some/model"] = {"a" * 40: {"config.json": b"{}", "model.safetensors": b"large"}}
    with pytest.raises(DataError, match="hf:some/model is no student"):
        promptstill.load("hf:some/model")
    assert not list(Path(constants.HF_HUB_CACHE).glob("models--some--model/snapshots/*/model.safetensors"))


@pytest.mark.parametrize("uri", ["hf:nobody/nothing", "hf:some/student@" + "b" * 40, "hf:a//b"])
def test_what_the_hub_does_not_have_is_told(hub: Hub, uri: str) -> None:
    with pytest.raises(MissingError, match="cannot fetch") as caught:
        promptstill.load(uri)
    assert "\n" not in str(caught.value)


def test_a_name_that_no_repository_can_have_is_told(hub: Hub, folder: Path) -> None:
    with pytest.raises(UsageError, match="ORG/NAME"):
        push(folder, "a b/c")
    (folder / "README.md").unlink()
    with pytest.raises(UsageError, match=r"lacks README\.md"):
        push(folder, "a/b")
