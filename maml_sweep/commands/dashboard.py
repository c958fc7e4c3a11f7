"""maml-sweep dashboard: optuna-dashboard on a study's storage."""

from __future__ import annotations

import argparse
import webbrowser
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from maml_sweep import commands
from maml_sweep.errors import InputError

HELP = "open optuna-dashboard on a study"
_PORTS = range(65536)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C, which is how it ends.

    Raises:
      InputError: no such study, the package lacks, or the port cannot be had.
    """
    from maml_sweep.analysis import loading
    from maml_sweep.search.storage import connect

    located = commands.open_study(arguments)
    study = loading.opened(located)
    application = _application(connect(located.url))
    with _server(arguments.host, arguments.port, application) as server:
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        url = f"http://{host}:{server.server_port}/dashboard/studies/{study._study_id}"
        if arguments.json:
            commands.print_json({"study": located.name, "url": url})
        else:
            print(f"{located.name}: {url}  (Ctrl-C ends it)", flush=True)
        if arguments.open:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _application(storage: Any) -> Any:
    """The dashboard as a WSGI application."""
    try:
        import optuna_dashboard
    except ImportError:
        raise InputError(
            "dashboard: optuna-dashboard is not installed; pip install 'maml-sweep[dashboard]'"
        ) from None
    return optuna_dashboard.wsgi(storage)


class _Server(ThreadingMixIn, WSGIServer):
    """A page asks for several things at once."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Does not print a line a request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""


def _server(host: str, port: int, application: Any) -> WSGIServer:
    """A server that listens."""
    if port not in _PORTS:
        raise InputError(f"--port={port}: expected a number from 0 to {_PORTS[-1]}")
    try:
        return make_server(host, port, application, _Server, _Quiet)
    except OSError as error:  # taken, forbidden, no such address
        raise InputError(
            f"--port={port}: cannot listen on {host}:{port} ({error.strerror or error}); choose "
            f"another, or 0 for a free one"
        ) from None
