"""Programs that say who we are, as clouds' login tools do."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import attrs

from flowgate_epp.kubernetes._errors import CredentialsError
from flowgate_epp.kubernetes._users import Identity, KeyPair, bearer

__all__ = ["EXEC_VERSIONS", "ExecUser"]

EXEC_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_LEEWAY = timedelta(seconds=10)
_LONGEST_WORD = 200


@attrs.define(eq=False)
class ExecUser:
    """A user whom a program tells, run when there is no answer of it yet, or that has expired or was refused.

    It runs once at a time, however many requests wait for it, and goes on when one that waits gives up: the next would
    have to begin anew. What it writes to standard error is told when it fails.

    Args:
        command: The program and its arguments.
        version: Of the interface between it and us, one of `EXEC_VERSIONS`.
        where: Where it is named, for error messages.
        environment: Added to our own for the program.
        cluster: What the program is told of the cluster; None for nothing.
        install_hint: What to tell when there is no such program.
        timeout: Longest time for one run, in seconds; less than a request's own, which would hide what was slow.
    """

    command: tuple[str, ...]
    version: str
    where: str
    environment: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    cluster: Mapping[str, object] | None = attrs.field(default=None, repr=False)
    install_hint: str = ""
    timeout: float = 9.0
    _identity: Identity | None = attrs.field(default=None, init=False)
    _expires_at: datetime | None = attrs.field(default=None, init=False)
    _renewal: asyncio.Task[Identity] | None = attrs.field(default=None, init=False, repr=False)

    async def identity(self) -> Identity:
        """Return what the program said, running it where that does not hold any more.

        Raises:
            CredentialsError: It cannot be run, fails, or says nothing of use.
        """
        if self._identity is not None and not self._has_expired():
            return self._identity
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(), name="credentials")
            self._renewal.add_done_callback(self._renewed)
        return await asyncio.shield(self._renewal)

    def refuse(self, identity: Identity) -> None:
        """Run the program again, unless that was done since the identity was made."""
        if identity == self._identity:
            self._identity = None

    async def _renew(self) -> Identity:
        self._identity, self._expires_at = self._read(await self._run())
        return self._identity

    def _renewed(self, renewal: asyncio.Task[Identity]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # looked at, though nobody may wait for it any more

    def _has_expired(self) -> bool:
        # The leeway is added to our side: Go's zero time, the first there is, has nothing before it.
        return self._expires_at is not None and datetime.now(UTC) + _LEEWAY >= self._expires_at

    async def _run(self) -> bytes:
        told: dict[str, object] = {"interactive": False}
        if self.cluster is not None:
            told["cluster"] = self.cluster
        info = json.dumps({"apiVersion": self.version, "kind": "ExecCredential", "spec": told})
        environment = {**os.environ, **self.environment, "KUBERNETES_EXEC_INFO": info}
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command, stdin=nothing, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it has no valid name or arguments"
            raise self._error(f"cannot be run: {reason}", self.install_hint) from None
        try:
            async with asyncio.timeout(self.timeout):
                answer, words = await process.communicate()
        except BaseException as error:
            # With all that it has started: a wrapper's child would live on, and hold our ends of the pipes open.
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if not isinstance(error, TimeoutError):
                raise
            raise self._error(f"has not ended within {self.timeout:g} s") from None
        if process.returncode:
            raise self._error(f"ended with status {process.returncode}", words.decode(errors="replace"))
        return answer

    def _read(self, answer: bytes) -> tuple[Identity, datetime | None]:
        try:
            told = json.loads(answer)
            version, status = told["apiVersion"], told["status"]
            found = _identity(status, self.where), _expiry(status.get("expirationTimestamp"))
        except CredentialsError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            # What is wrong with it is not quoted: the answer is a secret.
            raise self._error("must write an ExecCredential in JSON, with a status that holds strings") from None
        if version != self.version:
            raise self._error(f"must write an ExecCredential of {self.version}")
        if found[0] == Identity():
            raise self._error("must tell a token, or clientCertificateData with clientKeyData")
        return found

    def _error(self, what: str, words: str = "") -> CredentialsError:
        hint = f" ({' '.join(words.split())[:_LONGEST_WORD]})" if words.strip() else ""
        return CredentialsError(f"{self.where}: the command {self.command[0]} {what}{hint}")


def _identity(status: Mapping[str, Any], where: str) -> Identity:
    token, certificate, key = (status.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
    pair = None
    if certificate or key:
        pair = KeyPair(_text(certificate), _text(key))
    return Identity(bearer(_text(token), where) if token else None, pair)


def _text(value: object) -> bytes:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value.encode()


def _expiry(value: object) -> datetime | None:
    if value is None:
        return None
    then = datetime.fromisoformat(cast("str", value))
    return then if then.tzinfo is not None else then.replace(tzinfo=UTC)
