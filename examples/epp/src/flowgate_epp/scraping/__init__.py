"""What pods say of themselves: read from their metrics pages, again and again, into the pool."""

from flowgate_epp.scraping._names import PRESETS, MetricNames
from flowgate_epp.scraping._scraper import Scraper
from flowgate_epp.scraping._settings import ScraperSettings
from flowgate_epp.scraping._watch import ScrapeStatus

__all__ = ["PRESETS", "MetricNames", "ScrapeStatus", "Scraper", "ScraperSettings"]
