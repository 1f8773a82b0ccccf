"""The pool of pods, and where pods come from without Kubernetes: a list, a file, DNS."""

from flowgate_epp.pods._dns import DnsPods
from flowgate_epp.pods._entries import PodEntry
from flowgate_epp.pods._file import FilePods
from flowgate_epp.pods._outage import Backoff, Outage, jittered
from flowgate_epp.pods._static import StaticPods
from flowgate_epp.pods._store import PodStore

__all__ = ["Backoff", "DnsPods", "FilePods", "Outage", "PodEntry", "PodStore", "StaticPods", "jittered"]
