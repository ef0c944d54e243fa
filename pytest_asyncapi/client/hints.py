"""What to do about an exception of the app that the tests bring about, and production does not."""

from __future__ import annotations

# asyncio's words of what belongs to another loop: base_events `_check_closed`, mixins `_get_loop`, tasks `__step`
_OTHER_LOOP = ("Event loop is closed", "bound to a different event loop", "attached to a different loop")

_ONE_LOOP = """\
the app uses what belongs to the event loop of an earlier test (a session, a lock, a queue that it keeps in a module); \
this test has a loop of its own. Let all tests share one, as requests do in production:
    asyncio_default_test_loop_scope = session
    asyncio_default_fixture_loop_scope = session
With anyio: asyncapi_anyio_loop_scope = session."""


def add_hint(exc: BaseException) -> None:
    """Add a note to an exception of the app whose cause is known to be the loop of another test; once."""
    known = isinstance(exc, RuntimeError) and any(text in str(exc) for text in _OTHER_LOOP)
    if known and _ONE_LOOP not in getattr(exc, "__notes__", ()):
        exc.add_note(_ONE_LOOP)
