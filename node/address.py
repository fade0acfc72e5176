"""What the floor above needs of addresses, so that a host is counted by one rule on every port."""

from cluster.address import counted_address

__all__ = ["counted_address"]
