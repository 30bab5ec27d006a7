"""Whom pods may speak with, by the network policies of the manifests."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.infra.manifests import OVERLAYS, of_kind, rendered


@pytest.mark.parametrize("folder", [f"overlays/{one}/{what}" for one in OVERLAYS for what in ("service", "job")])
def test_pods_reach_stores_and_a_dns_cache_of_the_machine_but_not_its_metadata(folder: str) -> None:
    rules = of_kind(rendered(folder), "NetworkPolicy")["spec"]["egress"]
    assert _lets_out(rules, "192.0.2.1", 443)
    assert _lets_out(rules, "169.254.20.10", 53)
    assert not _lets_out(rules, "169.254.169.254", 80)


def _lets_out(rules: list[dict[str, Any]], address: str, port: int) -> bool:
    """Whether a policy lets pods reach an address outside of the cluster."""

    def has(block: dict[str, Any]) -> bool:
        within = [ip_address(address) in ip_network(one) for one in (block["cidr"], *block.get("except", ()))]
        return within[0] and not any(within[1:])

    return any(
        has(peer["ipBlock"])
        for rule in rules
        if port in [one["port"] for one in rule.get("ports", [{"port": port}])]
        for peer in rule["to"]
        if "ipBlock" in peer
    )
