"""The calls that block by nature: where each is found, when it counts, and under which name it is told.

Standard library functions first, then the entry points of synchronous clients. An entry point is wrapped, and not only
the socket below it, so that a client whose network is mocked is named as well.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
When = Callable[[Args, Kwargs], bool]


class Call(NamedTuple):
    """`target` is "module:attribute.path"; `name` is what the report says; `when` tells whether this call can block."""

    target: str
    name: str
    when: When | None = None
    floor: float = 0.0  # seconds: a shorter call is not told
    work: float = 0.0  # seconds of CPU time, the system's too: a call that takes less is not told
    whole: bool = False  # where it cannot block, neither do the named calls inside of it


def _argument(args: Args, kwargs: Kwargs, index: int, name: str, default: Any = None) -> Any:
    return args[index] if len(args) > index else kwargs.get(name, default)


def _sleeps(args: Args, kwargs: Kwargs) -> bool:
    seconds = _argument(args, kwargs, 0, "secs", 0)
    return bool(seconds) and seconds > 0


def _blocking_socket(args: Args, kwargs: Kwargs) -> bool:
    timeout = args[0].gettimeout()
    return timeout is None or timeout > 0


def _by_name(args: Args, kwargs: Kwargs) -> bool:
    """Names must be looked up; addresses need no server."""
    host = _argument(args, kwargs, 0, "host")
    if host in (None, "", b""):
        return False
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    return not (text.replace(".", "").isdigit() or ":" in text)


def _running_thread(args: Args, kwargs: Kwargs) -> bool:
    timeout = _argument(args, kwargs, 1, "timeout")
    return bool(args[0].is_alive()) and (timeout is None or timeout > 0)


def _running_process(args: Args, kwargs: Kwargs) -> bool:
    return args[0].returncode is None and _argument(args, kwargs, 1, "timeout", 1) != 0


def _talking_process(args: Args, kwargs: Kwargs) -> bool:
    pipes = (args[0].stdin, args[0].stdout, args[0].stderr)
    return args[0].returncode is None or any(pipe is not None and not pipe.closed for pipe in pipes)


def _pending(args: Args, kwargs: Kwargs) -> bool:
    return not args[0].done() and _argument(args, kwargs, 1, "timeout", 1) != 0


def _unset(args: Args, kwargs: Kwargs) -> bool:
    return not args[0].is_set() and _argument(args, kwargs, 1, "timeout", 1) != 0


def _condition(args: Args, kwargs: Kwargs) -> bool:
    return bool(_argument(args, kwargs, 1, "timeout", 1) != 0)


def _empty(args: Args, kwargs: Kwargs) -> bool:
    block, timeout = _argument(args, kwargs, 1, "block", True), _argument(args, kwargs, 2, "timeout", 1)
    return bool(block) and timeout != 0 and bool(args[0].empty())


def _full(args: Args, kwargs: Kwargs) -> bool:
    block, timeout = _argument(args, kwargs, 2, "block", True), _argument(args, kwargs, 3, "timeout", 1)
    return bool(block) and timeout != 0 and bool(args[0].full())


def _taken(args: Args, kwargs: Kwargs) -> bool:
    block, timeout = _argument(args, kwargs, 1, "blocking", True), _argument(args, kwargs, 2, "timeout", 1)
    return bool(block) and timeout != 0 and bool(args[0]._value == 0)


def _some_pending(args: Args, kwargs: Kwargs) -> bool:
    futures = _argument(args, kwargs, 0, "fs", ())
    try:
        return any(not future.done() for future in futures) and _argument(args, kwargs, 1, "timeout", 1) != 0
    except (TypeError, AttributeError):
        return False


def _waits_for_pool(args: Args, kwargs: Kwargs) -> bool:
    if not _argument(args, kwargs, 1, "wait", True):
        return False
    threads = getattr(args[0], "_threads", None) or ()
    queue = getattr(args[0], "_work_queue", None)
    busy = any(thread.is_alive() for thread in threads) and (queue is None or queue.qsize() > 0 or _busy(args[0]))
    return busy or bool(getattr(args[0], "_processes", None))


def _busy(pool: Any) -> bool:
    idle = getattr(pool, "_idle_semaphore", None)
    return idle is None or idle._value < len(pool._threads)


def _selects(args: Args, kwargs: Kwargs) -> bool:
    timeout = _argument(args, kwargs, 3, "timeout")
    return timeout is None or timeout > 0


def _waits_for_child(args: Args, kwargs: Kwargs) -> bool:
    return not int(_argument(args, kwargs, 1, "options", 0) & getattr(os, "WNOHANG", 0))


def _locks_file(args: Args, kwargs: Kwargs) -> bool:
    import fcntl

    operation = _argument(args, kwargs, 1, "operation", 0)
    return not operation & (fcntl.LOCK_NB | fcntl.LOCK_UN)


def real_file(args: Args, kwargs: Kwargs) -> bool:
    database = _argument(args, kwargs, 0, "database", "")
    text = os.fsdecode(database) if isinstance(database, (str, bytes, os.PathLike)) else ""
    return bool(text) and ":memory:" not in text and "mode=memory" not in text


def _not_in_greenlet(args: Args, kwargs: Kwargs) -> bool:
    """SQLAlchemy's asyncio extension runs its synchronous half in a greenlet, whose I/O awaits."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is None or greenlet.getcurrent().parent is None


BIG = 1 << 20  # bytes of one file


def _big_file(args: Args, kwargs: Kwargs) -> bool:
    try:
        return os.stat(args[0]).st_size >= BIG
    except (OSError, ValueError, TypeError):
        return False


def _big_text(args: Args, kwargs: Kwargs) -> bool:
    try:
        return len(_argument(args, kwargs, 1, "data", ())) >= BIG
    except TypeError:
        return False


def _reads_much(args: Args, kwargs: Kwargs) -> bool:
    """Much of a file, or anything of a pipe or a terminal that has nothing yet."""
    found = os.fstat(args[0])
    if stat.S_ISREG(found.st_mode):
        return bool(min(args[1], found.st_size) >= BIG)
    return os.get_blocking(args[0]) and not select.select([args[0]], [], [], 0)[0]


def _writes_much(args: Args, kwargs: Kwargs) -> bool:
    """Much to a file, or anything to a pipe that is full."""
    if stat.S_ISREG(os.fstat(args[0]).st_mode):
        return memoryview(args[1]).nbytes >= BIG
    return os.get_blocking(args[0]) and not select.select([], [args[0]], [], 0)[1]


def _sends_much(args: Args, kwargs: Kwargs) -> bool:
    """shutil asks for eight megabytes at once, whatever the file's size."""
    much = min(_argument(args, kwargs, 3, "count", 0), os.fstat(_argument(args, kwargs, 1, "in_fd", -1)).st_size) >= BIG
    return bool(much and os.get_blocking(_argument(args, kwargs, 0, "out_fd", -1)))


def _copies_much(args: Args, kwargs: Kwargs) -> bool:
    much = min(_argument(args, kwargs, 2, "count", 0), os.fstat(_argument(args, kwargs, 0, "src", -1)).st_size) >= BIG
    return bool(much)


_SOCKET = "socket:socket."
_TLS = "ssl:SSLSocket."

STANDARD: tuple[Call, ...] = (
    Call("time:sleep", "time.sleep", _sleeps),
    Call("builtins:input", "input"),
    Call("getpass:getpass", "getpass.getpass"),
    *(Call(_SOCKET + name, "socket." + name, _blocking_socket) for name in (
        "accept", "connect", "connect_ex", "recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "send",
        "sendall", "sendto", "sendmsg", "sendfile",
    )),
    *(Call(_TLS + name, "ssl.SSLSocket." + name, _blocking_socket) for name in (
        "connect", "do_handshake", "recv", "recv_into", "read", "send", "sendall", "write",
    )),
    Call("socket:create_connection", "socket.create_connection"),
    Call("socket:getaddrinfo", "socket.getaddrinfo", _by_name),
    Call("socket:gethostbyname", "socket.gethostbyname", _by_name),
    Call("socket:gethostbyname_ex", "socket.gethostbyname_ex", _by_name),
    Call("socket:gethostbyaddr", "socket.gethostbyaddr"),
    Call("socket:getnameinfo", "socket.getnameinfo"),
    Call("socket:getfqdn", "socket.getfqdn"),
    Call("select:select", "select.select", _selects),
    *(Call("subprocess:" + name, "subprocess." + name) for name in (
        "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput",
    )),
    Call("subprocess:Popen.__init__", "subprocess.Popen"),
    Call("subprocess:Popen.wait", "subprocess.Popen.wait", _running_process),
    Call("subprocess:Popen.communicate", "subprocess.Popen.communicate", _talking_process),
    Call("os:system", "os.system"),
    Call("os:popen", "os.popen"),
    Call("os:wait", "os.wait"),
    Call("os:waitpid", "os.waitpid", _waits_for_child),
    Call("os:wait3", "os.wait3", lambda args, kwargs: not args[0] & os.WNOHANG),
    Call("os:wait4", "os.wait4", _waits_for_child),
    Call("os:waitid", "os.waitid", lambda args, kwargs: not args[2] & os.WNOHANG),
    Call("os:read", "os.read", _reads_much),
    Call("os:write", "os.write", _writes_much),
    Call("os:sendfile", "os.sendfile", _sends_much),
    Call("os:copy_file_range", "os.copy_file_range", _copies_much),
    Call("os:fsync", "os.fsync"),
    Call("os:fdatasync", "os.fdatasync"),
    Call("os:sync", "os.sync"),
    Call("fcntl:flock", "fcntl.flock", _locks_file, 0.001),
    Call("fcntl:lockf", "fcntl.lockf", _locks_file, 0.001),
    Call("signal:pause", "signal.pause"),
    Call("signal:sigwait", "signal.sigwait"),
    Call("signal:sigwaitinfo", "signal.sigwaitinfo"),
    Call("signal:sigtimedwait", "signal.sigtimedwait", lambda args, kwargs: args[1] > 0),
    Call("threading:Thread.join", "threading.Thread.join", _running_thread),
    Call("threading:Event.wait", "threading.Event.wait", _unset),
    Call("threading:Condition.wait", "threading.Condition.wait", _condition),
    Call("threading:Semaphore.acquire", "threading.Semaphore.acquire", _taken),
    Call("threading:Semaphore.__enter__", "threading.Semaphore.acquire", _taken),
    Call("threading:Barrier.wait", "threading.Barrier.wait"),
    Call("queue:Queue.get", "queue.Queue.get", _empty),
    Call("queue:Queue.put", "queue.Queue.put", _full),
    Call("queue:Queue.join", "queue.Queue.join", lambda args, kwargs: bool(args[0].unfinished_tasks)),
    Call("concurrent.futures._base:Future.result", "concurrent.futures.Future.result", _pending),
    Call("concurrent.futures._base:Future.exception", "concurrent.futures.Future.exception", _pending),
    Call("concurrent.futures:wait", "concurrent.futures.wait", _some_pending),
    Call("concurrent.futures.thread:ThreadPoolExecutor.shutdown", "ThreadPoolExecutor.shutdown", _waits_for_pool,
         whole=True),
    Call("concurrent.futures.process:ProcessPoolExecutor.shutdown", "ProcessPoolExecutor.shutdown", _waits_for_pool,
         whole=True),
    Call("multiprocessing.process:BaseProcess.start", "multiprocessing.Process.start"),
    Call("multiprocessing.process:BaseProcess.join", "multiprocessing.Process.join",
         lambda args, kwargs: bool(args[0].is_alive())),
    Call("multiprocessing.pool:Pool.map", "multiprocessing.Pool.map"),
    Call("multiprocessing.pool:Pool.starmap", "multiprocessing.Pool.starmap"),
    Call("multiprocessing.pool:Pool.apply", "multiprocessing.Pool.apply"),
    Call("multiprocessing.pool:Pool.__init__", "multiprocessing.Pool"),
    Call("multiprocessing.pool:ApplyResult.get", "multiprocessing.pool.AsyncResult.get",
         lambda args, kwargs: not args[0].ready()),
    Call("multiprocessing.queues:Queue.get", "multiprocessing.Queue.get", _empty),
    Call("multiprocessing.connection:_ConnectionBase.recv", "multiprocessing.Connection.recv",
         lambda args, kwargs: not args[0].poll()),
    Call("urllib.request:urlopen", "urllib.request.urlopen"),
    Call("urllib.request:OpenerDirector.open", "urllib.request.OpenerDirector.open"),
    Call("urllib.request:urlretrieve", "urllib.request.urlretrieve"),
    Call("http.client:HTTPConnection.connect", "http.client.HTTPConnection.connect"),
    Call("http.client:HTTPConnection.request", "http.client.HTTPConnection.request"),
    Call("http.client:HTTPConnection.getresponse", "http.client.HTTPConnection.getresponse"),
    Call("smtplib:SMTP.connect", "smtplib.SMTP.connect"),
    Call("smtplib:SMTP.sendmail", "smtplib.SMTP.sendmail"),
    Call("smtplib:SMTP.send_message", "smtplib.SMTP.send_message"),
    Call("ftplib:FTP.connect", "ftplib.FTP.connect"),
    Call("ftplib:FTP.sendcmd", "ftplib.FTP.sendcmd"),
    Call("imaplib:IMAP4.open", "imaplib.IMAP4"),
    Call("poplib:POP3.__init__", "poplib.POP3"),
    Call("xmlrpc.client:ServerProxy._ServerProxy__request", "xmlrpc.client.ServerProxy"),
    Call("sqlite3:connect", "sqlite3.connect", real_file),
    Call("pathlib:Path.read_text", "pathlib.Path.read_text", _big_file),
    Call("pathlib:Path.read_bytes", "pathlib.Path.read_bytes", _big_file),
    Call("pathlib:Path.write_text", "pathlib.Path.write_text", _big_text),
    Call("pathlib:Path.write_bytes", "pathlib.Path.write_bytes", _big_text),
    Call("shutil:copyfile", "shutil.copyfile", _big_file),
    Call("shutil:copytree", "shutil.copytree"),
    Call("shutil:rmtree", "shutil.rmtree", work=0.01),  # a few files are gone in an instant
    Call("shutil:make_archive", "shutil.make_archive"),
    Call("shutil:unpack_archive", "shutil.unpack_archive"),
)  # fmt: skip

LIBRARIES: tuple[Call, ...] = (
    Call("requests.sessions:Session.send", "requests"),
    Call("urllib3.connectionpool:HTTPConnectionPool.urlopen", "urllib3"),
    Call("httpx:Client.send", "httpx.Client"),
    Call("httpx2:Client.send", "httpx2.Client"),
    Call("httplib2:Http.request", "httplib2.Http.request"),
    Call("pycurl:Curl.perform", "pycurl.Curl.perform"),
    Call("botocore.httpsession:URLLib3Session.send", "botocore"),
    Call("botocore.client:BaseClient._make_api_call", "botocore"),
    *(Call("sqlalchemy.engine.base:" + path, "sqlalchemy." + path.replace("_commit_impl", "commit"), _not_in_greenlet)
      for path in ("Engine.connect", "Connection.execute", "Connection.exec_driver_sql", "Connection.scalar",
                   "Connection.scalars", "Connection._commit_impl")),
    *(Call("sqlalchemy.orm.session:Session." + name, "sqlalchemy.orm.Session." + name, _not_in_greenlet)
      for name in ("execute", "scalars", "scalar", "get", "flush", "commit")),
    Call("psycopg2:connect", "psycopg2.connect"),
    Call("psycopg:connect", "psycopg.connect"),  # a method, bound when psycopg was imported
    Call("psycopg.connection:Connection.connect", "psycopg.Connection.connect"),
    Call("psycopg.connection:Connection.wait", "psycopg.Connection"),
    Call("pymysql.connections:Connection.connect", "pymysql.connect"),
    Call("pymysql.connections:Connection.query", "pymysql.Connection.query"),
    Call("MySQLdb:connect", "MySQLdb.connect"),
    Call("mysql.connector:connect", "mysql.connector.connect"),
    Call("oracledb:connect", "oracledb.connect"),
    Call("pyodbc:connect", "pyodbc.connect"),
    Call("pymongo.synchronous.mongo_client:MongoClient._run_operation", "pymongo"),
    Call("pymongo.synchronous.mongo_client:MongoClient._retry_internal", "pymongo"),
    Call("pymongo.synchronous.topology:Topology.select_server", "pymongo"),
    Call("redis.client:Redis.execute_command", "redis.Redis"),
    Call("redis.client:Pipeline.execute", "redis.Pipeline.execute"),
    Call("valkey.client:Valkey.execute_command", "valkey.Valkey"),
    Call("valkey.client:Pipeline.execute", "valkey.Pipeline.execute"),
    Call("pymemcache.client.base:Client._misc_cmd", "pymemcache"),
    Call("pymemcache.client.base:Client._fetch_cmd", "pymemcache"),
    Call("pika.adapters.blocking_connection:BlockingConnection.__init__", "pika.BlockingConnection"),
    Call("kafka.producer.future:FutureRecordMetadata.get", "kafka"),
    Call("paramiko.client:SSHClient.connect", "paramiko.SSHClient.connect"),
    Call("paramiko.client:SSHClient.exec_command", "paramiko.SSHClient.exec_command"),
    Call("grpc._channel:_UnaryUnaryMultiCallable.__call__", "grpc"),
    Call("asgiref.sync:AsyncToSync.__call__", "asgiref.sync.async_to_sync"),
)  # fmt: skip
