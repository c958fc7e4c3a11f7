"""maml-sweep dashboard: what it serves, and what it says when it cannot."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest
from synthetic import make

from maml_sweep.cli import main
from maml_sweep.commands import dashboard


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with one of six trials."""
    root = tmp_path_factory.mktemp("outputs")
    make(root, "six", n_trials=6)
    return root


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes as soon as it serves."""

    def interrupt(self: WSGIServer, poll_interval: float = 0.5) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WSGIServer, "serve_forever", interrupt)


@contextmanager
def listening() -> Iterator[int]:
    """A port that is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_it_serves_the_study_until_ctrl_c(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page and the study's trials, asked for over HTTP as a browser would."""
    pytest.importorskip("optuna_dashboard")
    found: list[bytes] = []

    def visit(self: WSGIServer, poll_interval: float = 0.5) -> None:
        page = f"http://127.0.0.1:{self.server_port}"
        for path in ("/dashboard", "/api/studies/1"):
            answer = threading.Thread(target=self.handle_request)
            answer.start()
            with urllib.request.urlopen(page + path) as response:
                found.append(response.read())
            answer.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(WSGIServer, "serve_forever", visit)
    assert main(["dashboard", "six", "--root", str(root), "--port", "0"]) == 0
    page, study = found
    assert b"Optuna" in page
    assert len(json.loads(study)["trials"]) == 6
    said = capsys.readouterr()
    assert re.fullmatch(
        r"six: http://127\.0\.0\.1:\d+/dashboard/studies/1  \(Ctrl-C ends it\)\n", said.out
    )
    assert said.err == ""


@pytest.mark.usefixtures("stopped")
def test_it_opens_the_browser(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dashboard, "_application", lambda storage: None)
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert main(["dashboard", "--root", str(root), "--port", "0", "--open", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["study"], [said["url"]]) == ("six", opened)


def test_the_package_lacks(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", "six", "--root", str(root)]) == 2
    assert capsys.readouterr().err == (
        "dashboard: optuna-dashboard is not installed; pip install 'maml-sweep[dashboard]'\n"
    )


def test_a_port_that_cannot_be_had(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dashboard, "_application", lambda storage: None)
    with listening() as port:
        assert main(["dashboard", "six", "--root", str(root), "--port", str(port)]) == 2
        assert re.fullmatch(
            rf"--port={port}: cannot listen on 127\.0\.0\.1:{port} \(.*in use\); choose another, "
            r"or 0 for a free one\n",
            capsys.readouterr().err,
        )
    assert main(["dashboard", "six", "--root", str(root), "--port", "70000"]) == 2
    assert "--port=70000: expected a number from 0 to 65535" in capsys.readouterr().err


def test_no_such_study(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "sixx", "--root", str(root)]) == 2
    assert "did you mean 'six'?" in capsys.readouterr().err
