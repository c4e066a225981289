"""Metrics of one server."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from position_server.metrics import Metrics


def test_two_servers_in_one_process_share_no_counter() -> None:
    one, other = Metrics.create(), Metrics.create()
    one.refused.labels("miss").inc()
    assert b'position_server_refused_total{kind="miss"} 1.0' in one.render()
    assert b'position_server_refused_total{kind="miss"}' not in other.render()


def test_what_is_rendered_is_prometheus_text() -> None:
    metrics = Metrics.create()
    metrics.section_seconds.labels("bonds").observe(0.02)
    families = {family.name for family in text_string_to_metric_families(metrics.render().decode())}
    assert {"position_server_section_seconds", "position_server_requests", "process_open_fds"} <= families
