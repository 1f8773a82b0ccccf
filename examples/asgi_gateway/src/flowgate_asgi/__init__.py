"""flowgate as ASGI middleware: each HTTP request waits until a pod has room for it."""

from flowgate_asgi._middleware import FlowControlMiddleware
from flowgate_asgi._routes import Route

__all__ = ["FlowControlMiddleware", "Route"]
