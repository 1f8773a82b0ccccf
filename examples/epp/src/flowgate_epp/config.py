"""The program's file: what each part of the Endpoint Picker may be told, in one table each."""

from typing import Any, Final, Literal

import attrs

from flowgate.configfile import ConfigSource, PluginKind, Settings, load_record, load_settings
from flowgate.contracts import SaturationDetector
from flowgate.saturation import UtilizationDetector
from flowgate.validators import one_of
from flowgate_epp.admin import AdminSettings
from flowgate_epp.director import DirectorSettings, StaticObjectives
from flowgate_epp.extproc import ServerSettings
from flowgate_epp.kubernetes import ClusterSettings, KubernetesPods
from flowgate_epp.leadership import LeaseSettings
from flowgate_epp.pods import DnsPods, FilePods, StaticPods
from flowgate_epp.scheduling import Filter, Picker, SchedulerSettings, Scorer
from flowgate_epp.scraping import ScraperSettings
from flowgate_epp.telemetry import TelemetrySettings
from flowgate_epp.waking import ActivatorSettings, KedaSettings, WorkUnit

__all__ = ["EppSettings", "WakingSettings", "load"]

_PLUGINS: Final = (
    PluginKind("filter", "flowgate_epp.filters", (Filter,)),
    PluginKind("scorer", "flowgate_epp.scorers", (Scorer,)),
    PluginKind("picker", "flowgate_epp.pickers", (Picker,)),
)


def _check_flow_control(_settings: object, field: "attrs.Attribute[Any]", value: Settings) -> None:
    if value.locator is not None:
        raise ValueError(f"{field.name} must name no locator, for the table pods says where pods come from")


@attrs.frozen
class WakingSettings:
    """Who is told of demand, so that a pool at zero is scaled up, and down again.

    Args:
        work: What the work of requests is counted in: ``"bytes"``, or ``"tokens"`` as estimated by ``token-counter``.
        keda: A server for KEDA's external scaler; None for none.
        activator: What this program scales from 0 to 1 and back by itself; None for nothing.

    Raises:
        ValueError: A value breaks its rule.
    """

    work: WorkUnit = attrs.field(default="bytes", validator=one_of("bytes", "tokens"))
    keda: KedaSettings | None = None
    activator: ActivatorSettings | None = None

    @property
    def is_asked_for(self) -> bool:
        """Whether anybody is told."""
        return self.keda is not None or self.activator is not None


@attrs.frozen
class EppSettings:
    """All that the program is told.

    Args:
        pods: Where pods come from.
        flow_control: Bands, limits, budgets, policies and the detector; with no detector named, `UtilizationDetector`
            by what the scraper reads, so one must be named where nothing is scraped.
        admission: ``"flow-control"`` holds requests until a pod has room; ``"legacy"`` holds none, and sheds requests
            of negative priority while no pod is open.
        director: From Envoy's headers and body to a request: whose it is, how urgent, how long it may wait.
        objectives: The priority of each objective that a request may name; those of a cluster come after these.
        scheduler: Which of the candidates a request goes to.
        scraper: How pods' metrics are read; None reads none.
        server: Where Envoy finds the program.
        admin: Where people, probes and Prometheus find it.
        telemetry: Metrics, log and traces.
        kubernetes: How the cluster's API server is reached, where any other table asks for it.
        leadership: The Lease by which one of several Endpoint Pickers leads; None where there is only one.
        waking: Who is told of demand, so that a pool at zero is scaled up.

    Raises:
        ValueError: The parts do not fit together.
    """

    pods: StaticPods | FilePods | DnsPods | KubernetesPods
    flow_control: Settings = attrs.field(factory=lambda: load_settings({}), validator=_check_flow_control)
    admission: Literal["flow-control", "legacy"] = attrs.field(
        default="flow-control", validator=one_of("flow-control", "legacy")
    )
    director: DirectorSettings = attrs.field(factory=DirectorSettings)
    objectives: StaticObjectives = attrs.field(factory=StaticObjectives)
    scheduler: SchedulerSettings = attrs.field(factory=SchedulerSettings)
    scraper: ScraperSettings | None = attrs.field(factory=ScraperSettings)
    server: ServerSettings = attrs.field(factory=ServerSettings)
    admin: AdminSettings = attrs.field(factory=AdminSettings)
    telemetry: TelemetrySettings = attrs.field(factory=TelemetrySettings)
    kubernetes: ClusterSettings = attrs.field(factory=ClusterSettings)
    leadership: LeaseSettings | None = None
    waking: WakingSettings = attrs.field(factory=WakingSettings)

    @property
    def detector(self) -> SaturationDetector:
        """The detector: the one that is named, else the one that goes by what the scraper reads."""
        return self.flow_control.detector or UtilizationDetector()

    def __attrs_post_init__(self) -> None:
        if self.admission == "legacy" and self.waking.is_asked_for:
            raise ValueError('waking must name nobody where admission is "legacy", which holds nothing to wake for')
        if self.admin.port == self.server.port != 0:
            raise ValueError(f"admin must have another port than server, not {self.admin.port}, too")
        if self.waking.keda is not None and self.waking.keda.port in {self.server.port, self.admin.port} - {0}:
            raise ValueError(
                f"waking.keda must have another port than server and admin, not {self.waking.keda.port}, too"
            )
        if self.scraper is None and self.flow_control.detector is None:
            raise ValueError('flow_control must name a detector where scraper is "none", such as "concurrency"')


def load(source: ConfigSource) -> EppSettings:
    """Read the program's file.

    Args:
        source: The path of a ``.toml``, ``.yaml`` or ``.yml`` file, or what such a file would hold.

    Raises:
        ConfigError: It cannot be read, or anything in it is wrong; all mistakes are told at once.
    """
    return load_record(EppSettings, source, plugins=_PLUGINS)
