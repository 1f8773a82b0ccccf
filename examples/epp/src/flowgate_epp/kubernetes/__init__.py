"""The cluster: a small client of its API server, and what follows its objects."""

from flowgate_epp.kubernetes._client import ApiClient
from flowgate_epp.kubernetes._errors import ApiError, CredentialsError
from flowgate_epp.kubernetes._ledger import Object
from flowgate_epp.kubernetes._objectives import KubernetesObjectives, PoolObjectives
from flowgate_epp.kubernetes._pool import check_name, check_namespace
from flowgate_epp.kubernetes._reflector import Reflector
from flowgate_epp.kubernetes._settings import ClusterSettings
from flowgate_epp.kubernetes._source import KubernetesPods
from flowgate_epp.kubernetes._telling import Follower

__all__ = [
    "ApiClient",
    "ApiError",
    "ClusterSettings",
    "CredentialsError",
    "Follower",
    "KubernetesObjectives",
    "KubernetesPods",
    "Object",
    "PoolObjectives",
    "Reflector",
    "check_name",
    "check_namespace",
]
