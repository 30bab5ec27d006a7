"""A replica on a node with other versions than its service was started with."""

import re
import socket

import pytest

from actors.errors import ModelError
from actors.serving.version_check import check_versions, service_versions
from actors.version import release


def test_the_same_versions_are_taken() -> None:
    check_versions(service_versions(sends_code=True))
    assert service_versions(sends_code=False)["spanmill"] == release()
    assert "spanmill" not in service_versions(sends_code=True)


def test_another_one_is_refused_by_name_with_the_mend() -> None:
    wanted = service_versions(sends_code=True)
    here = re.escape(socket.gethostname())
    said = (
        rf"node {here} is refused.* it has transformers {re.escape(wanted['transformers'])} in place of 4\.0\.0\. .*pip"
    )
    with pytest.raises(ModelError, match=said):
        check_versions(wanted | {"transformers": "4.0.0"})
