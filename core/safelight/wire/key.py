"""How a job is named: always together with its tenant, so that no read can forget whose it is."""

from typing import NamedTuple, Self
from uuid import UUID


class JobKey(NamedTuple):
    """A tenant's number and a job's id. As text: `1/0193b2c4-...`."""

    tenant: int
    id: UUID

    def __str__(self) -> str:
        return f"{self.tenant}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` wrote."""
        tenant, _, job = text.partition("/")
        return cls(int(tenant), UUID(job))
