"""Letting a running interpreter run a command as if it had been started with it.

What ``python script.py``, ``python -m module`` or ``python -c text`` does is `Py_RunMain`_'s
business: it reads the configuration that the command line was made into, looks for the program,
runs it, tells of errors, finalises the interpreter and says how the process is to end. So the
configuration of the template is changed, and that function is called once more, in the fork.

Two things have no function of the C interface. The configuration is found where the template's own
command stands in it, read through ``/proc/self/mem`` so that nothing is followed but pointers.
And since nothing of the interpreter is left when `Py_RunMain` returns, what it returns to is the C
library, by the function that starts programs' ``main``.

.. _Py_RunMain: https://docs.python.org/3/c-api/init_config.html#c.Py_RunMain
"""

from __future__ import annotations

import _thread
import ctypes
import functools
import itertools
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KNOWN = ((3, 11), (3, 12), (3, 13))
"""The versions with which programs were compared that ran in both ways."""

_CONFIG_SIZE = 1024
_RUNTIME_SIZE = 4096
_WORD = 8
_INT = 4
_STATE_SIZE = 64
_MOST_CALLS = 30
_PR_SET_MM = 35
_PR_SET_MM_MAP = 14


class Unsupported(Exception):
    """This interpreter is not built as expected; the message says what is different."""


class Interpreter:
    """The interpreter of this process, which was started with ``-c``."""

    def __init__(self) -> None:
        if sys.version_info[:2] not in KNOWN:
            raise Unsupported(f"its version is none of those known: {sys.version_info[:2]}")
        self._api = ctypes.pythonapi
        self._main = _main_in_the_c_library()
        self._config = self._find_config()
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._find_fields(memory)
        finally:
            os.close(memory)
        self._main_state = self._find_main_state() if sys.version_info >= (3, 13) else 0
        self._areas = _Areas()

    def _find_config(self) -> int:
        try:
            find = self._api._Py_GetConfig
        except AttributeError:
            raise Unsupported("its configuration cannot be found") from None
        find.restype = ctypes.c_void_p
        return int(find())

    def _find_fields(self, memory: int) -> None:
        words = struct.unpack(
            f"={_CONFIG_SIZE // _WORD}Q", os.pread(memory, _CONFIG_SIZE, self._config)
        )
        command = sys.orig_argv[-1]
        programs = [
            place
            for place, word in enumerate(words[:-2])
            if _wide_text(memory, word, len(command)) == command
            and not any(words[place + 1 : place + 3])
        ]
        arguments = [
            place
            for place, (count, items) in enumerate(itertools.pairwise(words))
            if count == 1 and _wide_text(memory, _pointer(memory, items), 2) == "-c"
        ]
        if len(programs) != 1 or len(arguments) != 1:
            raise Unsupported("its configuration is not as expected")
        (self._program,), (self._arguments,) = programs, arguments

    def _find_main_state(self) -> int:
        """Where the runtime says which thread state is the main one: behind the main thread."""
        start = ctypes.addressof(ctypes.c_char.in_dll(self._api, "_PyRuntime"))
        words = struct.unpack(f"={_RUNTIME_SIZE // _WORD}Q", ctypes.string_at(start, _RUNTIME_SIZE))
        both = _thread.get_ident(), self._call("PyThreadState_Get")
        found = [place for place, pair in enumerate(itertools.pairwise(words)) if pair == both]
        if len(found) != 1:
            raise Unsupported("its state is not as expected")
        return start + _WORD * (found[0] + 1)

    def configure(self, kind: str, argv: list[str], place: int) -> None:
        """Makes a command the interpreter's, see :class:`..plan.WarmCommand`."""
        target = argv[place]
        texts = {"command": f"{target}\n", "module": target, "file": _absolute(target)}
        for offset, name in enumerate(("command", "module", "file")):
            self._set(self._program + offset, self._wide(texts[name]) if name == kind else 0)
        first = {"command": "-c", "module": "-m", "file": target}[kind]
        items = self._call("PyMem_RawMalloc", ctypes.c_size_t(_WORD))
        ctypes.c_uint64.from_address(items).value = self._wide(first)
        self._set(self._arguments + 1, items)
        sys.argv = [first, *argv[place + 1 :]]
        sys.orig_argv = list(argv)

    def show(self, argv: list[str], env: dict[str, str]) -> None:
        """Lets ``/proc/self/cmdline`` and ``environ`` be those of the command."""
        self._areas.show(argv, [f"{name}={value}" for name, value in env.items()])

    @property
    def main(self) -> Callable[[], object]:
        """What to call to run the command; that never returns, and is no Python function."""
        return self._main

    def keep(self, thing: object) -> None:
        """Lets something outlive the interpreter: taking it apart in each fork would cost more than
        all the rest, because a fork has to copy the memory that it changes.
        """
        self._api.Py_IncRef(ctypes.py_object(thing))

    def begin_anew(self) -> None:
        """Lets nothing tell that the template runs already, in the fork."""
        if sys.version_info >= (3, 12):
            interpreter = ctypes.c_void_p(self._call("PyInterpreterState_Main"))
            forget = self._api._PyInterpreterState_SetNotRunningMain
            forget.restype = None
            forget(interpreter)
            if self._main_state:
                state = self._call("PyThreadState_Get")
                ctypes.c_uint64.from_address(self._main_state).value = state
        else:
            self._forget_depth()

    def _forget_depth(self) -> None:
        """Lets no call count that has led here, so that recursion goes as deep as it would.

        Later versions count calls of Python functions only.
        """
        state = self._call("PyThreadState_Get")
        limit = sys.getrecursionlimit()
        for place in range(state, state + _STATE_SIZE, _INT):
            left, most = (ctypes.c_int.from_address(place + n * _INT) for n in range(2))
            if most.value == limit and limit - _MOST_CALLS < left.value < limit:
                # This function and two others will have returned, and one call runs the command.
                left.value = limit - 2
                return

    def _set(self, place: int, value: int) -> None:
        ctypes.c_uint64.from_address(self._config + _WORD * place).value = value

    def _wide(self, text: str) -> int:
        return self._call("Py_DecodeLocale", os.fsencode(text), None)

    def _call(self, name: str, *arguments: Any) -> int:
        function = self._api[name]
        function.restype = ctypes.c_void_p
        return int(function(*arguments))


def _main_in_the_c_library() -> Callable[[], object]:
    library = ctypes.PyDLL(None)
    try:
        start = library["__libc_start_main"]
        library["gnu_get_libc_version"]
        main = ctypes.cast(library["Py_RunMain"], ctypes.c_void_p)
    except AttributeError as error:
        raise Unsupported(f"not with this C library: {error}") from None
    arguments = (ctypes.c_char_p * 2)(b"python", None)
    # Instead of the program's own initialisation, which has been done.
    nothing = ctypes.cast(library["getpid"], ctypes.c_void_p)
    return functools.partial(start, main, 1, arguments, nothing, None, None, None)


def _absolute(path: str) -> str:
    """As the interpreter makes a script's path absolute: without looking at it."""
    return path if os.path.isabs(path) else f"{os.getcwd()}/{path}"


def _pointer(memory: int, address: int) -> int:
    found = _read(memory, address, _WORD)
    return int.from_bytes(found, sys.byteorder)


def _wide_text(memory: int, address: int, length: int) -> str:
    """The wide characters at an address; one more than asked for has to be the end."""
    encoding = f"utf-32-{'le' if sys.byteorder == 'little' else 'be'}"
    text = _read(memory, address, (length + 2) * 4).decode(encoding, "replace")
    return text.partition("\0")[0].removesuffix("\n")


def _read(memory: int, address: int, size: int) -> bytes:
    if not 4096 <= address < 1 << 63:
        return b""
    try:
        return os.pread(memory, size, address)
    except OSError:
        return b""


class _Areas:
    """Where the kernel finds the arguments and the environment of this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/stat") as file:
            fields = ["", "", "", *file.read().rpartition(")")[2].split()]
        self._code = [int(fields[n]) for n in (26, 27, 45, 46, 47)]
        self._stack = int(fields[28])
        self._library.sbrk.restype = ctypes.c_void_p

    def show(self, argv: list[str], environment: list[str]) -> None:
        brk = self._library.sbrk(0)
        where = [value for texts in (argv, environment) for value in self._place(texts)]
        # struct prctl_mm_map: no auxiliary vector, no other program.
        packed = struct.pack("=12QIi", *self._code, brk, self._stack, *where, 0, 0, -1)
        buffer = ctypes.create_string_buffer(packed, len(packed))
        size = ctypes.c_ulong(len(packed))
        if self._library.prctl(_PR_SET_MM, _PR_SET_MM_MAP, buffer, size, ctypes.c_ulong(0)):
            code = ctypes.get_errno()
            raise OSError(code, f"prctl: {os.strerror(code)}")

    def _place(self, texts: list[str]) -> tuple[int, int]:
        """Puts strings where they stay for as long as the process lives."""
        data = b"".join(os.fsencode(text) + b"\0" for text in texts)
        allocate = self._library.malloc
        allocate.restype = ctypes.c_void_p
        start = int(allocate(ctypes.c_size_t(len(data) + 1)))
        ctypes.memmove(start, data, len(data))
        return start, start + len(data)
