"""How one exchange with the app behaves: the client's defaults, which a request may change for itself."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_asyncapi.errors import ConfigurationError, ours

__tracebackhide__ = ours

BACKGROUND = ("wait", "defer", "detach")


def checked_seconds(name: str, seconds: Any) -> None:
    """Refuse what is no time; None is one without an end."""
    __tracebackhide__ = True
    if seconds is not None and (not isinstance(seconds, int | float) or seconds != seconds):  # NaN is not itself
        raise ConfigurationError(f"{name}={seconds!r}: expected a number of seconds, or None for no limit")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Options of an exchange. `client.get(url, extensions={"asyncapi": {...}})` changes them for one request.

    raise_app_exceptions: raise what the app raises, in the test, also when the app has sent a 500 before.
    background: what the app does after its response: `wait` for it, `defer` it until `client.drain()`, or `detach` it.
    background_timeout: how long `wait` and `drain()` wait for it, in seconds; None for ever.
    strict: also refuse what servers tolerate, such as header names in upper case.
    disconnect_grace: how long an app may react to its client's leaving before it is cancelled.
    enforce_timeouts: let httpx's read and write time-outs fire.
    """

    raise_app_exceptions: bool = True
    background: str = "wait"
    background_timeout: float | None = 30.0
    strict: bool = False
    disconnect_grace: float = 0.1
    enforce_timeouts: bool = True

    def __post_init__(self) -> None:
        checked_seconds("background_timeout", self.background_timeout)
        checked_seconds("disconnect_grace", self.disconnect_grace)
        if self.background not in BACKGROUND:
            raise ConfigurationError(f"background={self.background!r}: expected one of {', '.join(BACKGROUND)}")

    def changed(self, changes: dict[str, Any]) -> Options:
        """These options with some of them changed; ConfigurationError names an unknown one."""
        if not isinstance(changes, dict):
            raise ConfigurationError(f"extensions['asyncapi'] = {changes!r}: expected a dict of client options")
        unknown = sorted(set(changes) - OPTION_NAMES)
        if unknown:
            raise ConfigurationError(
                f"unknown client option {unknown[0]!r}: expected one of {', '.join(sorted(OPTION_NAMES))}"
            )
        return dataclasses.replace(self, **changes)


OPTION_NAMES = frozenset(field.name for field in dataclasses.fields(Options))
