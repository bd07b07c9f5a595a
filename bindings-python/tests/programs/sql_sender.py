"""Sends through SQL, with Python's sqlite3 alone, a message for each line of its input.

usage: sql_sender.py path queue key...
"""

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], timeout=60)
assert "onceward" not in sys.modules
print("ready")
for key in sys.argv[3:]:
    sys.stdin.readline()
    with connection:
        connection.execute(
            "INSERT INTO onceward_send(queue, key, body) VALUES (?, ?, ?)", (sys.argv[2], key, key.encode())
        )
    print("sent")
