"""What pytest hands over: the folder and the flags, and the console to write to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_asyncapi import loops
from pytest_asyncapi.init import libraries, report
from pytest_asyncapi.init.proposal import Findings, Proposal, look, propose
from pytest_asyncapi.init.sources import shown

FLAG = "--asyncapi-init"
MODES = ("show", "write")


def run(config: pytest.Config) -> pytest.ExitCode:
    """Look, and print or write. Returns USAGE_ERROR when there is not exactly one app."""
    mode = config.getoption("asyncapi_init")
    if mode not in MODES:
        raise pytest.UsageError(f"{FLAG}={mode}: expected one of {', '.join(MODES)}")
    named = _named(config)
    start = _start(config)
    try:
        findings = look(start, named)
    except ValueError as error:
        raise pytest.UsageError(f"{FLAG}: {error}") from None
    if findings.app is None:
        if named:
            text = report.no_such_app(named, findings)
        elif findings.candidates:
            text = report.several(findings)
        else:
            text = report.no_app(findings)
        sys.stdout.write(text)
        return pytest.ExitCode.USAGE_ERROR
    runner = "asyncio" if loops.has_pytest_asyncio(config) else "anyio"
    proposal = propose(
        findings,
        runner,  # type: ignore[arg-type]
        trio=libraries.installed("trio"),
        neighbours=config.pluginmanager.hasplugin("django"),
    )
    text = f"pytest-asyncapi found in {start}:\n\n{report.found(findings)}"
    text += _write(findings, proposal) if mode == "write" else report.printed(findings, proposal)
    text += report.notes(proposal) + report.closing(findings, proposal, written=mode == "write")
    sys.stdout.write(text)
    return pytest.ExitCode.OK


def _start(config: pytest.Config) -> Path:
    """The folder that the command line names, else the project's root, else where pytest was started."""
    given = [Path(each) for each in config.option.file_or_dir if Path(each).is_dir()]
    if given:
        return (config.invocation_params.dir / given[0]).resolve()
    return config.rootpath if config.inipath is not None else config.invocation_params.dir


def _named(config: pytest.Config) -> str:
    """The app that `-o asyncapi_app=...` names."""
    for each in config.getoption("override_ini", None) or ():
        key, _, value = each.partition("=")
        if key == "asyncapi_app":
            return str(value)
    return ""


def _write(findings: Findings, proposal: Proposal) -> str:
    """Put everything in its place; what is there stays as it is. Returns what was done."""
    start = findings.project.start
    done = []
    path = findings.config.path
    if not proposal.keys:
        done.append(f"kept     {shown(path, start)}: it says all that is needed")
    else:
        try:
            changed = findings.config.with_keys(proposal.keys, proposal.comments)
        except ValueError as error:
            block = findings.config.block(proposal.keys, proposal.comments)
            done.append(f"kept     {shown(path, start)}: {error}. Put this into it by hand:\n\n{block}")
        else:
            new = not path.exists()
            path.write_bytes(changed.encode("utf-8"))
            done.append(f"{'wrote    ' if new else 'added to '}{shown(path, start)}: {', '.join(proposal.keys)}")
    files = [(proposal.conftest_path, proposal.conftest), (proposal.test_path, proposal.test)]
    for path, text in files:
        if not text:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            done.append(f"wrote    {shown(path, start)}")
        except FileExistsError:
            done.append(f"kept     {shown(path, start)}: it is there already")
            if path == proposal.conftest_path:
                done[-1] += f". It needs these lines:\n\n{text}"
    return "\n" + "\n".join(done) + "\n"
