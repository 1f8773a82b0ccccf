"""Configuration files: TOML or YAML, with plug-ins by name."""

from flowgate.configfile._plugins import PluginKind
from flowgate.configfile._problems import ConfigError, Problem
from flowgate.configfile._records import load_record
from flowgate.configfile._report import explain, explain_error
from flowgate.configfile._settings import ConfigSource, Settings, load_config, load_settings

__all__ = [
    "ConfigError",
    "ConfigSource",
    "PluginKind",
    "Problem",
    "Settings",
    "explain",
    "explain_error",
    "load_config",
    "load_record",
    "load_settings",
]
