"""The Redis commands of a test as events, for the page of a run."""

from __future__ import annotations

from pytest_asyncapi.cache.control import Command, Control
from pytest_asyncapi.masking import MASK, masked
from pytest_asyncapi.timeline import Event


def events(control: Control) -> list[Event]:
    """Each is a moment: the answer follows at once, but for what blocks or has a latency."""
    dates = control.dates or []
    return [
        Event(
            "redis", began, None, shown(command), fault.kind if fault else "", fault.error if fault else "", bool(fault)
        )
        for command, (began, fault) in zip(control.commands, dates, strict=False)
    ]


def shown(command: Command) -> str:
    """A command as a text, without the passwords that it sets."""
    words = [str(part).lower() for part in command]
    if command.name == "AUTH" or words[:2] == ["acl", "setuser"]:
        return f"{' '.join(map(str, command[:1] if command.name == 'AUTH' else command[:3]))} {MASK}"
    if command.name == "CONFIG" and any(word.endswith(("pass", "auth", "user")) for word in words[2::2]):
        return f"{' '.join(map(str, command[:3]))} {MASK}"
    if command.name in ("HELLO", "MIGRATE") and {"auth", "auth2"} & set(words):
        return f"{command.name} {MASK}"
    return masked(str(command))
