"""What the documentation shows is what the code does."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from runpy import run_path

import anyio
import httpx
import pytest

from flowgate import Pod, QueueOutcome
from flowgate.admission import STANDARD
from flowgate.locators import StaticPodLocator

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if "_build" not in path.parts)
QUICKSTART = ROOT / "examples" / "quickstart" / "quickstart.py"


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path, language: str) -> Sequence[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def printed_by(script: Path) -> str:
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S603 - our own scripts


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    assert fences(ROOT / "README.md", "python") == [QUICKSTART.read_text("utf-8")]


@pytest.mark.parametrize(
    ("page", "script"),
    [
        ("README.md", "examples/quickstart/quickstart.py"),
        ("docs/tutorials/first-request.md", "examples/quickstart/quickstart.py"),
        ("docs/how-to/locator.md", "docs/how-to/locator.py"),
        ("docs/how-to/policy.md", "docs/how-to/policy.py"),
    ],
)
def test_a_page_shows_what_its_program_prints(page: str, script: str) -> None:
    assert fences(ROOT / page, "text") == [printed_by(ROOT / script)]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_documentation_includes_its_code(page: Path) -> None:
    if page.name != "README.md":
        assert not fences(page, "python")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = page.read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"\{(?:literalinclude|image)\} (\S+)", text)
    for link in links:
        if not re.match(r"[a-z]+:", link):
            assert (page.parent / link.split("#")[0]).is_file(), link


def test_the_table_of_outcomes_is_the_code_s() -> None:
    text = (ROOT / "docs/reference/outcomes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.+\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    documented = {QueueOutcome[name]: (int(status), reason.strip() or None) for name, status, reason in rows}
    assert len(rows) == len(documented)
    assert documented == dict(STANDARD)


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = run_path(str(ROOT / "docs/design.py"))["svg"]()
    assert (ROOT / "docs/design.svg").read_text("utf-8") == drawn


class Upstream:
    """Pods that answer with what they were asked, and hold each answer until they are told."""

    def __init__(self) -> None:
        self.may_answer = anyio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await self.may_answer.wait()
        if request.url.path == "/broken":
            raise httpx.ConnectError("nobody there")
        return httpx.Response(200, text=f"{request.url.host} {request.url.path} {request.content.decode()}")


@pytest.mark.anyio
async def test_the_gateway_of_the_how_to_holds_answers_and_refuses() -> None:
    locator, upstream = StaticPodLocator(), Upstream()
    replies: dict[str, httpx.Response] = {}
    async with httpx.AsyncClient(transport=httpx.MockTransport(upstream)) as pods:
        app = run_path(str(ROOT / "docs/how-to/asgi_gateway.py"))["make_app"](locator, pods, 1)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

            async def post(path: str, kind: str) -> None:
                replies[path] = await client.post(path, content=b"hello", headers={"x-class": kind})

            async with app.router.lifespan_context(app), anyio.create_task_group() as tasks:
                await post("/nobody", "standard")
                assert replies["/nobody"].status_code == 503
                assert replies["/nobody"].headers["x-flowgate-dropped-reason"] == "no-pods"
                tasks.start_soon(post, "/late", "batch")
                tasks.start_soon(post, "/broken", "standard")
                tasks.start_soon(post, "/urgent", "interactive")
                await anyio.wait_all_tasks_blocked()
                locator.set_pods([Pod("a", "10.0.0.1", 8000)])
                upstream.may_answer.set()
            assert list(replies) == ["/nobody", "/urgent", "/broken", "/late"]
            assert replies["/urgent"].text == "10.0.0.1 /urgent hello"
            assert replies["/broken"].status_code == 502
            assert replies["/late"].status_code == 200
            await post("/closed", "standard")
            assert replies["/closed"].status_code == 503
            assert replies["/closed"].headers["x-flowgate-dropped-reason"] == "shutting-down"
