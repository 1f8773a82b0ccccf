import asyncio
import base64
import json
import os
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives import serialization

from flowgate_epp.kubernetes import ApiClient, ApiError, ClusterSettings, CredentialsError
from flowgate_epp.kubernetes._credentials import find_credentials

SECRET = "s3cret-t0ken"  # noqa: S105 - of nobody
AUTHORITY = trustme.CA()
PAIR = AUTHORITY.issue_cert("client@example.com")
CA_PEM = AUTHORITY.cert_pem.bytes()
CERT_PEM = b"".join(blob.bytes() for blob in PAIR.cert_chain_pems)
KEY_PEM = PAIR.private_key_pem.bytes()


def b64(content):
    return base64.b64encode(content).decode()


@pytest.fixture
def kubeconfig(tmp_path):
    """Write a kubeconfig; what is given stands in the place of the usual."""

    def kubeconfig(user=None, cluster=None, context=None, **root):
        path = tmp_path / "config"
        content = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **(context or {})}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443", **(cluster or {})}}],
            "users": [{"name": "u", "user": user or {}}],
            **root,
        }
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return kubeconfig


def read(path, **told):
    return find_credentials(ClusterSettings(kubeconfig=path, **told))


def shown(path):
    async def access():
        return await read(path).access()

    return asyncio.run(access())


def test_the_current_context_names_server_user_and_namespace(kubeconfig):
    path = kubeconfig({"token": SECRET}, context={"namespace": "models"})
    found = read(path)
    assert (found.server, found.namespace, found.server_name) == ("https://10.0.0.1:6443", "models", None)
    assert shown(path).identity.authorization == f"Bearer {SECRET}"
    assert SECRET not in repr(found) + repr(shown(path))


def test_another_context_may_be_named(kubeconfig):
    contexts = [{"name": name, "context": {"cluster": "c", "namespace": name}} for name in ("here", "there")]
    path = kubeconfig(contexts=contexts)
    assert read(path, context="there").namespace == "there"
    assert shown(path).identity.authorization is None
    with pytest.raises(CredentialsError, match=r"contexts must have an entry named 'nowhere'.*'here', 'there'"):
        read(path, context="nowhere")


@pytest.mark.parametrize("as_data", [True, False])
def test_certificates_may_stand_in_the_file_or_beside_it(kubeconfig, tmp_path, as_data):
    parts = {"client-certificate": CERT_PEM, "client-key": KEY_PEM, "certificate-authority": CA_PEM}
    told = {}
    for name, content in parts.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
        told |= {f"{name}-data": b64(content)} if as_data else {name: f"{name}.pem"}
    authority = {name: told.pop(name) for name in list(told) if "authority" in name}
    path = kubeconfig(told, {**authority, "tls-server-name": "kubernetes"})
    access = shown(path)
    assert access.identity.key_pair.key == KEY_PEM
    assert access.tls.cert_store_stats()["x509_ca"] == 1
    assert read(path).server_name == "kubernetes"
    assert "PRIVATE" not in repr(access) + repr(read(path))


def test_nobody_is_asked_for_a_certificate_where_that_is_told(kubeconfig):
    assert not shown(kubeconfig(cluster={"insecure-skip-tls-verify": True})).tls.check_hostname
    assert shown(kubeconfig()).tls.check_hostname


def test_an_authority_may_stand_in_a_bundle_with_names_in_any_alphabet(kubeconfig, tmp_path):
    (tmp_path / "ca.pem").write_bytes("# Főtanúsítvány\n".encode() + CA_PEM)
    access = shown(kubeconfig(cluster={"certificate-authority": "ca.pem"}))
    assert access.tls.cert_store_stats()["x509_ca"] == 1


def test_a_pair_of_which_one_half_is_replaced_is_read_anew_at_once(kubeconfig, tmp_path, monkeypatch):
    """And not a minute later, when nobody could have renewed a lease any more."""
    now = [1000.0]
    monkeypatch.setattr("flowgate_epp.kubernetes._files.time.monotonic", lambda: now[0])
    (tmp_path / "cert.pem").write_bytes(CERT_PEM)
    (tmp_path / "key.pem").write_bytes(KEY_PEM)
    found = read(kubeconfig({"client-certificate": "cert.pem", "client-key": "key.pem"}))
    newer = AUTHORITY.issue_cert("client@example.com")
    (tmp_path / "cert.pem").write_bytes(newer.cert_chain_pems[0].bytes())
    now[0] += 61
    with pytest.raises(CredentialsError, match="must be a pair in PEM"):
        asyncio.run(found.access())
    (tmp_path / "key.pem").write_bytes(newer.private_key_pem.bytes())
    assert asyncio.run(found.access()).identity.key_pair.key == newer.private_key_pem.bytes()


def test_a_context_stays_the_same_until_its_files_change(kubeconfig, tmp_path):
    (tmp_path / "ca.pem").write_bytes(CA_PEM)
    found = read(kubeconfig({"token": SECRET}, {"certificate-authority": "ca.pem"}))

    async def check():
        first = await found.access()
        assert (await found.access()).tls is first.tls
        found.refuse(first)
        assert (await found.access()).tls is first.tls
        (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
        found.refuse(first)
        assert (await found.access()).tls is not first.tls

    asyncio.run(check())


def encrypted_key():
    key = serialization.load_pem_private_key(KEY_PEM, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass")
    )


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"user": {"username": "u", "password": SECRET}}, "users[0].user.username must not be there"),
        ({"user": {"password": SECRET}}, "users[0].user.password must not be there"),
        ({"user": {"auth-provider": {"name": SECRET}}}, "users[0].user.auth-provider must not be there"),
        ({"user": {"as": "root"}}, "users[0].user.as must not be there: impersonation"),
        ({"user": {"token": 17}}, "users[0].user.token must be a string"),
        ({"user": {"token": f"{SECRET} {SECRET}"}}, "users[0].user: the token must be one word"),
        ({"user": {"token": f"{SECRET}ü"}}, "users[0].user: the token must be one word"),
        ({"user": {"tokenFile": "nowhere"}}, "users[0].user.tokenFile: the file"),
        ({"user": {"client-certificate-data": b64(CERT_PEM)}}, "client-certificate and client-key must be there both"),
        ({"user": {"client-key-data": SECRET + "!"}}, "users[0].user.client-key-data must be base64"),
        (
            {"user": {"client-certificate-data": b64(CERT_PEM), "client-key-data": b64(SECRET.encode())}},
            "the client's certificate and key must be a pair in PEM",
        ),
        (
            {"user": {"client-certificate-data": b64(CERT_PEM), "client-key-data": b64(encrypted_key())}},
            "the key without a passphrase",
        ),
        ({"user": {"exec": {"command": "x", "apiVersion": "v3"}}}, "users[0].user.exec.apiVersion must be one of"),
        ({"user": {"exec": {"command": "x"}}}, "users[0].user.exec.apiVersion must be there"),
        ({"user": {"exec": {}, "token": SECRET}}, "users[0].user.exec must not be there beside a token"),
        ({"cluster": {"server": "10.0.0.1"}}, "clusters[0].cluster.server must be a URL"),
        ({"cluster": {"server": f"https://u:{SECRET}@h"}}, "clusters[0].cluster.server must be a URL"),
        ({"cluster": {"server": "https://h:99999"}}, "clusters[0].cluster.server must be a URL"),
        ({"cluster": {"server": ""}}, "clusters[0].cluster.server must be there"),
        ({"cluster": {"server": "http://h"}, "user": {"token": SECRET}}, "server must be https where there is a user"),
        ({"cluster": {"proxy-url": f"http://u:{SECRET}@p"}}, "proxy-url must not be there: proxies are not supported"),
        (
            {"cluster": {"certificate-authority-data": b64(b"x")}},
            "certificate authority must be certificates in PEM",
        ),
        ({"cluster": {"certificate-authority-data": b64(b"\xff")}}, "must be certificates in PEM"),
        ({"cluster": {"insecure-skip-tls-verify": "no"}}, "insecure-skip-tls-verify must be true or false"),
        (
            {"cluster": {"insecure-skip-tls-verify": True, "certificate-authority-data": b64(CA_PEM)}},
            "insecure-skip-tls-verify must not be true beside",
        ),
        ({"users": {"u": SECRET}}, "users must be a list of tables"),
        (
            {"users": None},
            "users must have an entry named 'u', as contexts[0].context.user says; there are none at all",
        ),
        ({"clusters": [{"name": "c", "cluster": [SECRET]}]}, "clusters[0].cluster must be a table"),
        ({"current-context": None}, "current-context must be there"),
    ],
)
def test_a_mistake_is_told_with_its_file_place_and_rule_and_without_secrets(kubeconfig, told, words):
    path = kubeconfig(**told)
    with pytest.raises(CredentialsError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert SECRET not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"token: {SECRET}\n  : [", "must be YAML, and is not, at line 2, column"),
        ("\x00", "must be YAML"),
        ("[" * 5000, "must be YAML"),
        (f"- {SECRET}", "must hold a table"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_told_without_a_word_of_it(tmp_path, content, words):
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CredentialsError) as caught:
        read(str(path))
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.fixture
def pod(tmp_path):
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(f"{SECRET}\n")
    (folder / "ca.crt").write_bytes(CA_PEM)
    (folder / "namespace").write_text("models")
    return folder


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [
        ("10.96.0.1", "443", "https://10.96.0.1:443"),
        ("fd00::1", "6443", "https://[fd00::1]:6443"),
        ("h", "", "https://h:443"),
    ],
)
def test_a_pod_is_its_service_account(pod, host, port, server):
    there = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBECONFIG": "/nowhere"}
    found = find_credentials(ClusterSettings(), there, pod)
    assert (found.server, found.namespace) == (server, "models")
    assert asyncio.run(found.access()).identity.authorization == f"Bearer {SECRET}"


def test_a_user_without_a_home_needs_none(pod, tmp_path, monkeypatch):
    """As in a container whose user no file knows."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)
    assert find_credentials(ClusterSettings(), {"KUBERNETES_SERVICE_HOST": "h"}, pod).namespace == "models"
    with pytest.raises(CredentialsError, match=r"no ~/\.kube/config"):
        find_credentials(ClusterSettings(), {}, tmp_path / "none")
    with pytest.raises(CredentialsError, match=r"^~/config: the kubeconfig cannot be read"):
        read("~/config")


def test_a_token_is_read_anew_each_minute_and_one_that_vanishes_stays_in_force(pod, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("flowgate_epp.kubernetes._files.time.monotonic", lambda: now[0])
    user = find_credentials(ClusterSettings(), {"KUBERNETES_SERVICE_HOST": "h"}, pod).user
    (pod / "token").write_text("newer")
    assert user.now().authorization == f"Bearer {SECRET}"
    now[0] += 61
    assert user.now().authorization == "Bearer newer"
    (pod / "token").write_text("")
    now[0] += 61
    assert user.now().authorization == "Bearer newer"


def test_without_a_service_account_the_environments_kubeconfig_counts_then_the_usual_one(kubeconfig, tmp_path, pod):
    path = kubeconfig()
    assert find_credentials(ClusterSettings(), {"KUBECONFIG": f"{os.pathsep}{path}"}, tmp_path / "none")
    home = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "h"}
    with pytest.raises(CredentialsError, match=r"no way to a cluster.*which a pod in a cluster has"):
        find_credentials(ClusterSettings(), home, tmp_path / "none")
    with pytest.raises(CredentialsError, match=r"and no KUBERNETES_SERVICE_HOST"):
        find_credentials(ClusterSettings(), {"HOME": str(tmp_path)}, pod)
    (tmp_path / ".kube").mkdir()
    (tmp_path / "config").rename(tmp_path / ".kube" / "config")
    assert find_credentials(ClusterSettings(), home, tmp_path / "none").namespace == "default"
    assert find_credentials(ClusterSettings(context="here"), home, pod).namespace == "default"
    with pytest.raises(CredentialsError, match="KUBECONFIG must name one file, not 2"):
        find_credentials(ClusterSettings(), {"KUBECONFIG": f"a{os.pathsep}b"}, pod)


PLUGIN = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path(__file__).parent
runs = folder / "runs"
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
(folder / "info").write_text(os.environ["KUBERNETES_EXEC_INFO"])
(folder / "seen").write_text(" ".join([*sys.argv[1:], os.environ.get("MORE", "")]))
exec((folder / "body").read_text())
"""


@pytest.fixture
def plugin(kubeconfig, tmp_path):
    """A kubeconfig whose user is told by a program of the test's own."""
    path = tmp_path / "plugin"
    path.write_text(PLUGIN.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def plugin(body, version="v1", cluster=None, **told):
        (tmp_path / "body").write_text(body)
        version = f"client.authentication.k8s.io/{version}"
        told = {"apiVersion": version, "command": "./plugin", "interactiveMode": "Never", **told}
        return read(kubeconfig({"exec": told}, cluster))

    plugin.folder = tmp_path
    plugin.runs = lambda: len((tmp_path / "runs").read_text())
    return plugin


def says(version="v1", **status):
    credential = {"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(credential)!r})"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_program_says_who_we_are_and_is_told_what_it_needs(plugin, version):
    cluster = {"certificate-authority-data": b64(CA_PEM), "tls-server-name": "kubernetes"}
    told = {"args": ["get", "token"], "env": [{"name": "MORE", "value": "here"}], "provideClusterInfo": True}
    found = plugin(says(version, token=SECRET), version, cluster, **told)

    async def check():
        first, second = await asyncio.gather(found.access(), found.access())
        assert first.identity.authorization == second.identity.authorization == f"Bearer {SECRET}"
        found.refuse(first)
        await found.access()
        found.refuse(attrs_of_another(first))
        await found.access()

    asyncio.run(check())
    assert plugin.runs() == 2, "once for all who wait, and once more after it was refused"
    assert (plugin.folder / "seen").read_text() == "get token here"
    info = json.loads((plugin.folder / "info").read_text())
    assert info["apiVersion"] == f"client.authentication.k8s.io/{version}"
    assert info["spec"] == {"interactive": False, "cluster": {"server": "https://10.0.0.1:6443", **cluster}}
    assert SECRET not in repr(found)


def attrs_of_another(access):
    return type(access)(type(access.identity)("Bearer another"), access.tls)


@pytest.mark.parametrize(("seconds", "runs"), [(3600, 1), (5, 2), (-60, 2)])
def test_what_a_program_says_holds_until_it_expires(plugin, seconds, runs):
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = plugin(says(token=SECRET, expirationTimestamp=until))

    async def check():
        await found.access()
        await found.access()

    asyncio.run(check())
    assert plugin.runs() == runs


@pytest.mark.parametrize("then", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_first_and_the_last_time_there_is_are_times_of_expiry(plugin, then):
    """The first is what Go writes for none."""
    found = plugin(says(token=SECRET, expirationTimestamp=then))

    async def check():
        await found.access()
        return (await found.access()).identity.authorization

    assert asyncio.run(check()) == f"Bearer {SECRET}"


def test_a_program_may_say_a_certificate(plugin):
    found = plugin(says(clientCertificateData=CERT_PEM.decode(), clientKeyData=KEY_PEM.decode()))
    assert asyncio.run(found.access()).identity.key_pair.key == KEY_PEM


@pytest.mark.parametrize(
    ("body", "told", "words"),
    [
        ("sys.exit('log in\\nfirst')", {}, "ended with status 1 (log in first)"),
        (f"print('{SECRET}')", {}, "must write an ExecCredential in JSON"),
        (says(), {}, "must tell a token, or clientCertificateData"),
        (says(token=[SECRET]), {}, "must write an ExecCredential in JSON"),
        (says(token=SECRET, expirationTimestamp="soon"), {}, "must write an ExecCredential in JSON"),
        (says(clientCertificateData=CERT_PEM.decode()), {}, "must write an ExecCredential in JSON"),
        (says(token=f"{SECRET} {SECRET}"), {}, "the token must be one word"),
        (says("v1beta1", token=SECRET), {}, "must write an ExecCredential of client.authentication.k8s.io/v1"),
        (
            "",
            {"command": "./nowhere", "installHint": "install it"},
            "cannot be run: No such file or directory (install it)",
        ),
        ("", {"args": ["\0"]}, "cannot be run: it has no valid name"),
    ],
)
def test_a_program_that_fails_is_an_error_that_says_how(plugin, body, told, words):
    found = plugin(body, **told)
    with pytest.raises(CredentialsError) as caught:
        asyncio.run(found.access())
    assert words in str(caught.value)
    assert "users[0].user.exec: the command" in str(caught.value) or "token must" in words
    assert SECRET not in str(caught.value)


def test_a_program_that_hangs_is_ended(plugin):
    found = plugin("import time; time.sleep(600)")
    found.user.timeout = 0.5
    with pytest.raises(CredentialsError, match=r"has not ended within 0\.5 s"):
        asyncio.run(found.access())


@pytest.mark.parametrize("fails", [False, True])
def test_a_program_goes_on_when_who_waits_gives_up(plugin, fails):
    """A candidate for a lease has less patience than the program; it would end each run of it, and never lead."""
    may_end = plugin.folder / "may-end"
    found = plugin(
        f"import time\nwhile not pathlib.Path({str(may_end)!r}).exists(): time.sleep(0.01)\n"
        + ("sys.exit(1)" if fails else says(token=SECRET))
    )

    async def check():
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await found.access()
        may_end.touch()
        renewal = found.user._renewal
        await asyncio.wait([renewal])
        if not fails:
            assert (await found.access()).identity.authorization == f"Bearer {SECRET}"

    asyncio.run(check())
    assert plugin.runs() == 1


@pytest.mark.parametrize("waits", ["child.wait()", "pass"], ids=["waits for it", "ends before it"])
def test_a_program_that_hangs_is_ended_with_what_it_has_started(plugin, waits):
    """As a shell script that runs the login tool: the tool holds the pipes open, and is to end as well."""
    started = plugin.folder / "started"
    sleep = f"[{sys.executable!r}, '-c', 'import time; time.sleep(600)']"
    found = plugin(
        f"import subprocess; child = subprocess.Popen({sleep}); "
        f"pathlib.Path({str(started)!r}).write_text(str(child.pid)); {waits}"
    )
    found.user.timeout = 1.5

    async def check():
        async with asyncio.timeout(20):
            with pytest.raises(CredentialsError, match=r"has not ended within 1\.5 s"):
                await found.access()
            while is_running(int(started.read_text())):
                await asyncio.sleep(0.01)

    asyncio.run(check())


def test_a_program_that_hangs_does_not_outlive_us(plugin):
    started = plugin.folder / "started"
    found = plugin(f"import time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(600)")

    async def check():
        waiting = asyncio.create_task(found.access())
        async with asyncio.timeout(20):
            while not (started.exists() and started.read_text()):
                await asyncio.sleep(0.01)
        waiting.cancel()

    asyncio.run(check())
    assert not is_running(int(started.read_text()))


def is_running(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"  # ended, and not yet reaped by whoever adopted it


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"interactiveMode": "Always"}, "interactiveMode must not be Always"),
        ({"args": ["a", 1]}, "args must be a list of strings"),
        ({"command": None}, "exec.command must be there"),
    ],
)
def test_a_program_that_cannot_be_asked_is_refused_at_once(plugin, told, words):
    with pytest.raises(CredentialsError) as caught:
        plugin("", **told)
    assert words in str(caught.value)


@pytest.mark.anyio
async def test_a_program_that_fails_while_we_run_is_an_error_of_the_request(plugin, tmp_path):
    plugin("sys.exit(3)")
    async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "config"))) as client:
        with pytest.raises(ApiError, match="ended with status 3") as caught:
            await client.get("/api")
    assert (caught.value.status, caught.value.reason) == (0, "NoCredentials")


def test_a_command_without_a_slash_is_looked_for_where_programs_are(plugin):
    found = plugin("", command="true")
    with pytest.raises(CredentialsError, match="must write an ExecCredential in JSON"):
        asyncio.run(found.access())
