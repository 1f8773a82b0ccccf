"""Certificates: in force, replaced while running, broken, and asked of clients."""

import asyncio
import os
import ssl
from pathlib import Path

import grpc
import pytest
import trustme

from flowgate_epp.extproc import ExtProcServer, ServerSettings, TlsSettings
from flowgate_epp.extproc._certificates import Certificates

LATER = 2_000_000_000


class Files:
    """An authority, and the files of one certificate of its own."""

    def __init__(self, folder: Path):
        self.certificate, self.key, self.ca = (folder / name for name in ("tls.crt", "tls.key", "ca.crt"))
        self.ca_of_clients = trustme.CA()
        self.ca_of_clients.cert_pem.write_to_path(self.ca)
        self._age = 0
        self.replace()

    def replace(self):
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(self.key)
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.touch()

    def touch(self):
        self._age += 1
        os.utime(self.certificate, (LATER, LATER + self._age))

    def settings(self, **options):
        tls = TlsSettings(str(self.certificate), str(self.key), **options)
        return ServerSettings(host="127.0.0.1", port=0, tls=tls)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


async def is_trusted(port, authority, client=None):
    """Whether a new connection gets through when it trusts that authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    if client is not None:
        client.configure_cert(context)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    except ssl.SSLCertVerificationError:
        return False
    # With TLS 1.3 a server that wants a client's certificate complains after the handshake.
    try:
        return bool(await asyncio.wait_for(reader.read(1), 5))
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        writer.transport.abort()


def served(files, director, scenario, **options):
    async def main():
        server = ExtProcServer(director(), files.settings(**options))
        await server.start()
        try:
            await scenario(server.port)
        finally:
            await server.shutdown(0)

    asyncio.run(main())


def test_a_new_certificate_is_in_force_for_the_next_connection(files, director, caplog):
    caplog.set_level("INFO", "flowgate_epp")

    async def scenario(port):
        old = files.authority
        assert await is_trusted(port, old)
        credentials = grpc.ssl_channel_credentials(old.cert_pem.bytes())
        options = [("grpc.ssl_target_name_override", "localhost")]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
            await asyncio.wait_for(channel.channel_ready(), 5)
            files.replace()
            assert await is_trusted(port, files.authority)
            assert not await is_trusted(port, old)
            assert channel.get_state() is grpc.ChannelConnectivity.READY

    served(files, director, scenario)
    assert caplog.text.count("has been read anew") == 1


@pytest.mark.parametrize("harm", ["nonsense", "another key", "gone"])
def test_a_broken_certificate_leaves_the_old_one_in_force(files, director, harm, caplog):
    async def scenario(port):
        old = files.authority
        if harm == "nonsense":
            files.certificate.write_text("nonsense")
        elif harm == "another key":
            trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(files.key)
        else:
            files.certificate.unlink()
        assert await is_trusted(port, old)
        assert await is_trusted(port, old)
        assert caplog.text.count("stays in force") == 1
        files.replace()
        assert await is_trusted(port, files.authority)

    served(files, director, scenario)


def test_files_replaced_while_they_are_read_are_left_for_the_next_connection(files, director, monkeypatch):
    async def scenario(port):
        old = files.authority
        certificates = Certificates(files.settings().tls)
        files.replace()
        read_bytes, written = Path.read_bytes, []

        def read_then_touched(path):
            if not written:
                written.append(path)
                files.touch()
            return read_bytes(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", read_then_touched)
            assert await is_trusted(port, old)
            assert await is_trusted(port, files.authority)
            written.clear()
            assert certificates.changed() is None
            assert certificates.changed() is not None

    served(files, director, scenario)


def test_what_has_not_changed_is_not_read_again(files):
    certificates = Certificates(files.settings().tls)
    assert certificates.changed() is None
    files.replace()
    assert certificates.changed() is not None
    assert certificates.changed() is None
    files.certificate.write_text("nonsense")
    assert certificates.changed() is None
    assert certificates.changed() is None
    files.replace()
    assert certificates.changed() is not None


def test_clients_without_a_certificate_are_turned_away_where_one_is_wanted(files, director):
    async def scenario(port):
        assert not await is_trusted(port, files.authority)
        assert not await is_trusted(port, files.authority, trustme.CA().issue_cert("envoy"))
        assert await is_trusted(port, files.authority, files.ca_of_clients.issue_cert("envoy"))

    served(files, director, scenario, client_ca=str(files.ca))


@pytest.mark.parametrize("harm", ["nonsense", "gone", "passphrase"])
def test_files_that_cannot_be_used_at_the_start_are_a_clear_error(files, director, harm):
    if harm == "nonsense":
        files.key.write_text("nonsense")
    elif harm == "gone":
        files.key.unlink()
    else:
        from cryptography.hazmat.primitives import serialization as pem  # noqa: PLC0415 - only where it is needed

        key = pem.load_pem_private_key(files.key.read_bytes(), None)
        locked = pem.BestAvailableEncryption(b"secret")
        files.key.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked))

    async def scenario():
        server = ExtProcServer(director(), files.settings())
        with pytest.raises(ValueError, match=r"tls\.key cannot be "):
            await server.start()

    asyncio.run(scenario())


def test_envoy_speaks_tls_with_it(files, gateway, wiring):
    issued = files.ca_of_clients.issue_cert("envoy")
    client = {
        "certificate_chain": {"inline_string": b"".join(b.bytes() for b in issued.cert_chain_pems).decode()},
        "private_key": {"inline_string": issued.private_key_pem.bytes().decode()},
    }
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [client],
            "validation_context": {"trusted_ca": {"inline_string": files.authority.cert_pem.bytes().decode()}},
        },
    }
    tls = {"name": "envoy.transport_sockets.tls", "typed_config": context}

    async def scenario():
        settings = {"tls": files.settings(client_ca=str(files.ca)).tls}
        async with gateway(wiring(tls=tls), settings=settings) as envoy, envoy.client.get("/hello") as response:
            assert response.status == 200

    asyncio.run(scenario())
