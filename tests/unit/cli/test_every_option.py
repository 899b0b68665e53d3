"""No option is there to be ignored: for each, a test that fails where it is, and that names it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from manywheels.plan.inputs import declared_inputs

TESTS = Path(__file__).parents[2]
# That an option's text becomes a value is shown for all of them in test_action; here is what comes of the value.
PROOFS = {
    "unit/cli/test_github.py": {
        "test_commands": "command",
        "test_the_outputs_name_files_that_are_there": "output-dir",
        "test_a_job_builds_its_part_of_the_targets": "shard",
        "test_publish_none_uploads_nothing": "publish",
        "test_the_artifact_is_called_kept_and_replaced_as_the_inputs_say": "artifact-name retention-days overwrite",
        "test_a_named_artifact_goes_before_the_wheels_that_are_there": "artifact-pattern",
    },
    "unit/cli/test_cibuildwheels_line.py": {
        "test_only_builds_one_target": "only",
        "test_nothing_to_build_is_no_error_where_that_is_allowed": "allow-empty",
        "test_options_are_read_from_another_file": "config-file",
    },
    "unit/plan/test_targets.py": {
        "test_selection": "build skip",
        "test_interpreters_of_groups_are_enabled_or_named": "enable",
    },
    "unit/deliver/test_publish.py": {
        "test_where_a_password_comes_from": "user password",
        "test_metadata_is_verified_unless_told_otherwise": "verify-metadata",
    },
    "host/test_build.py": {
        "test_settings_of_the_project_and_verify_accepts_its_wheel": "platform",
        "test_jobs_limits_targets_at_once": "jobs",
        "test_environment_of_the_back_end": "environment environment-pass",
    },
    "host/test_trace.py": {
        "test_a_trace_has_each_targets_stages_and_what_was_compiled": "trace",
    },
    "host/test_failures.py": {
        "test_one_failure_leaves_the_others_and_shows_in_every_report": "report",
        "test_time_limit_ends_every_process": "timeout",
        "test_default_targets_without_interpreter_stop_every_command_unless_allowed": "allow-missing",
    },
    "host/test_building_options.py": {
        "test_every_front_end_builds_what_it_is_told_to": "config-settings build-frontend dependency-versions",
        "test_verbosity": "build-verbosity",
        "test_an_excluded_library_is_neither_grafted_nor_missed": "repair-exclude",
        "test_grafted_libraries_are_stripped_where_asked_for": "repair-strip",
    },
    "host/test_hooks.py": {
        "test_before_all_runs_once_with_the_first_targets_python_and_all_have_what_it_leaves": "before-all",
        "test_before_build_has_the_targets_python_and_copy_and_its_failure_is_its_targets": "before-build",
        "test_a_repair_command_makes_the_wheel_and_has_the_targets_python": "repair-wheel-command",
        "test_an_audit_looks_at_the_finished_wheel_with_what_it_requires": "audit-command audit-requires",
    },
    "host/test_shared_builds.py": {
        "test_objects_that_are_kept_serve_the_next_run": "compiler-cache",
    },
    "host/test_sdist.py": {
        "test_the_sdist_is_delivered_with_the_wheels_and_sealed": "sdist",
        "test_wheels_are_built_from_the_sdist_when_asked": "from-sdist",
        "test_what_another_version_left_is_named_and_cleared_where_asked_for": "clear",
    },
    "host/test_unchanged.py": {"test_all_is_built_anew_where_asked_for": "fresh"},
    "host/test_trials.py": {
        "test_a_failing_test_keeps_the_wheel_out_and_is_named": "test-environment",
        "test_targets_that_are_skipped_are_not_tested": "test-command test-skip",
        "test_before_test_prepares_the_environment_of_the_tests": "before-test",
        "test_what_the_tests_need_is_installed_and_nothing_of_the_source_is_imported":
            "test-requires test-extras test-groups",
        "test_sources_are_copied_to_where_the_tests_run": "test-sources",
        "test_the_tests_have_a_limit_of_their_own_and_leave_no_process": "test-timeout",
    },
    "host/test_reports.py": {"test_no_build_speaks_to_the_ci": "verbose"},
    "containers/test_action.py": {"test_builds_six_wheels_of_a_project_from_the_index": "package-dir"},
    "containers/test_other_images.py": {
        "test_an_image_of_the_users_own_builds_and_tests": "image",
        "test_another_architecture_needs_a_machine_of_it_or_emulation": "archs",
        "test_tests_in_another_image": "test-in",
    },
    "containers/test_runner_faults.py": {"test_a_silent_build_is_ended_with_its_last_lines": "silence-limit"},
    "publish/test_publish_faults.py": {
        "test_a_dry_run_looks_at_everything_and_changes_nothing": "dry-run",
        "test_row_11_a_manifest_that_changed_between_jobs": "manifest-digest",
        "test_row_16_other_content_under_the_name_is_never_skipped": "skip-existing",
        "test_confirm_waits_for_the_page_and_has_pip_fetch_the_wheels": "confirm print-hash",
    },
    "publish/test_release.py": {"test_publish_takes_what_others_built_itself": "foreign"},
    "publish/program.py": {"arguments": "packages-dir repository-url"},  # which all tests of publishing call
    "publish/test_other_indexes.py": {
        "test_the_simple_api_elsewhere": "check-url",
        "test_pypis_rules_hold_at_pypi_only": "index-rules",
    },
    "publish/test_publish_trusted.py": {
        "test_files_are_signed_and_the_index_takes_the_attestations": "attestations keep-attestations",
    },
}  # fmt: skip
ROWS = [(file, test, name) for file, tests in PROOFS.items() for test, names in tests.items() for name in names.split()]


def test_every_option_has_a_test() -> None:
    assert sorted(name for *_, name in ROWS) == sorted(declared_inputs())


@pytest.mark.parametrize(("file", "test", "name"), ROWS, ids=[name for *_, name in ROWS])
def test_the_test_is_there_and_gives_the_option(file: str, test: str, name: str) -> None:
    source = _source_of(test, ast.parse((TESTS / file).read_text("utf-8")))
    assert name in source or name.replace("-", "_") in source


def _source_of(test: str, module: ast.Module) -> str:
    """Return a test's source, with that of the module's fixtures and constants that it uses."""
    defined: dict[str, ast.stmt] = {}
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign):
            defined |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    used, pending = {test}, [test]
    while pending:
        for part in ast.walk(defined[pending.pop()]):
            name = part.arg if isinstance(part, ast.arg) else part.id if isinstance(part, ast.Name) else ""
            if name in defined.keys() - used:
                used.add(name)
                pending.append(name)
    return "\n".join(ast.unparse(defined[name]) for name in used)
