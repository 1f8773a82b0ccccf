"""Settings that fit together, and errors that name value and rule."""

import re

import pytest

from flowgate_epp.leadership import LeaseSettings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"duration": 10}, "renew_deadline must be less than duration, 10, not 10.0"),
        ({"retry_interval": 5.1}, "retry_interval must be at most half of renew_deadline, 10.0, not 5.1"),
        ({"duration": 0.9, "renew_deadline": 0.5, "retry_interval": 0.1}, "duration must be 1 or more, not 0.9"),
        ({"duration": float("inf")}, "duration must be finite, not inf"),
        ({"name": ""}, "name must be the name of a Kubernetes object, not ''"),
        ({"name": "a/b"}, "name must be the name of a Kubernetes object, not 'a/b'"),
        ({"name": "a..b"}, "name must be the name of a Kubernetes object, not 'a..b'"),
        ({"namespace": "a.b"}, "namespace must be the name of a Kubernetes namespace, not 'a.b'"),
        ({"identity": ""}, "identity must not be empty"),
    ],
)
def test_a_bad_setting_is_told_with_its_rule(changes, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        LeaseSettings(**changes)


def test_by_default_they_fit():
    settings = LeaseSettings()
    assert settings.duration > settings.renew_deadline > settings.retry_interval
