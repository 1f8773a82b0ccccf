"""How Sphinx builds the documentation: `make docs`."""

import re
from importlib.metadata import version as version_of

from sphinx.application import Sphinx

project = "flowgate"
author = "The flowgate authors"
copyright = "The flowgate authors"
version = release = version_of("flowgate-admission")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "explanation/performance-figures.md"]  # the second is included in a page
html_theme = "furo"
html_title = "flowgate"
myst_heading_anchors = 3

# Docstrings say `Name`: a link where the name is documented, code where it is not.
default_role = "py:obj"
autodoc_default_options = {"members": True, "special-members": "__len__,__iter__"}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_preprocess_types = False

nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r".*"),  # see default_role
    # Documented elsewhere; an inventory to link to would need the network at build time.
    ("py:class", r"flowgate\.controller\.Admitted"),  # its users need no more than `admitted`
    ("py:(class|data|func|exc|attr)", r"(collections|enum|os|pathlib|types|unittest|typing|attr|attrs|anyio)\..*"),
    ("py:class", r"(_pytest|asyncio|contextlib)\..*"),
    ("py:class", r"(flowgate\.testing\._\w+\.)?(Arguments|Kind|Result)"),  # type variables
    ("py:class", r"flowgate\.configfile\._records\._Record"),  # another
    ("py:class", r"flowgate\.testing\._\w+\.(Check|SettableClock)"),  # the suites' own business
    ("py:class", r"flowgate\.pods\.PodState"),  # the engine's own
    ("py:class", r"flowgate\.saturation\._limits\.(Bounds|PodLimit)"),  # the adaptive detector's
]


def keep_colons(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Stop Napoleon from taking the words before a colon for a type: here types stand in signatures alone."""
    if what in {"attribute", "data", "property"}:
        lines.insert(0, "\\ ")
    for number in reversed(range(len(lines))):
        if lines[number].strip() == "Returns:":
            lines.insert(number + 1, lines[number].replace("Returns:", "    \\ "))


def shorten(
    _app: Sphinx, _what: str, name: str, _obj: object, _options: object, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Show defaults by name where their value is long, and no constructor that is the engine's own business."""
    if name == "flowgate.Ticket":
        return "", None
    short = signature and re.sub(r"mappingproxy\(\{<.*\}\)", "STANDARD", signature)
    return short and short.replace("= NOTHING", "= ..."), result


def setup(app: Sphinx) -> None:
    """Connect the two."""
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-signature", shorten)
