"""Orders through the C library, with nothing but Python's ctypes: `python orders.py libonceward.so.0 shop.db`.

It stands for any language that can call C. Onceward has a Python module of its own, which is what a Python program
would use.
"""

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint64, c_void_p

OK, EMPTY, DUPLICATE = 0, 100, 101
EXACTLY_ONCE = 3
# The version of the binary interface that the structures below were written for.
ABI = 0


class Message(Structure):
    """The first fields of onceward_message: it begins with its size, so the rest may be left out."""

    _fields_ = (("size", c_size_t), ("body", c_char_p), ("body_size", c_size_t), ("key", c_char_p))


class View(Structure):
    """The first fields of onceward_message_view; its size is passed along, so as many are filled in."""

    _fields_ = (
        ("id", c_uint64),
        ("token", c_uint64),
        ("body", c_void_p),
        ("body_size", c_size_t),
        ("key", c_char_p),
    )


# Every argument has its type: a handle is a pointer, and would be cut to 32 bits without.
FUNCTIONS = {
    "store_open": (c_char_p, c_void_p, POINTER(c_void_p)),
    "store_free": (c_void_p,),
    "queue_open": (c_void_p, c_char_p, c_int32, c_void_p, POINTER(c_void_p)),
    "queue_send": (c_void_p, POINTER(Message), POINTER(c_uint64)),
    "queue_free": (c_void_p,),
    "subscription_open": (c_void_p, c_char_p, POINTER(c_void_p)),
    "subscription_receive": (c_void_p, c_int64, POINTER(c_void_p)),
    "subscription_free": (c_void_p,),
    "delivery_get": (c_void_p, POINTER(View), c_size_t),
    "delivery_ack": (c_void_p,),
    "delivery_free": (c_void_p,),
}


class Onceward:
    """The library, with errors as exceptions."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.onceward_error_message.restype = c_char_p
        if self.library.onceward_abi_version() != ABI:
            sys.exit("this library has another binary interface")
        for name, types in FUNCTIONS.items():
            function = self.library[f"onceward_{name}"]
            function.argtypes = types
            function.restype = None if name.endswith("_free") else c_int32

    def call(self, name: str, *arguments: object) -> int:
        """Make a call; its status, unless that is an error: those are below 100."""
        status = self.library[f"onceward_{name}"](*arguments)
        if status is not None and OK < status < EMPTY:
            # The words are this thread's, until its next error.
            raise RuntimeError(self.library.onceward_error_message().decode())
        return int(status or OK)

    def made(self, name: str, *arguments: object) -> c_void_p:
        """Make a call whose last output is a handle, which is ours to free."""
        handle = c_void_p()
        self.call(name, *arguments, byref(handle))
        return handle


def main(library: str, path: str) -> None:
    """Send two orders, one of them twice; take each once."""
    onceward = Onceward(library)
    store = onceward.made("store_open", path.encode(), None)
    queue = onceward.made("queue_open", store, b"orders", EXACTLY_ONCE, None)
    for key, cents in ((b"order-1", b"1999"), (b"order-2", b"5"), (b"order-1", b"1999")):
        message = Message(ctypes.sizeof(Message), cents, len(cents), key)
        status = onceward.call("queue_send", queue, byref(message), None)
        print(f"{key.decode()}: {'had been sent before' if status == DUPLICATE else 'sent'}")

    incoming = onceward.made("subscription_open", queue, None)
    # A call that has nothing to give leaves its handle at NULL, which is false.
    while delivery := onceward.made("subscription_receive", incoming, 0):
        view = View()
        onceward.call("delivery_get", delivery, byref(view), ctypes.sizeof(view))
        # Copied: what a view points to lives as long as its delivery.
        cents = ctypes.string_at(view.body, view.body_size)
        print(f"{view.key.decode()}: {cents.decode()} cents")
        onceward.call("delivery_ack", delivery)
        onceward.call("delivery_free", delivery)
    for kind, handle in (("subscription", incoming), ("queue", queue), ("store", store)):
        onceward.call(f"{kind}_free", handle)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
