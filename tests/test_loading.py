"""Which study is meant, and what is said where there is none that can be read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
import synthetic

from maml_sweep.analysis import frames, loading
from maml_sweep.errors import InputError
from maml_sweep.search import outline, slots
from maml_sweep.search import study as studies
from maml_sweep.search.storage import connect


def make(root: Path, name: str = "s", **kwargs: Any) -> Path:
    settings: dict[str, Any] = {"n_trials": 1, "evaluations": False, **kwargs}
    return synthetic.make(root, name, **settings)


def age(folder: Path, seconds: int) -> None:
    os.utime(folder / studies.DATABASE, (seconds, seconds))


def refused(*args: Any, **kwargs: Any) -> str:
    """What `load` says in its one line."""
    with pytest.raises(InputError) as caught:
        frames.load(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_study_by_its_name_its_folder_its_file_or_as_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(tmp_path, "first"), make(tmp_path, "second")
    age(first, 2000)
    age(second, 1000)
    for study in ("first", first, str(first), first / "study.db", None):
        assert loading.locate(study, tmp_path) == loading.Located(
            "first", first, studies.storage_url(None, first)
        )
    assert loading.folders(tmp_path) == [first, second]
    monkeypatch.chdir(tmp_path)
    assert loading.locate("second").name == "second"  # a folder, from where one stands
    monkeypatch.chdir(second)
    assert loading.locate(".").name == "second"


def test_a_folder_that_was_renamed(tmp_path: Path) -> None:
    moved = make(tmp_path, "first").rename(tmp_path / "archive")
    assert loading.locate("archive", tmp_path).name == "first"
    assert len(frames.load(moved).trials) == 1


def test_a_study_on_a_server(tmp_path: Path) -> None:
    """A SQLite file elsewhere stands for it; the newest that is a sweep comes first."""
    folder = make(tmp_path, "first")
    url = f"sqlite:///{tmp_path}/server.db"
    (folder / "study.db").rename(tmp_path / "server.db")
    optuna.create_study(study_name="theirs", storage=connect(url))
    found = loading.locate(None, tmp_path, url)
    assert found == loading.Located("first", folder, url)
    assert len(frames.load("first", tmp_path, url).trials) == 1
    assert "did you mean 'first'" in refused("frist", tmp_path, url)
    assert "no sweep of maml_sweep" in refused("theirs", tmp_path, url)
    assert "no file" in refused(None, tmp_path, f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    assert "add --storage" in refused("first", tmp_path)


def test_no_studies(tmp_path: Path) -> None:
    assert refused(None, tmp_path / "none") == (
        f"no study in {tmp_path}/none: begin one with `python sweep.py`, or name another folder "
        f"with --root"
    )
    assert refused("x", tmp_path) == f"study: no study 'x': there is none in {tmp_path}"


def test_the_nearest_name_is_given(tmp_path: Path) -> None:
    for name in ("first", "glyphs"):
        make(tmp_path, name)
    message = refused("frist", tmp_path)
    assert message.startswith(f"study: no study 'frist' in {tmp_path} (did you mean 'first'?)")
    assert "first" in message and "glyphs" in message
    assert refused("a/b", tmp_path) == "study: there is no folder a/b"


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    expected = f"study: {tmp_path}/runs holds no study (no study.db)"
    assert refused("runs", tmp_path) == refused(tmp_path / "runs", tmp_path) == expected
    assert not (tmp_path / "runs" / "study.db").exists()


def test_a_study_of_somebody_else(tmp_path: Path) -> None:
    url = studies.storage_url(None, tmp_path / "theirs")
    optuna.create_study(study_name="theirs", storage=connect(url))
    assert "'theirs'" in refused("theirs", tmp_path) and "no sweep" in refused("theirs", tmp_path)
    for name in ("a", "b"):
        optuna.create_study(study_name=name, storage=connect(url))
    (tmp_path / "theirs").rename(tmp_path / "moved")
    assert "it holds b, a, theirs" in refused("moved", tmp_path)
    connect(studies.storage_url(None, tmp_path / "bare"))
    assert "it is empty" in refused("bare", tmp_path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_text("something else altogether")
    assert "is no SQLite database" in refused("s", tmp_path)


def test_a_database_of_a_newer_optuna(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        database.execute("UPDATE version_info SET library_version = '99.0.0'")
    database.close()
    message = refused("s", tmp_path)
    assert "99.0.0" in message and "pip install -U optuna" in message


def test_a_plan_of_another_version(tmp_path: Path) -> None:
    folder = make(tmp_path)
    study = studies.open_study(studies.storage_url(None, folder), "s")
    plan = dict(study.user_attrs[studies.PLAN])
    del plan["metric"]
    study.set_user_attr(studies.PLAN, plan)
    assert "its plan lacks 'metric'" in refused("s", tmp_path)


# -- the outline ------------------------------------------------------------------------------


def test_the_outline_counts_as_the_whole_does(tmp_path: Path) -> None:
    states = {1: "pruned", 2: "diverged", 3: "running", 4: "waiting", 5: "failed", 6: "retried"}
    folder = make(tmp_path, n_trials=9, states=states)
    study = studies.open_study(studies.storage_url(None, folder), "s")
    whole = study.get_trials()
    bare = outline.outline(study, (*outline.SLOTS, "worker"))
    assert outline.counts(study, 3) == slots.tally(whole, 3)
    for one, other in zip(bare, whole, strict=True):
        for name in ("number", "state", "datetime_start", "datetime_complete", "_trial_id"):
            assert getattr(one, name) == getattr(other, name)
        assert one.user_attrs.items() <= other.user_attrs.items()
        assert outline.whole(study, one) == other
    assert not any(trial.params or trial.intermediate_values for trial in bare)


def test_the_outline_of_one_study_among_several(tmp_path: Path) -> None:
    folder = make(tmp_path, n_trials=3)
    storage = connect(studies.storage_url(None, folder))
    other = optuna.create_study(study_name="other", storage=storage)
    other.optimize(lambda trial: 1.0, n_trials=2)
    assert len(outline.outline(other)) == 2
    assert outline.names(storage) == ["other", "s"] and outline.names(storage, ours=True) == ["s"]


def test_the_outline_of_a_study_in_memory_is_all_of_it() -> None:
    study = optuna.create_study()
    study.enqueue_trial({}, user_attrs={"slot": 0})
    assert [trial.user_attrs["slot"] for trial in outline.outline(study)] == [0]
    assert outline.counts(study, 0).waiting == 1
