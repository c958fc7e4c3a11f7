"""What is said where an engine is missing; needs none of them."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from engines.processes import Missing, package, program
from engines.starting import started


def _lacking() -> nullcontext[None]:
    raise Missing(f"Slurm: {program('Slurm', 'slurmctld-of-nobody')}")


def test_a_missing_program_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAML_SWEEP_ENGINES", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped, started(_lacking):
        pass
    assert skipped.value.msg == "engines: Slurm: slurmctld-of-nobody is not installed"


def test_it_fails_where_engines_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAML_SWEEP_ENGINES", "required")
    with pytest.raises(pytest.fail.Exception) as failed, started(_lacking):
        pass
    assert failed.value.msg == "engines: Slurm: slurmctld-of-nobody is not installed"


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(Missing) as missing:
        package("Ray", "ray_of_nobody", "ray")
    assert str(missing.value) == (
        'Ray: the package ray_of_nobody is not installed: pip install -e ".[ray]"'
    )
    package("Ray", "json", "ray")
