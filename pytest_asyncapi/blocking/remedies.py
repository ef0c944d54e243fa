"""What to write instead, for the very call that blocks."""

from __future__ import annotations

import re

# (pattern of the call's name, remedy for waits and named calls). The first match counts; {call} is the call.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"time\.sleep|^sleep$", "await asyncio.sleep(...)"),
    (r"^input$|getpass", "read the terminal in a thread: await asyncio.to_thread(input, ...)"),
    (r"^(requests|urllib3|urllib\.|http\.client|httplib2|pycurl)|requests\.|urlopen",
     "an async client: await httpx2.AsyncClient().get(...) or aiohttp.ClientSession().get(...)"),
    (r"^httpx2?\.", "the async client: async with {module}.AsyncClient() as client: await client.get(...)"),
    (r"botocore|boto3", "aioboto3 (aiobotocore), or await asyncio.to_thread(...)"),
    (r"getaddrinfo|gethostby|getnameinfo|getfqdn", "await asyncio.get_running_loop().getaddrinfo(...)"),
    (r"ssl\.SSLSocket|socket\.|create_connection",
     "await asyncio.open_connection(...), or a non-blocking socket with await loop.sock_recv(...)"),
    (r"select\.|selectors\.", "loop.add_reader(...), or asyncio's streams"),
    (r"subprocess\.|os\.system|os\.popen|os\.wait|posix_spawn", "await asyncio.create_subprocess_exec(...)"),
    (r"sqlalchemy", "sqlalchemy.ext.asyncio: create_async_engine(...), AsyncSession, await session.execute(...)"),
    (r"sqlite3", "aiosqlite: async with aiosqlite.connect(...) as db: await db.execute(...)"),
    (r"psycopg2|psycopg\.", "asyncpg, or await psycopg.AsyncConnection.connect(...)"),
    (r"pymysql|MySQLdb|mysql\.", "aiomysql or asyncmy"),
    (r"pymongo", "pymongo.AsyncMongoClient"),
    (r"^redis|redis\.(client|connection)", "redis.asyncio.Redis"),
    (r"^valkey", "valkey.asyncio.Valkey"),
    (r"pymemcache", "aiomcache"),
    (r"pika", "aio-pika"),
    (r"kafka", "aiokafka"),
    (r"paramiko", "asyncssh"),
    (r"^grpc", "grpc.aio"),
    (r"smtplib", "aiosmtplib"),
    (r"ftplib|imaplib|poplib|xmlrpc", "await asyncio.to_thread(...)"),
    (r"queue\.|SimpleQueue|multiprocessing\.Queue", "asyncio.Queue: await queue.get()"),
    (r"Event\.wait|Condition\.wait|Barrier|Semaphore",
     "the same of asyncio: asyncio.Event, asyncio.Condition, asyncio.Semaphore"),
    (r"Lock|acquire", "asyncio.Lock: async with lock"),
    (r"futures.*(result|exception|wait)|^fut.*\.result|\.result$|AsyncResult", "await asyncio.wrap_future(future)"),
    (r"Executor\.shutdown|Thread\.join|Process\.join|\.join$", "await asyncio.to_thread({call}), or await the work"),
    (r"multiprocessing", "await loop.run_in_executor(ProcessPoolExecutor(), ...)"),
    (r"async_to_sync|run_until_complete|asyncio\.run$", "await the coroutine itself"),
    (r"fsync|fdatasync|flock|lockf|shutil|pathlib|^open$|\.read$|\.write$|read_text|read_bytes|write_text|write_bytes|fcntl",
     "aiofiles or anyio.open_file(...), or await asyncio.to_thread({call}, ...)"),
    (r"signal\.", "loop.add_signal_handler(...)"),
)  # fmt: skip

_COMPUTING: tuple[tuple[str, str], ...] = (
    (r"json\.|jsonable_encoder|orjson|model_dump|serialize|encoder",
     "a smaller answer, a stream, or a faster serializer; else await asyncio.to_thread({call}, ...)"),
    (r"bcrypt|hashlib|scrypt|pbkdf2|argon2|hmac|passlib|zlib|gzip|bz2|lzma|zstd|hash",
     "await asyncio.to_thread({call}, ...) (it releases the GIL)"),
    (r"^re\.|regex|\.(match|search|sub|findall|fullmatch|finditer)$",
     "a pattern without nested repeats; else a process pool: await loop.run_in_executor(ProcessPoolExecutor(), ...)"),
    (r"PIL|Image|numpy|np\.|pandas|pd\.|sklearn|torch|cv2",
     "await asyncio.to_thread({call}, ...), or a process pool where it holds the GIL"),
    (r"pickle|copy\.deepcopy|csv|xml|yaml|tomllib|lxml|bs4|jinja2|render",
     "await asyncio.to_thread({call}, ...), in smaller parts"),
)  # fmt: skip
_COMPUTE = "await asyncio.to_thread({work}), or a process pool where it is long and pure Python (that keeps the GIL)"
_OWN_FUNCTION = "move this work out of the coroutine into a function, and await asyncio.to_thread(function, ...)"
_MANY_WAITS = "await what waits, or await asyncio.to_thread({function}, ...)"


def remedy(kind: str, call: str, function: str, leaf: str = "", work: str = "", coroutine: bool = False) -> str:
    """The remedy, by kind, the call that the user's line makes, the user's function and the innermost call.

    `work` is the call that the innermost coroutine makes, as `asyncio.to_thread` takes it: `sum_of_squares, limit`;
    `coroutine` tells that the work stands in the coroutine itself.
    """
    function = function.rpartition(".")[2].strip("<>") or "function"
    table = _REMEDIES if kind == "waiting" else _COMPUTING
    for name in (call, leaf):
        for pattern, text in table if name else ():
            if re.search(pattern, name):
                return text.format(call=call or name, function=function, module=name.partition(".")[0])
    if kind == "waiting":
        return f"await asyncio.to_thread({call}, ...)" if call else _MANY_WAITS.format(function=function)
    if not work and coroutine:
        return _OWN_FUNCTION
    return _COMPUTE.format(work=work or f"{function}, ...")


def rule(kind: str, call: str) -> str | None:
    """The rule of ruff's ASYNC family that finds such a call in a coroutine, without running it."""
    for pattern, code in (
        (r"^time\.sleep$", "ASYNC251"),
        (r"^(requests|urllib)", "ASYNC210"),
        (r"^httpx\.", "ASYNC212"),
        (r"^(subprocess\.Popen|os\.popen)$", "ASYNC220"),
        (r"^os\.wait", "ASYNC222"),
        (r"^(subprocess\.(?!Popen)|os\.system)", "ASYNC221"),
        (r"^(open|file\.(read|write))$", "ASYNC230"),
        (r"^pathlib\.", "ASYNC240"),
        (r"^input$", "ASYNC250"),
    ):
        if kind == "waiting" and re.search(pattern, call):
            return code
    return None
