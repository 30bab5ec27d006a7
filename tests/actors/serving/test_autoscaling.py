"""Replicas by online load, with the context that Ray Serve's autoscaler gives to policies."""

from typing import Any

import pytest
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from actors.serving.autoscaling import OFFLINE, ONLINE, OnlineLoad
from actors.serving.deployments import MODEL, bind
from actors.serving.parameters import ServiceParameters


def _context(recorded: dict[str, dict[Any, float]], replicas: int = 2) -> AutoscalingContext:
    return AutoscalingContext(
        deployment_id=None,  # type: ignore[arg-type]
        deployment_name=MODEL,
        app_name="spanmill",
        current_num_replicas=replicas,
        target_num_replicas=replicas,
        running_replicas=[],
        total_num_requests=0.0,
        total_queued_requests=0.0,
        aggregated_metrics=recorded,
        raw_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=6,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=0.0,
        config=None,
    )


@pytest.mark.parametrize(
    ("online", "wanted"), [({}, 1), ({"a": 0.0}, 1), ({"a": 8.0}, 1), ({"a": 9.0, "b": 8.0}, 3), ({"a": 1000.0}, 6)]
)
def test_online_requests_in_hand_decide(online: dict[Any, float], wanted: int) -> None:
    assert OnlineLoad(8.0, count_offline=False)(_context({ONLINE: online})) == (wanted, {})


def test_offline_work_starts_no_replica_unless_it_is_counted() -> None:
    recorded: dict[str, dict[Any, float]] = {ONLINE: {"a": 3.0}, OFFLINE: {"a": 2.0, "b": 2.0}}
    assert OnlineLoad(8.0, count_offline=False)(_context(recorded))[0] == 1
    assert OnlineLoad(8.0, count_offline=True)(_context(recorded))[0] == 6
    assert OnlineLoad(8.0, count_offline=True)(_context({ONLINE: {"a": 3.0}, OFFLINE: {"a": 0.0}}))[0] == 1


def test_the_deployment_scales_by_it_where_it_may_grow() -> None:
    fixed = ServiceParameters()
    bounds = {"min": 1, "max": 4, "online_calls": 2, "up_seconds": 12, "down_seconds": 60}
    grown = ServiceParameters.model_validate({"replicas": bounds})
    assert _scaling_of(fixed) is None
    config = _scaling_of(grown)
    assert config is not None
    assert (config.min_replicas, config.max_replicas) == (1, 4)
    assert (config.upscale_delay_s, config.look_back_period_s, config.downscale_delay_s) == (12, 12, 60)
    assert config.policy.policy_kwargs == {"online_calls": 2.0, "count_offline": False}


def _scaling_of(service: ServiceParameters) -> AutoscalingConfig | None:
    application: Any = bind(service)
    (model,) = application._bound_deployment.init_args
    config: AutoscalingConfig | None = model._bound_deployment._deployment_config.autoscaling_config
    return config
