"""Replacements come and go without harm, in whatever order, also for modules that are imported meanwhile."""

from __future__ import annotations

import sys

from pytest_asyncapi.wire.patches import Patches


class Base:
    def inherited(self):
        return "base"


class Thing(Base):
    def method(self):
        return "thing"


def shout(original):
    return lambda self: original(self).upper()


def test_what_is_replaced_is_restored_and_what_was_inherited_is_inherited_again():
    patches = Patches()
    patches.replace(Thing, "method", shout)
    patches.replace(Thing, "inherited", shout)
    assert (Thing().method(), Thing().inherited()) == ("THING", "BASE")

    patches.undo()

    assert (Thing().method(), Thing().inherited()) == ("thing", "base")
    assert "inherited" not in vars(Thing)


def test_another_tool_that_patched_on_top_keeps_its_patch_and_ours_makes_room_later():
    before = Thing.method
    ours = Patches()
    ours.replace(Thing, "method", shout)
    saved, theirs = Thing.method, lambda self: "theirs"
    Thing.method = theirs
    ours.undo()
    assert Thing.method is theirs

    Thing.method = saved  # the other tool restores what it found
    again = Patches()
    again.replace(Thing, "method", shout)
    again.undo()

    assert Thing.method is before


def test_a_module_is_acted_upon_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "late_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    patches, seen = Patches(), []
    patches.when_imported("late_module", lambda module: seen.append(module.value))
    patches.when_imported("sys", lambda module: seen.append(module.__name__))
    assert seen == ["sys"]

    import late_module

    assert seen == ["sys", 1]
    assert late_module.__spec__.loader.__class__.__name__ == "SourceFileLoader"
    patches.undo()
    monkeypatch.delitem(sys.modules, "late_module")


def test_nothing_is_done_after_undo(tmp_path, monkeypatch):
    (tmp_path / "later_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    patches, seen, before = Patches(), [], list(sys.meta_path)
    patches.when_imported("later_module", seen.append)
    patches.when_imported("module_that_does_not_exist", seen.append)

    patches.undo()
    __import__("later_module")

    assert (seen, sys.meta_path) == ([], before)
    monkeypatch.delitem(sys.modules, "later_module")


def test_several_sets_of_replacements_wait_for_the_same_module(tmp_path, monkeypatch):
    (tmp_path / "wanted_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    several, seen = [Patches(), Patches(), Patches()], []
    for number, patches in enumerate(several):
        patches.when_imported("wanted_module", lambda module, number=number: seen.append(number))

    __import__("wanted_module")

    assert sorted(seen) == [0, 1, 2]
    for patches in several:
        patches.undo()
    monkeypatch.delitem(sys.modules, "wanted_module")
