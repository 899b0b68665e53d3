"""All errors that users see; the command line prints them and exits with their status."""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_TARGET_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2
EXIT_VERIFICATION: Final = 3
EXIT_DELIVERY: Final = 4


class ManywheelsError(Exception):
    """An error with a stable code, an exit status and a remedy."""

    code: ClassVar[str] = "MW000"
    exit_status: ClassVar[int] = EXIT_CONFIGURATION

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


# --- configuration and usage: exit status 2, found before anything is built ----------------------------------------


class InputError(ManywheelsError):
    """An option or CI input is unknown, or its value is not allowed."""

    code = "MW001"


class ProjectError(ManywheelsError):
    """The project cannot be read: pyproject.toml and setup.py are missing or broken, or the sdist is unreadable."""

    code = "MW002"


class SelectionError(ManywheelsError):
    """A build or skip pattern selects nothing, or nothing is left to build."""

    code = "MW003"


class InterpreterError(ManywheelsError):
    """A Python requested by name is not on this machine and cannot be installed."""

    code = "MW004"


class OutputFolderError(ManywheelsError):
    """The output folder cannot be written."""

    code = "MW005"


class ToolchainError(ManywheelsError):
    """The requested compilers are missing or cannot link for the policy."""

    code = "MW006"


class EngineError(ManywheelsError):
    """The container engine is missing, unresponsive or too old, or cannot pull or build the image."""

    code = "MW007"


class WheelFileError(ManywheelsError):
    """A wheel to be checked is missing or not a wheel."""

    code = "MW008"


class IsolationError(ManywheelsError):
    """Project code cannot be isolated from the job's credentials, or the project's own files request access to them."""

    code = "MW009"


class DiskError(ManywheelsError):
    """A disk has too little space for the build, or a file or folder cannot be read or written."""

    code = "MW010"


class BeforeAllFailed(ManywheelsError):
    """The command `before-all` failed."""

    code = "MW011"


class ContainerFailed(ManywheelsError):
    """manywheels in the container exited before building anything; its own message says why."""

    code = "MW012"


# --- a target failed: exit status 1, the other targets continue -----------------------------------------------------


class TargetError(ManywheelsError):
    """A target failed."""

    # `excerpt`: the relevant lines of its log; `file`, `line` (1-based): what the compiler or interpreter reported.
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
    """The build exceeded its time limit."""

    code = "MW102"


class WrongWheel(TargetError):
    """The back end built no wheel, several wheels or one for another interpreter."""

    code = "MW103"


class RepairFailed(TargetError):
    """auditwheel cannot make the wheel meet the policy: its symbols are too new, or libraries cannot be grafted."""

    code = "MW104"


class NoInterpreter(TargetError):
    """The target's interpreter is not on this machine."""

    code = "MW105"


class VerificationFailed(TargetError):
    """The repaired wheel does not match its tags."""

    code = "MW106"
    exit_status = EXIT_VERIFICATION


class Cancelled(TargetError):
    """The target was stopped before it was finished."""

    code = "MW107"


class BuildSilent(TargetError):
    """The build printed nothing and used no CPU for too long."""

    code = "MW108"


class OutOfMemory(TargetError):
    """The kernel killed the build or a compiler because memory ran out."""

    code = "MW109"


class TestsFailed(TargetError):
    """The project's tests of the finished wheel failed or could not be run."""

    code = "MW110"


class HookFailed(TargetError):
    """A hook of the project failed, such as `before-build`."""

    code = "MW111"


class LogTooLong(TargetError):
    """The build's log exceeded the size limit."""

    code = "MW112"


class SdistFailed(ManywheelsError):
    """The sdist cannot be built, or an index would refuse it."""

    code = "MW113"
    exit_status = EXIT_TARGET_FAILED


class PureWheel(WrongWheel):
    """The back end built a pure-Python wheel, or one for a platform without a compiled file."""

    code = "MW114"


# --- finished wheels could not be delivered or fetched: exit status 4; they stay where they are ---------------------


class DeliveryError(ManywheelsError):
    """A service for delivering or fetching wheels sent an unexpected response."""

    code = "MW300"
    exit_status = EXIT_DELIVERY


class ArtifactServiceMissing(DeliveryError):
    """There is no artifact service: this is not a job of a GitHub workflow, or its token does not identify the run."""

    code = "MW301"


class ArtifactRefused(DeliveryError):
    """The artifact service rejects the job's token: it has expired or lacks a permission."""

    code = "MW302"


class ArtifactQuota(DeliveryError):
    """The account's artifact storage is full."""

    code = "MW303"


class ArtifactExists(DeliveryError):
    """The run already has an artifact of this name, and `overwrite` is not set."""

    code = "MW304"


class ArtifactServiceDown(DeliveryError):
    """The artifact service does not respond or returns server errors, despite retries."""

    code = "MW305"


class ArtifactDiffers(DeliveryError):
    """The artifact service stored or reports something other than what was sent."""

    code = "MW306"


class ArtifactMissing(DeliveryError):
    """The run has no artifact of this name or pattern."""

    code = "MW307"


class ArtifactDamaged(DeliveryError):
    """An artifact cannot be unpacked safely, or was changed in transit."""

    code = "MW308"


class FileChanged(DeliveryError):
    """A finished wheel is missing or does not match the manifest."""

    code = "MW309"


class SetMismatch(DeliveryError):
    """Gathered sets are incomplete, do not belong together, or do not match their manifests."""

    code = "MW310"
    exit_status = EXIT_VERIFICATION


# --- not all finished wheels could be published: exit status 4 (MW320 to MW349) -------------------------------------


class PreflightFailed(DeliveryError):
    """Checks before the upload found problems that prevent publishing."""

    code = "MW320"


class IndexUnreachable(DeliveryError):
    """The index does not respond, or not as a package index."""

    code = "MW321"


class UnsafeAddress(DeliveryError):
    """No token is sent to the index: its address is plain http, redirects elsewhere, or was set by the project in CI.

    Or it requests an identity token for another service.
    """

    code = "MW322"


class NoIdentity(DeliveryError):
    """The CI issued no identity token for trusted publishing, and there is no API token."""

    code = "MW323"


class MintRefused(DeliveryError):
    """The index did not exchange the CI's identity for an upload token."""

    code = "MW324"


class TooLittleTime(DeliveryError):
    """The files cannot be uploaded while the upload token is valid."""

    code = "MW325"


class ContentConflict(DeliveryError):
    """The index has a file of the same name with different content."""

    code = "MW326"


class UploadIncomplete(DeliveryError):
    """Not all files are known to be on the index; the ledger has the state of each."""

    code = "MW327"


class NotConfirmed(DeliveryError):
    """The index did not serve the uploaded files within the time limit."""

    code = "MW328"


class LedgerError(DeliveryError):
    """The upload ledger cannot be written."""

    code = "MW329"


class AttestationsUnavailable(DeliveryError):
    """Attestations were requested but the index would refuse them, for example without trusted publishing."""

    code = "MW330"


class AttestationExists(DeliveryError):
    """There is already an attestation beside a file; it is neither overwritten nor uploaded."""

    code = "MW331"


class NoSigningIdentity(DeliveryError):
    """The CI issued no identity token for signing attestations."""

    code = "MW332"


class SigningFailed(DeliveryError):
    """Sigstore did not sign: it does not respond, refuses the job's identity, or sends an invalid response."""

    code = "MW333"


class NoCertificates(DeliveryError):
    """A variable names certificate authorities to trust, and they cannot be read."""

    code = "MW340"


class AttestationNotKept(DeliveryError):
    """An attestation cannot be written."""

    code = "MW334"
