"""Conformance checks for plugin authors.

In a plugin's tests::

    from benchbcss.testing import parametrize_with_checks


    @parametrize_with_checks("mynet")
    def test_mynet_keeps_the_contract(check):
        check()

On the command line: ``benchbcss check mynet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbcss.testing.checks import Check, Outcome

__all__ = ["Check", "Outcome", "checks_of", "parametrize_with_checks", "run_checks"]


def __getattr__(name: str) -> Any:
    if name in ("Check", "Outcome", "checks_of", "run_checks"):
        from benchbcss.testing import checks

        return getattr(checks, name)
    raise AttributeError(name)


def parametrize_with_checks(
    backend: str, expected_failures: dict[str, str] | None = None, **options: Any
) -> Any:
    """A pytest decorator: the test gets each check of ``backend`` as its argument ``check``.

    ``expected_failures`` maps a check's name to why it fails; such a check must fail, so that the
    list stays honest. ``options`` go to ``checks_of``.
    """
    import pytest

    from benchbcss.testing.checks import checks_of

    expected = expected_failures or {}
    parameters = []
    checks = checks_of(backend, **options)
    unknown = set(expected) - {check.name for check in checks}
    if unknown:
        raise ValueError(f"expected_failures names no check of '{backend}': {sorted(unknown)}")
    for check in checks:
        reason = expected.get(check.name)
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        parameters.append(pytest.param(check, id=check.name, marks=marks))
    return pytest.mark.parametrize("check", parameters)
