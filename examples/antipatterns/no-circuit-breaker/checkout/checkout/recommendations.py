"""The client of the recommendations service."""

import os

import httpx


class Recommendations:
    def __init__(self):
        self._client = httpx.AsyncClient(base_url=os.environ["RECOMMENDATIONS_URL"], timeout=2.0)

    async def beside(self, skus):
        """Products that go well with `skus`."""
        response = await self._client.get("/recommendations", params={"with": ",".join(skus)})
        response.raise_for_status()
        return response.json()["skus"]
