"""Where the API server is and what to show it, from wherever that is told."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import attrs

from flowgate_epp.kubernetes._errors import CredentialsError
from flowgate_epp.kubernetes._files import FollowedFile
from flowgate_epp.kubernetes._kubeconfig import read_kubeconfig
from flowgate_epp.kubernetes._settings import ClusterSettings
from flowgate_epp.kubernetes._tls import Trust
from flowgate_epp.kubernetes._users import Identity, KnownUser, User

__all__ = ["Access", "Credentials", "find_credentials"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@attrs.frozen
class Access:
    """What one request needs.

    Args:
        identity: Who we are.
        tls: How to trust the server; None for one without TLS.
    """

    identity: Identity
    tls: ssl.SSLContext | None


@attrs.frozen
class Credentials:
    """A cluster and its user.

    Args:
        server: The API server's URL, without a slash at its end.
        namespace: The one that the credentials name.
        server_name: The name in the server's certificate; None for the URL's.
        user: Who we are.
        trust: How the server is trusted; None for one without TLS.
    """

    server: str
    namespace: str
    server_name: str | None
    user: User
    trust: Trust | None

    async def access(self) -> Access:
        """Return what to ask with now.

        Raises:
            CredentialsError: There is nothing.
        """
        identity = await self.user.identity()
        try:
            return Access(identity, None if self.trust is None else self.trust.context(identity.key_pair))
        except CredentialsError:
            # Read while somebody replaced one file after the other, perhaps: not to be kept for a minute.
            self._forget(identity)
            raise

    def refuse(self, access: Access) -> None:
        """Hear that the server did not accept us, or we not its certificate: what is read next, is read anew."""
        self._forget(access.identity)

    def _forget(self, identity: Identity) -> None:
        self.user.refuse(identity)
        if self.trust is not None:
            self.trust.forget()


def find_credentials(
    settings: ClusterSettings,
    environment: Mapping[str, str] = os.environ,
    service_account: Path = _SERVICE_ACCOUNT,
) -> Credentials:
    """Find the credentials that the settings mean.

    Args:
        settings: Which.
        environment: The process's.
        service_account: Where a pod finds its own.

    Raises:
        CredentialsError: There are none, or they cannot be used.
    """
    if settings.kubeconfig is not None:
        return _from_kubeconfig(settings.kubeconfig, settings.context)
    host = environment.get("KUBERNETES_SERVICE_HOST")
    named = [path for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]
    usual = _expanded(environment.get("HOME", "~")) / ".kube" / "config"
    if host and settings.context is None and (service_account / "token").exists():
        return _from_pod(host, environment.get("KUBERNETES_SERVICE_PORT") or "443", service_account)
    if len(named) > 1:
        raise CredentialsError(f"KUBECONFIG must name one file, not {len(named)}: files are not merged here")
    if named or usual.exists():
        return _from_kubeconfig(named[0] if named else str(usual), settings.context)
    missing = f"{service_account / 'token'}, which a pod in a cluster has" if host else "KUBERNETES_SERVICE_HOST"
    raise CredentialsError(f"there is no way to a cluster: no kubeconfig, no KUBECONFIG, no {usual}, and no {missing}")


def _from_pod(host: str, port: str, folder: Path) -> Credentials:
    where = "the pod's service account"
    user = KnownUser(token=FollowedFile(folder / "token", where), where=where)
    trust = Trust(FollowedFile(folder / "ca.crt", where), is_skipped=False, where=where)
    trust.context(user.now().key_pair)
    namespace = FollowedFile(folder / "namespace", where).read().decode(errors="replace").strip()
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Credentials(server, namespace, None, user, trust)


def _from_kubeconfig(path: str, context: str | None) -> Credentials:
    found = read_kubeconfig(_expanded(path), context)
    return Credentials(found.server, found.namespace, found.server_name, found.user, found.trust)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a container's user may have no home at all
        return Path(path)
