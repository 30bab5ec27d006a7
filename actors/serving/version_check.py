"""Whether a node has the versions that a service was started with: replicas of one service must answer alike."""

import socket
from collections.abc import Mapping

from actors.errors import ModelError
from actors.version import RESULT_PACKAGES, version_differences, versions_of


def service_versions(sends_code: bool) -> dict[str, str]:
    """What every replica must have, as it is in this process.

    Args:
        sends_code: whether nodes are sent the code of Spanmill, and need not have its release.
    """
    return versions_of(RESULT_PACKAGES if sends_code else ("spanmill", *RESULT_PACKAGES))


def check_versions(wanted: Mapping[str, str]) -> None:
    """Returns where this node has these versions.

    Raises:
        ModelError: it has others; the message names node, packages, versions and the mend.
    """
    differences = version_differences(wanted, versions_of(wanted))
    if differences:
        listed, mends = ", ".join(map(str, differences)), " ".join(one.mend for one in differences)
        raise ModelError(
            f"node {socket.gethostname()} is refused, since the service was started with other versions: it has "
            f"{listed}. Use the same image on all nodes, or there: {mends}; then start the node again"
        )
