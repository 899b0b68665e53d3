"""JUnit XML for GitLab's merge requests, as in `artifacts:reports:junit`: a suite for each target.

Cases are the stages, the wheel's checks by code (warnings are output), and failed tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from manywheels.core.files import write_report_file
from manywheels.report import wording
from manywheels.wheels.manifest import Failure, Manifest, TargetRecord, TargetState, TestRun

_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


def write_junit(manifest: Manifest, path: Path) -> None:
    """Write atomically. Raises OutputFolderError."""
    root = ET.Element("testsuites", name=_xml(manifest.project), time=f"{manifest.seconds:.3f}")
    for record in manifest.targets:
        _add_suite(root, _xml(record.identifier), _cases(record))
    if manifest.warnings:
        warned = [_passed("the set of wheels", one.partition(" ")[0], one) for one in manifest.warnings]
        _add_suite(root, "the set of wheels", warned)
    with write_report_file(path, "junit") as file:
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _add_suite(root: ET.Element, name: str, cases: Iterator[ET.Element] | list[ET.Element]) -> None:
    suite = ET.SubElement(root, "testsuite", name=name)
    suite.extend(cases)
    for attribute, tag in (("failures", "failure"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in suite)))
    suite.set("errors", "0")
    suite.set("tests", str(len(suite)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in suite):.3f}")


def _cases(record: TargetRecord) -> Iterator[ET.Element]:
    failed_in = record.failure.stage if record.failure else None
    for stage, seconds in record.seconds.items():
        if stage not in {"waiting", failed_in}:
            yield _case(record.identifier, stage, seconds)
    match record.state:
        case TargetState.NO_INTERPRETER if record.failure:
            yield _failed(record, record.failure)
        case TargetState.NO_INTERPRETER | TargetState.CANCELLED:
            case = _case(record.identifier, failed_in or "build")
            ET.SubElement(case, "skipped", message=_xml(record.failure.problem if record.failure else record.state))
            yield case
        case TargetState.REUSED:
            yield _case(record.identifier, wording.outcome(record))
        case TargetState.FAILED if record.failure and not (failed_in == "verify" and any(record.checks.values())):
            yield _failed(record, record.failure)
    yield from _checks(record)
    if record.tests:
        yield from _tests(record.identifier, record.tests)
    if record.tests_not_run:
        case = _case(record.identifier, "the project's tests")
        ET.SubElement(case, "skipped", message=_xml(record.tests_not_run))
        yield case


def _checks(record: TargetRecord) -> Iterator[ET.Element]:
    """Yield a case for each check made, and for other codes with warnings."""
    warnings: dict[str, list[str]] = {}
    for warning in record.warnings:
        warnings.setdefault(warning.partition(" ")[0], []).append(warning)
    for code in dict.fromkeys((*record.checks, *warnings)):
        if (errors := record.checks.get(code)) and record.failure:
            yield _failed(
                record, replace(record.failure, code=code, stage=code, problem="; ".join(errors), excerpt=errors)
            )
        else:
            yield _passed(record.identifier, code, "\n".join(warnings.get(code, ())))


def _failed(record: TargetRecord, failure: Failure) -> ET.Element:
    case = _case(record.identifier, failure.stage, record.seconds.get(failure.stage, 0.0))
    if failure.file:
        case.set("file", _xml(failure.file))
        case.set("line", str(failure.line or 1))
    element = ET.SubElement(case, "failure", type=_xml(failure.code), message=_xml(failure.problem))
    log = f"Log: {wording.log_of(record)}" if record.log else ""
    element.text = "\n".join(_xml(line) for line in [*failure.excerpt, failure.remedy, log] if line)
    return case


def _tests(identifier: str, tests: TestRun) -> Iterator[ET.Element]:
    """Yield each failed test, and one for all if they passed or no failed one is known by name."""
    for name in tests.failed:
        case = _case(identifier, f"test {name}")
        ET.SubElement(case, "failure", type="test", message=_xml(f"{name} failed")).text = _xml(f"Log: {tests.log}")
        yield case
    if tests.passed or not tests.failed:
        case = _case(identifier, "the project's tests", tests.seconds)
        if tests.passed:
            ET.SubElement(case, "system-out").text = wording.tests(tests)
        else:
            ET.SubElement(case, "failure", type="test", message="The tests failed").text = _xml(f"Log: {tests.log}")
        yield case


def _passed(identifier: str, name: str, output: str) -> ET.Element:
    case = _case(identifier, name)
    if output:
        ET.SubElement(case, "system-out").text = _xml(output)
    return case


def _case(identifier: str, name: str, seconds: float = 0.0) -> ET.Element:
    return ET.Element("testcase", classname=_xml(identifier), name=_xml(name), time=f"{seconds:.3f}")


def _xml(words: str) -> str:
    return _NOT_XML.sub("\ufffd", words)
