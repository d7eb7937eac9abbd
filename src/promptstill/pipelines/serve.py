"""A student's page on this machine alone: ``promptstill serve``."""

import functools
import tempfile
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from promptstill.errors import UsageError
from promptstill.exporting import Export
from promptstill.models.exported import Exported
from promptstill.pipelines import export

LOOPBACK = "127.0.0.1"
TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}


class _Files(SimpleHTTPRequestHandler):
    """Files of one folder, with the types that browsers insist on; it lists no folder and keeps no log."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012  (the base's own)

    def end_headers(self) -> None:
        """Let no browser keep an old page."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: object) -> None:  # noqa: ARG002
        """Refuse."""
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of one folder on loopback; port 0 takes any free one.

    Raises:
        UsageError: the port is taken.
    """
    handler = functools.partial(_Files, directory=str(folder))
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); choose another --port") from None


def serve(student: Path, port: int, runtime: str, say: Callable[[str], None]) -> None:
    """Serve a ``web`` export, or make one of a student for as long as it is served; ends by Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="promptstill-") as folder:
        place = student
        if (student / "index.html").is_file():
            Exported.open(student)  # refuses an altered one
        else:
            place = Path(folder) / "page"
            export.run(student, Export(format="web", out=place, runtime=runtime))
        with make_server(place, port) as server:
            say(f"Serving {student} at http://{LOOPBACK}:{server.server_port}/ (Ctrl-C stops)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                say("stopped")
