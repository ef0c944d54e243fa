"""What is built on the clients works over the wire as it is: SDKs, transports, auth."""

from __future__ import annotations

import importlib
import json

import httpx
import pytest

from pytest_asyncapi.upstream import Reply, Upstream, faults

pytestmark = pytest.mark.slow  # to import them takes seconds

COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}


MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def events(*chunks):
    async def body():
        for chunk in chunks:
            yield f"{chunk}\n\n".encode()

    return Reply(body=body(), headers={"Content-Type": "text/event-stream"})


async def test_openai_answers_retries_and_streams():
    openai = pytest.importorskip("openai")
    with Upstream() as upstream:
        route = upstream.post("https://api.openai.com/v1/chat/completions", json_subset={"model": "m"})
        route.reply((503, {"error": {"message": "busy"}}, {"retry-after-ms": "1"}), COMPLETION)
        async with openai.AsyncOpenAI(api_key="k") as client:
            messages = [{"role": "user", "content": "hi"}]
            answer = await client.chat.completions.create(model="m", messages=messages)
            assert answer.choices[0].message.content == "hello"
            route.assert_called(2)

            part = {**COMPLETION, "object": "chat.completion.chunk"}
            texts = [json.dumps({**part, "choices": [{"index": 0, "delta": {"content": each}}]}) for each in "abc"]
            route.reply(events(*(f"data: {each}" for each in texts), "data: [DONE]"))
            stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
            assert "".join([each.choices[0].delta.content async for each in stream]) == "abc"

        async with openai.AsyncOpenAI(api_key="k", max_retries=0) as client:
            route.reply(faults.read_timeout, faults.refused)
            with pytest.raises(openai.APITimeoutError):
                await client.chat.completions.create(model="m", messages=messages)
            with pytest.raises(openai.APIConnectionError):
                await client.chat.completions.create(model="m", messages=messages)


async def test_anthropic_answers_and_streams():
    anthropic = pytest.importorskip("anthropic")
    stream = [
        {"type": "message_start", "message": {**MESSAGE, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    with Upstream() as upstream:
        route = upstream.post("https://api.anthropic.com/v1/messages").reply(MESSAGE)
        async with anthropic.AsyncAnthropic(api_key="k") as client:
            asked = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
            answer = await client.messages.create(**asked)
            assert answer.content[0].text == "hello"

            route.reply(events(*(f"event: {each['type']}\ndata: {json.dumps(each)}" for each in stream)))
            async with client.messages.stream(**asked) as streaming:
                assert [text async for text in streaming.text_stream] == ["hel", "lo"]


ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def openai_client():
    """As an app has it: made once, at import, and used in the loop of every test."""
    return pytest.importorskip("openai").AsyncOpenAI(api_key="k")


@pytest.fixture(scope="module")
def anthropic_client():
    return pytest.importorskip("anthropic").AsyncAnthropic(api_key="k")


@pytest.mark.parametrize("answers", [(429, 500), (faults.refused, faults.reset), (529, faults.read_timeout)])
async def test_openai_tries_again_and_waits_in_between(openai_client, upstream, virtual_clock, answers):
    route = upstream.post("https://api.openai.com/v1/chat/completions").reply(*answers, COMPLETION)

    answer = await openai_client.chat.completions.create(**ASKED)

    assert answer.choices[0].message.content == "hello"
    assert virtual_clock.elapsed > 0.5
    route.assert_called(3)


async def test_openai_gives_up_after_its_own_time_out(openai_client, upstream, virtual_clock):
    import openai

    route = upstream.post("https://api.openai.com/v1/chat/completions").reply(faults.hang)

    with pytest.raises(openai.APITimeoutError):
        await openai_client.with_options(timeout=30).chat.completions.create(**ASKED)

    assert virtual_clock.elapsed >= 90
    route.assert_called(3)


@pytest.mark.parametrize("answers", [(429, 500), (faults.refused, faults.reset)])
async def test_anthropic_tries_again_and_waits_in_between(anthropic_client, upstream, virtual_clock, answers):
    route = upstream.post("https://api.anthropic.com/v1/messages").reply(*answers, MESSAGE)

    answer = await anthropic_client.messages.create(max_tokens=1, **ASKED)

    assert answer.content[0].text == "hello"
    assert virtual_clock.elapsed > 0.5
    route.assert_called(3)


async def test_a_stream_that_breaks_off_is_an_error_of_the_sdk(openai_client, upstream):
    import openai

    part = {**COMPLETION, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    event = f"data: {json.dumps(part)}\n\n"
    broken = Reply(body=event.encode() * 2, headers={"Content-Type": "text/event-stream"}, fault=faults.truncate(200))
    upstream.post("https://api.openai.com/v1/chat/completions").reply(broken)
    texts = []

    async def read():
        async for each in await openai_client.chat.completions.create(stream=True, **ASKED):
            texts.append(each.choices[0].delta.content)

    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        await read()

    assert texts == ["a"]


async def test_httpx_over_aiohttp():
    if not hasattr(importlib.import_module("aiohttp"), "SocketTimeoutError"):
        pytest.skip("httpx-aiohttp needs aiohttp 3.10")
    httpx_aiohttp = pytest.importorskip("httpx_aiohttp")
    with Upstream() as upstream:
        route = upstream.get("https://x.test/").reply({"a": 1}, faults.refused)
        async with httpx_aiohttp.HttpxAiohttpClient() as client:
            assert (await client.get("https://x.test/")).json() == {"a": 1}
            with pytest.raises(httpx.TransportError):
                await client.get("https://x.test/")

    assert {call.request.client for call in route.calls} == {"aiohttp"}


async def test_authlib_fetches_and_sends_its_token():
    authlib = pytest.importorskip("authlib.integrations.httpx_client")
    with Upstream() as upstream:
        upstream.post("https://id.example.com/token", form={"grant_type": "client_credentials"}).reply(
            {"access_token": "t", "token_type": "Bearer", "expires_in": 60}
        )
        route = upstream.get("https://x.test/", headers={"Authorization": "Bearer t"}).reply({"a": 1})
        async with authlib.AsyncOAuth2Client("id", "secret", token_endpoint="https://id.example.com/token") as client:
            await client.fetch_token()
            assert (await client.get("https://x.test/")).json() == {"a": 1}

    route.assert_called_once()
