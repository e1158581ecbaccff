"""Who may do what: keys with scopes, tenants that are strangers, tokens for one job, links for its files."""

import asyncio
from uuid import uuid4

import httpx
import pytest
import websockets

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.gates import Gates
from safelight.jobs.queue import JobQueue
from safelight.keys.keys import ApiKeys
from support.images import jpeg
from support.watching import Json, everything


async def make_key(service, tenant: str, scopes=("read", "write")) -> str:
    async with open_pool(Settings(database_url=service.database)) as pool:
        return await ApiKeys(pool).create(tenant, "test", scopes)


def client(service, credential: str | None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30)


async def submit(http: httpx.AsyncClient) -> Json:
    answer = await http.post("/api/jobs?pipeline=noop&reuse=false", content=jpeg(64, 48))
    assert answer.status_code == 202, answer.text
    return answer.json()


async def until_ended(http: httpx.AsyncClient, job: str) -> Json:
    async with asyncio.timeout(60):
        while (found := (await http.get(f"/api/jobs/{job}")).json())["finished_at"] is None:
            await asyncio.sleep(0.05)
        return found


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("credential", [None, "nonsense", "sl_000000000000_forged", "sl_", "A" * 60])
async def test_without_a_valid_key_nothing_opens(guarded, credential):
    async with client(guarded, credential) as http:
        for call in (http.get("/api/jobs"), http.post("/api/jobs?pipeline=noop", content=b"x")):
            answer = await call
            assert code(answer) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_opens_its_own_tenant_and_no_other(guarded):
    async with (
        client(guarded, await make_key(guarded, "a")) as mine,
        client(guarded, await make_key(guarded, "b")) as theirs,
    ):
        job = await submit(mine)
        assert (await mine.get(f"/api/jobs/{job['id']}")).status_code == 200

        for path in ("", "/events", "/outputs/x", "/inputs/image.jpg"):
            assert code(await theirs.get(f"/api/jobs/{job['id']}{path}")) == (404, "job_not_found")
        assert code(await theirs.post(f"/api/jobs/{job['id']}/cancel")) == (404, "job_not_found")
        assert (await theirs.get("/api/jobs")).json()["jobs"] == []


async def test_two_tenants_may_use_the_same_id_and_the_same_idempotency_key(guarded):
    job_id = "0b3f6f5e-1111-4222-8333-444455556666"
    for tenant, size in (("a", 40), ("b", 50)):
        async with client(guarded, await make_key(guarded, tenant)) as http:
            answer = await http.put(
                f"/api/jobs/{job_id}?pipeline=noop",
                content=jpeg(size, size),
                headers={"idempotency-key": "k"},
            )
            assert answer.status_code == 202
            assert answer.json()["inputs"][0]["width"] == size


async def test_a_key_that_may_only_read_cannot_write(guarded):
    async with client(guarded, await make_key(guarded, "a", ("read",))) as http:
        assert (await http.get("/api/jobs")).status_code == 200
        assert code(await http.post("/api/jobs?pipeline=noop", content=jpeg(9, 9))) == (403, "forbidden")


async def test_a_key_that_may_only_write_gets_nothing_that_reads(guarded):
    async with (
        client(guarded, await make_key(guarded, "a", ("write",))) as writer,
        client(guarded, await make_key(guarded, "a")) as reader,
        client(guarded, None) as nobody,
    ):
        job_id = str(uuid4())
        job = (await writer.put(f"/api/jobs/{job_id}?pipeline=echo", content=jpeg(64, 48))).json()
        assert job["token"] is None
        assert code(await writer.get(f"/api/jobs/{job_id}")) == (403, "forbidden")
        assert code(await nobody.get(job["inputs"][0]["href"])) == (401, "unauthorized")

        await until_ended(reader, job_id)
        again = await writer.put(f"/api/jobs/{job_id}?pipeline=echo", content=jpeg(64, 48))
        assert (again.status_code, again.json()["state"]) == (200, "succeeded")
        assert (again.json()["outputs"], again.json()["result"], again.json()["token"]) == ([], None, None)


async def test_a_key_that_may_only_write_cancels_and_retries_and_is_shown_no_files(guarded):
    async with (
        client(guarded, await make_key(guarded, "a", ("write",))) as writer,
        client(guarded, None) as nobody,
    ):
        params = {"pipeline": "slow", "params": '{"seconds": 60}'}
        job = (await writer.post("/api/jobs", params=params, content=jpeg(64, 48))).json()
        for verb, status in (("cancel", 200), ("retry", 202), ("cancel", 200)):
            async with asyncio.timeout(30):
                while (answer := await writer.post(f"/api/jobs/{job['id']}/{verb}")).status_code != status:
                    await asyncio.sleep(0.05)
            assert code(await nobody.get(answer.json()["inputs"][0]["href"])) == (401, "unauthorized")


async def test_a_job_token_opens_its_job_and_nothing_else(guarded):
    async with client(guarded, await make_key(guarded, "a")) as http:
        job, other = await submit(http), await submit(http)

    async with client(guarded, job["token"]) as browser:
        assert (await browser.get(f"/api/jobs/{job['id']}")).status_code == 200
        assert code(await browser.get(f"/api/jobs/{other['id']}")) == (404, "job_not_found")
        assert code(await browser.get("/api/jobs")) == (403, "forbidden")
        assert code(await browser.post("/api/jobs?pipeline=noop", content=b"x")) == (403, "forbidden")


async def test_a_link_to_a_file_works_on_its_own_and_only_for_files(guarded):
    async with client(guarded, await make_key(guarded, "a")) as http:
        job = await submit(http)
    href = job["inputs"][0]["href"]
    signature = href.partition("?signature=")[2]

    async with client(guarded, None) as nobody:
        assert (await nobody.get(href)).status_code == 200
        assert code(await nobody.get(href.replace(signature[10], "A" if signature[10] != "A" else "B"))) == (
            401,
            "unauthorized",
        )
    async with client(guarded, signature) as forger:
        assert code(await forger.get(f"/api/jobs/{job['id']}")) == (401, "unauthorized")


async def test_a_browser_socket_opens_with_its_token_as_a_subprotocol(guarded):
    async with client(guarded, await make_key(guarded, "a")) as http:
        job = await submit(http)
    address = f"ws{guarded.url.removeprefix('http')}/api/jobs/{job['id']}/live"

    async with websockets.connect(address, subprotocols=["safelight.v1", f"token.{job['token']}"]) as socket:
        assert socket.subprotocol == "safelight.v1"
        assert '"connected"' in await socket.recv()
    async with websockets.connect(address, subprotocols=["safelight.v1", "token.forged"]) as socket:
        assert "unauthorized" in (await everything(socket))[-1]
        assert socket.close_code == 4500


async def test_a_key_is_kept_as_a_hash_and_ends_when_it_is_revoked(guarded):
    async with open_pool(Settings(database_url=guarded.database)) as pool:
        keys = ApiKeys(pool)
        key = await keys.create("c", "test")
        kept = await pool.fetch("select * from api_key where id = $1", key.split("_")[1])
        assert key not in str(dict(kept[0]))
        assert (await keys.find(key)) is not None
        assert await keys.find(key + "x") is None

        assert await keys.revoke(key.split("_")[1])

        assert await keys.find(key) is None


async def test_a_key_with_a_past_end_opens_nothing(guarded):
    async with open_pool(Settings(database_url=guarded.database)) as pool:
        key = await ApiKeys(pool).create("c", "test", days=-1)
        assert await ApiKeys(pool).find(key) is None


async def test_revoked_or_not_two_keys_are_never_mixed_up(guarded):
    async with open_pool(Settings(database_url=guarded.database)) as pool:
        keys = ApiKeys(pool)
        one, two = await keys.create("a", "1"), await keys.create("b", "2")
        mixed = "_".join([*one.split("_")[:2], two.split("_", 2)[2]])

        assert await keys.find(mixed) is None


async def test_a_tenant_that_asks_for_more_priority_than_it_may_gets_what_it_may(guarded):
    key = await make_key(guarded, "modest")
    async with open_pool(Settings(database_url=guarded.database)) as pool:
        await Gates(pool, JobQueue(pool)).limit_tenant("modest", max_priority=1)

    async with client(guarded, key) as http:
        answer = await http.post(
            "/api/jobs", params={"pipeline": "noop", "priority": 3}, content=jpeg(64, 48)
        )

    assert answer.json()["priority"] == 1
