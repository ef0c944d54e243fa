"""Culprits that compute, in Python and in C, with and without the GIL."""

from __future__ import annotations

import ast
import asyncio
import base64
import collections
import copy
import csv
import decimal
import difflib
import hashlib
import io
import itertools
import json
import pickle
import random
import re
import xml.etree.ElementTree
import zlib

from . import Tools, culprit

_ready: dict[str, object] = {}


def sized(work, start: int = 1000):
    """Prepares a case: finds the size with which `work` takes long enough."""

    def prepare(t: Tools):
        return t.size(work, start)

    return prepare


@culprit("cpu")
async def loop_for(t: Tools):
    done = t.spun()
    total = 0
    while not done():  # BLOCKS
        for number in range(2000):  # BLOCKS
            total += number * number  # BLOCKS
    return total


def inner(number):
    return number * number + 1  # BLOCKS


@culprit("cpu", inner)
async def loop_of_calls(t: Tools):
    done = t.spun()
    total = 0
    while not done():  # BLOCKS
        for number in range(2000):  # BLOCKS
            total += inner(number)  # BLOCKS
    return total


def fibonacci(n):  # BLOCKS
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)  # BLOCKS


@culprit("cpu", fibonacci)
async def recursion(t: Tools):
    done = t.spun()
    while not done():  # BLOCKS
        fibonacci(14)  # BLOCKS


@culprit("cpu")
async def comprehension(t: Tools):
    done = t.spun()
    while not done():  # BLOCKS
        [number * 2 for number in range(3000)]  # BLOCKS


@culprit("cpu")
async def generator_expression(t: Tools):
    done = t.spun()
    while not done():  # BLOCKS
        sum(number * number for number in range(3000))  # BLOCKS


@culprit("cpu")
async def string_building(t: Tools):
    done = t.spun()
    text = ""
    while not done():  # BLOCKS
        for number in range(500):  # BLOCKS
            text += f"{number:05d},"  # BLOCKS
        text = text[-100:]  # BLOCKS


@culprit("cpu")
async def dict_building(t: Tools):
    done = t.spun()
    while not done():  # BLOCKS
        counts: dict[int, int] = {}
        for number in range(2000):  # BLOCKS
            counts[number % 97] = counts.get(number % 97, 0) + 1  # BLOCKS


@culprit("cpu")
async def method_calls(t: Tools):
    class Counter:
        value = 0

        def add(self):
            self.value += 1  # BLOCKS

    done = t.spun()
    counter = Counter()
    while not done():  # BLOCKS
        for _ in range(1000):  # BLOCKS
            counter.add()  # BLOCKS


async def child(done):
    while not done():  # BLOCKS
        sum(range(1000))  # BLOCKS


@culprit("cpu", child)
async def awaits_that_never_suspend(t: Tools):
    await child(t.spun())


@culprit("cpu")
async def many_awaits_that_never_suspend(t: Tools):
    async def quick():
        return sum(range(2000))  # BLOCKS

    done = t.spun()
    while not done():  # BLOCKS
        await quick()  # BLOCKS


@culprit("cpu")
async def spin_on_the_clock(t: Tools):
    done = t.spun()
    while not done():  # BLOCKS
        pass


def _documents(n):
    return [{"id": i, "name": f"user {i}", "tags": ["a", "b"]} for i in range(n)]


@culprit("cpu", prepare=lambda t: t.grow(_documents, json.dumps))
async def json_dumps(t: Tools, documents):
    json.dumps(documents)  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(lambda n: json.dumps(_documents(n)), json.loads))
async def json_loads(t: Tools, text):
    json.loads(text)  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(_documents, lambda each: json.dumps(each, indent=2)))
async def json_dumps_indented(t: Tools, documents):
    json.dumps(documents, indent=2)  # BLOCKS


def _backtracking(t: Tools):
    import time

    length = 16
    while True:
        began = time.thread_time()
        re.match(r"(a+)+$", "a" * length + "b")
        if time.thread_time() - began > t.seconds:
            return length
        length += 1


@culprit("cpu", prepare=_backtracking)
async def regular_expression(t: Tools, length):
    re.match(r"(a+)+$", "a" * length + "b")  # BLOCKS


def _shuffled(n):
    numbers = [random.random() for _ in range(n)]
    return numbers


@culprit("cpu", prepare=lambda t: t.grow(_shuffled, sorted))
async def sort_list(t: Tools, numbers):
    numbers.sort()  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(_shuffled, lambda each: sorted(each, key=lambda x: -x)))
async def sort_with_key(t: Tools, numbers):
    sorted(numbers, key=lambda x: -x)  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: sum(range(n)), 100_000))
async def sum_range(t: Tools, n):
    sum(range(n))  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: hashlib.pbkdf2_hmac("sha256", b"x", b"y", n), 2000))
async def password_pbkdf2(t: Tools, n):
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", n)  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: [hashlib.scrypt(b"x", salt=b"y", n=1024, r=8, p=1) for _ in range(n)], 1))
async def password_scrypt(t: Tools, n):
    for _ in range(n + 1):
        hashlib.scrypt(b"x", salt=b"y", n=1024, r=8, p=1)  # BLOCKS


def _bytes(n):
    return random.Random(1).randbytes(n)


@culprit("cpu", prepare=lambda t: t.grow(_bytes, lambda each: zlib.compress(each, 9)))
async def compress(t: Tools, data):
    zlib.compress(data, 9)  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(bytes, hashlib.sha256, 1_000_000))
async def digest(t: Tools, data):
    hashlib.sha256(data).digest()  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: pow(7, n), 20000))
async def power_call(t: Tools, n):
    pow(7, n)  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: 7**n, 20000))
async def power_operator(t: Tools, n):
    return 7**n  # BLOCKS


@culprit("cpu", prepare=lambda t: 1 << 200_000)
async def big_number_in_loop(t: Tools, number):
    done = t.spun()
    while not done():  # BLOCKS
        number * 3  # BLOCKS
        number * number  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(_documents, copy.deepcopy, 200))
async def deepcopy(t: Tools, documents):
    copy.deepcopy(documents)  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(_documents, pickle.dumps))
async def pickle_dumps(t: Tools, documents):
    pickle.dumps(documents)  # BLOCKS


def _write_csv(n):
    writer = csv.writer(io.StringIO())
    for number in range(n):  # BLOCKS
        writer.writerow([number, "a", "b"])  # BLOCKS


@culprit("cpu", _write_csv, prepare=sized(_write_csv, 2000))
async def csv_writer(t: Tools, n):
    _write_csv(n)


@culprit("cpu", prepare=sized(lambda n: collections.deque(itertools.product(range(n), range(100)), maxlen=0), 100))
async def iterator_in_c(t: Tools, n):
    collections.deque(itertools.product(range(n), range(100)), maxlen=0)  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: ast.parse("x = 1 + 2\n" * n), 200))
async def parse_source(t: Tools, n):
    ast.parse("x = 1 + 2\n" * n)  # BLOCKS


def _xml(n):
    return "<r>" + "<a b='1'>text</a>" * n + "</r>"


@culprit("cpu", prepare=lambda t: t.grow(_xml, xml.etree.ElementTree.fromstring))
async def parse_xml(t: Tools, text):
    xml.etree.ElementTree.fromstring(text)  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: base64.b64encode(bytes(n)), 1_000_000))
async def base64_encode(t: Tools, n):
    base64.b64encode(bytes(n))  # BLOCKS


@culprit("cpu")
async def decimals(t: Tools):
    done = t.spun()
    while not done():  # BLOCKS
        decimal.Decimal(2).sqrt(decimal.Context(prec=500))  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: difflib.SequenceMatcher(None, "ab" * n, "ba" * n).ratio(), 10))
async def difference(t: Tools, n):
    difflib.SequenceMatcher(None, "ab" * n, "ba" * n).ratio()  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(_shuffled, random.shuffle))
async def shuffle(t: Tools, numbers):
    random.shuffle(numbers)  # BLOCKS


@culprit("cpu")
async def compute_in_a_callback(t: Tools):
    done = t.spun()

    def callback():
        while not done():  # BLOCKS
            sum(range(500))  # BLOCKS

    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(0.002)


@culprit("cpu", prepare=sized(lambda n: "".join(str(i) for i in range(n)), 5000))
async def join_of_generator(t: Tools, n):
    "".join(str(i) for i in range(n))  # BLOCKS


@culprit("cpu", prepare=lambda t: t.grow(lambda n: list(range(n)), lambda each: -1 in each, 100_000))
async def search_in_list(t: Tools, numbers):
    return -1 in numbers  # BLOCKS
