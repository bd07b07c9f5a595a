"""Works until it is killed; each effect and its acknowledgement are one commit of Python's sqlite3.

usage: sql_worker.py path queue
"""

import sqlite3
import sys

import onceward

with onceward.open(sys.argv[1]) as store:
    connection = sqlite3.connect(sys.argv[1], timeout=60)
    print("ready")
    with store.queue(sys.argv[2]).consume(batch=4) as deliveries:
        for delivery in deliveries:
            with connection:
                connection.execute("INSERT INTO entries(note) VALUES (?)", (delivery.key,))
                connection.execute(
                    "INSERT INTO onceward_ack(message, token) VALUES (?, ?)", (delivery.id, delivery.token)
                )
            print(delivery.key)
