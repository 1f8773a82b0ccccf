"""A model server without a model: what a gateway sees of vLLM, and the faults that it should survive."""

from fake_vllm._faults import Fault
from fake_vllm._server import FakeVllm
from fake_vllm._settings import FakeVllmSettings

__all__ = ["FakeVllm", "FakeVllmSettings", "Fault"]
