"""Configuration files: TOML or YAML, with plug-ins by name."""

from flowgate.configfile._problems import ConfigError, Problem
from flowgate.configfile._settings import ConfigSource, Settings, load_config, load_settings

__all__ = ["ConfigError", "ConfigSource", "Problem", "Settings", "load_config", "load_settings"]
