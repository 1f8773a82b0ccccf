"""The program and its file, from the command line; and how else it may be told to work."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from examples.stage import wait_until

pytestmark = pytest.mark.anyio


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flowgate_epp", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_a_bad_file_ends_the_program_with_every_mistake_named(tmp_path: Path) -> None:
    """All at once, each by its place and with its rule, and without a traceback."""
    path = tmp_path / "epp.toml"
    path.write_text(
        """
        admision = "legacy"
        [pods]
        name = "file-pods"
        path = "pods.json"
        poll_interval = -1
        [server]
        port = 70000
        [flow_control]
        default_ttl = "soon"
        detector = "no-such"
        [director]
        empty_subset = "some"
        """,
        "utf-8",
    )
    for options in ([], ["--check"]):
        code, output, errors = await run("--config", str(path), *options)
        assert (code, output) == (1, "")
        for word in ("admision", "pods.poll_interval", "server.port", "default_ttl", "no-such", "empty_subset"):
            assert word in errors
        assert "Traceback" not in errors


async def test_a_file_that_is_not_there_is_named() -> None:
    """One line says which."""
    code, _, errors = await run("--config", "/nowhere/epp.toml")
    assert code == 1
    assert "/nowhere/epp.toml" in errors
    assert "Traceback" not in errors


async def test_check_says_what_a_good_file_means(tmp_path: Path) -> None:
    """Every setting, the defaults included; nothing is started."""
    path = tmp_path / "epp.toml"
    path.write_text('[pods]\nname = "file-pods"\npath = "pods.json"\n', "utf-8")
    code, output, errors = await run("--check", "--config", str(path))
    assert (code, errors) == (0, "")
    for word in ("is fine", "pods.json", "drain_timeout", "max_label_values", "Flow control"):
        assert word in output


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """It ends with 1 and one clear line, not with a traceback."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = tmp_path / "epp.json.yaml"
    tables = {
        "pods": {"name": "file-pods", "path": str(tmp_path / "pods.json")},
        "server": {"host": "127.0.0.1", "port": port},
        "admin": {"host": "127.0.0.1", "port": 0},
    }
    path.write_text(json.dumps(tables), "utf-8")
    try:
        code, _, errors = await run("--config", str(path))
    finally:
        server.close()
        await server.wait_closed()
    assert code == 1
    assert f"127.0.0.1:{port} cannot be listened at" in errors
    assert "Traceback" not in errors


async def test_legacy_admission_sheds_the_negative_and_holds_nobody(open_gateway, slots) -> None:
    """As upstream without flow control: only what is negative and finds no pod open is refused, with 429."""
    config = {**slots(1), "admission": "legacy", "objectives": {"priorities": {"batch": -1}}}
    async with open_gateway(config) as gateway:
        assert (await gateway.ask(x_gateway_inference_objective="batch")).status == 429
        empty = await gateway.ask()
        assert empty.status == 503
        assert empty.headers["x-flowgate-dropped-reason"] == "no-pods"
        await gateway.announce(await gateway.start_pod(slots=1, ttft=0.7))
        served = gateway.call()
        await asyncio.sleep(0)
        await until_busy(gateway)
        shed = await gateway.ask(x_gateway_inference_objective="batch")
        assert shed.status == 429
        assert shed.headers["x-flowgate-dropped-reason"] == "shed"
        crowd = [gateway.call() for _ in range(3)]  # full or not, they pass
        assert {(await call.answer()).status for call in (served, *crowd)} == {200}
        assert (await gateway.ask(x_gateway_inference_objective="batch")).status == 200
        readings = await gateway.metrics()
        assert readings.by("status", "flowgate_drops_total") == {"429": 2, "503": 1}


async def until_busy(gateway) -> None:
    await gateway.until(lambda state: any(decision["status"] == 200 for decision in state["decisions"]), "one went")


def write_certificates(folder: Path, *, is_trusted: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the Endpoint Picker and Envoy are told."""
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("epp.test")
    certificate.cert_chain_pems[0].write_to_path(folder / "epp.pem")
    certificate.private_key_pem.write_to_path(folder / "epp.key")
    (authority if is_trusted else other).cert_pem.write_to_path(folder / "ca.pem")
    tls = {"certificate": str(folder / "epp.pem"), "key": str(folder / "epp.key")}
    return {"server": {"tls": tls}}, {"epp_tls_ca": str(folder / "ca.pem"), "epp_server_name": "epp.test"}


async def test_tls_protects_the_way_from_envoy_to_the_epp(open_gateway, slots, tmp_path: Path) -> None:
    """With a certificate that Envoy can verify all is as without: Envoy finds the program, and requests are held."""
    served, trusts = write_certificates(tmp_path, is_trusted=True)
    async with open_gateway({**slots(8), **served}, **trusts) as gateway:
        held = gateway.call()
        await gateway.holds(1)
        await gateway.announce(await gateway.start_pod())
        assert (await held.answer()).status == 200


async def test_without_a_certificate_that_envoy_can_verify_nothing_passes(open_gateway, slots, tmp_path: Path) -> None:
    """Somebody else's authority has signed it: Envoy does not take that for the Endpoint Picker."""
    served, trusts = write_certificates(tmp_path, is_trusted=False)
    async with open_gateway({**slots(8), **served}, finds_epp=False, **trusts) as gateway:
        await gateway.announce(await gateway.start_pod())

        async def has_refused() -> bool:
            return await gateway.envoy_counts("cluster.epp.ssl.fail_verify_error") > 0

        await wait_until(has_refused, 10, "Envoy has refused the certificate")
        call = gateway.call()
        assert (await call.answer()).status == 503
        assert call.seconds < 5.0
