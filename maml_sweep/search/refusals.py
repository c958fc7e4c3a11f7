"""What a database's refusal means to the user: one line, without the password."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

from maml_sweep.errors import InputError
from maml_sweep.search.patience import reason

_EXAMPLES = (
    "sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/DATABASE or mysql+pymysql://..."
)
_DRIVERS = {  # module -> what brings it
    "psycopg": "'maml-sweep[postgres]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}
_UNREACHED = "|".join((
    "refused", "resolve", "translate host", "timeout", "timed out", "unreachable", "Can't connect",
    "No such file", "starting up", "shutting down", "closed the connection",
))  # fmt: skip
_MEANINGS = (  # the driver's words, in any language that keeps them -> ours
    (
        r"password authentication failed|no password supplied|Access denied|no pg_hba.conf entry",
        "{url} refuses this user or password: {said}; check both, and what the server allows",
    ),
    (
        r"database .* does not exist|Unknown database",
        "{url} has no such database: {said}; create it (createdb) or name another",
    ),
    (
        r"too many clients|remaining connection slots|Too many connections",
        "{url} takes no more connections: {said}; raise max_connections above the workers",
    ),
    (
        r"database is locked",
        "{url} was busy for too long: {said}; does another program hold it open?",
    ),
    (r"disk is full|No space left", "{url} cannot grow: {said}; free space, then go on"),
    (_UNREACHED, "cannot reach {url}: {said}; is the server running, and does it listen there?"),
)


def masked(url: str) -> str:
    """The URL without its password, fit for messages."""
    url = re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][a-z]*passw(?:or)?d=)[^&]*", r"\1***", url)


def without_secrets(text: str, url: str) -> str:
    """The text, with the URL's password struck out however it is written there."""
    text = masked(text)
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> set[str]:
    found = re.findall(r"://[^:/@]*:([^/]*)@", url)
    query = parse_qsl(url.partition("?")[2])
    found += [value for key, value in query if "passw" in key.lower()]
    return {each for raw in found for each in (raw, unquote(raw)) if each}


def refusal(error: BaseException, url: str) -> InputError:
    """One line on what came of opening or using the storage at `url`."""
    said = without_secrets(reason(error), url)
    line = _missing_driver(error) or _bad_url(error, url)
    if line is None:
        meanings = (text for words, text in _MEANINGS if re.search(words, said))
        line = next(meanings, "cannot open {url} as an Optuna database: {said}")
    return InputError("study.storage: " + line.format(url=masked(url), said=said))


def _missing_driver(error: BaseException) -> str | None:
    while error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, ImportError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    return (
        "cannot open {url}: it needs the package "
        f"{package}, which is not installed; pip install {_DRIVERS.get(package, package)}"
    )


def _bad_url(error: BaseException, url: str) -> str | None:
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    if isinstance(error, NoSuchModuleError):
        scheme = url.partition("://")[0]
        return f"cannot open {{url}}: no database goes by {scheme!r}; expected {_EXAMPLES}"
    if isinstance(error, ArgumentError) or "://" not in url:
        return f"cannot open {{url}}: expected a URL like {_EXAMPLES}"
    return None
