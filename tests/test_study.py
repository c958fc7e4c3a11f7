"""Studies are created whole, resumed, extended; bad names and databases are refused."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import studies as fake
from optuna.trial import TrialState

from maml_sweep.errors import InputError
from maml_sweep.search import study as studies
from maml_sweep.search.study import Plan


def _slots(url: str, name: str = "s") -> list[int]:
    trials = studies.open_study(url, name).trials
    assert all(trial.state == TrialState.WAITING for trial in trials)
    return [trial.user_attrs["slot"] for trial in trials]


def test_create_queues_every_slot_and_stores_the_plan(tmp_path: Path) -> None:
    plan = fake.plan(enqueue=[{"x": 0.5}], config={"a": {"b": [1, None]}}, versions={"v": "1"})
    folder = studies.folder(tmp_path, "s")
    url = studies.storage_url(None, folder)
    assert not studies.exists(url, "s")
    assert not folder.exists()  # asking creates nothing
    studies.create(url, plan, folder)
    assert studies.exists(url, "s") and not studies.exists(url, "other")
    assert studies.load_plan(url, "s") == plan
    assert _slots(url) == [0, 1, 2, 3]
    trials = studies.open_study(url, "s").trials
    assert [t.system_attrs["fixed_params"] for t in trials] == [{"x": 0.5}, {}, {}, {}]
    assert len({t.user_attrs["trial_seed"] for t in trials}) == 4


def test_a_plan_survives_json() -> None:
    plan = fake.plan(overrides=["a=1"], space={"x": [1.5]})
    assert Plan.from_json(plan.to_json() | {"of a newer version": 1}) == plan


def test_a_study_is_not_created_twice(tmp_path: Path) -> None:
    url = studies.storage_url(None, tmp_path)
    studies.create(url, fake.plan(), tmp_path)
    with pytest.raises(InputError, match="study.name: 's' exists already"):
        studies.create(url, fake.plan(), tmp_path)


def test_somebody_elses_study_is_left_alone(tmp_path: Path) -> None:
    url = studies.storage_url(None, tmp_path)
    other = optuna.create_study(study_name="s", storage=url)
    other.enqueue_trial({"x": 1})
    assert not studies.exists(url, "s")
    with pytest.raises(InputError, match="exists already"):
        studies.create(url, fake.plan(), tmp_path)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_killed_before_its_plan_is_taken_over(tmp_path: Path, direction: str) -> None:
    url = studies.storage_url(None, tmp_path)
    optuna.create_study(study_name="s", storage=url, direction="minimize")
    studies.create(url, fake.plan(direction=direction), tmp_path)
    assert studies.open_study(url, "s").direction.name.lower() == direction
    assert _slots(url) == [0, 1, 2, 3]


def test_slots_that_a_kill_left_unqueued_are_added(tmp_path: Path) -> None:
    """Killed after the plan and two slots: the study exists, and reconcile completes it."""
    url = studies.storage_url(None, tmp_path)
    plan = fake.plan(enqueue=[{"x": 0.0}, {"x": 1.0}, {"x": 2.0}])
    study = optuna.create_study(study_name="s", storage=studies.connect(url))
    study.set_user_attr(studies.PLAN, plan.to_json())
    for slot in (0, 1):
        studies.queue(study, studies.first_params(plan, slot), studies.slot_attrs(plan, slot))
    fake.claims(studies.open_study(url, "s"), tmp_path).reconcile()
    assert _slots(url) == [0, 1, 2, 3]
    assert studies.open_study(url, "s").trials[2].system_attrs["fixed_params"] == {"x": 2.0}


def test_a_larger_budget_adds_the_difference(tmp_path: Path) -> None:
    url = studies.storage_url(None, tmp_path)
    studies.create(url, fake.plan(), tmp_path)
    before = [t.user_attrs["trial_seed"] for t in studies.open_study(url, "s").trials]
    studies.extend(url, "s", 6)
    assert _slots(url) == [0, 1, 2, 3, 4, 5]
    after = [t.user_attrs["trial_seed"] for t in studies.open_study(url, "s").trials]
    assert after[:4] == before
    assert studies.load_plan(url, "s").n_trials == 6
    studies.extend(url, "s", 6)
    assert len(_slots(url)) == 6
    with pytest.raises(InputError, match="study.n_trials: expected at least the 6"):
        studies.extend(url, "s", 5)


def test_two_studies_share_a_database(tmp_path: Path) -> None:
    url = studies.storage_url(f"sqlite:///{tmp_path}/shared.db", tmp_path)
    studies.create(url, fake.plan(), tmp_path)
    studies.create(url, fake.plan(name="t", n_trials=2), tmp_path)
    assert _slots(url) == [0, 1, 2, 3] and _slots(url, "t") == [0, 1]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", " a", "a\n", "x" * 121, "é?"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="study.name"):
        studies.folder("outputs", name)


def test_usual_names_are_folder_names() -> None:
    for name in ("sinusoid-mlp-maml-2024-05-01_12-00-00", "é1", "lr=0.1,b=2", "a b"):
        assert studies.folder("outputs", name) == Path("outputs") / name


@pytest.mark.parametrize(
    "content", [b"hello, I am a text", b"SQLite format 3\0" + b"\xff" * 4096, b"\x00" * 100]
)
def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / studies.DATABASE).write_bytes(content)
    url = studies.storage_url(None, tmp_path)
    for ask in (studies.exists, studies.load_plan, studies.open_study):
        with pytest.raises(InputError, match="study.storage") as caught:
            ask(url, "s")
        assert "\n" not in str(caught.value)
    assert (tmp_path / studies.DATABASE).read_bytes() == content


@pytest.mark.parametrize(
    "url", ["no url", "nosuch://host/db", "postgresql+nodriver://me:secret@host/db"]
)
def test_a_storage_that_cannot_be_opened_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InputError, match="study.storage: cannot open") as caught:
        studies.exists(url, "s")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_missing_study_is_refused(tmp_path: Path) -> None:
    url = studies.storage_url(None, tmp_path)
    with pytest.raises(InputError, match="expected a sweep"):
        studies.load_plan(url, "s")
    with pytest.raises(InputError, match="expected a sweep"):
        studies.open_study(url, "s")


def test_paths_with_braces_and_blanks_are_opened(tmp_path: Path) -> None:
    folder = tmp_path / "a {b} 100%"
    url = studies.storage_url(None, folder)
    studies.create(url, fake.plan(n_trials=1), folder)
    assert studies.exists(url, "s")
    assert (folder / studies.DATABASE).exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "s"
    with pytest.raises(InputError, match="study folder: cannot write"):
        studies.create(studies.storage_url(None, folder), fake.plan(), folder)
