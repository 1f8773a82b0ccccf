"""Kubeconfig files."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import attrs
import yaml
from yarl import URL

from flowgate_epp.kubernetes._errors import CredentialsError
from flowgate_epp.kubernetes._exec import EXEC_VERSIONS, ExecUser
from flowgate_epp.kubernetes._files import Content, FollowedFile, Inline
from flowgate_epp.kubernetes._tls import Trust
from flowgate_epp.kubernetes._users import KnownUser, User

__all__ = ["Kubeconfig", "read_kubeconfig"]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@attrs.frozen
class Kubeconfig:
    """What a kubeconfig says of one context; see `Credentials`."""

    server: str
    namespace: str
    server_name: str | None
    user: User
    trust: Trust | None


@attrs.frozen
class _Table:
    """A table of the file, and where it is: values are told in errors only where they are no secrets."""

    file: Path
    path: str
    values: Mapping[str, Any] = attrs.field(repr=False)

    def error(self, name: str, rule: str) -> CredentialsError:
        return CredentialsError(f"{self.file}: {self._at(name)} {rule}")

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(name, "must be a string")
        return value

    def needed(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise self.error(name, "must be there, a string that is not empty")
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return bool(value)

    def table(self, name: str) -> "_Table":
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.error(name, "must be a table")
        return _Table(self.file, self._at(name), value or {})

    def entries(self, name: str) -> "list[_Table]":
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.error(name, "must be a list of tables")
        entries = cast("list[dict[str, Any]]", value)
        return [_Table(self.file, f"{self._at(name)}[{index}]", entry) for index, entry in enumerate(entries)]

    def named(self, name: str, wanted: str, by: str) -> "_Table":
        """Return the first entry of a list that has a name."""
        found = [entry for entry in self.entries(name) if entry.text("name") == wanted]
        if not found:
            known = ", ".join(repr(entry.text("name")) for entry in self.entries(name)) or "none at all"
            raise self.error(name, f"must have an entry named {wanted!r}, as {by} says; there are {known}")
        return found[0]

    def content(self, name: str) -> Content | None:
        """Return what stands in ``NAME-data``, in base64, or in the file that ``NAME`` names."""
        data, path = self.text(f"{name}-data"), self.text(name)
        if data is not None:
            try:
                return Inline(base64.b64decode("".join(data.split()), validate=True))
            except (binascii.Error, ValueError):
                raise self.error(f"{name}-data", "must be base64") from None
        return None if path is None else self.followed(name, path)

    def followed(self, name: str, path: str) -> FollowedFile:
        return FollowedFile(self.file.parent / path, f"{self.file}: {self._at(name)}")

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def read_kubeconfig(path: Path, context: str | None) -> Kubeconfig:
    """Read what a kubeconfig says of a context.

    Paths in it are taken from its folder on.

    Args:
        path: The file.
        context: The context's name; None for the current one.

    Raises:
        CredentialsError: It cannot be read, or says something that is wrong or not supported; no secret is told.
    """
    root = _Table(path, "", _load(path))
    by = "current-context"
    if context is None:
        context = root.needed(by)
    else:
        by = "the settings' context"
    entry = root.named("contexts", context, by)
    chosen = entry.table("context")
    cluster = root.named("clusters", chosen.needed("cluster"), f"{chosen.path}.cluster").table("cluster")
    name = chosen.text("user")
    user_table = None if name is None else root.named("users", name, f"{chosen.path}.user").table("user")
    user = KnownUser() if user_table is None else _user(user_table, cluster)
    server, trust = _server(cluster), None
    if server.scheme == "https":
        authority = cluster.content("certificate-authority")
        is_skipped = cluster.flag("insecure-skip-tls-verify")
        if is_skipped and authority is not None:
            raise cluster.error("insecure-skip-tls-verify", "must not be true beside a certificate-authority")
        trust = Trust(authority, is_skipped, f"{path}: {cluster.path}")
    elif not (isinstance(user, KnownUser) and user.is_anonymous) and server.host not in _LOOPBACK:
        raise cluster.error("server", "must be https where there is a user, or anybody on the way could be that user")
    # A program is not run before it is needed; all else is tried now.
    pair = user.now().key_pair if isinstance(user, KnownUser) else None
    if trust is not None:
        trust.context(pair)
    namespace = chosen.text("namespace") or "default"
    return Kubeconfig(str(server).rstrip("/"), namespace, cluster.text("tls-server-name"), user, trust)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise CredentialsError(f"{path}: the kubeconfig cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # What YAML says of it is not told: it quotes from the file.
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", at line {mark.line + 1}, column {mark.column + 1}"
        raise CredentialsError(f"{path}: the kubeconfig must be YAML, and is not{place}") from None
    if not isinstance(loaded, dict):
        raise CredentialsError(f"{path}: the kubeconfig must hold a table")
    return cast("dict[str, Any]", loaded)


def _server(cluster: _Table) -> URL:
    rule = "must be a URL such as https://10.0.0.1:6443, without user, query or fragment"
    if cluster.text("proxy-url") is not None:
        raise cluster.error("proxy-url", "must not be there: proxies are not supported")
    text = cluster.needed("server")
    try:
        server = URL(text)
        port = server.port
    except ValueError:
        raise cluster.error("server", rule) from None
    is_plain = server.user is None and server.password is None and not server.query_string and not server.fragment
    if server.scheme not in {"http", "https"} or not server.host or not port or not is_plain:
        raise cluster.error("server", rule)
    return server


def _user(table: _Table, cluster: _Table) -> User:
    for name in ("username", "password", "auth-provider"):
        if table.values.get(name):
            raise table.error(name, "must not be there: use a token, a client certificate or an exec plugin")
    for name in ("as", "as-uid", "as-groups", "as-user-extra"):
        if table.values.get(name):
            raise table.error(name, "must not be there: impersonation is not supported")
    certificate, key = table.content("client-certificate"), table.content("client-key")
    if (certificate is None) != (key is None):
        raise table.error("client-certificate", "and client-key must be there both, or neither")
    if table.values.get("exec") is not None:
        if certificate is not None or table.text("token") or table.text("tokenFile"):
            raise table.error("exec", "must not be there beside a token or a client certificate")
        return _exec_user(table.table("exec"), cluster)
    token: Content | None = None
    if (path := table.text("tokenFile")) is not None:
        token = table.followed("tokenFile", path)
    elif (text := table.text("token")) is not None:
        token = Inline(text.encode())
    return KnownUser(token, certificate, key, where=f"{table.file}: {table.path}")


def _exec_user(table: _Table, cluster: _Table) -> ExecUser:
    version = table.needed("apiVersion")
    if version not in EXEC_VERSIONS:
        raise table.error("apiVersion", f"must be one of {', '.join(EXEC_VERSIONS)}, not {version!r}")
    if table.text("interactiveMode") == "Always":
        raise table.error("interactiveMode", "must not be Always: nobody is there to be asked")
    command = table.needed("command")
    if "/" in command:
        command = str(table.file.parent / command)
    arguments = table.values.get("args") or []
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        raise table.error("args", "must be a list of strings")
    environment = {entry.needed("name"): entry.text("value") or "" for entry in table.entries("env")}
    return ExecUser(
        (command, *arguments),
        version,
        f"{table.file}: {table.path}",
        environment,
        _told(cluster) if table.flag("provideClusterInfo") else None,
        table.text("installHint") or "",
    )


def _told(cluster: _Table) -> Mapping[str, object]:
    authority = cluster.content("certificate-authority")
    told: dict[str, object] = {"server": cluster.text("server")}
    if authority is not None:
        told["certificate-authority-data"] = base64.b64encode(authority.read()).decode()
    for name in ("tls-server-name", "insecure-skip-tls-verify"):
        if cluster.values.get(name):
            told[name] = cluster.values[name]
    return told
