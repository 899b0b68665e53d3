"""A verification's findings as text, JSON, SARIF (code scanning) or GitHub annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from manywheels import __version__
from manywheels.core.github_commands import Annotation, at_most
from manywheels.core.text import quote, sanitize, size
from manywheels.verify.checks import CHECKS, Report
from manywheels.verify.model import Finding, Severity
from manywheels.verify.run import Verdict


def render(verdict: Verdict, form: str) -> str:
    """The form is `text`, `json`, `sarif` or `github`."""
    match form:
        case "json":
            return json.dumps(_as_json(verdict), indent=2)
        case "sarif":
            return json.dumps(_as_sarif(verdict), indent=2)
        case "github":
            return "\n".join([*_annotations(verdict.findings), _total(verdict)])
    return "\n".join(_as_text(verdict))


def _as_text(verdict: Verdict) -> Iterable[str]:
    for report in verdict.reports:
        facts = [size(report.size)]
        facts += [f"glibc {report.glibc}"] if report.glibc else []
        facts += [f"carries {', '.join(report.libraries)}"] if report.libraries else []
        facts += [f"for {report.other_system}: its machine code was not checked"] if report.other_system else []
        yield sanitize(f"{_mark(report)} {report.path.name} ({', '.join(facts)})")
        yield from _explained(report.findings)
    for report in verdict.sdists:
        yield sanitize(f"{_mark(report)} {report.path.name} ({size(report.size)})")
        yield from _explained(report.findings)
    if verdict.set_findings:
        yield "✗ the set of wheels"
        yield from _explained(verdict.set_findings, of_set=True)
    yield _total(verdict)


def _mark(report: Report) -> str:
    return "✗" if any(finding.severity is Severity.ERROR for finding in report.findings) else "✓"


def _explained(findings: Sequence[Finding], *, of_set: bool = False) -> Iterable[str]:
    """Those `of_set` do not stand below their wheel, and name it."""
    for finding in findings:
        wheel = f"{finding.wheel}: " if of_set and finding.wheel else ""
        yield quote(f"{finding.severity}: {wheel}{finding}")
        yield quote(f"    {finding.problem.remedy}")


def _total(verdict: Verdict) -> str:
    counts = Counter(finding.severity for finding in verdict.findings)
    parts = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in sorted(counts.items())]
    wheels = len(verdict.reports)
    counted = [f"{wheels} wheel{'s' * (wheels != 1)}"]
    counted += [f"{len(verdict.sdists)} sdist{'s' * (len(verdict.sdists) != 1)}"] if verdict.sdists else []
    return f"{' and '.join(counted)}: {', '.join(parts) or 'no findings'}"


def _as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "schema": 1,
        "manywheels": __version__,
        "wheels": [
            {
                "wheel": report.path.name,
                "size": report.size,
                "glibc": report.glibc,
                "libraries": report.libraries,
                "other_system": report.other_system,
                "findings": [_finding(finding) for finding in report.findings],
            }
            for report in verdict.reports
        ],
        "sdists": [
            {
                "sdist": report.path.name,
                "size": report.size,
                "findings": [_finding(finding) for finding in report.findings],
            }
            for report in verdict.sdists
        ],
        "set": [_finding(finding) for finding in verdict.set_findings],
        "passed": verdict.passed,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "wheel": finding.wheel,
        "member": finding.problem.member,
        "message": finding.problem.message,
        "remedy": finding.problem.remedy,
    }


def _as_sarif(verdict: Verdict) -> dict[str, Any]:
    """Return SARIF 2.1.0: a wheel is the artifact, a file inside it the logical location."""
    rules = [
        {
            "id": entry.code,
            "name": entry.title,
            "shortDescription": {"text": entry.must_hold},
            "fullDescription": {"text": entry.reason},
            "defaultConfiguration": {"level": str(entry.severity)},
        }
        for entry in CHECKS
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "manywheels", "version": __version__, "rules": rules}},
                "results": [_result(finding) for finding in verdict.findings],
            }
        ],
    }


def _result(finding: Finding) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": finding.wheel or "dist"}}}
    if finding.problem.member:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.problem.member, "kind": "resource"}]
    return {
        "ruleId": finding.code,
        "level": str(finding.severity),
        "message": {"text": f"{finding.problem.message}. {finding.problem.remedy}"},
        "locations": [location],
    }


def _annotations(findings: Iterable[Finding]) -> Iterable[str]:
    annotations = [_annotation(finding) for finding in findings]
    for severity in (Severity.ERROR, Severity.WARNING):
        yield from map(str, at_most([annotation for annotation in annotations if annotation.kind == severity]))


def _annotation(finding: Finding) -> Annotation:
    place = f"{finding.wheel}: {finding.problem.member}" if finding.problem.member else finding.wheel
    message = f"{finding.problem.message}. {finding.problem.remedy}"
    return Annotation(kind=str(finding.severity), title=f"{finding.code} {place}", message=message)
