"""Every error that a user can meet: what happened, where, what to do; a stable code; an exit status.

`ManywheelsError` is the one root. The command line catches it in one place, prints it and exits with its status;
nothing else in the program turns an error into text for the user.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_TARGET_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2
EXIT_VERIFICATION: Final = 3
EXIT_DELIVERY: Final = 4


class ManywheelsError(Exception):
    """An error with a stable code, an exit status, and a remedy that the user can act on."""

    code: ClassVar[str] = "MW000"
    exit_status: ClassVar[int] = EXIT_CONFIGURATION

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


# --- configuration and usage: exit status 2, found before anything is built -----------------------------------------


class InputError(ManywheelsError):
    """An option or CI input is unknown, or its value is not one of those allowed."""

    code = "MW001"


class ProjectError(ManywheelsError):
    """The project cannot be read: no pyproject.toml or setup.py, a broken one, or an unreadable sdist."""

    code = "MW002"


class SelectionError(ManywheelsError):
    """A build or skip pattern selects nothing, or nothing is left to build."""

    code = "MW003"


class InterpreterError(ManywheelsError):
    """A Python that was asked for by name is not on this machine and cannot be installed."""

    code = "MW004"


class OutputFolderError(ManywheelsError):
    """The output folder cannot be written."""

    code = "MW005"


class ToolchainError(ManywheelsError):
    """The compilers asked for are not there, or cannot link for the policy asked for."""

    code = "MW006"


class EngineError(ManywheelsError):
    """The container engine is missing, not answering, too old, or cannot get or build the image."""

    code = "MW007"


class WheelFileError(ManywheelsError):
    """A wheel that should be checked is missing or is not a wheel."""

    code = "MW008"


class IsolationError(ManywheelsError):
    """Project code cannot be kept from what authorises the job, or the project's own files ask for it."""

    code = "MW009"


class DiskError(ManywheelsError):
    """A disk has too little room for what is to be built, or a file or folder on it cannot be read or written."""

    code = "MW010"


class BeforeAllFailed(ManywheelsError):
    """The command that prepares the machine for all builds, `before-all`, failed."""

    code = "MW011"


class ContainerFailed(ManywheelsError):
    """The program in the container ended before it had built anything; its own message says why."""

    code = "MW012"


# --- a target failed: exit status 1, the other targets go on ---------------------------------------------------------


class TargetError(ManywheelsError):
    """One target could not be finished. `excerpt` holds the lines of its log that matter.

    `file` and `line` (1-based) are the place in the project that the compiler or interpreter named.
    """

    code = "MW100"
    exit_status = EXIT_TARGET_FAILED

    def __init__(
        self,
        message: str,
        *,
        remedy: str,
        excerpt: tuple[str, ...] = (),
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.excerpt = excerpt
        self.file, self.line = file, line


class BuildFailed(TargetError):
    """The build back end exited with an error."""

    code = "MW101"


class BuildTimeout(TargetError):
    """The build did not finish within its time limit."""

    code = "MW102"


class WrongWheel(TargetError):
    """The back end made no wheel, several, a pure-Python one, or one for another interpreter."""

    code = "MW103"


class RepairFailed(TargetError):
    """auditwheel cannot make the wheel meet the policy: symbols too new, or libraries that cannot be grafted."""

    code = "MW104"


class NoInterpreter(TargetError):
    """The target's interpreter is not on this machine."""

    code = "MW105"


class VerificationFailed(TargetError):
    """The repaired wheel is not what its tags say."""

    code = "MW106"
    exit_status = EXIT_VERIFICATION


class Cancelled(TargetError):
    """The target was stopped before it was finished."""

    code = "MW107"


class BuildSilent(TargetError):
    """For too long, the build neither said anything nor used a processor."""

    code = "MW108"


class OutOfMemory(TargetError):
    """The kernel killed the build, or a compiler in it, because memory ran out."""

    code = "MW109"


class TestsFailed(TargetError):
    """The project's own tests of the finished wheel failed, or could not be run."""

    code = "MW110"


class HookFailed(TargetError):
    """A command of the project's around a build failed, such as `before-build`."""

    code = "MW111"


class LogTooLong(TargetError):
    """The build wrote more into its log than a log may have."""

    code = "MW112"


# --- finished wheels could not be delivered, or taken for delivery: exit status 4; they stay where they are -----------


class DeliveryError(ManywheelsError):
    """A service that wheels are delivered to, or taken from, answered in a way that manywheels does not know."""

    code = "MW300"
    exit_status = EXIT_DELIVERY


class ArtifactServiceMissing(DeliveryError):
    """There is no artifact service here: not a job of a GitHub workflow, or its token does not say which one."""

    code = "MW301"


class ArtifactRefused(DeliveryError):
    """The artifact service refuses the job's token: it has expired, or may not do this."""

    code = "MW302"


class ArtifactQuota(DeliveryError):
    """The account's storage for artifacts is used up."""

    code = "MW303"


class ArtifactExists(DeliveryError):
    """The run already has an artifact of this name, and `overwrite` is not set."""

    code = "MW304"


class ArtifactServiceDown(DeliveryError):
    """The artifact service does not answer, or answers with server errors, however often it is asked."""

    code = "MW305"


class ArtifactDiffers(DeliveryError):
    """What the artifact service keeps, or says of it, is not what was sent."""

    code = "MW306"


class ArtifactMissing(DeliveryError):
    """The run has no artifact of this name or pattern."""

    code = "MW307"


class ArtifactDamaged(DeliveryError):
    """An artifact is no archive that can be unpacked safely, or changed on its way."""

    code = "MW308"


class FileChanged(DeliveryError):
    """A finished wheel is not there any more, or is not what the manifest says."""

    code = "MW309"


class SetMismatch(DeliveryError):
    """Gathered sets are not whole, do not belong together, or are not what their manifests say."""

    code = "MW310"
    exit_status = EXIT_VERIFICATION


# --- finished wheels could not be published, or not all of them: exit status 4 (MW320 to MW349) ----------------------


class PreflightFailed(DeliveryError):
    """Something was found, before the first byte was sent, that keeps the files from being published."""

    code = "MW320"


class IndexUnreachable(DeliveryError):
    """The index does not answer, or not as an index does."""

    code = "MW321"


class UnsafeAddress(DeliveryError):
    """No token goes to the index: its address is plain http, leads elsewhere, or is the project's own choice in CI.

    Or it asks for an identity token for another service.
    """

    code = "MW322"


class NoIdentity(DeliveryError):
    """The CI gave no identity token for trusted publishing, and no API token is there either."""

    code = "MW323"


class MintRefused(DeliveryError):
    """The index did not exchange the CI's identity for an upload token."""

    code = "MW324"


class TooLittleTime(DeliveryError):
    """The files cannot be sent in the time for which the upload token is valid."""

    code = "MW325"


class ContentConflict(DeliveryError):
    """The index has a file of the same name with other content."""

    code = "MW326"


class UploadIncomplete(DeliveryError):
    """Not all files are known to be on the index; the ledger says where each of them stands."""

    code = "MW327"


class NotConfirmed(DeliveryError):
    """After the upload, the index did not serve what was sent within the time given."""

    code = "MW328"


class LedgerError(DeliveryError):
    """The ledger of the upload cannot be written."""

    code = "MW329"


class AttestationsUnavailable(DeliveryError):
    """Attestations were asked for where the index would refuse them: without trusted publishing, for example."""

    code = "MW330"


class AttestationExists(DeliveryError):
    """Beside a file lies an attestation already; it is neither overwritten nor sent."""

    code = "MW331"


class NoSigningIdentity(DeliveryError):
    """The CI gave no identity token to sign attestations with."""

    code = "MW332"


class SigningFailed(DeliveryError):
    """Sigstore did not sign: it does not answer, refuses the job's identity, or answers wrongly."""

    code = "MW333"


class AttestationNotKept(DeliveryError):
    """An attestation cannot be written beside its file."""

    code = "MW334"
