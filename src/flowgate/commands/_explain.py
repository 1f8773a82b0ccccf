"""``flowgate explain REQUEST_ID``: why a request waits in a running Endpoint Picker, or how it went."""

import argparse
import json
from typing import cast

from flowgate.commands._outcome import CommandError, Commands
from flowgate.commands._plain import printable
from flowgate.commands._remote import DEFAULT_URL, ask

__all__ = ["add_explain"]

_NOT_FOUND = 404
_OK = 200


def add_explain(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="say why a request waits in a running Endpoint Picker, or how it went",
        description="Ask a running Endpoint Picker why a request waits, or how it went. Exits with 1 when the picker "
        "does not know the request.",
        epilog="example: flowgate explain --url http://127.0.0.1:9090 0b3c8a",
    )
    parser.add_argument("request_id", metavar="REQUEST_ID", help="its x-request-id")
    parser.add_argument("--url", default=DEFAULT_URL, help="the picker's admin port (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print what the picker answers, as JSON")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> str:
    url = cast("str", given.url)
    status, answer = ask(url, "/explain", request_id=cast("str", given.request_id))
    if status != _OK:
        error = answer.get("error", f"it answers with status {status}")
        raise CommandError(f"{url}: {printable(str(error))}", code=1 if status == _NOT_FOUND else 2)
    if given.json:
        return json.dumps(answer, indent=2)
    try:
        texts = [cast("str", each["text"]) for each in answer["explanations"]]
        return "\n\n".join("\n".join(map(printable, text.splitlines())) for text in texts)
    except (AttributeError, KeyError, TypeError) as wrong:
        raise CommandError(f"what answers at {url!r} explains nothing: is it an Endpoint Picker?") from wrong
